//! A group of threads that can be joined with a timeout.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::limits;

/// Counts its threads that have not ended.
#[derive(Default)]
pub(super) struct ThreadGroup {
    alive: Mutex<usize>,
    ended: Condvar,
}

/// Counts one thread until it is dropped.
struct ThreadToken(Arc<ThreadGroup>);

impl ThreadGroup {
    /// Starts a thread that runs `work`. It counts until everything that `work` captures is dropped, even
    /// after a panic.
    pub(super) fn spawn(
        self: &Arc<Self>,
        name: &str,
        work: impl FnOnce() + Send + 'static,
    ) -> io::Result<()> {
        *self.alive() += 1;
        let token = ThreadToken(Arc::clone(self));
        let builder = thread::Builder::new().name(name.into()).stack_size(limits::WORKER_STACK_BYTES);
        builder.spawn(move || {
            // Dropped last, after the captures of `work`, which include store connections.
            let _member = token;
            work();
        })?;
        Ok(())
    }

    /// Waits at most `wait` until all threads have ended; returns how many have not.
    pub(super) fn wait(&self, wait: Duration) -> usize {
        let waited = self.ended.wait_timeout_while(self.alive(), wait, |alive| *alive > 0);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn alive(&self) -> MutexGuard<'_, usize> {
        self.alive.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ThreadToken {
    fn drop(&mut self) {
        *self.0.alive() -= 1;
        self.0.ended.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn a_thread_ends_after_its_captures_are_dropped() {
        struct Held(mpsc::Sender<&'static str>);
        impl Drop for Held {
            fn drop(&mut self) {
                self.0.send("dropped").expect("the test listens");
            }
        }
        let group = Arc::<ThreadGroup>::default();
        let (go, goes) = mpsc::channel::<()>();
        let (sender, said) = mpsc::channel();
        let held = Held(sender);
        group
            .spawn("held", move || {
                let _held = held;
                let _ = goes.recv();
                panic!("a panic that this test wants");
            })
            .expect("a thread");
        assert_eq!(group.wait(Duration::ZERO), 1);
        drop(go);
        assert_eq!(group.wait(Duration::from_secs(60)), 0);
        assert_eq!(said.try_recv(), Ok("dropped"));
    }
}
