//! What is to be done about metrics without anybody's asking: points that wait are written, and old ones removed.
//!
//! A thread for each, as far as it is wanted, with a connection of its own; no request waits for either. What they
//! do to the store they do in small steps.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::thread_group::ThreadGroup;
use crate::clock::{Clock, SystemClock};
use crate::ids::SeriesId;
use crate::limits;
use crate::store::{Store, StoreError, StoreFactory, Write, WriteBehindBuffer, Written};

/// The threads, and what they share.
pub struct Maintenance {
    shared: Arc<Shared>,
    /// The waiting room, where points are written behind.
    buffer: Option<Arc<WriteBehindBuffer>>,
}

struct Shared {
    factory: Arc<dyn StoreFactory>,
    control: Mutex<Control>,
    changed: Condvar,
    removed: AtomicU64,
    threads: ThreadGroup,
    clock: SystemClock,
}

struct Control {
    retention: Option<Duration>,
    /// The thread that removes has been started.
    has_remover: bool,
    is_closed: bool,
    /// All points that waited are written, or the time for it is over.
    is_flush_over: bool,
}

impl Maintenance {
    /// Starts what is wanted: writing to the store what waits in `behind`, and removing what is older than
    /// `retention`. `factory` makes connections that put points into `behind`, where there is one, and tell it of
    /// removals; points grow old by `clock`. An error: what waits would never be written.
    pub fn start(
        factory: Arc<dyn StoreFactory>,
        buffer: Option<Arc<WriteBehindBuffer>>,
        retention: Option<Duration>,
        clock: SystemClock,
    ) -> io::Result<Maintenance> {
        let control = Control {
            retention: None,
            has_remover: false,
            is_closed: false,
            is_flush_over: buffer.is_none(),
        };
        let shared = Arc::new(Shared {
            factory,
            control: Mutex::new(control),
            changed: Condvar::new(),
            removed: AtomicU64::new(0),
            threads: ThreadGroup::default(),
            clock,
        });
        if let Some(buffer) = &buffer {
            let (writer, buffer) = (Arc::clone(&shared), Arc::clone(buffer));
            let started = shared.threads.spawn("vmherd-behind", move || writer.run_flusher(&buffer));
            started.map_err(|error| io::Error::other(format!("no thread to write points: {error}")))?;
        }
        let maintenance = Maintenance { shared, buffer };
        maintenance.set_retention(retention);
        Ok(maintenance)
    }

    /// From now on removes points that are older than `retention`; `None`: none.
    pub fn set_retention(&self, retention: Option<Duration>) {
        let mut control = self.shared.lock();
        control.retention = retention;
        if retention.is_some() && !control.has_remover {
            let remover = Arc::clone(&self.shared);
            control.has_remover = self.shared.start("vmherd-retain", move || remover.run_remover());
        }
        drop(control);
        self.shared.changed.notify_all();
    }

    /// Nobody puts points any more: waits until what waits is written, for `wait_max`, and for the threads to end;
    /// how many points are not written.
    pub fn shut_down(&self, wait_max: Duration) -> u64 {
        let mut control = self.shared.lock();
        control.is_closed = true;
        self.shared.changed.notify_all();
        let Some(buffer) = &self.buffer else {
            drop(control);
            self.shared.threads.wait(limits::WORKERS_LAST);
            return 0;
        };
        buffer.close();
        let is_flushing = |control: &mut Control| !control.is_flush_over;
        let waited = self.shared.changed.wait_timeout_while(control, wait_max, is_flushing);
        (control, _) = waited.unwrap_or_else(PoisonError::into_inner);
        // What is left is given up.
        let is_stuck = !std::mem::replace(&mut control.is_flush_over, true);
        drop(control);
        self.shared.changed.notify_all();
        if !is_stuck {
            self.shared.threads.wait(limits::WORKERS_LAST);
        }
        buffer.unwritten()
    }

    /// Points that were answered and are not in the store.
    pub fn unwritten(&self) -> u64 {
        self.buffer.as_ref().map_or(0, |buffer| buffer.unwritten())
    }

