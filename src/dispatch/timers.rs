//! When to wake up, and for whom.
//!
//! Exact and bounded: whoever arms a timer remembers its instant and disarms it by that, so nothing
//! stale is ever left behind.

use std::collections::BTreeSet;

use crate::clock::Instant;
use crate::ids::{ConnId, RequestKey};
use crate::worker::JobKey;

/// What a timer is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Timer {
    /// Look at the deadlines of a connection.
    Connection(ConnId),
    /// A job should have been done.
    Job(JobKey),
    /// A login that waits may be tried.
    Login(LoginRetry),
    /// Failed logins are to be told to the log.
    LoginReport,
    /// Try to accept again.
    Accept,
    /// Look at who stalls while others wait for room.
    Scarcity,
    /// Give memory back to the system.
    Trim,
    /// Tell whoever watches that the loop turns.
    Watchdog,
    /// A minute of the audit log is over.
    Audit,
    /// Stopping has taken long enough.
    Stop,
}

/// The order of logins that wait for the same moment: first the one whose source has tried none for longest, so
/// that a source with many leaves room for others.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct LoginRetry {
    pub(crate) last_start: Instant,
    pub(crate) number: u64,
    pub(crate) request_key: RequestKey,
}

/// Armed timers.
#[derive(Default)]
pub(crate) struct Timers {
    /// Apart from the others, where an entry takes less: every connection may have one.
    connections: BTreeSet<(Instant, ConnId)>,
    others: BTreeSet<(Instant, Timer)>,
}

impl Timers {
    pub(crate) fn arm(&mut self, at: Instant, timer: Timer) {
        match timer {
            Timer::Connection(id) => self.connections.insert((at, id)),
            other => self.others.insert((at, other)),
        };
    }

    pub(crate) fn disarm(&mut self, at: Instant, timer: Timer) {
        match timer {
            Timer::Connection(id) => self.connections.remove(&(at, id)),
            other => self.others.remove(&(at, other)),
        };
    }

    /// The earliest instant that somebody waits for.
    pub(crate) fn next(&self) -> Option<Instant> {
        let connection = self.connections.first().map(|(at, _)| *at);
        let other = self.others.first().map(|(at, _)| *at);
        connection.into_iter().chain(other).min()
    }

    /// Takes a timer that is due.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<(Instant, Timer)> {
        if self.connections.first().is_some_and(|(at, _)| *at <= now) {
            return self.connections.pop_first().map(|(at, id)| (at, Timer::Connection(id)));
        }
        if self.others.first().is_some_and(|(at, _)| *at <= now) {
            return self.others.pop_first();
        }
        None
    }

    /// Whether a timer is armed.
    #[cfg(feature = "internals")]
    pub(crate) fn is_armed(&self, at: Instant, timer: Timer) -> bool {
        match timer {
            Timer::Connection(id) => self.connections.contains(&(at, id)),
            other => self.others.contains(&(at, other)),
        }
    }

    /// How many are armed.
    #[cfg(feature = "internals")]
    pub(crate) fn len(&self) -> usize {
        self.connections.len() + self.others.len()
    }
}
