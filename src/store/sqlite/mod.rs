//! The SQLite store: one file with a write-ahead log; every commit is synced to disk.
//!
//! This module opens the file and makes connections; [`writes`], [`reads`] and [`points`] use them. A new file
//! is readable by its owner only. SQL is constant text with parameters; triggers, views and functions in a
//! file's schema are never run. Other processes may open the same file.

mod backup;
mod points;
mod reads;
mod schema;
mod served_file;
mod statements;
#[cfg(test)]
mod tests;
mod ticket_lock;
mod writes;

use std::fs::{self, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::{
    PointPage, PointPosition, PointRemoval, PointStore, RegistryStore, RemovedPoints, Store, StoreError,
    StoreFactory, VmPage, Write, WriteOutcome,
};
use crate::clock::UnixSeconds;
use crate::ids::{DiskId, VmId};
use crate::limits;
use crate::model::{Credentials, DiskOfVm, Login, PointFilter, TokenHash, Vm, VmName};
use crate::sys::owner;
pub(super) use backup::back_up;
use schema::OpenError;
use served_file::{FileLock, ServedFile};
use ticket_lock::TicketLock;

/// Makes connections to one file.
pub(super) struct SqliteFactory {
    /// Absolute: independent of the working directory, and never parsed as a `file:` URI.
    path: PathBuf,
    ticket_lock: Arc<TicketLock>,
    served_file: Option<Arc<ServedFile>>,
}

/// One connection to the file.
struct SqliteStore {
    connection: Connection,
    cache: writes::Cache,
    ticket_lock: Arc<TicketLock>,
    /// Set if a server uses the file.
    served_file: Option<Arc<ServedFile>>,
}

impl SqliteFactory {
    /// Opens the file at `path`; creates or migrates it if necessary.
    pub(super) fn open(path: &Path) -> Result<SqliteFactory, StoreError> {
        SqliteFactory::open_with(path, |path| prepare(path).map(|()| None))
    }

    /// Like [`SqliteFactory::open`], for a server: locks the file against other servers, and refuses reads
    /// and writes when it is no longer at `path`.
    pub(super) fn open_exclusive(path: &Path) -> Result<SqliteFactory, StoreError> {
        SqliteFactory::open_with(path, |path| {
            create(path)?;
            let lock = FileLock::take(path)?;
            prepare(path)?;
            ServedFile::open(path, lock).map(|served_file| Some(Arc::new(served_file)))
        })
    }

    fn open_with(
        path: &Path,
        open: impl Fn(&Path) -> Result<Option<Arc<ServedFile>>, OpenError>,
    ) -> Result<SqliteFactory, StoreError> {
        let path = std::path::absolute(path)
            .map_err(|error| StoreError::Refused(format!("{}: {error}", path.display())))?;
        for _ in 0..limits::SQLITE_OPEN_ATTEMPTS {
            match open(&path) {
                Ok(served_file) => {
                    return Ok(SqliteFactory { path, ticket_lock: Arc::default(), served_file });
                }
                Err(OpenError::Refused(why)) => {
                    return Err(StoreError::Refused(format!("{}: {why}", path.display())));
                }
                Err(OpenError::Failed(why)) => {
                    return Err(StoreError::Unavailable(format!("{}: {why}", path.display())));
                }
                // While another process makes the file or switches it to WAL, SQLite reports locks
                // without waiting for them: its waits could be for each other.
                Err(OpenError::Busy) => thread::sleep(limits::SQLITE_OPEN_PAUSE),
            }
        }
        Err(StoreError::Busy)
    }
}

impl StoreFactory for SqliteFactory {
    fn connect(&self) -> Result<Box<dyn Store>, StoreError> {
        // Without CREATE: a removed file is an error, not a new, empty store.
        let look = || self.served_file.as_ref().map_or(Ok(()), |served_file| served_file.check_now());
        look()?;
        let connection = connect(&self.path, limits::SQLITE_BUSY_TIMEOUT).map_err(to_store_error)?;
        // The path may lead to another file by now.
        look()?;
        let (cache, ticket_lock, served_file) =
            (writes::Cache::default(), Arc::clone(&self.ticket_lock), self.served_file.clone());
        Ok(Box::new(SqliteStore { connection, cache, ticket_lock, served_file }))
    }
}

impl SqliteStore {
    fn read<T>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        self.served_file.as_ref().map_or(Ok(()), |served_file| served_file.check_last())?;
        read(&self.connection).map_err(to_store_error)
    }
}

impl Store for SqliteStore {
    fn write(&mut self, writes: &[Write]) -> Vec<WriteOutcome> {
        let _guard = self.ticket_lock.lock();
        writes::write(&self.connection, self.served_file.as_deref(), &mut self.cache, writes)
    }

