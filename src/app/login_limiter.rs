//! Rate limit on password guesses.
//!
//! Failed logins are counted per source and per VM. After [`LoginLimits::failures`] of them the next attempt is
//! delayed; each further failure doubles the delay, up to [`LoginLimits::delay_max`]. A failure is forgotten after a
//! minute, which exceeds the maximum delay, so that waiting gains no guesses. A VM's count delays only sources that
//! failed for this VM within the last hour, so that other sources can't lock out its owner.
//!
//! Unknown names are counted like VMs, so that delays do not reveal which VMs exist. All maps are bounded; a full one
//! evicts the count that would expire first.

use std::collections::HashMap;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::App;
use super::expiring::ExpiringMap;
use crate::clock::Instant;
use crate::ids::VmId;
use crate::limits;
use crate::model::{Source, VmName};

/// When attempts are delayed, and for how long.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LoginLimits {
    /// Failures before attempts are delayed; `None`: never.
    pub failures: Option<u32>,
    /// Maximum delay; `None`: no delay.
    pub delay_max: Option<Duration>,
}

/// The VM that a login is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum LoginTarget {
    /// An existing VM.
    Vm(VmId),
    /// An unknown name: the start of its SHA-256.
    Unknown([u8; 16]),
}

/// A source and the VM that it wants to log in as.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LoginAttempt {
    /// The source of the connection.
    pub source: Source,
    /// The VM.
    pub target: LoginTarget,
}

/// Counts failed logins and schedules attempts.
pub struct LoginLimiter {
    limits: LoginLimits,
    /// Failures by source, with the time of the last attempt or failure.
    sources: ExpiringMap<Source, Instant>,
    /// The same by VM.
    targets: ExpiringMap<LoginTarget, Instant>,
    /// Sources and the VMs they failed for in the last hour.
    failed: ExpiringMap<LoginAttempt, ()>,
    /// Delayed attempts by source.
    waiting: HashMap<Source, usize>,
    counters: LoginCounters,
    /// The counters at the last report.
    reported: LoginCounters,
    report_wanted: bool,
    report_due: bool,
}

/// Password logins since the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LoginCounters {
    /// The password was wrong or the VM unknown.
    pub failed: u64,
    /// The attempt was delayed.
    pub delayed: u64,
    /// The attempt was refused: too many of its source were delayed, or its delay would have been too long.
    pub refused: u64,
}

/// When an attempt may run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Permit {
    /// Now.
    Now,
    /// Not before this time; ask again then.
    At(Instant),
}

impl App {
    /// The login limiter.
    pub fn logins(&self) -> &LoginLimiter {
        &self.logins
    }

    /// The login limiter, to schedule and count attempts.
    pub fn logins_mut(&mut self) -> &mut LoginLimiter {
        &mut self.logins
    }
}

impl LoginTarget {
    pub(super) fn of_unknown(name: &VmName) -> LoginTarget {
        let digest = Sha256::digest(name.as_str().as_bytes());
        LoginTarget::Unknown(std::array::from_fn(|index| digest[index]))
    }
}

impl Drop for LoginLimiter {
    /// Logs pending counts before the process ends.
    fn drop(&mut self) {
        if self.report_due {
            self.report();
        }
    }
}

impl LoginLimiter {
    /// A limiter without failures.
    pub fn new(limits: LoginLimits) -> LoginLimiter {
        LoginLimiter {
            limits,
            sources: ExpiringMap::new(limits::LOGIN_FAILURES_TRACKED_MAX),
            targets: ExpiringMap::new(limits::LOGIN_FAILURES_TRACKED_MAX),
            failed: ExpiringMap::new(limits::LOGIN_FAILURES_TRACKED_MAX),
            waiting: HashMap::new(),
            counters: LoginCounters::default(),
            reported: LoginCounters::default(),
            report_wanted: false,
            report_due: false,
        }
    }

    /// Replaces the limits; attempts already delayed keep their time.
    pub fn set_limits(&mut self, limits: LoginLimits) {
        self.limits = limits;
    }

    /// Whether `attempt` may run now; if so, it counts as started.
    pub fn start(&mut self, attempt: LoginAttempt, now: Instant) -> Permit {
        let LoginAttempt { source, target } = attempt;
        let (by_source, by_target) = self.next_by(attempt, now);
        match by_source.max(by_target) {
            Some(at) if at > now => return Permit::At(at),
            _ => {}
        }
        if by_source.is_some() {
            start_in(&mut self.sources, source, now);
        }
        if by_target.is_some() {
            start_in(&mut self.targets, target, now);
        }
        Permit::Now
    }

    /// When `attempt` may run, if its source or its VM has failed too often.
    pub fn next(&self, attempt: LoginAttempt, now: Instant) -> Option<Instant> {
        let (by_source, by_target) = self.next_by(attempt, now);
        by_source.max(by_target)
    }

    fn next_by(&self, attempt: LoginAttempt, now: Instant) -> (Option<Instant>, Option<Instant>) {
        let LoginAttempt { source, target } = attempt;
        let by_target = match self.has_failed(attempt, now) {
            true => self.next_of(self.targets.get(&target, now), now),
            false => None,
        };
        (self.next_of(self.sources.get(&source, now), now), by_target)
    }

