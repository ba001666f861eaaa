//! The armed timers of the reactor, without those of connections.
//!
//! The caller that arms a timer keeps its instant and disarms it with that, so no stale timers remain.

use std::collections::BTreeSet;

use crate::clock::Instant;
use crate::ids::{ContainerId, RequestKey};
use crate::worker::JobKey;

/// The purpose of a timer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Timer {
    /// A job has reached its deadline.
    Job(JobKey),
    /// Go on with the end of a container.
    Container(ContainerId),
    /// Compare the containers with the registry.
    Reconcile,
    /// Look whether clients have received the answers about their new containers.
    Delivery,
    /// A delayed login may be tried.
    Login(LoginRetry),
    /// Write when VMs were last seen.
    Seen,
    /// Read changed VMs again after a failure, or forget what clients no longer watch.
    Watch,
    /// Log the failed logins.
    LoginReport,
    /// Accept connections again after a pause.
    Accept,
    /// Close stalled connections while others wait for memory.
    Scarcity,
    /// Return memory to the system.
    Trim,
    /// Send a heartbeat.
    Watchdog,
    /// End a minute of the audit log.
    Audit,
    /// The grace period of the stop is over.
    Stop,
}

/// Orders the logins that wait for the same instant. The source whose last attempt is oldest comes first, so that
/// a source with many logins does not starve others.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct LoginRetry {
    pub(crate) last_start: Instant,
    pub(crate) number: u64,
    pub(crate) request_key: RequestKey,
}

/// Armed timers.
#[derive(Default)]
pub(crate) struct Timers {
    /// Stored apart because there are many, and these entries are smaller.
    jobs: BTreeSet<(Instant, JobKey)>,
    others: BTreeSet<(Instant, Timer)>,
}

impl Timers {
    pub(crate) fn arm(&mut self, at: Instant, timer: Timer) {
        match timer {
            Timer::Job(key) => self.jobs.insert((at, key)),
            other => self.others.insert((at, other)),
        };
    }

    pub(crate) fn disarm(&mut self, at: Instant, timer: Timer) {
        match timer {
            Timer::Job(key) => self.jobs.remove(&(at, key)),
            other => self.others.remove(&(at, other)),
        };
    }

    /// The instant of the earliest timer.
    pub(crate) fn next(&self) -> Option<Instant> {
        let job = self.jobs.first().map(|(at, _)| *at);
        let other = self.others.first().map(|(at, _)| *at);
        job.into_iter().chain(other).min()
    }

    /// Removes and returns a timer that is due.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<Timer> {
        pop(&mut self.jobs, now).map(Timer::Job).or_else(|| pop(&mut self.others, now))
    }

    /// Whether a timer is armed.
    #[cfg(feature = "internals")]
    pub(crate) fn is_armed(&self, at: Instant, timer: Timer) -> bool {
        match timer {
            Timer::Job(key) => self.jobs.contains(&(at, key)),
            other => self.others.contains(&(at, other)),
        }
    }

    /// The number of armed timers.
    #[cfg(feature = "internals")]
    pub(crate) fn len(&self) -> usize {
        self.jobs.len() + self.others.len()
    }
}

fn pop<T: Copy + Ord>(timers: &mut BTreeSet<(Instant, T)>, now: Instant) -> Option<T> {
    timers.first().filter(|(at, _)| *at <= now)?;
    timers.pop_first().map(|(_, timer)| timer)
}