    fn remove_points(&mut self, removal: PointRemoval) -> Result<RemovedPoints, StoreError> {
        let _guard = self.ticket_lock.lock();
        let served_file = self.served_file.as_deref();
        writes::remove_points(&self.connection, served_file, &mut self.cache, removal)
    }

    fn registry(&mut self) -> &mut dyn RegistryStore {
        self
    }

    fn points(&mut self) -> &mut dyn PointStore {
        self
    }
}

impl RegistryStore for SqliteStore {
    fn ping(&mut self) -> Result<(), StoreError> {
        self.read(reads::ping)
    }

    fn credentials(&mut self, name: &VmName) -> Result<Option<Credentials>, StoreError> {
        self.read(|connection| reads::credentials(connection, name))
    }

    fn credentials_by_id(&mut self, id: VmId) -> Result<Option<Credentials>, StoreError> {
        self.read(|connection| reads::credentials_by_id(connection, id))
    }

    fn password_hash_prefixes(&mut self, count_max: usize) -> Result<Vec<String>, StoreError> {
        self.read(|connection| reads::password_hash_starts(connection, count_max))
    }

    fn token_owner(&mut self, token: &TokenHash, now: UnixSeconds) -> Result<Option<Login>, StoreError> {
        self.read(|connection| reads::token_owner(connection, token, now))
    }

    fn begin_reads(&mut self) {
        reads::begin_snapshot(&self.connection);
    }

    fn end_reads(&mut self) {
        reads::end_snapshot(&self.connection);
    }

    fn is_current(&mut self, login: &Login) -> Result<bool, StoreError> {
        self.read(|connection| reads::is_current(connection, login))
    }

    fn vms_after(&mut self, after: VmId, rows_max: usize) -> Result<VmPage, StoreError> {
        self.read(|connection| reads::vms_after(connection, after, rows_max))
    }

    fn ever_connected_after(&mut self, after: VmId, rows_max: usize) -> Result<VmPage, StoreError> {
        self.read(|connection| reads::ever_connected_after(connection, after, rows_max))
    }

    fn vms(&mut self, ids: &[VmId]) -> Result<Vec<Vm>, StoreError> {
        self.read(|connection| reads::vms(connection, ids))
    }

    fn disks_after(&mut self, after: DiskId, count_max: usize) -> Result<Vec<DiskOfVm>, StoreError> {
        self.read(|connection| reads::disks_after(connection, after, count_max))
    }
}

impl PointStore for SqliteStore {
    fn points_after(
        &mut self,
        filter: &PointFilter,
        after: Option<PointPosition>,
        count_max: usize,
    ) -> Result<PointPage, StoreError> {
        self.read(|connection| points::points_after(connection, filter, after, count_max))
    }
}

/// Creates the file if necessary and migrates it.
fn prepare(path: &Path) -> Result<(), OpenError> {
    create(path)?;
    let mut connection = connect(path, limits::SQLITE_OPEN_PAUSE)?;
    // SQLite silently opens a file read-only if it cannot write to it.
    if connection.is_readonly("main")? {
        return Err(OpenError::Refused("the file must be writable for this user".to_owned()));
    }
    schema::migrate(&mut connection, path)
}

/// Creates an empty file that only its owner can read, unless it exists. SQLite gives its log and index the
/// same mode.
fn create(path: &Path) -> Result<(), OpenError> {
    // The system drops all locks of a process on a file when the process closes any descriptor of it. So an
    // existing file is not touched, and no other thread may open the new one before its descriptor is
    // closed.
    static CREATING: Mutex<()> = Mutex::new(());
    let _guard = CREATING.lock().unwrap_or_else(PoisonError::into_inner);
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        // A file that root creates in the daemon's directory must belong to the daemon's user.
        Ok(file) => path.parent().map_or(Ok(()), |directory| {
            let given = fs::metadata(directory).and_then(|of| owner::copy_owner(&file, &of));
            given.map_err(|error| {
                OpenError::Refused(format!("the file can't be given to its directory's owner: {error}"))
            })
        }),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) if is_out_of_room(&error) => {
            Err(OpenError::Failed(format!("make room on the disk ({error})")))
        }
        Err(error) => Err(OpenError::Refused(format!(
            "{error}: its directory must exist and be writable for this user"
        ))),
    }
}

fn is_out_of_room(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

/// A connection to an existing file, with all per-connection settings.
fn connect(path: &Path, busy: Duration) -> rusqlite::Result<Connection> {
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
fn to_store_error(error: rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Busy,
        _ => StoreError::Unavailable(describe(&error)),
    }
}

/// Formats an error for the log; the extended code identifies the I/O error.
fn describe(error: &rusqlite::Error) -> String {
    match error.sqlite_error() {
        Some(code) => format!("{error} (SQLite result code {})", code.extended_code),
        None => error.to_string(),
    }
}
