//! The samples on their way from the thread that takes them to the thread that sends them.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::backlog::{Backlog, Batch};
use super::sample::Sample;

/// The backlog, and the request to stop.
pub struct Outbox {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    backlog: Backlog,
    is_stopping: bool,
}

/// What there is to do for the thread that sends.
pub enum Next {
    /// Samples to send.
    Batch(Batch),
    /// Nothing for this time.
    Idle,
    /// The agent stops, and no sample waits.
    Stop,
}

impl Outbox {
    /// Passes on what is in `backlog`.
    pub fn new(backlog: Backlog) -> Outbox {
        Outbox { state: Mutex::new(State { backlog, is_stopping: false }), changed: Condvar::new() }
    }

    /// Adds a sample.
    pub fn push(&self, sample: Sample) {
        self.lock().backlog.append(sample);
        self.changed.notify_all();
    }

    /// What to do next; waits for a sample at most this long.
    pub fn next(&self, wait_max: Duration) -> Next {
        let mut state = self.lock();
        let mut batch = state.backlog.batch();
        if batch.is_none() && !state.is_stopping {
            state = self.wait(state, wait_max);
            batch = state.backlog.batch();
        }
        match batch {
            Some(batch) => Next::Batch(batch),
            None if state.is_stopping => Next::Stop,
            None => Next::Idle,
        }
    }

    /// Removes what the server has, or refuses for good.
    pub fn remove(&self, batch: &Batch) {
        self.lock().backlog.remove(batch);
    }

    /// The number of samples that wait.
    pub fn count(&self) -> usize {
        self.lock().backlog.count()
    }

    /// Asks the thread that sends to send what waits, if it is connected, and to end.
    pub fn stop(&self) {
        self.lock().is_stopping = true;
        self.changed.notify_all();
    }

    /// Waits this long, or until the agent stops. Returns whether it stops.
    pub fn pause(&self, pause: Duration) -> bool {
        let is_running = |state: &mut State| !state.is_stopping;
        let waited = self.changed.wait_timeout_while(self.lock(), pause, is_running);
        waited.unwrap_or_else(PoisonError::into_inner).0.is_stopping
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>, wait_max: Duration) -> MutexGuard<'a, State> {
        self.changed.wait_timeout(state, wait_max).unwrap_or_else(PoisonError::into_inner).0
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
