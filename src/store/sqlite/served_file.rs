//! The database file of a server: locked against a second server, and monitored.
//!
//! SQLite goes on writing to a file that was removed or replaced, and those writes would be lost. So a server
//! remembers the device and inode of the file, its log and its index, and checks before each commit and
//! periodically whether the paths still lead to them.

use std::collections::BTreeSet;
use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use rusqlite::Connection;

use super::super::StoreError;
use super::connection::{connect, describe};
use super::schema::OpenError;
use crate::limits;
use crate::sys::process::effective_uid;

/// The file of one server. Fields drop in this order: SQLite's descriptors before the lock's.
pub(super) struct ServedFile {
    /// Keeps SQLite's log and index in place: the last connection would delete them.
    connection: Mutex<Connection>,
    watched: Arc<WatchedFiles>,
    watcher: Option<JoinHandle<()>>,
    _lock: Option<FileLock>,
}

/// A lock on the file itself, under any name. SQLite and its tools do not use it.
pub(super) struct FileLock {
    identity: FileIdentity,
    /// Closing it drops all of SQLite's locks that this process has on the file.
    file: Option<File>,
}

/// The identity of a file, independent of its names.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct FileIdentity {
    device: u64,
    inode: u64,
}

/// The files, and whether their paths still lead to them.
struct WatchedFiles {
    files: [(PathBuf, FileIdentity); 3],
    is_displaced: AtomicBool,
    /// Held during a check, so that the latest check wins; true at shutdown.
    is_stopped: Mutex<bool>,
    stopped: Condvar,
}

/// The files that servers of this process use. Only SQLite may open one of them again: closing another
/// descriptor would drop SQLite's locks.
static SERVED_FILES: Mutex<BTreeSet<FileIdentity>> = Mutex::new(BTreeSet::new());

impl FileLock {
    /// Locks the file at `path`; `None` if it is not a regular file.
    pub(super) fn take(path: &Path) -> Result<Option<FileLock>, OpenError> {
        let failed = |error: io::Error| {
            OpenError::Refused(format!("{error}: it must be readable and writable for this user"))
        };
        let in_use = || {
            let why =
                "another vmherd serves from this file: stop it, or use another file with --store sqlite:PATH";
            OpenError::Failed(why.to_owned())
        };
        let metadata = fs::metadata(path).map_err(failed)?;
        if !metadata.is_file() {
            return Ok(None);
        }
        let mut held = served_files();
        if held.contains(&FileIdentity::of(&metadata)) {
            return Err(in_use());
        }
        let file = File::open(path).map_err(|error| {
            let (owner, own) = (metadata.uid(), effective_uid());
            let why =
                format!("{error}: it belongs to user {owner}, and this process to user {own}: see chown");
            OpenError::Refused(why)
        })?;
        let identity = FileIdentity::of(&file.metadata().map_err(failed)?);
        if held.contains(&identity) {
            std::mem::forget(file);
            return Err(in_use());
        }
        match file.try_lock() {
            Ok(()) => {
                held.insert(identity);
                Ok(Some(FileLock { identity, file: Some(file) }))
            }
            Err(TryLockError::WouldBlock) => Err(in_use()),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        let mut held = served_files();
        self.file = None;
        held.remove(&self.identity);
    }
}

impl ServedFile {
    /// Opens the database at `path`, which exists and is locked.
    pub(super) fn open(path: &Path, lock: Option<FileLock>) -> Result<ServedFile, OpenError> {
        let connection = connect(path, limits::SQLITE_OPEN_PAUSE)?;
        // The first read creates and opens the log and the index.
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0))?;
        let failed = |error: io::Error| OpenError::Failed(format!("check the file and its disk ({error})"));
        // They are next to the file itself, not next to a symbolic link.
        let real = fs::canonicalize(path).map_err(failed)?;
        let beside = |suffix: &str| {
            let mut name = real.clone().into_os_string();
            name.push(suffix);
            PathBuf::from(name)
        };
        let file = |path: PathBuf| {
            let metadata = fs::metadata(&path).map_err(failed)?;
            Ok::<_, OpenError>((path, FileIdentity::of(&metadata)))
        };
        let files = [file(path.to_owned())?, file(beside("-wal"))?, file(beside("-shm"))?];
        if lock.as_ref().is_some_and(|lock| lock.identity != files[0].1) {
            return Err(OpenError::Failed("the file was replaced while it was opened: try again".to_owned()));
        }
        let watched = Arc::new(WatchedFiles {
            files,
            is_displaced: AtomicBool::new(false),
            is_stopped: Mutex::new(false),
            stopped: Condvar::new(),
        });
        let watcher_files = Arc::clone(&watched);
        let watcher = thread::Builder::new()
            .name("vmherd-file".into())
            .stack_size(limits::WORKER_STACK_BYTES)
            .spawn(move || watcher_files.watch())
            .map_err(failed)?;
        Ok(ServedFile { connection: Mutex::new(connection), watched, watcher: Some(watcher), _lock: lock })
    }

    /// Checks now whether the path leads to the file.
    pub(super) fn check_now(&self) -> Result<(), StoreError> {
        self.watched.check(&self.watched.lock());
        self.check_last()
    }

    /// The result of the latest check.
    pub(super) fn check_last(&self) -> Result<(), StoreError> {
        match self.watched.is_displaced.load(Ordering::Acquire) {
            false => Ok(()),
            true => Err(StoreError::Unavailable("the file was removed or replaced".to_owned())),
        }
    }
}

