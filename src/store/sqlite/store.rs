//! A connection of one user.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Params, Row};

use super::super::StoreError;
use super::cache::Cache;
use super::connection::to_store_error;
use super::served_file::ServedFile;
use super::statements::query;
use super::ticket_lock::TicketLock;

/// One connection to the file.
pub(super) struct SqliteStore {
    pub(super) connection: Connection,
    pub(super) cache: Cache,
    pub(super) ticket_lock: Arc<TicketLock>,
    /// The number of this process in the changes that it records for the server that uses the file; `None`: this is
    /// that server, which records none.
    pub(super) origin: Option<i64>,
    /// Set if a server uses the file.
    pub(super) served_file: Option<Arc<ServedFile>>,
}

impl SqliteStore {
    pub(super) fn read<T>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        self.served_file.as_ref().map_or(Ok(()), |served_file| served_file.check_last())?;
        read(&self.connection).map_err(to_store_error)
    }

    /// Reads one row, if there is one.
    pub(super) fn read_row<T>(
        &self,
        sql: &'static str,
        parameters: impl Params,
        convert: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, StoreError> {
        self.read(|connection| query(connection, sql)?.query_row(parameters, convert).optional())
    }
}
