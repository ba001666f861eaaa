//! Background work on metrics: flushes buffered points and removes old ones.
//!
//! Each of the two has its own thread and connection; no request waits for them. They change the store in small
//! steps.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::thread_group::ThreadGroup;
use crate::clock::{Clock, SystemClock};
use crate::ids::SeriesId;
use crate::limits;
use crate::store::{PointRemoval, Store, StoreError, StoreFactory, WriteBehindBuffer};

/// The maintenance threads and their shared state.
pub struct Maintenance {
    shared: Arc<Shared>,
    /// The buffer, if points are written behind.
    buffer: Option<Arc<WriteBehindBuffer>>,
}

struct Shared {
    factory: Arc<dyn StoreFactory>,
    control: Mutex<Control>,
    changed: Condvar,
    removed: AtomicU64,
    threads: Arc<ThreadGroup>,
    clock: SystemClock,
}

struct Control {
    retention: Option<Duration>,
    /// The number of times that the retention was set.
    retention_set: u64,
    /// Whether the thread that removes points was started.
    has_remover: bool,
    is_closed: bool,
    /// The final flush is complete, or its time is over.
    is_flush_over: bool,
}

/// Why a sleep has ended.
#[derive(PartialEq)]
enum Wake {
    TimeOver,
    RetentionSet,
    Shutdown,
}

impl Maintenance {
    /// Starts the threads that are needed: one flushes `buffer`, one removes points older than `retention`
    /// by `clock`. Connections of `factory` must write through `buffer`, if there is one. An error means
    /// that buffered points would never be written.
    pub fn start(
        factory: Arc<dyn StoreFactory>,
        buffer: Option<Arc<WriteBehindBuffer>>,
        retention: Option<Duration>,
        clock: SystemClock,
    ) -> io::Result<Maintenance> {
        let control = Control {
            retention: None,
            retention_set: 0,
            has_remover: false,
            is_closed: false,
            is_flush_over: buffer.is_none(),
        };
        let shared = Arc::new(Shared {
            factory,
            control: Mutex::new(control),
            changed: Condvar::new(),
            removed: AtomicU64::new(0),
            threads: Arc::default(),
            clock,
        });
        if let Some(buffer) = &buffer {
            let (writer, buffer) = (Arc::clone(&shared), Arc::clone(buffer));
            let started = shared.threads.spawn("vmherd-flush", move || writer.run_flusher(&buffer));
            started.map_err(|error| io::Error::other(format!("no thread to write points: {error}")))?;
        }
        let maintenance = Maintenance { shared, buffer };
        maintenance.set_retention(retention);
        Ok(maintenance)
    }

    /// Sets the retention; `None`: points are not removed. Old points are looked for at once.
    pub fn set_retention(&self, retention: Option<Duration>) {
        self.shared.update(|control| {
            control.retention = retention;
            control.retention_set += 1;
            if retention.is_some() && !control.has_remover {
                let remover = Arc::clone(&self.shared);
                let started = self.shared.threads.spawn("vmherd-prune", move || remover.run_remover());
                control.has_remover = started.is_ok();
                if let Err(error) = started {
                    log::error!("the thread vmherd-prune could not be started: {error}");
                }
            }
        });
    }

    /// Flushes the remaining points and ends the threads, in at most `wait_max`. No points may be put any
    /// more. Returns the number of points that were not written.
    pub fn shut_down(&self, wait_max: Duration) -> u64 {
        self.shared.update(|control| control.is_closed = true);
        self.buffer.iter().for_each(|buffer| buffer.close());
        drop(self.shared.wait(wait_max, |control| !control.is_flush_over));
        // Points that are not flushed in time are given up.
        let mut is_flushed = false;
        self.shared.update(|control| is_flushed = std::mem::replace(&mut control.is_flush_over, true));
        if is_flushed {
            self.shared.threads.wait(limits::WORKER_SHUTDOWN_WAIT);
        }
        self.unwritten()
    }

    /// The number of acknowledged points that are not stored.
    pub fn unwritten(&self) -> u64 {
        self.buffer.as_ref().map_or(0, |buffer| buffer.unwritten())
    }