impl Drop for ServedFile {
    /// Moves the log into the database, so that a copy of the file is complete.
    fn drop(&mut self) {
        *self.watched.lock() = true;
        self.watched.stopped.notify_all();
        if let Some(Err(_)) = self.watcher.take().map(JoinHandle::join) {
            log::error!("the thread that monitors the file has panicked");
        }
        let path = self.watched.files[0].0.display();
        let connection = self.connection.get_mut().unwrap_or_else(PoisonError::into_inner);
        let is_busy =
            connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, bool>(0));
        match is_busy {
            Ok(false) => {}
            Ok(true) => log::warn!("{path}: another process uses it: the latest writes are in {path}-wal"),
            Err(error) => log::error!("{path}: the latest writes are in {path}-wal: {}", describe(&error)),
        }
    }
}

impl WatchedFiles {
    /// Checks periodically until stopped.
    fn watch(&self) {
        let mut is_stopped = self.lock();
        while !*is_stopped {
            self.check(&is_stopped);
            let waited = self.stopped.wait_timeout(is_stopped, limits::SQLITE_FILE_CHECK_INTERVAL);
            (is_stopped, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Logs a change since the last check.
    fn check(&self, _lock: &MutexGuard<'_, bool>) {
        let displaced = self.files.iter().find(|(path, identity)| FileIdentity::at(path) != Some(*identity));
        let was_away = self.is_displaced.swap(displaced.is_some(), Ordering::AcqRel);
        match displaced {
            Some((path, FileIdentity { device, inode })) if !was_away => log::error!(
                "{} was removed or replaced: it is not the file any more that this server has open (device {device}, \
                 inode {inode}); the store is unavailable until that is back",
                path.display()
            ),
            None if was_away => log::info!("{} is the same file again", self.files[0].0.display()),
            _ => {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        self.is_stopped.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FileIdentity {
    fn of(metadata: &fs::Metadata) -> FileIdentity {
        FileIdentity { device: metadata.dev(), inode: metadata.ino() }
    }

    /// The identity of the file at `path`.
    fn at(path: &Path) -> Option<FileIdentity> {
        fs::metadata(path).ok().map(|metadata| FileIdentity::of(&metadata))
    }
}

fn served_files() -> MutexGuard<'static, BTreeSet<FileIdentity>> {
    SERVED_FILES.lock().unwrap_or_else(PoisonError::into_inner)
}
