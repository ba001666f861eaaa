//! Logs how many expired tokens were removed, at most once a minute.

use std::sync::{Mutex, PoisonError};

use crate::clock::UnixSeconds;
use crate::limits;

/// Removed tokens that were not logged yet, and the time of the last log line.
static SWEEP_LOG: Mutex<SweepLog> = Mutex::new(SweepLog { count: 0, logged_at: UnixSeconds(i64::MIN) });

struct SweepLog {
    count: usize,
    logged_at: UnixSeconds,
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
        if now.0.abs_diff(self.logged_at.0) < limits::TOKENS_SWEPT_LOG_INTERVAL_S {
            return None;
        }
        self.logged_at = now;
        Some(std::mem::take(&mut self.count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_log_line_a_minute_counts_all_removals_since_the_last() {
        let mut swept = SweepLog { count: 0, logged_at: UnixSeconds(i64::MIN) };
        let lines: Vec<Option<usize>> = [(1, 100), (2, 101), (3, 159), (4, 160)]
            .map(|(count, now)| swept.note(count, UnixSeconds(now)))
            .into();
        assert_eq!(lines, [Some(1), None, None, Some(9)]);
    }
}
