//! The ring of the latest changes, for all clients that watch.

use std::collections::VecDeque;

use crate::limits;
use crate::model::Change;

/// The latest changes, numbered without gaps as long as each follows another here.
#[derive(Default)]
pub(super) struct ChangeLog {
    changes: VecDeque<Change>,
    /// The number of the last change, or of the last gap.
    last: u64,
    bytes: usize,
}

impl ChangeLog {
    /// A log without changes, whose first has the number after `last`.
    pub(super) fn after(last: u64) -> ChangeLog {
        ChangeLog { last, ..ChangeLog::default() }
    }

    /// Adds a change; drops the oldest beyond the limits.
    pub(super) fn push(&mut self, change: Change) {
        self.last += 1;
        self.bytes += change.held_bytes();
        self.changes.push_back(change);
        while self.changes.len() > limits::WATCH_CHANGES_MAX || self.bytes > limits::WATCH_CHANGES_BYTES_MAX {
            let Some(oldest) = self.changes.pop_front() else { return };
            self.bytes -= oldest.held_bytes();
        }
    }

    /// Whether it has no changes.
    pub(super) fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// The number of the last change.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// Whether all changes after the number `position` are there. A number of the future has no changes after it here.
    pub(super) fn is_complete_after(&self, position: u64) -> bool {
        position <= self.last && self.last - position <= self.changes.len() as u64
    }

    /// The change after the number `position`; `None` if there is none, or it is not kept.
    pub(super) fn following(&self, position: u64) -> Option<&Change> {
        let behind = self.last.checked_sub(position).filter(|behind| *behind > 0)?;
        let index = self.changes.len().checked_sub(usize::try_from(behind).ok()?)?;
        self.changes.get(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ChangeGroup;

    fn change(text: &str) -> Change {
        Change { group: ChangeGroup::Vms, text: text.into(), points: Box::default() }
    }

    fn text(log: &ChangeLog, position: u64) -> Option<&str> {
        log.following(position).map(|change| &*change.text)
    }

    #[test]
    fn changes_follow_their_numbers() {
        let mut log = ChangeLog::default();
        assert!(log.is_complete_after(0) && !log.is_complete_after(1), "1 is in the future");
        ["a", "b", "c"].into_iter().for_each(|name| log.push(change(name)));
        assert_eq!(log.last(), 3);
        assert_eq!(
            (0..5).map(|position| text(&log, position)).collect::<Vec<_>>(),
            [Some("a"), Some("b"), Some("c"), None, None]
        );
        assert!((0..=3).all(|position| log.is_complete_after(position)) && !log.is_complete_after(4));
    }

    #[test]
    fn nothing_before_a_gap_is_followed() {
        let mut log = ChangeLog::after(8);
        assert!(!log.is_complete_after(7) && log.is_complete_after(8) && !log.is_complete_after(9));
        log.push(change("a"));
        assert!(!log.is_complete_after(7) && text(&log, 7).is_none());
        assert_eq!(text(&log, 8), Some("a"));
    }

    #[test]
    fn count_and_bytes_are_bounded() {
        let mut log = ChangeLog::default();
        (0..limits::WATCH_CHANGES_MAX + 10).for_each(|_| log.push(change("")));
        assert!(!log.is_complete_after(9) && log.is_complete_after(10));
        assert!(log.following(9).is_none() && log.following(10).is_some());
        let long = "x".repeat(limits::WATCH_CHANGES_BYTES_MAX / 4);
        (0..10).for_each(|_| log.push(change(&long)));
        assert!(log.is_complete_after(log.last() - 3) && !log.is_complete_after(log.last() - 4));
        assert!(log.bytes <= limits::WATCH_CHANGES_BYTES_MAX);
        log.push(change(&"x".repeat(limits::WATCH_CHANGES_BYTES_MAX)));
        assert!(!log.is_complete_after(log.last() - 1), "a change that is too long is not kept either");
        assert_eq!((log.changes.len(), log.bytes), (0, 0));
    }
}
