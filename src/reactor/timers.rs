//! When to wake up, and for whom.
//!
//! Exact and bounded: whoever arms a timer remembers its instant and disarms it by that, so nothing
//! stale is ever left behind.

use std::collections::BTreeSet;

use crate::clock::Instant;
use crate::ids::ConnId;
use crate::worker::JobKey;

/// What a timer is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Timer {
    /// Look at the deadlines of a connection.
    Connection(ConnId),
    /// A job should have been done.
    Job(JobKey),
    /// Try to accept again.
    Accept,
    /// Tell whoever watches that the loop turns.
    Heartbeat,
    /// Stopping has taken long enough.
    Stop,
}

/// Armed timers.
#[derive(Default)]
pub(super) struct Timers {
    armed: BTreeSet<(Instant, Timer)>,
}

impl Timers {
    pub(super) fn arm(&mut self, at: Instant, timer: Timer) {
        self.armed.insert((at, timer));
    }

    pub(super) fn disarm(&mut self, at: Instant, timer: Timer) {
        self.armed.remove(&(at, timer));
    }

    /// The earliest instant that somebody waits for.
    pub(super) fn next(&self) -> Option<Instant> {
        self.armed.first().map(|(at, _)| *at)
    }

    /// Takes a timer that is due.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<(Instant, Timer)> {
        if self.next()? > now {
            return None;
        }
        self.armed.pop_first()
    }

    /// How many are armed.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.armed.len()
    }
}
