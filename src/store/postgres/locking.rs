//! Types that all writes share: how to treat locks, and counted rows.

/// How to treat rows that another transaction has locked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum LockPolicy {
    /// Wait, up to the session's lock timeout.
    Wait,
    /// Skip the writes that need them, so that the others do not wait.
    SkipLocked,
}

/// The number of rows of a table, read under its lock.
pub(super) struct RowTotal {
    before: i64,
    pub(super) now: i64,
}

impl RowTotal {
    pub(super) fn new(rows: i64) -> RowTotal {
        RowTotal { before: rows, now: rows }
    }

    /// The new number, if it has changed.
    pub(super) fn changed(&self) -> Option<i64> {
        Some(self.now).filter(|now| *now != self.before)
    }
}
