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

/// The statements of one transaction. The connection's cache hashes the text of a statement each time that it is asked
/// for; these are asked for once.
pub(super) struct Statements<'c> {
    connection: &'c Connection,
    held: Vec<(&'static str, CachedStatement<'c>)>,
}

impl<'c> Statements<'c> {
    pub(super) fn new(connection: &'c Connection) -> Statements<'c> {
        Statements { connection, held: Vec::new() }
    }

    /// The statement `sql`, prepared.
    pub(super) fn get(&mut self, sql: &'static str) -> rusqlite::Result<&mut CachedStatement<'c>> {
        let index = match self.held.iter().position(|(text, _)| *text == sql) {
            Some(index) => index,
            None => {
                self.held.push((sql, query(self.connection, sql)?));
                self.held.len() - 1
            }
        };
        Ok(&mut self.held[index].1)
    }

    /// Like [`execute`].
    pub(super) fn execute(&mut self, sql: &'static str, parameters: impl Params) -> rusqlite::Result<usize> {
        self.get(sql)?.execute(parameters)
    }

    /// Like [`query_value`].
    pub(super) fn query_value<T: FromSql>(&mut self, sql: &'static str) -> rusqlite::Result<T> {
        self.get(sql)?.query_row([], |row| row.get(0))
    }

    /// The id of the row that was inserted last.
    pub(super) fn last_insert_rowid(&self) -> i64 {
        self.connection.last_insert_rowid()
    }
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
