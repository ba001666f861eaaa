//! What a connection caches of one state of the file.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension};

use super::statements::{query, query_value};
use crate::limits;
use crate::model::MetricKey;

/// What a connection caches of one state of the file.
#[derive(Debug, Default)]
pub(super) struct Cache {
    series_ids: HashMap<MetricKey, i64>,
    /// The number of series, if it was needed.
    series: Option<u64>,
    /// The number of VMs, if it was needed.
    pub(super) vms: Option<u64>,
    /// SQLite's counter of commits by other connections, of any process.
    data_version: Option<i64>,
}

impl Cache {
    /// Clears the cache if another connection has written. In a transaction that writes none can until its end.
    pub(super) fn refresh(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let data_version = Some(query_value(connection, "PRAGMA data_version")?);
        if self.data_version != data_version {
            *self = Cache { data_version, ..Cache::default() };
        }
        Ok(())
    }

    pub(super) fn vm_count(&mut self, connection: &Connection) -> rusqlite::Result<u64> {
        count(&mut self.vms, connection, "SELECT count(*) FROM vms")
    }

    pub(super) fn series_count(&mut self, connection: &Connection) -> rusqlite::Result<u64> {
        count(&mut self.series, connection, "SELECT count(*) FROM series")
    }

    pub(super) fn series_id(
        &mut self,
        connection: &Connection,
        key: &MetricKey,
    ) -> rusqlite::Result<Option<i64>> {
        if let Some(id) = self.series_ids.get(key) {
            return Ok(Some(*id));
        }
        let id = series_id(connection, key)?;
        if let Some(id) = id {
            self.insert(key, id);
        }
        Ok(id)
    }

    pub(super) fn add_series(&mut self, key: &MetricKey, id: i64) {
        self.insert(key, id);
        self.series = self.series.map(|count| count + 1);
    }

    pub(super) fn remove_series(&mut self, key: &MetricKey) {
        self.series_ids.remove(key);
        self.series = self.series.map(|count| count.saturating_sub(1));
    }

    fn insert(&mut self, key: &MetricKey, id: i64) {
        if self.series_ids.len() as u64 >= limits::METRIC_KEYS_MAX {
            self.series_ids.clear();
        }
        self.series_ids.insert(key.clone(), id);
    }
}

/// The cached count, or else the one that `sql` selects.
fn count(cached: &mut Option<u64>, connection: &Connection, sql: &'static str) -> rusqlite::Result<u64> {
    match *cached {
        Some(count) => Ok(count),
        None => Ok(*cached.insert(query_value(connection, sql)?)),
    }
}

pub(super) fn series_id(connection: &Connection, key: &MetricKey) -> rusqlite::Result<Option<i64>> {
    query(connection, SERIES_OF)?.query_row([key.as_str()], |row| row.get(0)).optional()
}

pub(super) const SERIES_OF: &str = "SELECT id FROM series WHERE key = ?1";
