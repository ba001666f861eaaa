//! The SQLite store: one file with a write-ahead log; every commit is synced to disk.
//!
//! This module opens the file and makes connections; [`writes`], [`reads`] and [`points`] use them. A new file
//! is readable by its owner only. SQL is constant text with parameters; triggers, views and functions in a
//! file's schema are never run. Other processes may open the same file.

mod access_tokens;
mod backup;
mod cache;
mod changes;
mod connection;
mod points;
mod reads;
mod schema;
mod served_file;
mod statements;
mod store;
#[cfg(test)]
mod tests;
mod ticket_lock;
mod transaction;
mod writes;

use std::fs::{self, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use super::changes::random_origin;
use super::{Store, StoreError, StoreFactory};
use crate::limits;
use crate::sys::owner;
pub(super) use backup::back_up;
use cache::Cache;
use connection::{connect, to_store_error};
use schema::OpenError;
use served_file::{FileLock, ServedFile};
use store::SqliteStore;
use ticket_lock::TicketLock;

/// Makes connections to one file.
pub(super) struct SqliteFactory {
    /// Absolute: independent of the working directory, and never parsed as a `file:` URI.
    path: PathBuf,
    ticket_lock: Arc<TicketLock>,
    served_file: Option<Arc<ServedFile>>,
    /// See [`SqliteStore`].
    origin: Option<i64>,
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
        let named = |why: String| format!("{}: {why}", path.display());
        for _ in 0..limits::SQLITE_OPEN_ATTEMPTS {
            match open(&path) {
                Ok(served_file) => {
                    let origin = served_file.is_none().then(random_origin);
                    return Ok(SqliteFactory { path, ticket_lock: Arc::default(), served_file, origin });
                }
                Err(OpenError::Refused(why)) => return Err(StoreError::Refused(named(why))),
                Err(OpenError::Failed(why)) => return Err(StoreError::Unavailable(named(why))),
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
        let check_file = || self.served_file.as_ref().map_or(Ok(()), |served_file| served_file.check_now());
        check_file()?;
        let connection = connect(&self.path, limits::SQLITE_BUSY_TIMEOUT).map_err(to_store_error)?;
        // The path may lead to another file by now.
        check_file()?;
        let (ticket_lock, served_file) = (Arc::clone(&self.ticket_lock), self.served_file.clone());
        let (cache, origin) = (Cache::default(), self.origin);
        Ok(Box::new(SqliteStore { connection, cache, ticket_lock, origin, served_file }))
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
        Err(error) => match error.kind() {
            ErrorKind::AlreadyExists => Ok(()),
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
                Err(OpenError::Failed(format!("make room on the disk ({error})")))
            }
            _ => Err(OpenError::Refused(format!(
                "{error}: its directory must exist and be writable for this user"
            ))),
        },
    }
}
