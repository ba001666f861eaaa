//! What ends a VM that runs: its maximum life, and the time without a connection.

use std::time::Duration;

use super::Shared;
use crate::clock::{Instant, UnixSeconds};
use crate::limits;

/// What ends a VM that runs.
pub(in crate::qemu) struct Life {
    /// Its maximum life is over then.
    pub(super) expires: Option<Instant>,
    pub(super) idle: Option<Idle>,
}

/// The time without a connection.
pub(in crate::qemu) struct Idle {
    timeout: Duration,
    since: Instant,
    interval: Duration,
    /// The connections are counted then.
    pub(super) check_at: Instant,
}

impl Life {
    /// The life of a VM that was created then.
    pub(super) fn new(begun: UnixSeconds, shared: &Shared<'_>) -> Life {
        let (now, settings) = (shared.now, shared.settings);
        let age = age_min(begun, shared.unix_now);
        let idle = settings.idle_timeout.map(|timeout| Idle::new(timeout, now));
        Life { expires: settings.life_max.map(|life| now + life.saturating_sub(age)), idle }
    }

    /// Notes that it is used.
    pub(super) fn used(&mut self, now: Instant) {
        if let Some(idle) = &mut self.idle {
            idle.since = now;
        }
    }
}

impl Idle {
    /// A VM is unused from `now` on, until its connections are counted.
    fn new(timeout: Duration, now: Instant) -> Idle {
        // Twice within the timeout: one that is used must be found so before.
        let interval = limits::VM_IDLE_CHECK.min(timeout / 2);
        Idle { timeout, since: now, interval, check_at: now + interval }
    }

    /// Whether the timeout is over at `now`; if not, the connections are to be counted, and next after the interval.
    pub(super) fn is_over(&mut self, now: Instant) -> bool {
        self.check_at = now + self.interval;
        now.since(self.since) >= self.timeout
    }
}

/// The least age at `now` of a VM that was created at `begun`. Both times are cut to whole seconds, so the age may be a
/// second less than their difference, and a life must not be cut short.
fn age_min(begun: UnixSeconds, now: UnixSeconds) -> Duration {
    Duration::from_secs(now.0.saturating_sub(begun.0).saturating_sub(1).try_into().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_age_of_a_vm_is_never_taken_for_more_than_it_is() {
        for (begun, now, seconds) in [(10, 10, 0), (10, 11, 0), (10, 12, 1), (10, 70, 59), (10, 5, 0)] {
            let age = age_min(UnixSeconds(begun), UnixSeconds(now));
            assert_eq!(age, Duration::from_secs(seconds), "{begun} to {now}");
        }
    }
}
