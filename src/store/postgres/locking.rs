//! What all writes share: how they begin, how they treat locks, and counted rows.

use super::pg_error::PgError;
use super::pg_session::PgSession;

/// Begins a transaction that writes. Each of its statements must see what earlier ones have waited for; with a stricter
/// level, as a database may have by default, it would fail instead.
pub(super) const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";

/// How to treat rows that another transaction has locked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum LockPolicy {
    /// Wait, up to the session's lock timeout.
    Wait,
    /// Skip the writes that need them, so that the others do not wait.
    SkipLocked,
}

/// A table of one row that holds the number of rows of another table, in a column of its name.
type TotalTable = (&'static str, &'static str);

pub(super) const VM_TOTAL: TotalTable = ("vm_total", "vms");
pub(super) const SERIES_TOTAL: TotalTable = ("series_total", "series");

/// The number of rows of a table, read under its lock.
pub(super) struct RowTotal {
    table: TotalTable,
    before: i64,
    pub(super) now: i64,
}

impl RowTotal {
    /// Runs `first` and, in the same round trip, locks the row of `table` and reads it. `None` if another
    /// transaction has locked it and `lock_policy` is not to wait.
    pub(super) fn lock(
        session: &mut PgSession,
        first: &str,
        table: TotalTable,
        lock_policy: LockPolicy,
    ) -> Result<Option<RowTotal>, PgError> {
        let (name, counted) = table;
        let skip = match lock_policy {
            LockPolicy::Wait => "",
            LockPolicy::SkipLocked => " SKIP LOCKED",
        };
        let text = session.query_text(&format!("{first}SELECT {counted} FROM {name} FOR UPDATE{skip}"))?;
        match text.map(|text| text.parse()) {
            Some(Ok(rows)) => Ok(Some(RowTotal { table, before: rows, now: rows })),
            None if lock_policy == LockPolicy::SkipLocked => Ok(None),
            _ => Err(PgError::Failed(format!("the table {name} has lost its row: start vmherd anew"))),
        }
    }

    /// SQL that stores the number, if it has changed.
    pub(super) fn update_sql(&self) -> String {
        let (name, counted) = self.table;
        match self.now == self.before {
            true => String::new(),
            false => format!("UPDATE {name} SET {counted} = {}; ", self.now),
        }
    }
}
