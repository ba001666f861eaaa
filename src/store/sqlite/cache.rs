//! What a connection caches of one state of the file.

use std::collections::HashMap;

use rusqlite::types::FromSql;
use rusqlite::{Connection, OptionalExtension};

use super::statements::{Statements, query, query_value};
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
    /// The highest id that a VM ever had, if it was needed; 0: there was none.
    last_vm: Option<i64>,
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

    pub(super) fn vm_count(&mut self, statements: &mut Statements<'_>) -> rusqlite::Result<u64> {
        cached(&mut self.vms, statements, "SELECT count(*) FROM vms")
    }

    pub(super) fn last_vm(&mut self, statements: &mut Statements<'_>) -> rusqlite::Result<i64> {
        cached(&mut self.last_vm, statements, LAST_VM)
    }

    pub(super) fn add_vm(&mut self, id: i64) {
        self.last_vm = Some(id);
        self.vms = self.vms.map(|count| count + 1);
    }

    pub(super) fn remove_vm(&mut self) {
        self.vms = self.vms.map(|count| count.saturating_sub(1));
    }

    pub(super) fn series_count(&mut self, statements: &mut Statements<'_>) -> rusqlite::Result<u64> {
        cached(&mut self.series, statements, "SELECT count(*) FROM series")
    }

    pub(super) fn series_id(
        &mut self,
        statements: &mut Statements<'_>,
        key: &MetricKey,
    ) -> rusqlite::Result<Option<i64>> {
        if let Some(id) = self.series_ids.get(key) {
            return Ok(Some(*id));
        }
        let id = statements.get(SERIES_OF)?.query_row([key.as_str()], |row| row.get(0)).optional()?;
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

/// The cached number, or else the one that `sql` selects.
fn cached<T: Copy + FromSql>(
    cached: &mut Option<T>,
    statements: &mut Statements<'_>,
    sql: &'static str,
) -> rusqlite::Result<T> {
    match *cached {
        Some(number) => Ok(number),
        None => Ok(*cached.insert(statements.query_value(sql)?)),
    }
}

pub(super) fn series_id(connection: &Connection, key: &MetricKey) -> rusqlite::Result<Option<i64>> {
    query(connection, SERIES_OF)?.query_row([key.as_str()], |row| row.get(0)).optional()
}

pub(super) const SERIES_OF: &str = "SELECT id FROM series WHERE key = ?1";

/// What SQLite looks at for the next id.
const LAST_VM: &str = "SELECT max(coalesce((SELECT max(id) FROM vms), 0),
    coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'vms'), 0))";
