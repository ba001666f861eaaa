//! Series and points in the file.
//!
//! Nothing here needs a rollback: every check precedes the first write.

use rusqlite::{CachedStatement, Connection, OptionalExtension, Row, params};

use super::super::series::{PageBuilder, add_series};
use super::super::{
    PointPage, PointRemoval, PointStore, RemovedPoints, ScanRange, StoreError, Written, as_i64,
};
use super::cache::{Cache, series_id};
use super::statements::{Statements, WriteError, query};
use super::store::SqliteStore;
use crate::ids::SeriesId;
use crate::model::{MetricKey, MetricValue, NewPoint, Point};

pub(super) fn put(
    statements: &mut Statements<'_>,
    cache: &mut Cache,
    points: &[NewPoint],
    keys_max: u64,
    is_atomic: bool,
) -> Result<Written, WriteError> {
    let mut ids = Vec::with_capacity(points.len());
    for new in points {
        ids.push(cache.series_id(statements, &new.key)?);
    }
    // Counted only if it matters.
    let count = if ids.contains(&None) { cache.series_count(statements)? } else { 0 };
    let remaining = keys_max.saturating_sub(count);
    let refused = add_series(points, &mut ids, remaining, is_atomic, |key| {
        statements.execute("INSERT INTO series (key) VALUES (?1)", [key.as_str()])?;
        let id = statements.last_insert_rowid();
        cache.add_series(key, id);
        Ok::<_, WriteError>(id)
    })?;
    let upsert = statements.get(UPSERT)?;
    for (id, NewPoint { point, .. }) in ids.iter().zip(points) {
        if let Some(id) = id {
            upsert.execute(params![id, point.timestamp, point.value.get()])?;
        }
    }
    Ok(Written::Put { refused })
}

pub(super) fn remove(
    statements: &mut Statements<'_>,
    cache: &mut Cache,
    PointRemoval { before, after, count_max }: PointRemoval,
) -> rusqlite::Result<RemovedPoints> {
    let count_max = count_max.max(1);
    let scanned: Vec<i64> = statements
        .get(SERIES_AFTER)?
        .query_map(params![after.0, as_i64(count_max)], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let (mut count, mut removed_keys) = (0, Vec::new());
    for id in &scanned {
        let removed = statements.execute(REMOVE_OLDEST, params![id, before, as_i64(count_max - count)])?;
        count += removed;
        let key = |row: &Row<'_>| Ok(MetricKey::from_store(row.get_ref(0)?.as_str()?));
        if let Some(key) = statements.get(REMOVE_IF_EMPTY)?.query_row([id], key).optional()? {
            cache.remove_series(&key);
            removed_keys.push(key);
        }
        if count == count_max {
            // It may have more old points.
            return Ok(RemovedPoints { count, next: Some(SeriesId(id - 1)), removed_keys });
        }
    }
    let next = scanned.last().filter(|_| scanned.len() == count_max);
    Ok(RemovedPoints { count, next: next.map(|id| SeriesId(*id)), removed_keys })
}

impl PointStore for SqliteStore {
    fn scan(&mut self, range: &ScanRange<'_>, count_max: usize) -> Result<PointPage, StoreError> {
        self.read(|connection| scan(connection, range, count_max))
    }
}

fn scan(connection: &Connection, range: &ScanRange<'_>, count_max: usize) -> rusqlite::Result<PointPage> {
    let mut page = PageBuilder::new(count_max);
    if let Some(key) = range.key {
        let Some(id) = series_id(connection, key)?.map(SeriesId).filter(|id| *id >= range.series) else {
            return Ok(page.finish(false));
        };
        let points = points_of(&mut query(connection, points_sql(range))?, range, id, page.rows_needed())?;
        let has_more = page.add(id, || key.clone(), points);
        return Ok(page.finish(has_more));
    }
    // The statements overlap and so see one state.
    let mut series = query(connection, SERIES_FROM)?;
    let mut of_series = query(connection, points_sql(range))?;
    let mut series = series.query([range.series.0])?;
    while let Some(row) = series.next()? {
        if page.is_full() {
            return Ok(page.finish(true));
        }
        let (id, key) = (SeriesId(row.get(0)?), row.get_ref(1)?.as_str()?);
        if !key.starts_with(range.prefix) {
            continue;
        }
        let points = points_of(&mut of_series, range, id, page.rows_needed())?;
        if page.add(id, || MetricKey::from_store(key), points) {
            return Ok(page.finish(true));
        }
    }
    Ok(page.finish(false))
}

fn points_sql(range: &ScanRange<'_>) -> &'static str {
    if range.is_latest { LATEST_OF } else { POINTS_OF }
}

fn points_of(
    of_series: &mut CachedStatement<'_>,
    range: &ScanRange<'_>,
    id: SeriesId,
    count_max: usize,
) -> rusqlite::Result<Vec<Point>> {
    of_series.query_map(params![id.0, range.from(id), range.to, as_i64(count_max)], point)?.collect()
}

fn point(row: &Row<'_>) -> rusqlite::Result<Point> {
    let value: f64 = row.get(1)?;
    // Only a foreign program can store another value.
    let value = MetricValue::new(value).ok_or(rusqlite::Error::IntegralValueOutOfRange(1, 0))?;
    Ok(Point { timestamp: row.get(0)?, value })
}

const UPSERT: &str = "INSERT INTO points (series, second, value) VALUES (?1, ?2, ?3)
    ON CONFLICT (series, second) DO UPDATE SET value = excluded.value";

const SERIES_FROM: &str = "SELECT id, key FROM series WHERE id >= ?1 ORDER BY id";
const SERIES_AFTER: &str = "SELECT id FROM series WHERE id > ?1 ORDER BY id LIMIT ?2";

const POINTS_OF: &str = "SELECT second, value FROM points WHERE series = ?1 AND second BETWEEN ?2 AND ?3
    ORDER BY second LIMIT ?4";

const LATEST_OF: &str = "SELECT second, value FROM points WHERE series = ?1 AND second BETWEEN ?2 AND ?3
    ORDER BY second DESC LIMIT min(1, ?4)";

const REMOVE_OLDEST: &str = "DELETE FROM points WHERE series = ?1 AND second <= (SELECT max(second) FROM
    (SELECT second FROM points WHERE series = ?1 AND second < ?2 ORDER BY second LIMIT ?3))";

const REMOVE_IF_EMPTY: &str = "DELETE FROM series
    WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM points WHERE series = ?1) RETURNING key";

/// Statements that must not scan a table.
#[cfg(test)]
pub(super) const STATEMENTS: [&str; 7] = [
    super::cache::SERIES_OF,
    SERIES_FROM,
    SERIES_AFTER,
    POINTS_OF,
    LATEST_OF,
    REMOVE_OLDEST,
    REMOVE_IF_EMPTY,
];
