//! Series and points in the file.
//!
//! Nothing here needs a rollback: every check precedes the first write.

use std::collections::HashMap;

use rusqlite::{CachedStatement, Connection, OptionalExtension, Row, params};

use super::super::series::{PageBuilder, ScanRange, check_key_quota};
use super::super::{PointPage, PointPosition, PointRemoval, RemovedPoints, Written};
use super::statements::{WriteError, execute, query};
use crate::ids::SeriesId;
use crate::limits;
use crate::model::{MetricKey, MetricValue, NewPoint, Point, PointFilter};

/// A cache of the series at one state of the file.
#[derive(Debug, Default)]
pub(super) struct SeriesCache {
    ids: HashMap<MetricKey, i64>,
    /// The number of series, if it was needed.
    count: Option<u64>,
    /// SQLite's counter of commits by other connections, of any process.
    data_version: Option<i64>,
    /// Whether the counter was read in this transaction, in which no other connection can write.
    is_current: bool,
}

impl SeriesCache {
    /// Moves the cache into a new transaction. It is put back after a commit and lost otherwise, since a
    /// rollback invalidates its additions.
    pub(super) fn take(&mut self) -> SeriesCache {
        let mut taken = std::mem::take(self);
        taken.is_current = false;
        taken
    }

    /// Clears the cache if another connection has written.
    fn refresh(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        if self.is_current {
            return Ok(());
        }
        let data_version = query(connection, "PRAGMA data_version")?.query_row([], |row| row.get(0))?;
        if self.data_version != Some(data_version) {
            *self = SeriesCache { data_version: Some(data_version), ..SeriesCache::default() };
        }
        self.is_current = true;
        Ok(())
    }

    fn id(&mut self, connection: &Connection, key: &MetricKey) -> rusqlite::Result<Option<i64>> {
        if let Some(id) = self.ids.get(key) {
            return Ok(Some(*id));
        }
        let id = id_of(connection, key)?;
        if let Some(id) = id {
            self.insert(key, id);
        }
        Ok(id)
    }

    fn insert(&mut self, key: &MetricKey, id: i64) {
        if self.ids.len() as u64 >= limits::METRIC_KEYS_MAX {
            self.ids.clear();
        }
        self.ids.insert(key.clone(), id);
    }

    fn count(&mut self, connection: &Connection) -> rusqlite::Result<u64> {
        if let Some(count) = self.count {
            return Ok(count);
        }
        let count: i64 = query(connection, "SELECT count(*) FROM series")?.query_row([], |row| row.get(0))?;
        Ok(*self.count.insert(count.unsigned_abs()))
    }
}

pub(super) fn put(
    connection: &Connection,
    cache: &mut SeriesCache,
    points: &[NewPoint],
    keys_max: u64,
    is_atomic: bool,
) -> Result<Written, WriteError> {
    cache.refresh(connection)?;
    let mut ids = Vec::with_capacity(points.len());
    for new in points {
        ids.push(cache.id(connection, &new.key)?);
    }
    let mut refused = Vec::new();
    if ids.contains(&None) {
        let room = keys_max.saturating_sub(cache.count(connection)?);
        let unknown = (0..points.len()).filter(|index| ids[*index].is_none());
        let new_keys = check_key_quota(points, unknown, room, is_atomic)?;
        let mut added = HashMap::with_capacity(new_keys.keys.len());
        for key in new_keys.keys {
            execute(connection, "INSERT INTO series (key) VALUES (?1)", [key.as_str()])?;
            let id = connection.last_insert_rowid();
            added.insert(key, id);
            cache.insert(key, id);
            cache.count = cache.count.map(|count| count + 1);
        }
        for (id, new) in ids.iter_mut().zip(points) {
            *id = id.or_else(|| added.get(&new.key).copied());
        }
        refused = new_keys.refused;
    }
    let mut upsert = query(connection, UPSERT)?;
    for (id, NewPoint { point, .. }) in ids.iter().zip(points) {
        if let Some(id) = id {
            upsert.execute(params![id, point.timestamp, point.value.get()])?;
        }
    }
    Ok(Written::Put { refused })
}

