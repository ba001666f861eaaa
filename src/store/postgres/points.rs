//! Series and points in the database.
//!
//! The points of all puts of a transaction are written at its end, in the order of their keys, which avoids
//! deadlocks; see [`super::writes`] for the order of locks. Writers take FOR KEY SHARE on the series; the
//! remover takes FOR UPDATE and re-checks that it is empty. So an acknowledged point always has its series.
//!
//! Most puts meet existing series: then one statement does everything, in the same order.

use std::collections::{BTreeSet, HashMap, HashSet};

use postgres::Row;

use super::super::series::add_series;
use super::super::{
    PointPage, PointPosition, PointRemoval, PointStore, RemovedPoints, ScanRange, StoreError, Write,
    WriteOutcome, Written, as_i64,
};
use super::locking::{BEGIN, LockPolicy, RowTotal, SERIES_TOTAL};
use super::pg_error::PgError;
use super::pg_session::PgSession;
use super::store::PostgresStore;
use crate::ids::SeriesId;
use crate::limits;
use crate::model::{Login, MetricKey, MetricValue, NewPoint, Point, Series};

/// The points that a transaction is about to write, and the series it has locked.
#[derive(Default)]
pub(super) struct PointBatch<'w> {
    /// The number of series, read under its lock, if a put needs it and no other transaction has locked it.
    pub(super) series_total: Option<RowTotal>,
    /// Keys whose series another transaction has locked for removal, and those of the puts that are skipped for it.
    locked_keys: HashSet<MetricKey>,
    /// The ids of existing series, locked; new ones have none yet.
    series: HashMap<MetricKey, Option<i64>>,
    /// In the order of their first points.
    new_keys: Vec<MetricKey>,
    points: Vec<&'w NewPoint>,
    /// The ids and epochs of the VMs that put points.
    current: Option<HashSet<(i64, i64)>>,
}

impl<'w> PointBatch<'w> {
    /// Locks the existing series that `writes` need, and the number of series if that may change.
    pub(super) fn lock(
        &mut self,
        session: &mut PgSession,
        writes: &[&Write],
        lock_policy: LockPolicy,
    ) -> Result<(), PgError> {
        let points = writes.iter().flat_map(|write| write.points());
        // Sorted, so that the look-ups follow the index.
        let keys: BTreeSet<&MetricKey> = points.map(|new| &new.key).collect();
        let unknown = self.lock_series(session, keys.into_iter().collect(), lock_policy)?;
        if !unknown.is_empty() {
            self.series_total = RowTotal::lock(session, "", SERIES_TOTAL, lock_policy)?;
            if self.series_total.is_some() {
                // Another transaction may have added them meanwhile.
                self.lock_series(session, unknown, lock_policy)?;
            }
        }
        Ok(())
    }