    /// Whether the source failed to log in as the VM within the last hour.
    pub fn has_failed(&self, attempt: LoginAttempt, now: Instant) -> bool {
        self.failed.get(&attempt, now).is_some()
    }

    /// When the source last tried, if it has tracked failures. Among attempts due at the same time, the source that
    /// tried least recently goes first.
    pub fn last_start(&self, source: Source, now: Instant) -> Option<Instant> {
        self.sources.get(&source, now).map(|(_, last)| last)
    }

    /// Counts an attempt of `source` as delayed; false if too many already are.
    pub fn enter(&mut self, source: Source) -> bool {
        let waiting = self.waiting.entry(source).or_default();
        let has_room = *waiting < limits::LOGINS_WAITING_PER_SOURCE_MAX;
        *waiting += usize::from(has_room);
        has_room
    }

    /// Ends the delay of an attempt of `source`.
    pub fn leave(&mut self, source: Source) {
        let Some(waiting) = self.waiting.get_mut(&source) else { return };
        *waiting -= 1;
        if *waiting == 0 {
            self.waiting.remove(&source);
        }
    }

    /// Counts a failed attempt.
    pub fn failed(&mut self, attempt: LoginAttempt, now: Instant) {
        self.counters.failed += 1;
        self.want_report();
        let Some(free) = self.limits.failures else { return };
        count_in(&mut self.sources, attempt.source, free, now);
        count_in(&mut self.targets, attempt.target, free, now);
        self.failed.insert(attempt, now + limits::LOGIN_FAILURE_KNOWN, (), now);
    }

    /// Counts a successful attempt. The source's failures stay: it may know one VM's password and guess those of
    /// others.
    pub fn succeeded(&mut self, attempt: LoginAttempt) {
        self.failed.remove(&attempt);
    }

    /// Counts a delayed attempt.
    pub fn count_delayed(&mut self) {
        self.counters.delayed += 1;
        self.want_report();
    }

    /// Counts an attempt refused without a password check.
    pub fn count_refused(&mut self) {
        self.counters.refused += 1;
        self.want_report();
    }

    /// The counters since the start.
    pub fn counters(&self) -> LoginCounters {
        self.counters
    }

    /// Whether the caller must schedule [`LoginLimiter::report`] after [`limits::LOGIN_LOG_INTERVAL`]; true once per
    /// report.
    pub fn takes_report(&mut self) -> bool {
        std::mem::take(&mut self.report_wanted)
    }

    /// Logs the changes since the last report.
    pub fn report(&mut self) {
        self.report_due = false;
        let (now, before) = (self.counters, std::mem::replace(&mut self.reported, self.counters));
        log::warn!(
            "failed logins by password: {} in the last minute ({} delayed, {} refused as too many; {} sources and {} \
             VMs or names failed recently)",
            now.failed - before.failed,
            now.delayed - before.delayed,
            now.refused - before.refused,
            self.sources.len(),
            self.targets.len(),
        );
    }

    fn want_report(&mut self) {
        if !self.report_due {
            (self.report_due, self.report_wanted) = (true, true);
        }
    }

    /// When an attempt with this count may run; `None` if it has not failed too often.
    fn next_of(&self, count: Option<(Instant, Instant)>, now: Instant) -> Option<Instant> {
        let ((end, last), LoginLimits { failures: Some(free), delay_max: Some(delay_max) }) =
            (count?, self.limits)
        else {
            return None;
        };
        let excess = failures_left(end, now).checked_sub(free)?;
        let halvings = limits::LOGIN_DELAY_DOUBLINGS.saturating_sub(excess);
        Some(last + delay_max / 2u32.pow(halvings))
    }
}

/// The failures not yet forgotten of a count that ends at `end`.
fn failures_left(end: Instant, now: Instant) -> u32 {
    let left = end.since(now).as_nanos().div_ceil(limits::LOGIN_FAILURE_FORGOTTEN.as_nanos());
    u32::try_from(left).unwrap_or(u32::MAX)
}

fn count_in<K: Copy + Ord + std::hash::Hash>(
    counts: &mut ExpiringMap<K, Instant>,
    key: K,
    free: u32,
    now: Instant,
) {
    let end = counts.get(&key, now).map_or(now, |(end, _)| end);
    // The delay has reached its maximum; counting more failures would only take longer to forget.
    let latest = now + limits::LOGIN_FAILURE_FORGOTTEN * (free + limits::LOGIN_DELAY_DOUBLINGS);
    counts.insert(key, latest.min(end + limits::LOGIN_FAILURE_FORGOTTEN), now, now);
}

fn start_in<K: Copy + Ord + std::hash::Hash>(counts: &mut ExpiringMap<K, Instant>, key: K, now: Instant) {
    if let Some((end, _)) = counts.get(&key, now) {
        counts.insert(key, end, now, now);
    }
}

#[cfg(test)]
#[path = "login_limiter_tests.rs"]
mod tests;
