//! Opens a store in the background when it was not available at the start. Meanwhile the server answers requests
//! that need the store with `store unavailable`.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;

use crate::limits;
use crate::store::{OpenFailure, StoreError, StoreFactory};

/// Starts a thread that retries until the store is open or fails for good, and calls `done` once with the result.
/// Dropping the returned sender cancels it.
pub(super) fn open_in_background(
    factory: Arc<dyn StoreFactory>,
    done: impl FnOnce(Result<(), StoreError>) + Send + 'static,
) -> io::Result<Sender<()>> {
    let (cancel, cancelled) = channel();
    let attempts = move || {
        while cancelled.recv_timeout(limits::STORE_OPEN_PAUSE) == Err(RecvTimeoutError::Timeout) {
            match factory.open() {
                Ok(()) => return done(Ok(())),
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
    started.map(|_| cancel)
}
