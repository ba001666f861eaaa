//! Helpers that run statements, and the error of one write.

use rusqlite::types::FromSql;
use rusqlite::{CachedStatement, Connection, Params};

use super::super::StoreError;

/// Why one write failed.
pub(super) enum WriteError {
    /// It is not allowed; the others go on.
    Refused(StoreError),
    /// An unexpected error of the database.
    Sqlite(rusqlite::Error),
}

/// Runs a statement without rows; returns the number of changed rows.
pub(super) fn execute(
    connection: &Connection,
    sql: &'static str,
    parameters: impl Params,
) -> rusqlite::Result<usize> {
    connection.prepare_cached(sql)?.execute(parameters)
}

pub(super) fn query<'c>(
    connection: &'c Connection,
    sql: &'static str,
) -> rusqlite::Result<CachedStatement<'c>> {
    connection.prepare_cached(sql)
}

/// Runs a statement with one row of one column.
pub(super) fn query_value<T: FromSql>(connection: &Connection, sql: &'static str) -> rusqlite::Result<T> {
    query(connection, sql)?.query_row([], |row| row.get(0))
}

impl From<StoreError> for WriteError {
    fn from(error: StoreError) -> WriteError {
        WriteError::Refused(error)
    }
}

impl From<rusqlite::Error> for WriteError {
    fn from(error: rusqlite::Error) -> WriteError {
        WriteError::Sqlite(error)
    }
}
