//! What is to be done about metrics without anybody's asking: points that wait are written, and old ones removed.
//!
//! A thread for each, as far as it is wanted, with a connection of its own; no request waits for either. What they
//! do to the store they do in small steps.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::crew::Crew;
use crate::clock::{Clock, SystemClock};
use crate::ids::SeriesId;
use crate::limits;
use crate::store::{Behind, Store, StoreError, StoreFactory, Write, Written};

/// The threads, and what they share.
pub struct Keeper {
    shared: Arc<Shared>,
    /// The waiting room, where points are written behind.
    behind: Option<Arc<Behind>>,
}

struct Shared {
    factory: Arc<dyn StoreFactory>,
    orders: Mutex<Orders>,
    changed: Condvar,
    removed: AtomicU64,
    crew: Crew,
    clock: SystemClock,
}

struct Orders {
    retention: Option<Duration>,
    /// The thread that removes has been started.
    removes: bool,
    is_closed: bool,
    /// All points that waited are written, or the time for it is over.
    has_written: bool,
}

impl Keeper {
    /// Starts what is wanted: writing to the store what waits in `behind`, and removing what is older than
    /// `retention`. `factory` makes connections that put points into `behind`, where there is one, and tell it of
    /// removals; points grow old by `clock`. An error: what waits would never be written.
    pub fn start(
        factory: Arc<dyn StoreFactory>,
        behind: Option<Arc<Behind>>,
        retention: Option<Duration>,
        clock: SystemClock,
    ) -> io::Result<Keeper> {
        let orders =
            Orders { retention: None, removes: false, is_closed: false, has_written: behind.is_none() };
        let shared = Arc::new(Shared {
            factory,
            orders: Mutex::new(orders),
            changed: Condvar::new(),
            removed: AtomicU64::new(0),
            crew: Crew::default(),
            clock,
        });
        if let Some(behind) = &behind {
            let (writer, behind) = (Arc::clone(&shared), Arc::clone(behind));
            let started = shared.crew.start("vmherd-behind", move || writer.write_behind(&behind));
            started.map_err(|error| io::Error::other(format!("no thread to write points: {error}")))?;
        }
        let keeper = Keeper { shared, behind };
        keeper.set_retention(retention);
        Ok(keeper)
    }

    /// From now on removes points that are older than `retention`; `None`: none.
    pub fn set_retention(&self, retention: Option<Duration>) {
        let mut orders = self.shared.lock();
        orders.retention = retention;
        if retention.is_some() && !orders.removes {
            let remover = Arc::clone(&self.shared);
            orders.removes = self.shared.start("vmherd-retain", move || remover.remove_old());
        }
        drop(orders);
        self.shared.changed.notify_all();
    }

    /// Nobody puts points any more: waits until what waits is written, for `wait_max`, and for the threads to end;
    /// how many points are not written.
    pub fn end(&self, wait_max: Duration) -> u64 {
        let mut orders = self.shared.lock();
        orders.is_closed = true;
        self.shared.changed.notify_all();
        let Some(behind) = &self.behind else {
            drop(orders);
            self.shared.crew.wait(limits::WORKERS_LAST);
            return 0;
        };
        behind.close();
        let is_at_it = |orders: &mut Orders| !orders.has_written;
        let waited = self.shared.changed.wait_timeout_while(orders, wait_max, is_at_it);
        (orders, _) = waited.unwrap_or_else(PoisonError::into_inner);
        // What is left is given up.
        let is_stuck = !std::mem::replace(&mut orders.has_written, true);
        drop(orders);
        self.shared.changed.notify_all();
        if !is_stuck {
            self.shared.crew.wait(limits::WORKERS_LAST);
        }
        behind.unwritten()
    }

    /// Points that were answered and are not in the store.
    pub fn unwritten(&self) -> u64 {
        self.behind.as_ref().map_or(0, |behind| behind.unwritten())
    }

    /// What to show: name and value.
    pub fn statistics(&self) -> [(&'static str, u64); 3] {
        [
            ("points_written_behind", u64::from(self.behind.is_some())),
            ("points_unwritten", self.unwritten()),
            ("points_removed", self.shared.removed.load(Ordering::Relaxed)),
        ]
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.end(Duration::ZERO);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Orders> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a thread could be started for `work`.
    fn start(&self, name: &str, work: impl FnOnce() + Send + 'static) -> bool {
        let started = self.crew.start(name, work);
        if let Err(error) = &started {
            log::error!("the thread {name} could not be started: {error}");
        }
        started.is_ok()
    }

    /// Rests for `pause`, or until the orders are other ones; false where nothing more is to be done.
    fn rest(&self, pause: Duration) -> bool {
        let orders = self.lock();
        if orders.is_closed {
            return false;
        }
        let waited = self.changed.wait_timeout(orders, pause);
        let (orders, _) = waited.unwrap_or_else(PoisonError::into_inner);
        !orders.is_closed
    }

    /// Rests for `pause`, or until nothing is to be written any more; whether something is.
    fn pause(&self, pause: Duration) -> bool {
        let waited = self.changed.wait_timeout_while(self.lock(), pause, |orders| !orders.has_written);
        let (orders, _) = waited.unwrap_or_else(PoisonError::into_inner);
        !orders.has_written
    }

    /// A thread's life: has what waits written before it has waited for long.
    fn write_behind(&self, behind: &Behind) {
        let mut store = None;
        loop {
            let is_closed = behind.wait_for_points() || behind.gather(limits::POINTS_BEHIND_PAUSE);
            if is_closed && behind.unwritten() == 0 {
                break;
            }
            let written = self.with_store(&mut store, |store| store.write_waiting());
            match written {
                Ok(()) if is_closed => break,
                Ok(()) => {}
                Err(error) => {
                    log::warn!("points wait to be written: {error}");
                    store = None;
                    if !self.pause(limits::POINTS_BEHIND_RETRY) {
                        break;
                    }
                }
            }
        }
        self.lock().has_written = true;
        self.changed.notify_all();
    }

    /// A thread's life: walks through all series again and again, and removes what is old.
    fn remove_old(&self) {
        let mut clock = self.clock;
        let mut store = None;
        loop {
            let Some(retention) = self.lock().retention else {
                if self.rest(limits::RETENTION_PAUSE_MAX) { continue } else { return }
            };
            let seconds = i64::try_from(retention.as_secs()).unwrap_or(i64::MAX);
            let before = clock.trusted_unix_now().0.saturating_sub(seconds);
            let (mut after, mut total) = (Some(SeriesId(0)), 0);
            while let Some(behind) = after {
                let begun = clock.now();
                let removed = self.with_store(&mut store, |store| remove_step(store, before, behind));
                let (count, next) = removed.unwrap_or_else(|error| {
                    log::warn!("old points could not be removed: {error}");
                    (0, None)
                });
                self.removed.fetch_add(count as u64, Ordering::Relaxed);
                total += count;
                after = next;
                let rest = (clock.now() - begun) * limits::RETENTION_REST;
                if !self.rest(rest.clamp(limits::RETENTION_REST_MIN, limits::RETENTION_REST_MAX)) {
                    return;
                }
            }
            if total > 0 {
                log::info!("{total} points older than {seconds} s were removed");
            }
            store = None;
            let pause = retention / 10;
            if !self.rest(pause.clamp(limits::RETENTION_PAUSE_MIN, limits::RETENTION_PAUSE_MAX)) {
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
#[path = "keeper_tests.rs"]
mod tests;
