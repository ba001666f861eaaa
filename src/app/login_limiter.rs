//! How fast passwords may be guessed.
//!
//! Failed logins are counted for each source and for each VM apart. With [`LoginLimits::failures`] of them the next
//! attempt is delayed, and each further failure doubles the delay up to [`LoginLimits::delay_max`]: from then on
//! there is one attempt in that time. A failure is forgotten in a minute, which is slower than that, so that who
//! waits gains nothing. A VM's count delays those sources only that have failed for this VM in the last hour, so
//! that others can't lock its owner out.
//!
//! A name that does not exist is counted as one that does: what is delayed tells nothing of it. Everything here is
//! bounded; of counts that have no room, the one that would be forgotten first is.

use std::collections::HashMap;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::App;
use super::commands::Stage;
use super::expiring::ExpiringMap;
use crate::clock::Instant;
use crate::ids::{ConnId, VmId};
use crate::limits;
use crate::model::{Source, VmName};
use crate::work::password::PasswordCheck;
use crate::work::{WorkError, WorkResult};

/// From when on, and how much, attempts are delayed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LoginLimits {
    /// Failures after which the next attempt is; `None`: never.
    pub failures: Option<u32>,
    /// The longest delay; `None`: none at all.
    pub delay_max: Option<Duration>,
}

/// The VM that a login is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum LoginTarget {
    /// One that exists.
    Vm(VmId),
    /// A name that no VM has: what begins the SHA-256 of it.
    Unknown([u8; 16]),
}

/// Who wants to log in as whom.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LoginAttempt {
    /// Where the client comes from.
    pub source: Source,
    /// The VM that it says it is.
    pub target: LoginTarget,
}

/// Counts failed logins, and says when the next may be tried.
pub struct LoginLimiter {
    limits: LoginLimits,
    /// Failures by source, and when each tried or failed last.
    sources: ExpiringMap<Source, Instant>,
    /// The same by VM.
    targets: ExpiringMap<LoginTarget, Instant>,
    /// Sources that have failed for a VM in the last hour.
    failed: ExpiringMap<LoginAttempt, ()>,
    /// Attempts of each source that wait.
    waiting: HashMap<Source, usize>,
    counters: LoginCounters,
    /// What the log was told of last.
    reported: LoginCounters,
    report_wanted: bool,
    report_due: bool,
}

/// What has become of attempts to log in by password, as plain numbers since the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LoginCounters {
    /// The password was wrong, or there was no such VM.
    pub failed: u64,
    /// It had to wait.
    pub delayed: u64,
    /// Too many of its source waited, or it would have waited for too long.
    pub refused: u64,
}

/// Whether an attempt may be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Permit {
    /// Now.
    Now,
    /// Not before then: ask again.
    At(Instant),
}

impl App {
    /// How fast passwords may be guessed.
    pub fn logins(&self) -> &LoginLimiter {
        &self.logins
    }

    /// The same, to be asked and told.
    pub fn logins_mut(&mut self) -> &mut LoginLimiter {
        &mut self.logins
    }

    /// The attempt to log in whose password is checked at `stage`.
    pub fn login_attempt(&self, conn: ConnId, stage: &Stage) -> Option<LoginAttempt> {
        let target = match stage.checked_vm()? {
            (_, Some(vm)) => LoginTarget::Vm(vm),
            (name, None) => LoginTarget::of_unknown(name),
        };
        Some(LoginAttempt { source: self.presence.peer(conn)?.source(), target })
    }

    /// Counts what a password that was checked at `stage` has turned out to be: the one place where a login by
    /// password is known to have failed or succeeded. The attempt, if it has failed.
    pub fn record_login(
        &mut self,
        conn: ConnId,
        stage: &Stage,
        result: &Result<WorkResult, WorkError>,
        now: Instant,
    ) -> Option<LoginAttempt> {
        let Ok(WorkResult::Verified(verdict)) = result else { return None };
        let attempt = self.login_attempt(conn, stage)?;
        match verdict {
            PasswordCheck::Wrong => {
                self.logins.failed(attempt, now);
                Some(attempt)
            }
            PasswordCheck::Right | PasswordCheck::RightRehashed(_) => {
                self.logins.succeeded(attempt);
                None
            }
        }
    }
}