    /// Locks the series of `keys` against removal; returns the keys without one.
    fn lock_series<'k>(
        &mut self,
        session: &mut PgSession,
        keys: Vec<&'k MetricKey>,
        lock_policy: LockPolicy,
    ) -> Result<Vec<&'k MetricKey>, PgError> {
        if keys.is_empty() {
            return Ok(keys);
        }
        let sql = match lock_policy {
            LockPolicy::Wait => {
                "SELECT id, key FROM series WHERE key = ANY ($1::text[]) ORDER BY id FOR KEY SHARE"
            }
            LockPolicy::SkipLocked => {
                "SELECT id, key FROM series WHERE key = ANY ($1::text[]) ORDER BY id FOR KEY SHARE SKIP LOCKED"
            }
        };
        for row in session.query(sql, &[&texts(keys.iter().copied())])? {
            self.series.insert(MetricKey::from_store(row.try_get(1)?), Some(row.try_get(0)?));
        }
        let mut unknown = keys;
        unknown.retain(|key| !self.series.contains_key(*key));
        if lock_policy == LockPolicy::SkipLocked && !unknown.is_empty() {
            let sql = "SELECT key FROM series WHERE key = ANY ($1::text[])";
            for row in session.query(sql, &[&texts(unknown.iter().copied())])? {
                self.locked_keys.insert(MetricKey::from_store(row.try_get(0)?));
            }
            unknown.retain(|key| !self.locked_keys.contains(*key));
        }
        Ok(unknown)
    }

    /// Whether `write` needs a row that another transaction has locked.
    pub(super) fn is_blocked(&self, write: &Write) -> bool {
        // A new series changes the number of series.
        let is_locked = |key: &MetricKey| {
            self.locked_keys.contains(key) || self.series_total.is_none() && !self.series.contains_key(key)
        };
        write.points().iter().any(|new| is_locked(&new.key))
    }

    /// Blocks later puts of the keys of `write`, which is skipped: they must not be done before it.
    pub(super) fn block_keys_of(&mut self, write: &Write) {
        self.locked_keys.extend(write.points().iter().map(|new| new.key.clone()));
    }

    /// Forgets the epochs: a VM's password may have changed, or the VM is gone.
    pub(super) fn invalidate_logins(&mut self) {
        self.current = None;
    }

    /// Adds points for [`PointBatch::write_points`].
    pub(super) fn put(&mut self, points: &'w [NewPoint], keys_max: u64, is_atomic: bool) -> WriteOutcome {
        let has_series = |new: &NewPoint| self.series.contains_key(&new.key).then_some(());
        let mut known: Vec<Option<()>> = points.iter().map(has_series).collect();
        let count = self.series_total.as_ref().map_or(i64::MAX, |total| total.now);
        let remaining = keys_max.saturating_sub(count.unsigned_abs());
        let refused = add_series(points, &mut known, remaining, is_atomic, |key| {
            if let Some(total) = &mut self.series_total {
                total.now += 1;
            }
            self.series.insert(key.clone(), None);
            self.new_keys.push(key.clone());
            Ok::<_, StoreError>(())
        })?;
        let accepted = points.iter().zip(known).filter(|(_, known)| known.is_some());
        self.points.extend(accepted.map(|(new, _)| new));
        Ok(Written::Put { refused })
    }

    /// Whether `login` is current after the preceding writes. Looks up the logins of all `writes` at once.
    pub(super) fn is_current(
        &mut self,
        session: &mut PgSession,
        login: &Login,
        writes: &[&Write],
    ) -> Result<bool, PgError> {
        let current = match self.current.take() {
            Some(current) => current,
            None => {
                let ids = writes.iter().filter_map(|write| match write {
                    Write::Put { login: Some(login), .. } => Some(login.id.0),
                    _ => None,
                });
                let ids: Vec<i64> = ids.collect::<BTreeSet<i64>>().into_iter().collect();
                let rows = session.query("SELECT id, epoch FROM vms WHERE id = ANY ($1)", &[&ids])?;
                let current = rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?)));
                current.collect::<Result<_, PgError>>()?
            }
        };
        Ok(self.current.insert(current).contains(&(login.id.0, login.epoch)))
    }

    /// Writes the added points.
    pub(super) fn write_points(&mut self, session: &mut PgSession) -> Result<(), PgError> {
        if !self.new_keys.is_empty() {
            let sql = "INSERT INTO series (key)
                   SELECT key FROM unnest($1::text[]) WITH ORDINALITY AS new (key, place) ORDER BY place
                   RETURNING id, key";
            for row in session.query(sql, &[&texts(&self.new_keys)])? {
                self.series.insert(MetricKey::from_store(row.try_get(1)?), Some(row.try_get(0)?));
            }
        }
        let mut rows = Vec::with_capacity(self.points.len());
        for NewPoint { key, point } in &self.points {
            let id = self.series.get(key).copied().flatten();
            let id = id.ok_or_else(|| PgError::Failed("a series has no number".to_owned()))?;
            rows.push((id, point.timestamp, point.value.get()));
        }
        keep_last(&mut rows);
        let sql = "INSERT INTO points (series, second, value)
                   SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::double precision[])
                   ON CONFLICT (series, second) DO UPDATE SET value = excluded.value";
        for rows in rows.chunks(limits::POSTGRES_POINTS_PER_STATEMENT) {
            let (series, seconds, values): (Vec<i64>, Vec<i64>, Vec<f64>) = rows.iter().copied().collect();
            session.query(sql, &[&series, &seconds, &values])?;
        }
        Ok(())
    }
}