    /// Counts removed points anew.
    pub fn reset_statistics(&self) {
        self.shared.removed.store(0, Ordering::Relaxed);
    }

    /// Statistics: name and value.
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

    /// Applies `change` and wakes all threads.
    fn update(&self, change: impl FnOnce(&mut Control)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    /// Waits while `is_waiting` returns true, at most `time`.
    fn wait(&self, time: Duration, is_waiting: impl Fn(&Control) -> bool) -> MutexGuard<'_, Control> {
        let waited = self.changed.wait_timeout_while(self.lock(), time, |control| is_waiting(control));
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Sleeps for `pause`; wakes at shutdown, and where the retention was set again since the time number
    /// `retention_set`, also before the sleep.
    fn sleep(&self, pause: Duration, retention_set: u64) -> Wake {
        let is_current = |control: &Control| control.retention_set == retention_set;
        let control = self.wait(pause, |control| !control.is_closed && is_current(control));
        match control.is_closed {
            true => Wake::Shutdown,
            false if is_current(&control) => Wake::TimeOver,
            false => Wake::RetentionSet,
        }
    }

    /// Runs a thread: writes buffered points soon after they arrive.
    fn run_flusher(&self, buffer: &WriteBehindBuffer) {
        let mut store = None;
        loop {
            let is_closed = buffer.wait_for_points(limits::WRITE_BEHIND_PAUSE);
            if is_closed && buffer.unwritten() == 0 {
                break;
            }
            let written = self.with_store(&mut store, |store| store.points().flush());
            match written {
                Ok(()) if is_closed => break,
                Ok(()) => {}
                Err(error) => {
                    log::warn!("points wait to be written: {error}");
                    store = None;
                    if self.wait(limits::WRITE_BEHIND_RETRY, |control| !control.is_flush_over).is_flush_over {
                        break;
                    }
                }
            }
        }
        self.update(|control| control.is_flush_over = true);
    }

    /// Runs a thread: scans all series periodically and removes old points.
    fn run_remover(&self) {
        let mut clock = self.clock;
        let mut store = None;
        loop {
            let (retention, set) = {
                let control = self.lock();
                (control.retention, control.retention_set)
            };
            let Some(retention) = retention else {
                if self.sleep(limits::RETENTION_PASS_PAUSE_MAX, set) == Wake::Shutdown {
                    return;
                }
                continue;
            };
            let seconds = retention.as_secs();
            let before = (clock.trusted_unix_now() - retention).0;
            let (mut after, mut total) = (Some(SeriesId(0)), 0);
            while let Some(position) = after {
                let begun = clock.now();
                let step = PointRemoval { before, after: position, count_max: limits::RETENTION_STEP };
                let removed = self.with_store(&mut store, |store| store.remove_points(step));
                let (count, next) = match removed {
                    Ok(removed) => (removed.count, removed.next),
                    Err(error) => {
                        log::warn!("old points could not be removed: {error}");
                        (0, None)
                    }
                };
                self.removed.fetch_add(count as u64, Ordering::Relaxed);
                total += count;
                after = next;
                let pause = (clock.now() - begun) * limits::RETENTION_STEP_PAUSE_FACTOR;
                let pause = pause.clamp(limits::RETENTION_STEP_PAUSE_MIN, limits::RETENTION_STEP_PAUSE_MAX);
                match self.sleep(pause, set) {
                    Wake::Shutdown => return,
                    Wake::TimeOver => {}
                    // The next pass begins at once, with the new retention.
                    Wake::RetentionSet => break,
                }
            }
            if total > 0 {
                log::info!("{total} points older than {seconds} s were removed");
            }
            store = None;
            let pause = retention / 10;
            let pause = pause.clamp(limits::RETENTION_PASS_PAUSE_MIN, limits::RETENTION_PASS_PAUSE_MAX);
            if self.sleep(pause, set) == Wake::Shutdown {
                return;
            }
        }
    }

    /// Runs `work` with a connection, made if there is none. Survives a panic.
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
            // The panic hook has logged it. The state of the connection is unknown.
            *store = None;
            Err(StoreError::Unavailable("a panic, see above".to_owned()))
        })
    }
}

#[cfg(test)]
#[path = "maintenance_tests.rs"]
mod tests;
