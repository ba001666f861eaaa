//! How many expired tokens go, for the log: a line a minute.

use std::sync::{Mutex, PoisonError};

use crate::clock::UnixSeconds;
use crate::limits;

/// Those that no line has told of yet, and when one did last.
static SWEPT: Mutex<Swept> = Mutex::new(Swept { count: 0, said: UnixSeconds(i64::MIN) });

struct Swept {
    count: usize,
    said: UnixSeconds,
}

/// Counts `count` tokens that have expired by `now` and are removed.
pub(super) fn note(count: usize, now: UnixSeconds) {
    if count == 0 {
        return;
    }
    let total = SWEPT.lock().unwrap_or_else(PoisonError::into_inner).note(count, now);
    if let Some(total) = total {
        log::info!("{total} expired tokens were removed");
    }
}

impl Swept {
    /// How many to tell of now.
    fn note(&mut self, count: usize, now: UnixSeconds) -> Option<usize> {
        self.count += count;
        if now.0.abs_diff(self.said.0) < limits::TOKENS_SWEPT_LOG_INTERVAL_S {
            return None;
        }
        self.said = now;
        Some(std::mem::take(&mut self.count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_a_minute_tells_of_all_before_it() {
        let mut swept = Swept { count: 0, said: UnixSeconds(i64::MIN) };
        let lines: Vec<Option<usize>> = [(1, 100), (2, 101), (3, 159), (4, 160)]
            .map(|(count, now)| swept.note(count, UnixSeconds(now)))
            .into();
        assert_eq!(lines, [Some(1), None, None, Some(9)]);
    }
}
