//! Logs how many expired tokens were removed, at most once a minute.

use std::sync::{LazyLock, Mutex, PoisonError};

use crate::clock::UnixSeconds;
use crate::limits;
use crate::log_limiter::LogRateLimiter;

static SWEEP_LOG: LazyLock<Mutex<SweepLog>> = LazyLock::new(Mutex::default);

#[derive(Default)]
struct SweepLog {
    /// Removed tokens that were not logged yet.
    count: usize,
    limiter: LogRateLimiter,
}

/// Counts `count` expired tokens that were removed at `now`.
pub(super) fn record_removed(count: usize, now: UnixSeconds) {
    if count == 0 {
        return;
    }
    let total = SWEEP_LOG.lock().unwrap_or_else(PoisonError::into_inner).note(count, now);
    if let Some(total) = total {
        log::info!("{total} expired tokens were removed");
    }
}

impl SweepLog {
    /// The number to log now, if a line is due.
    fn note(&mut self, count: usize, now: UnixSeconds) -> Option<usize> {
        self.count += count;
        self.limiter.allow(limits::TOKENS_SWEPT_LOG_INTERVAL_S, now)?;
        Some(std::mem::take(&mut self.count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_log_line_a_minute_counts_all_removals_since_the_last() {
        let mut swept = SweepLog::default();
        let lines: Vec<Option<usize>> = [(1, 100), (2, 101), (3, 159), (4, 160)]
            .map(|(count, now)| swept.note(count, UnixSeconds(now)))
            .into();
        assert_eq!(lines, [Some(1), None, None, Some(9)]);
    }
}
