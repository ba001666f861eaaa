//! Changes of one process for the others.
//!
//! Each statement that changes a VM adds the row of its change. A reader has read all changes that a snapshot sees; the
//! next it asks for are those that a later snapshot sees and this one does not. So it gets each change once, whatever the
//! order of commits.

use std::sync::{Mutex, PoisonError};

use super::super::changes::{ChangesPage, ChangesPosition, random_origin};
use super::super::{Write, WriteOutcome, as_i64};
use super::parameters::Parameters;
use super::pg_error::PgError;
use super::pg_session::PgSession;
use crate::clock::{Instant, UnixSeconds, monotonic_now};
use crate::limits;

/// The changes of this process.
pub(super) struct ChangeLog {
    /// Its number in the rows of its changes.
    pub(super) origin: i64,
    next_prune: Mutex<Instant>,
}

impl ChangeLog {
    pub(super) fn new() -> ChangeLog {
        ChangeLog { origin: random_origin(), next_prune: Mutex::new(Instant::ORIGIN) }
    }

    /// Whether old rows are to be removed after these writes.
    pub(super) fn should_prune(&self, writes: &[&Write], outcomes: &[WriteOutcome]) -> bool {
        let has_change = |(write, outcome): (&&Write, &WriteOutcome)| outcome.is_ok() && write.is_recorded();
        if !writes.iter().zip(outcomes).any(has_change) {
            return false;
        }
        let now = monotonic_now();
        let mut next = self.next_prune.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = *next <= now;
        if is_due {
            *next = now + limits::POSTGRES_CHANGES_PRUNE_INTERVAL;
        }
        is_due
    }
}

/// Removes old rows. Only those are locked, and those that another process removes are skipped.
pub(super) fn prune(session: &mut PgSession) -> Result<(), PgError> {
    let sql = "DELETE FROM changes WHERE seq = ANY (ARRAY (
            SELECT seq FROM changes WHERE seq = ANY (ARRAY (
                SELECT seq FROM (SELECT seq, at FROM changes ORDER BY seq LIMIT $1) oldest
                WHERE at < extract(epoch FROM clock_timestamp())::bigint - $2))
            FOR UPDATE SKIP LOCKED))";
    let kept_s = limits::CHANGES_KEPT.as_secs().cast_signed();
    session.query(sql, &[&as_i64(limits::POSTGRES_CHANGES_PRUNED), &kept_s])?;
    Ok(())
}

/// The changes after `position` of others than `origin`.
pub(super) fn after(
    session: &mut PgSession,
    position: Option<&ChangesPosition>,
    origin: i64,
    count_max: usize,
) -> Result<ChangesPage, PgError> {
    let Some(before) = position else { return start(session, false) };
    // A snapshot that does not begin where the last one ended is of a server that has lost commits.
    let sql = "SELECT now.at, now.until::text, now.is_later, c.seq, c.kind, c.subject, c.name
        FROM (SELECT extract(epoch FROM clock_timestamp())::bigint AS at,
                coalesce($2::text::pg_snapshot, pg_current_snapshot()) AS until,
                pg_snapshot_xmax(pg_current_snapshot()) >= pg_snapshot_xmax($1::text::pg_snapshot) AS is_later
            ) now
        LEFT JOIN LATERAL (
            SELECT seq, kind, subject, name FROM changes
            WHERE tx >= pg_snapshot_xmin($1::text::pg_snapshot)
                AND NOT pg_visible_in_snapshot(tx, $1::text::pg_snapshot)
                AND pg_visible_in_snapshot(tx, now.until) AND origin <> $3 AND seq > $4
            ORDER BY seq LIMIT $5) c ON true
        ORDER BY c.seq";
    let parameters: Parameters<'_> = &[&before.seen, &before.until, &origin, &before.seq, &as_i64(count_max)];
    let rows = session.query(sql, parameters)?;
    let first = rows.first().ok_or_else(|| PgError::Failed("the database returned no row".to_owned()))?;
    let (at, until, is_later): (i64, String, bool) =
        (first.try_get(0)?, first.try_get(1)?, first.try_get(2)?);
    let age_max = limits::CHANGES_POSITION_AGE_MAX.as_secs().cast_signed();
    if !is_later || at - before.at.0 > age_max {
        return start(session, true);
    }
    let (mut page, mut last, mut count) = (ChangesPage::default(), 0, 0);
    for row in &rows {
        let Some(seq) = row.try_get::<_, Option<i64>>(3)? else { continue };
        page.add(row.try_get(4)?, row.try_get(5)?, row.try_get(6)?);
        (last, count) = (seq, count + 1);
    }
    page.has_more = count == count_max;
    page.position = match page.has_more {
        // Its age is that of the first page: what later ones still have to read is no younger.
        true => ChangesPosition { seq: last, at: before.at, seen: before.seen.clone(), until: Some(until) },
        false => ChangesPosition { seq: 0, at: UnixSeconds(at), seen: until, until: None },
    };
    Ok(page)
}

/// An empty page before all changes that are committed from now on.
fn start(session: &mut PgSession, has_gap: bool) -> Result<ChangesPage, PgError> {
    let sql = "SELECT extract(epoch FROM clock_timestamp())::bigint, pg_current_snapshot()::text";
    let rows = session.query(sql, &[])?;
    let row = rows.first().ok_or_else(|| PgError::Failed("the database returned no row".to_owned()))?;
    let (at, seen) = (UnixSeconds(row.try_get(0)?), row.try_get(1)?);
    let position = ChangesPosition { seq: 0, at, seen, until: None };
    Ok(ChangesPage { position, has_gap, ..ChangesPage::default() })
}
