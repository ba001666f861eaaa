//! Saying the same thing in the log now and then instead of each time.

use crate::clock::UnixSeconds;

/// Lets one event of a kind pass in each interval and counts the others.
#[derive(Debug, Default)]
pub struct LogRateLimiter {
    last: Option<UnixSeconds>,
    suppressed: u64,
}

impl LogRateLimiter {
    /// Whether the event may be told now, after at least `interval_s` seconds; if so, how many were not
    /// since the last that was. A clock that was set ends the interval.
    pub fn allow(&mut self, interval_s: u64, now: UnixSeconds) -> Option<u64> {
        if self.last.is_some_and(|passed| now.0.abs_diff(passed.0) < interval_s) {
            self.suppressed += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_event_per_interval_and_the_rest_are_counted() {
        let mut throttle = LogRateLimiter::default();
        let pass = |throttle: &mut LogRateLimiter, second| throttle.allow(60, UnixSeconds(second));
        assert_eq!(pass(&mut throttle, 100), Some(0));
        assert_eq!(pass(&mut throttle, 100), None);
        assert_eq!(pass(&mut throttle, 159), None);
        assert_eq!(pass(&mut throttle, 160), Some(2));
        assert_eq!(pass(&mut throttle, 50), Some(0), "the clock was set back");
    }
}
