//! Opens a store in the background when it was not available at the start. Meanwhile the server answers requests
//! that need the store with `store unavailable`.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;

use crate::limits;
use crate::store::{DeferredOpen, OpenFailure, StoreError};

/// Whether the store of a server is open.
pub(super) struct StoreStatus {
    is_open: AtomicBool,
    is_cancelled: Mutex<bool>,
    changed: Condvar,
}

/// A thread that keeps trying to open the store; dropping this cancels it.
pub(super) struct StoreOpener(Arc<StoreStatus>);

impl StoreStatus {
    pub(super) fn new(is_open: bool) -> StoreStatus {
        StoreStatus {
            is_open: AtomicBool::new(is_open),
            is_cancelled: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.is_open.load(Ordering::Acquire)
    }

    /// Sleeps until the next attempt; returns false if cancelled.
    fn wait_for_retry(&self) -> bool {
        let is_cancelled = self.is_cancelled.lock().unwrap_or_else(PoisonError::into_inner);
        let pause = limits::STORE_OPEN_PAUSE;
        let waited = self.changed.wait_timeout_while(is_cancelled, pause, |is_cancelled| !*is_cancelled);
        !*waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

impl StoreOpener {
    /// Retries until the store is open or fails for good; calls `done` once with the result.
    pub(super) fn start(
        opening: Arc<dyn DeferredOpen>,
        status: Arc<StoreStatus>,
        done: impl FnOnce(Result<(), StoreError>) + Send + 'static,
    ) -> io::Result<StoreOpener> {
        let shared = Arc::clone(&status);
        let attempts = move || {
            while shared.wait_for_retry() {
                match opening.open() {
                    Ok(()) => {
                        shared.is_open.store(true, Ordering::Release);
                        return done(Ok(()));
                    }
                    Err(OpenFailure { error, is_transient: true }) => {
                        log::debug!("the store is not open yet: {error}");
                    }
                    Err(OpenFailure { error, .. }) => return done(Err(error)),
                }
            }
        };
        let started = thread::Builder::new()
            .name("vmherd-open".into())
            .stack_size(limits::WORKER_STACK_BYTES)
            .spawn(attempts);
        started.map(|_| StoreOpener(status))
    }
}

impl Drop for StoreOpener {
    fn drop(&mut self) {
        *self.0.is_cancelled.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.changed.notify_all();
    }
}