/// Removes old points, in a transaction of its own, under the lock of the number of series: in the same one as a
/// put it would precede or follow it depending on the order of locks.
pub(super) fn remove(
    session: &mut PgSession,
    PointRemoval { before, after, count_max }: PointRemoval,
) -> Result<RemovedPoints, PgError> {
    session.run(BEGIN)?;
    let mut total = RowTotal::lock(session, "", SERIES_TOTAL, LockPolicy::Wait)?;
    let count_max = count_max.max(1);
    let sql = "SELECT id FROM series WHERE id > $1 ORDER BY id LIMIT $2";
    let scanned = ids(&session.query(sql, &[&after.0, &as_i64(count_max)])?)?;
    // Skips locked rows, which the next pass finds: a transaction that does not wait cannot
    // deadlock. By ctid: a join might read the whole table.
    let sql = "DELETE FROM points WHERE ctid = ANY (ARRAY (
                   SELECT old.place FROM unnest($1::bigint[]) AS walked (id) CROSS JOIN LATERAL (
                       SELECT ctid AS place FROM points WHERE series = walked.id AND second < $2
                       ORDER BY second LIMIT $3 FOR UPDATE SKIP LOCKED) AS old
                   LIMIT $3))
               RETURNING series";
    let removed = ids(&session.query(sql, &[&scanned, &before, &as_i64(count_max)])?)?;
    // Looks up the latest point of each series: after the removals, and never by a join.
    let sql = "SELECT id FROM series WHERE id = ANY ($1) AND (
                   SELECT second FROM points WHERE points.series = series.id
                   ORDER BY second DESC LIMIT 1) IS NULL
               ORDER BY id FOR UPDATE SKIP LOCKED";
    let empty = ids(&session.query(sql, &[&scanned])?)?;
    let mut removed_keys = Vec::new();
    if !empty.is_empty() {
        // Checked again: now no point can be added to them any more.
        let sql = "DELETE FROM series WHERE id = ANY ($1) AND (
                       SELECT second FROM points WHERE points.series = series.id
                       ORDER BY second DESC LIMIT 1) IS NULL
                   RETURNING key";
        for row in session.query(sql, &[&empty])? {
            removed_keys.push(MetricKey::from_store(row.try_get(0)?));
        }
        if let Some(total) = &mut total {
            total.now = (total.now - as_i64(removed_keys.len())).max(0);
        }
    }
    let next = match removed.iter().max() {
        // It may have more old points.
        Some(last) if removed.len() == count_max => Some(last - 1),
        _ => scanned.last().copied().filter(|_| scanned.len() == count_max),
    };
    let update = total.as_ref().map(RowTotal::update_sql).unwrap_or_default();
    session.commit(&format!("{update}COMMIT"))?;
    Ok(RemovedPoints { count: removed.len(), next: next.map(SeriesId), removed_keys })
}

/// Puts points with one statement that is its own transaction, if it can lock all their series at once and no
/// login has to be checked; otherwise does nothing and returns false. Excludes points that were acknowledged
/// before: they are written again after an unknown outcome, and a late statement could overwrite newer points.
/// In a transaction their rows are locked before the commit is sent.
pub(super) fn put_autocommit(session: &mut PgSession, writes: &[&Write]) -> Result<bool, PgError> {
    if !session.recently_used() {
        return Ok(false);
    }
    let mut rows = Vec::new();
    for write in writes {
        let Write::Put { login: None, points, keys_max, .. } = write else { return Ok(false) };
        if *keys_max == Write::KEYS_UNBOUNDED {
            return Ok(false);
        }
        rows.extend(points.iter().map(|new| (&new.key, new.point.timestamp, new.point.value.get())));
    }
    if rows.is_empty() || rows.len() > limits::POSTGRES_POINTS_PER_STATEMENT {
        return Ok(false);
    }
    keep_last(&mut rows);
    let mut keys = Vec::new();
    let columns = rows.into_iter().map(|(key, second, value)| {
        if keys.last() != Some(&key) {
            keys.push(key);
        }
        (as_i64(keys.len()), second, value)
    });
    let (indexes, seconds, values): (Vec<i64>, Vec<i64>, Vec<f64>) = columns.collect();
    match session.execute_autocommit(PUT_EXISTING, &[&texts(keys), &indexes, &seconds, &values]) {
        Ok(count) => Ok(count > 0),
        // A transaction uses READ COMMITTED; the database's default may be stricter.
        Err(PgError::Conflict(_)) => Ok(false),
        Err(failure) => Err(failure),
    }
}

