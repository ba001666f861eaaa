//! How writes run their statements, and how one of them ends early.

use rusqlite::{CachedStatement, Connection, Params};

use super::super::StoreError;

/// Why one write was not done.
pub(super) enum WriteError {
    /// It may not be; the others go on.
    Refused(StoreError),
    /// The database said something unexpected.
    Sqlite(rusqlite::Error),
}

/// Runs a statement that returns no rows; how many rows it changed.
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

/// A number as SQLite has it. One that does not fit was let through by somebody who should not have.
pub(super) fn sqlite_integer(number: u64) -> Result<i64, WriteError> {
    i64::try_from(number)
        .map_err(|error| WriteError::Sqlite(rusqlite::Error::ToSqlConversionFailure(error.into())))
}

pub(super) fn as_i64(limit: usize) -> i64 {
    i64::try_from(limit).expect("limits are small")
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