pub(super) fn remove(
    connection: &Connection,
    cache: &mut SeriesCache,
    PointRemoval { before, after, count_max }: PointRemoval,
) -> rusqlite::Result<RemovedPoints> {
    cache.refresh(connection)?;
    let count_max = count_max.max(1);
    let scanned: Vec<i64> = query(connection, SERIES_AFTER)?
        .query_map(params![after.0, limit(count_max)], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let (mut count, mut gone) = (0, Vec::new());
    for id in &scanned {
        let removed = execute(connection, REMOVE_OLDEST, params![id, before, limit(count_max - count)])?;
        count += removed;
        gone.extend(remove_if_empty(connection, cache, *id)?);
        if count == count_max {
            // It may have more old points.
            return Ok(RemovedPoints { count, next: Some(SeriesId(id - 1)), removed_keys: gone });
        }
    }
    let next = scanned.last().filter(|_| scanned.len() == count_max);
    Ok(RemovedPoints { count, next: next.map(|id| SeriesId(*id)), removed_keys: gone })
}

/// Removes the series `id` if it is empty; returns its key.
fn remove_if_empty(
    connection: &Connection,
    cache: &mut SeriesCache,
    id: i64,
) -> rusqlite::Result<Option<MetricKey>> {
    let key: Option<String> =
        query(connection, REMOVE_IF_EMPTY)?.query_row([id], |row| row.get(0)).optional()?;
    let key = key.map(|key| MetricKey::from_store(&key));
    if let Some(key) = &key {
        cache.ids.remove(key);
        cache.count = cache.count.map(|count| count.saturating_sub(1));
    }
    Ok(key)
}

pub(super) fn points_after(
    connection: &Connection,
    filter: &PointFilter,
    after: Option<PointPosition>,
    count_max: usize,
) -> rusqlite::Result<PointPage> {
    let mut page = PageBuilder::new(count_max);
    let Some(range) = ScanRange::new(filter, after) else { return Ok(page.finish(false)) };
    if let Some(key) = &filter.key {
        let Some(id) = id_of(connection, key)?.map(SeriesId).filter(|id| *id >= range.series) else {
            return Ok(page.finish(false));
        };
        let points = points_of(&mut query(connection, POINTS_OF)?, &range, id, page.rows_needed())?;
        let has_more = page.add(id, || key.clone(), points);
        return Ok(page.finish(has_more));
    }
    // The statements overlap and so see one state.
    let mut series = query(connection, SERIES_FROM)?;
    let mut of_series = query(connection, POINTS_OF)?;
    let mut series = series.query([range.series.0])?;
    while let Some(row) = series.next()? {
        if page.is_full() {
            return Ok(page.finish(true));
        }
        let id = SeriesId(row.get(0)?);
        let points = points_of(&mut of_series, &range, id, page.rows_needed())?;
        let key = row.get_ref(1)?.as_str()?;
        if page.add(id, || MetricKey::from_store(key), points) {
            return Ok(page.finish(true));
        }
    }
    Ok(page.finish(false))
}

fn points_of(
    of_series: &mut CachedStatement<'_>,
    range: &ScanRange,
    id: SeriesId,
    count_max: usize,
) -> rusqlite::Result<Vec<Point>> {
    of_series.query_map(params![id.0, range.from(id), range.to, limit(count_max)], point)?.collect()
}

fn point(row: &Row<'_>) -> rusqlite::Result<Point> {
    let value: f64 = row.get(1)?;
    // Only a foreign program can store another value.
    let value = MetricValue::new(value).ok_or(rusqlite::Error::IntegralValueOutOfRange(1, 0))?;
    Ok(Point { timestamp: row.get(0)?, value })
}

fn id_of(connection: &Connection, key: &MetricKey) -> rusqlite::Result<Option<i64>> {
    query(connection, SERIES_OF)?.query_row([key.as_str()], |row| row.get(0)).optional()
}

/// Converts a limit; one that is too large means no limit.
fn limit(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

const UPSERT: &str = "INSERT INTO points (series, second, value) VALUES (?1, ?2, ?3)
    ON CONFLICT (series, second) DO UPDATE SET value = excluded.value";

const SERIES_OF: &str = "SELECT id FROM series WHERE key = ?1";
const SERIES_FROM: &str = "SELECT id, key FROM series WHERE id >= ?1 ORDER BY id";
const SERIES_AFTER: &str = "SELECT id FROM series WHERE id > ?1 ORDER BY id LIMIT ?2";

const POINTS_OF: &str = "SELECT second, value FROM points WHERE series = ?1 AND second BETWEEN ?2 AND ?3
    ORDER BY second LIMIT ?4";

const REMOVE_OLDEST: &str = "DELETE FROM points WHERE series = ?1 AND second <= (SELECT max(second) FROM
    (SELECT second FROM points WHERE series = ?1 AND second < ?2 ORDER BY second LIMIT ?3))";

const REMOVE_IF_EMPTY: &str = "DELETE FROM series
    WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM points WHERE series = ?1) RETURNING key";

/// Statements that must not scan a table.
#[cfg(test)]
pub(super) const STATEMENTS: [&str; 6] =
    [SERIES_OF, SERIES_FROM, SERIES_AFTER, POINTS_OF, REMOVE_OLDEST, REMOVE_IF_EMPTY];