/// The keys are sorted, so that array positions match the series. It writes nothing unless it has locked every
/// series: one may be missing, removed since the statement began, or locked.
const PUT_EXISTING: &str = "
    WITH locked AS MATERIALIZED (
        SELECT id, key FROM series WHERE key = ANY ($1::text[]) ORDER BY id FOR KEY SHARE SKIP LOCKED),
    known AS MATERIALIZED (SELECT array_agg(id ORDER BY key COLLATE \"C\") AS ids FROM locked)
    INSERT INTO points (series, second, value)
    SELECT ids[place], second, value
    FROM known, unnest($2::bigint[], $3::bigint[], $4::double precision[]) AS new (place, second, value)
    WHERE cardinality(ids) = cardinality($1)
    ORDER BY 1, 2
    ON CONFLICT (series, second) DO UPDATE SET value = excluded.value";

/// Sorts `rows` by series and time; keeps the last of duplicates.
fn keep_last<K: Ord + Copy>(rows: &mut Vec<(K, i64, f64)>) {
    // Stable.
    rows.sort_by_key(|(series, second, _)| (*series, *second));
    rows.reverse();
    rows.dedup_by_key(|(series, second, _)| (*series, *second));
    rows.reverse();
}

impl PointStore for PostgresStore {
    fn scan(&mut self, range: &ScanRange<'_>, count_max: usize) -> Result<PointPage, StoreError> {
        self.run(|session| scan(session, range, count_max))
    }
}

/// The statement of a scan. The limited subquery runs for one series after the other, in order, until there are enough
/// rows.
macro_rules! scan_sql {
    ($series:literal, $points:literal) => {
        concat!(
            "SELECT s.id, s.key, p.second, p.value
             FROM (SELECT id, key FROM series WHERE ",
            $series,
            " AND id >= $1 ORDER BY id LIMIT $5) s
             LEFT JOIN LATERAL (
                SELECT second, value FROM points
                WHERE series = s.id AND second >= CASE WHEN s.id = $1 THEN $2 ELSE $3::bigint END AND second <= $4
                ORDER BY second ",
            $points,
            ") p ON true
             LIMIT $5"
        )
    };
}

/// Reads one row for each matching point and for each series without one, in order.
fn scan(session: &mut PgSession, range: &ScanRange<'_>, count_max: usize) -> Result<PointPage, PgError> {
    // One extra row shows that there are more.
    let rows_max = as_i64(count_max.saturating_add(1));
    let (series, from) = (range.series.0, range.series_from);
    let (sql, text) = match (range.key, range.is_latest) {
        (None, false) => (scan_sql!("starts_with(key, $6)", "LIMIT $5"), range.prefix),
        (None, true) => (scan_sql!("starts_with(key, $6)", "DESC LIMIT 1"), range.prefix),
        (Some(key), false) => (scan_sql!("key = $6", "LIMIT $5"), key.as_str()),
        (Some(key), true) => (scan_sql!("key = $6", "DESC LIMIT 1"), key.as_str()),
    };
    let rows = session.query(sql, &[&series, &from, &range.from, &range.to, &rows_max, &text])?;
    page(&rows, count_max)
}

fn page(rows: &[Row], count_max: usize) -> Result<PointPage, PgError> {
    let mut page = PointPage::default();
    let mut last: Option<PointPosition> = None;
    for row in rows.iter().take(count_max) {
        let id = SeriesId(row.try_get(0)?);
        let second: Option<i64> = row.try_get(2)?;
        let index = PointPosition { series: id, timestamp: second.unwrap_or(i64::MAX) };
        if last.is_some_and(|last| (last.series, last.timestamp) >= (index.series, index.timestamp)) {
            return Err(PgError::Failed("the database gives points in another order".to_owned()));
        }
        last = Some(index);
        let Some(second) = second else { continue };
        let value = MetricValue::new(row.try_get(3)?)
            .ok_or_else(|| PgError::Failed("a value in the database is not finite".to_owned()))?;
        if page.series.last().is_none_or(|series| series.id != id) {
            page.series.push(Series { id, key: MetricKey::from_store(row.try_get(1)?), points: Vec::new() });
        }
        if let Some(series) = page.series.last_mut() {
            series.points.push(Point { timestamp: second, value });
        }
    }
    page.next = last.filter(|_| rows.len() > count_max);
    Ok(page)
}

fn texts<'k>(keys: impl IntoIterator<Item = &'k MetricKey>) -> Vec<&'k str> {
    keys.into_iter().map(MetricKey::as_str).collect()
}

fn ids(rows: &[Row]) -> Result<Vec<i64>, PgError> {
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}
