//! Opens connections to the file, and converts SQLite's errors.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::super::StoreError;
use crate::limits;

/// A connection to an existing file, with all per-connection settings.
pub(super) fn connect(path: &Path, busy: Duration) -> rusqlite::Result<Connection> {
    // NO_MUTEX: the borrow checker ensures that one thread at a time uses a connection.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(busy)?;
    connection.set_prepared_statement_cache_capacity(limits::SQLITE_STATEMENTS_CACHED);

    // A file that others can write must not run code here: no triggers, views or functions of its schema. A
    // misspelled quoted identifier is an error, not a string.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DDL, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY, true)?;
    // Query plans do not depend on parameters; otherwise statements are recompiled for new ones.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;

    // FULL: a commit returns when the log is on disk.
    connection.pragma_update(None, "synchronous", "FULL")?;
    // Negative: KiB instead of pages.
    connection.pragma_update(None, "cache_size", -limits::SQLITE_CACHE_KIB)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    // Overwrite old password hashes in pages that are written anyway.
    connection.pragma_update(None, "secure_delete", "FAST")?;
    connection.pragma_update(None, "cell_size_check", true)?;
    connection.pragma_update(None, "journal_size_limit", limits::SQLITE_WAL_BYTES_KEPT)?;
    Ok(connection)
}

/// Converts an error of an operation that changed nothing.
pub(super) fn to_store_error(error: rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Busy,
        _ => StoreError::Unavailable(describe(&error)),
    }
}

/// Formats an error for the log; the extended code identifies the I/O error.
pub(super) fn describe(error: &rusqlite::Error) -> String {
    match error.sqlite_error() {
        Some(code) => format!("{error} (SQLite result code {})", code.extended_code),
        None => error.to_string(),
    }
}
