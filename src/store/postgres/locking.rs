//! What all that is written shares: what to do about locks, how rows are counted, what comes of a write.

use super::super::{StoreError, Written};

/// What comes of a write.
pub(super) type Outcome = Result<Written, StoreError>;

/// What to do about a lock that somebody else holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum LockPolicy {
    /// Wait for it, as long as the session is allowed to.
    Wait,
    /// Set aside the writes that need it: the others shall not wait as well.
    SkipLocked,
}

/// How many rows a table has, under its lock.
pub(super) struct RowTotal {
    before: i64,
    pub(super) now: i64,
}

impl RowTotal {
    pub(super) fn new(rows: i64) -> RowTotal {
        RowTotal { before: rows, now: rows }
    }

    /// What it is now, if that is another number than before.
    pub(super) fn changed(&self) -> Option<i64> {
        Some(self.now).filter(|now| *now != self.before)
    }
}
