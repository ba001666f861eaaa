//! Clients that work in threads of their own while a test does something to the daemon.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

use super::{DEADLINE, wait_until};

/// The clients, each of which returns a `T` in the end. They end before this is dropped.
pub struct BackgroundClients<T> {
    progress: Arc<Progress>,
    threads: Vec<JoinHandle<T>>,
}

/// What the clients have done so far, and whether they have to end.
#[derive(Default)]
pub struct Progress {
    is_over: AtomicBool,
    done: AtomicUsize,
    failed: AtomicUsize,
}

/// What happens to a daemon while clients use it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum DaemonFate {
    /// It goes on.
    Lives,
    /// It ends in good order: connections end between replies.
    Stops,
    /// It is killed: connections end at any moment.
    Dies,
}

impl<T: Send + 'static> BackgroundClients<T> {
    /// Starts `count` clients; `make` returns the work of each, which ends when the progress [is over](Progress::is_over).
    pub fn start<W: FnOnce() -> T + Send + 'static>(
        count: usize,
        make: impl Fn(Arc<Progress>) -> W,
    ) -> BackgroundClients<T> {
        let progress = Arc::<Progress>::default();
        let threads = (0..count).map(|_| thread::spawn(make(Arc::clone(&progress)))).collect();
        BackgroundClients { progress, threads }
    }

    /// Waits until `count` more requests have been done.
    #[track_caller]
    pub fn wait_done(&self, count: usize) {
        wait_for_more("requests are done", &self.progress.done, count);
    }

    /// Waits until `count` more requests have failed.
    #[track_caller]
    pub fn wait_failed(&self, count: usize) {
        wait_for_more("requests fail", &self.progress.failed, count);
    }

    /// Ends the clients; what they return.
    #[track_caller]
    pub fn finish(mut self) -> Vec<T> {
        self.progress.end();
        let threads = std::mem::take(&mut self.threads).into_iter();
        threads.map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    }
}

impl<T> Drop for BackgroundClients<T> {
    /// The clients of a test that has failed end before its daemon.
    fn drop(&mut self) {
        self.progress.end();
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
    }
}

impl Progress {
    pub fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    pub fn add_done(&self) {
        self.done.fetch_add(1, Ordering::Relaxed);
    }

    pub fn add_failed(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

#[track_caller]
fn wait_for_more(what: &str, counter: &AtomicUsize, count: usize) {
    let wanted = counter.load(Ordering::Relaxed) + count;
    wait_until(what, DEADLINE, || counter.load(Ordering::Relaxed) >= wanted);
}
