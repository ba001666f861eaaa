//! Threads whose end can be waited for.

use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::limits;

/// Counts the threads that it has started and that have not ended yet.
#[derive(Clone, Default)]
pub(super) struct Crew {
    members: Arc<Members>,
}

#[derive(Default)]
struct Members {
    count: Mutex<usize>,
    left: Condvar,
}

/// One thread's place, given up when this is dropped.
struct Member(Arc<Members>);

impl Crew {
    /// Starts a thread for `work`. It counts until all that `work` holds is dropped, also where that panics.
    pub(super) fn start(&self, name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let member = self.join();
        let builder = thread::Builder::new().name(name.into()).stack_size(limits::WORKER_STACK_BYTES);
        builder.spawn(move || {
            // Dropped last: the store's connections, among what `work` holds, are closed by then.
            let _member = member;
            work();
        })?;
        Ok(())
    }

    /// Waits for at most `wait` until every thread has ended; how many have not.
    pub(super) fn wait(&self, wait: Duration) -> usize {
        let count = self.members.count.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.members.left.wait_timeout_while(count, wait, |count| *count > 0);
        let (count, _) = waited.unwrap_or_else(PoisonError::into_inner);
        *count
    }

    fn join(&self) -> Member {
        *self.members.count.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        Member(Arc::clone(&self.members))
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        *self.0.count.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        self.0.left.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn the_end_of_a_thread_is_waited_for_and_comes_after_what_it_held() {
        struct Held(mpsc::Sender<&'static str>);
        impl Drop for Held {
            fn drop(&mut self) {
                self.0.send("dropped").expect("the test listens");
            }
        }
        let crew = Crew::default();
        let (go, goes) = mpsc::channel::<()>();
        let (sender, said) = mpsc::channel();
        let held = Held(sender);
        crew.start("held", move || {
            let _held = held;
            let _ = goes.recv();
            panic!("a panic that this test wants");
        })
        .expect("a thread");
        assert_eq!(crew.wait(Duration::ZERO), 1);
        drop(go);
        assert_eq!(crew.wait(Duration::from_secs(60)), 0);
        assert_eq!(said.try_recv(), Ok("dropped"));
    }
}
