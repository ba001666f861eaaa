//! Rate limiting of repeated log lines.

use crate::clock::UnixSeconds;

/// Allows one log line per interval and counts the suppressed ones.
#[derive(Debug, Default)]
pub struct LogRateLimiter {
    last: Option<UnixSeconds>,
    suppressed: u64,
}

impl LogRateLimiter {
    /// Whether a line may be logged at `now`: at most one in `interval_s` seconds. If so, returns the number of lines
    /// suppressed since the last one. Setting the clock ends the interval.
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