    /// What to show: name and value.
    pub fn statistics(&self) -> [(&'static str, u64); 3] {
        [
            ("points_written_behind", u64::from(self.buffer.is_some())),
            ("points_unwritten", self.unwritten()),
            ("points_removed", self.shared.removed.load(Ordering::Relaxed)),
        ]
    }
}

impl Drop for Maintenance {
    fn drop(&mut self) {
        self.shut_down(Duration::ZERO);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Control> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a thread could be started for `work`.
    fn start(&self, name: &str, work: impl FnOnce() + Send + 'static) -> bool {
        let started = self.threads.spawn(name, work);
        if let Err(error) = &started {
            log::error!("the thread {name} could not be started: {error}");
        }
        started.is_ok()
    }

    /// Rests for `pause`, or until the orders are other ones; false where nothing more is to be done.
    fn sleep(&self, pause: Duration) -> bool {
        let control = self.lock();
        if control.is_closed {
            return false;
        }
        let waited = self.changed.wait_timeout(control, pause);
        let (control, _) = waited.unwrap_or_else(PoisonError::into_inner);
        !control.is_closed
    }

    /// Rests for `pause`, or until nothing is to be written any more; whether something is.
    fn sleep_before_retry(&self, pause: Duration) -> bool {
        let waited = self.changed.wait_timeout_while(self.lock(), pause, |control| !control.is_flush_over);
        let (control, _) = waited.unwrap_or_else(PoisonError::into_inner);
        !control.is_flush_over
    }

    /// A thread's life: has what waits written before it has waited for long.
    fn run_flusher(&self, buffer: &WriteBehindBuffer) {
        let mut store = None;
        loop {
            let is_closed = buffer.wait_for_points() || buffer.linger(limits::POINTS_BEHIND_PAUSE);
            if is_closed && buffer.unwritten() == 0 {
                break;
            }
            let written = self.with_store(&mut store, |store| store.flush());
            match written {
                Ok(()) if is_closed => break,
                Ok(()) => {}
                Err(error) => {
                    log::warn!("points wait to be written: {error}");
                    store = None;
                    if !self.sleep_before_retry(limits::POINTS_BEHIND_RETRY) {
                        break;
                    }
                }
            }
        }
        self.lock().is_flush_over = true;
        self.changed.notify_all();
    }

    /// A thread's life: walks through all series again and again, and removes what is old.
    fn run_remover(&self) {
        let mut clock = self.clock;
        let mut store = None;
        loop {
            let Some(retention) = self.lock().retention else {
                if self.sleep(limits::RETENTION_PAUSE_MAX) { continue } else { return }
            };
            let seconds = i64::try_from(retention.as_secs()).unwrap_or(i64::MAX);
            let before = clock.trusted_unix_now().0.saturating_sub(seconds);
            let (mut after, mut total) = (Some(SeriesId(0)), 0);
            while let Some(position) = after {
                let begun = clock.now();
                let removed = self.with_store(&mut store, |store| remove_step(store, before, position));
                let (count, next) = removed.unwrap_or_else(|error| {
                    log::warn!("old points could not be removed: {error}");
                    (0, None)
                });
                self.removed.fetch_add(count as u64, Ordering::Relaxed);
                total += count;
                after = next;
                let rest = (clock.now() - begun) * limits::RETENTION_REST;
                if !self.sleep(rest.clamp(limits::RETENTION_REST_MIN, limits::RETENTION_REST_MAX)) {
                    return;
                }
            }
            if total > 0 {
                log::info!("{total} points older than {seconds} s were removed");
            }
            store = None;
            let pause = retention / 10;
            if !self.sleep(pause.clamp(limits::RETENTION_PAUSE_MIN, limits::RETENTION_PAUSE_MAX)) {
                return;
            }
        }
    }

    /// Does `work` with the connection, made first where there is none. The thread outlives a panic.
    fn with_store<T>(
        &self,
        store: &mut Option<Box<dyn Store>>,
        work: impl FnOnce(&mut dyn Store) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let done = catch_unwind(AssertUnwindSafe(|| {
            if store.is_none() {
                *store = Some(self.factory.connect()?);
            }
            work(store.as_deref_mut().expect("connected above"))
        }));
        done.unwrap_or_else(|_| {
            // The panic hook has logged it. Nobody knows what state the connection was left in.
            *store = None;
            Err(StoreError::Unavailable("a panic, see above".to_owned()))
        })
    }
}

/// Removes some of what is older than `before`; how many points that were, and where to go on.
fn remove_step(
    store: &mut dyn Store,
    before: i64,
    after: SeriesId,
) -> Result<(usize, Option<SeriesId>), StoreError> {
    let step = Write::RemovePoints { before, after, count_max: limits::RETENTION_STEP };
    match store.write(&[step]).pop() {
        Some(Ok(Written::PointsRemoved { count, next, .. })) => Ok((count, next)),
        Some(Err(error)) => Err(error),
        _ => Err(StoreError::Unavailable("a removal had no outcome".to_owned())),
    }
}

#[cfg(test)]
#[path = "maintenance_tests.rs"]
mod tests;
