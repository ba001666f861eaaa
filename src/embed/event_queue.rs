//! The queue of events between the server's threads and the thread that calls the callbacks.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::event::{EventKind, EventKinds, QueuedEvent};
use crate::limits;

/// A bounded queue. Events of kinds without a callback do not enter it.
#[derive(Debug, Default)]
pub struct EventQueue {
    kinds: EventKinds,
    state: Mutex<QueueState>,
    arrived: Condvar,
    lost: AtomicU64,
    failed: AtomicU64,
}

#[derive(Debug, Default)]
struct QueueState {
    events: Vec<QueuedEvent>,
    is_closed: bool,
    /// The reader waits, and is notified when so many events are queued.
    notify_at: Option<usize>,
}

impl EventQueue {
    /// A queue for these kinds.
    pub fn new(kinds: EventKinds) -> EventQueue {
        EventQueue { kinds, ..EventQueue::default() }
    }

    /// Whether events of `kind` have a callback.
    pub fn wants(&self, kind: EventKind) -> bool {
        self.kinds.contains(kind)
    }

    /// Appends `events`, which it empties. What finds no room is counted and dropped.
    pub fn push_all(&self, events: &mut Vec<QueuedEvent>) {
        if events.is_empty() {
            return;
        }
        let mut state = self.lock();
        // Events of the server itself may have filled more.
        let room = limits::EVENTS_QUEUED_MAX.saturating_sub(state.events.len());
        state.events.extend(events.drain(..room.min(events.len())));
        let must_notify = state.notify_at.is_some_and(|count| state.events.len() >= count);
        if must_notify {
            state.notify_at = None;
        }
        drop(state);
        let lost: u64 = events.drain(..).map(|event| u64::from(event.count())).sum();
        self.lost.fetch_add(lost, Ordering::Relaxed);
        if must_notify {
            self.arrived.notify_one();
        }
    }

    /// Appends an event of the server itself; there is always room for it.
    pub fn push_of_server(&self, kind: EventKind) {
        if self.wants(kind) {
            let mut state = self.lock();
            state.events.push(QueuedEvent::of_server(kind));
            state.notify_at = None;
            drop(state);
            self.arrived.notify_one();
        }
    }

    /// Ends the queue: the reader gets what is in it, and then nothing.
    pub fn close(&self) {
        self.lock().is_closed = true;
        self.arrived.notify_one();
    }

    /// Takes all events into `events`, which is empty; waits for at least one. Returns false at the end.
    ///
    /// Each notification costs the reactor a system call, and often the core. So the reader first pauses, until there
    /// are many events or [`limits::EVENTS_PAUSE`] has passed. Only if none came in some pauses is it notified of one.
    pub fn take(&self, events: &mut Vec<QueuedEvent>) -> bool {
        let mut state = self.lock();
        for _ in 0..limits::EVENTS_PAUSES {
            if state.events.len() < limits::EVENTS_BATCH && !state.is_closed {
                state.notify_at = Some(limits::EVENTS_BATCH);
                state = self.wait(state, limits::EVENTS_PAUSE);
            }
            if !state.events.is_empty() || state.is_closed {
                break;
            }
        }
        while state.events.is_empty() && !state.is_closed {
            state.notify_at = Some(1);
            state = self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.notify_at = None;
        std::mem::swap(events, &mut state.events);
        !events.is_empty()
    }

    /// The number of events that found the queue full.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// The number of callbacks that have failed.
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// Counts a callback that has failed.
    pub fn count_failed(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    /// Starts to count anew.
    pub fn reset_counters(&self) {
        self.lost.store(0, Ordering::Relaxed);
        self.failed.store(0, Ordering::Relaxed);
    }

    fn wait<'a>(&'a self, state: MutexGuard<'a, QueueState>, time: Duration) -> MutexGuard<'a, QueueState> {
        self.arrived.wait_timeout(state, time).unwrap_or_else(PoisonError::into_inner).0
    }

    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embed::EventDetail;
    use crate::model::CommandName;

    fn events(count: usize) -> Vec<QueuedEvent> {
        let event = || QueuedEvent { kind: EventKind::Request, client: None, detail: EventDetail::None };
        (0..count).map(|_| event()).collect()
    }

    #[test]
    fn what_finds_no_room_is_counted_and_the_end_always_finds_room() {
        let queue = EventQueue::new(EventKinds::ALL);
        queue.push_all(&mut events(limits::EVENTS_QUEUED_MAX - 1));
        assert_eq!(queue.lost(), 0);
        let mut more = events(3);
        queue.push_all(&mut more);
        assert!(more.is_empty());
        assert_eq!(queue.lost(), 2);
        let mut requests = events(1);
        requests[0].detail = EventDetail::Requests { command: CommandName::Ping, count: 3 };
        queue.push_all(&mut requests);
        assert_eq!(queue.lost(), 5);
        queue.push_of_server(EventKind::Stopped);
        queue.push_all(&mut events(1));
        assert_eq!(queue.lost(), 6);
        queue.close();
        let mut taken = Vec::new();
        assert!(queue.take(&mut taken));
        assert_eq!(taken.len(), limits::EVENTS_QUEUED_MAX + 1);
        assert_eq!(taken.last().map(|event| event.kind), Some(EventKind::Stopped));
        taken.clear();
        assert!(!queue.take(&mut taken), "it is closed");
    }

    #[test]
    fn a_reader_that_pauses_is_notified_of_a_batch() {
        let queue = EventQueue::new(EventKinds::ALL);
        let mut state = queue.lock();
        state.notify_at = Some(limits::EVENTS_BATCH);
        drop(state);
        queue.push_all(&mut events(limits::EVENTS_BATCH - 1));
        assert_eq!(queue.lock().notify_at, Some(limits::EVENTS_BATCH));
        queue.push_all(&mut events(1));
        assert_eq!(queue.lock().notify_at, None, "it is notified");
    }

    #[test]
    fn a_reader_that_waits_is_notified() {
        let queue = EventQueue::new(EventKinds::ALL);
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let mut taken = Vec::new();
                queue.take(&mut taken).then_some(taken.len())
            });
            while queue.lock().notify_at != Some(1) {
                std::thread::yield_now();
            }
            queue.push_all(&mut events(1));
            assert_eq!(reader.join().expect("it ends"), Some(1));
        });
    }
}
