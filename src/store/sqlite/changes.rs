//! The changes of tools, for the daemon that serves the file.
//!
//! One process writes at a time, so the numbers ascend in the order of commits, without a gap.

use rusqlite::{Connection, Result, params};

use super::super::as_i64;
use super::super::changes::{ChangesPage, ChangesPosition};
use super::statements::{Statements, query, query_value};
use crate::limits;

/// A change: its kind, its subject and the name of its VM.
pub(super) type Change = (&'static str, i64, Option<String>);

/// Records changes, and removes some old ones.
pub(super) fn record(statements: &mut Statements<'_>, origin: i64, changes: &[Change]) -> Result<()> {
    if changes.is_empty() {
        return Ok(());
    }
    let add = statements.get("INSERT INTO changes (origin, kind, subject, name) VALUES (?1, ?2, ?3, ?4)")?;
    for (kind, subject, name) in changes {
        add.execute(params![origin, kind, subject, name])?;
    }
    let sql = "DELETE FROM changes WHERE seq IN (SELECT seq FROM changes ORDER BY seq LIMIT ?1)
         AND at < unixepoch() - ?2";
    let kept_s = limits::CHANGES_KEPT.as_secs().cast_signed();
    let pruned = as_i64(limits::SQLITE_CHANGES_PRUNED * changes.len());
    statements.execute(sql, params![pruned, kept_s])?;
    Ok(())
}

/// The changes after `position` of others than `origin`.
pub(super) fn after(
    connection: &Connection,
    position: Option<&ChangesPosition>,
    origin: Option<i64>,
    count_max: usize,
) -> Result<ChangesPage> {
    // Before the rows: none of them is missing then because it came later.
    let sql = "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'changes'), 0)";
    let last: i64 = query_value(connection, sql)?;
    let at = |seq| ChangesPosition { seq, ..ChangesPosition::default() };
    let Some(ChangesPosition { seq: first, .. }) = position else {
        return Ok(ChangesPage { position: at(last), ..ChangesPage::default() });
    };
    let mut page = ChangesPage { position: at(*first), ..ChangesPage::default() };
    let sql = "SELECT seq, origin, kind, subject, name FROM changes WHERE seq > ?1 ORDER BY seq LIMIT ?2";
    let mut statement = query(connection, sql)?;
    let mut rows = statement.query(params![first, as_i64(count_max)])?;
    let mut count = 0;
    while let Some(row) = rows.next()? {
        let seq: i64 = row.get(0)?;
        if seq != page.position.seq + 1 {
            return Ok(ChangesPage { position: at(last), has_gap: true, ..ChangesPage::default() });
        }
        (page.position.seq, count) = (seq, count + 1);
        if Some(row.get::<_, i64>(1)?) != origin {
            page.add(row.get_ref(2)?.as_str()?, row.get(3)?, row.get_ref(4)?.as_str_or_null()?);
        }
    }
    page.has_more = count == count_max;
    // All that followed were removed, or the file is an older copy.
    page.has_gap = count == 0 && last != *first;
    if page.has_gap {
        page.position = at(last);
    }
    Ok(page)
}
