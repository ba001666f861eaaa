//! A transaction that writes, and what the errors in it mean.

use rusqlite::{Connection, ErrorCode};

use super::super::StoreError;
use super::connection::describe;
use super::statements::execute;

/// An open transaction. Dropping it, also by a panic, rolls it back.
pub(super) struct Transaction<'c>(&'c Connection);

impl<'c> Transaction<'c> {
    /// IMMEDIATE takes the write lock at once: what is checked cannot change before it is used, and nothing later waits
    /// for a lock.
    pub(super) fn begin(connection: &'c Connection) -> rusqlite::Result<Transaction<'c>> {
        execute(connection, "BEGIN IMMEDIATE", []).map(|_| Transaction(connection))
    }

    pub(super) fn commit(self) -> rusqlite::Result<()> {
        execute(self.0, "COMMIT", []).map(drop)
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if !self.0.is_autocommit()
            && let Err(error) = execute(self.0, "ROLLBACK", [])
        {
            log::warn!("a rollback failed: {}", describe(&error));
        }
    }
}

/// Whether `error` concerns the disk, the file or a lock, and not the data of one write.
pub(super) fn is_store_failure(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(
            ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::DiskFull
                | ErrorCode::SystemIoFailure
                | ErrorCode::DatabaseCorrupt
                | ErrorCode::NotADatabase
                | ErrorCode::CannotOpen
                | ErrorCode::ReadOnly
                | ErrorCode::PermissionDenied
                | ErrorCode::FileLockingProtocolFailed
                | ErrorCode::OutOfMemory
        )
    )
}

/// What a failed COMMIT means.
///
/// SQLite appends the changed pages to its log, the last one marked as the commit, syncs the log, and
/// only then moves the end of the log in the index that all processes share. Whatever fails, it rolls
/// back (and what it leaves open, dropping the transaction does): no reader sees the changes then. But if
/// the sync or something after it failed, the mark may be in the log already. As long as a process has
/// the file open, that is harmless: the next commit writes over it. After a crash before that, recovery
/// reads the log itself, finds the mark in order, and the changes are there. So the outcome is unknown.
/// It is certain only where the mark can't have been written: the disk was full (only writing says so,
/// and the mark is written last; a sync that finds no room reports an I/O error), or a lock was missing.
pub(super) fn to_commit_error(error: &rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Busy,
        Some(ErrorCode::DiskFull) => StoreError::Unavailable(describe(error)),
        _ => StoreError::OutcomeUnknown(describe(error)),
    }
}