impl LoginTarget {
    fn of_unknown(name: &VmName) -> LoginTarget {
        let digest = Sha256::digest(name.as_str().as_bytes());
        LoginTarget::Unknown(std::array::from_fn(|at| digest[at]))
    }
}

impl Drop for LoginLimiter {
    /// What was counted is not lost with the process.
    fn drop(&mut self) {
        if self.report_due {
            self.report();
        }
    }
}

impl LoginLimiter {
    /// Nothing has failed yet.
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

    /// Goes on with other limits. Those that wait do so until their time has come.
    pub fn set_limits(&mut self, limits: LoginLimits) {
        self.limits = limits;
    }

    /// Whether `attempt` may be made now; if so, it counts as made.
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

    /// When `attempt` may be made next, if its source or its VM has failed too often.
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

    /// Whether the source has failed to log in as the VM in the last hour.
    pub fn has_failed(&self, attempt: LoginAttempt, now: Instant) -> bool {
        self.failed.get(&attempt, now).is_some()
    }

    /// When the source has tried last, if it has failed so often that it is delayed: of those that wait for the
    /// same moment, the one whose source has waited for longer goes first.
    pub fn last_start(&self, source: Source, now: Instant) -> Option<Instant> {
        self.sources.get(&source, now).map(|(_, last)| last)
    }

    /// An attempt of `source` wants to wait; false where too many of them do.
    pub fn enter(&mut self, source: Source) -> bool {
        let waiting = self.waiting.entry(source).or_default();
        let has_room = *waiting < limits::LOGINS_WAITING_PER_SOURCE_MAX;
        *waiting += usize::from(has_room);
        has_room
    }

    /// An attempt of `source` waits no longer.
    pub fn leave(&mut self, source: Source) {
        let Some(waiting) = self.waiting.get_mut(&source) else { return };
        *waiting -= 1;
        if *waiting == 0 {
            self.waiting.remove(&source);
        }
    }

    /// `attempt` was made in vain.
    pub fn failed(&mut self, attempt: LoginAttempt, now: Instant) {
        self.counters.failed += 1;
        self.want_report();
        let Some(free) = self.limits.failures else { return };
        count_in(&mut self.sources, attempt.source, free, now);
        count_in(&mut self.targets, attempt.target, free, now);
        self.failed.insert(attempt, now + limits::LOGIN_FAILURE_KNOWN, (), now);
    }

    /// `attempt` gave the right password. What was counted for the source stays: it may know the password of one
    /// VM and guess those of others.
    pub fn succeeded(&mut self, attempt: LoginAttempt) {
        self.failed.remove(&attempt);
    }

    /// An attempt has to wait.
    pub fn count_delayed(&mut self) {
        self.counters.delayed += 1;
        self.want_report();
    }

    /// An attempt was refused unmade.
    pub fn count_refused(&mut self) {
        self.counters.refused += 1;
        self.want_report();
    }

    /// What has become of attempts since the start.
    pub fn counters(&self) -> LoginCounters {
        self.counters
    }

    /// Whether [`LoginLimiter::report`] is to be called as soon as [`limits::LOGIN_LOG_INTERVAL`] is over; once
    /// for each.
    pub fn takes_report(&mut self) -> bool {
        std::mem::take(&mut self.report_wanted)
    }

    /// Tells the log what has happened since it was told last.
    pub fn report(&mut self) {
        self.report_due = false;
        let (now, before) = (self.counters, std::mem::replace(&mut self.reported, self.counters));
        log::warn!(
            "failed logins by password: {} in the last minute ({} were delayed, {} refused as too many; {} sources \
             and {} VMs or names have failed lately)",
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

    /// When one with such a count may be tried next; `None` where it has not failed too often.
    fn next_of(&self, count: Option<(Instant, Instant)>, now: Instant) -> Option<Instant> {
        let ((end, last), LoginLimits { failures: Some(free), delay_max: Some(delay_max) }) =
            (count?, self.limits)
        else {
            return None;
        };
        let over = failures_left(end, now).checked_sub(free)?;
        let halvings = limits::LOGIN_DELAY_DOUBLINGS.saturating_sub(over);
        Some(last + delay_max / 2u32.pow(halvings))
    }
}

/// How many failures are not forgotten of a count that ends at `end`.
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
    // More would only take longer to forget: the delay does not grow any more.
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
