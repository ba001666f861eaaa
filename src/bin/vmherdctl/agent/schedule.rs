//! When samples are taken.

use std::time::Duration;

use sha2::{Digest, Sha256};

/// Moments that are an interval apart by the wall clock, so that each sample has a second of its own.
///
/// Agents of different names have different moments: the server does not get all samples at once.
pub struct Schedule {
    interval: Duration,
    offset: Duration,
}

impl Schedule {
    /// `interval` in whole seconds.
    pub fn new(interval: Duration, name: &str) -> Schedule {
        let hash = Sha256::digest(name);
        let number = |at: usize| u64::from(u16::from_le_bytes([hash[at], hash[at + 1]]));
        let seconds = number(0) % interval.as_secs().max(1);
        // Far enough from the edges of a second that a late or early wake-up stays in it.
        let offset = Duration::from_secs(seconds) + Duration::from_millis(200 + number(2) % 400);
        Schedule { interval, offset }
    }

    /// The wait from `now`, a time since 1970 at which a sample was taken, to the next sample: between one half and one and a
    /// half intervals, whatever the clock did before.
    pub fn wait(&self, now: Duration) -> Duration {
        let interval = self.interval.as_nanos();
        let earliest = (now + self.interval / 2).as_nanos();
        let offset = self.offset.as_nanos();
        let due = earliest.saturating_sub(offset).div_ceil(interval) * interval + offset;
        Duration::from_nanos(u64::try_from(due - now.as_nanos()).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_sample_has_the_next_interval_whatever_the_delay() {
        for (name, seconds) in [("web-1", 1), ("web-2", 1), ("", 10), ("x", 3600)] {
            let schedule = Schedule::new(Duration::from_secs(seconds), name);
            let mut now = Duration::from_millis(1_795_210_217_123);
            now += schedule.wait(now);
            let mut last = now.as_secs();
            for late in [0, 1, 150, 399, 7, 0] {
                let awake = now + Duration::from_millis(late);
                now = awake + schedule.wait(awake);
                assert_eq!(now.as_secs(), last + seconds, "{name} {seconds} {late}");
                last = now.as_secs();
            }
            // Woken a little too early, as by a clock that is being adjusted.
            let early = now - Duration::from_millis(150);
            assert_eq!((early + schedule.wait(early)).as_secs(), last + seconds);
        }
    }

    #[test]
    fn no_wait_is_longer_than_one_and_a_half_intervals() {
        let interval = Duration::from_secs(10);
        let schedule = Schedule::new(interval, "web-1");
        for ms in [0, 1, 4999, 5000, 9999, 1_795_210_217_123, 1_795_210_219_999] {
            let wait = schedule.wait(Duration::from_millis(ms));
            assert!(wait >= interval / 2 && wait <= interval + interval / 2, "{wait:?} from {ms}");
        }
    }

    #[test]
    fn names_spread_over_the_interval() {
        let wait =
            |index| Schedule::new(Duration::from_secs(10), &format!("vm-{index}")).wait(Duration::ZERO);
        let in_first_half = (0..500).filter(|&index| wait(index) < Duration::from_secs(10)).count();
        assert!((150..350).contains(&in_first_half), "{in_first_half}");
    }
}
