//! The file that a server serves from: locked against a second server, and watched.
//!
//! SQLite goes on in a file that was removed or replaced, and nobody who comes later finds what it writes there. So
//! a server knows its file, and the log and the index beside it, by device and inode, and looks before each
//! commit, and now and then without one, whether the path still leads there.

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
use super::schema::OpenError;
use super::{connect, describe};
use crate::limits;
use crate::sys::process::effective_uid;

/// The file of one server. Fields drop in this order: SQLite's descriptors before the lock's.
pub(super) struct ServedFile {
    /// Keeps SQLite's log and index in place, which go with the last connection.
    connection: Mutex<Connection>,
    watched: Arc<WatchedFiles>,
    watcher: Option<JoinHandle<()>>,
    _lock: Option<FileLock>,
}

/// A lock on the file itself, whatever names lead to it. SQLite does not know it, and no tool takes it.
pub(super) struct FileLock {
    identity: FileIdentity,
    /// Closed, it drops all locks of SQLite that this process has on the file.
    file: Option<File>,
}

/// What a file is, whatever it is called.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct FileIdentity {
    device: u64,
    inode: u64,
}

/// The files, and whether their paths lead to them.
struct WatchedFiles {
    files: [(PathBuf, FileIdentity); 3],
    is_displaced: AtomicBool,
    /// Held while somebody looks, so that who looked later has the last word; true where nobody is to look any more.
    is_stopped: Mutex<bool>,
    stopped: Condvar,
}

/// The files that servers of this process hold. None of them is opened a second time but by SQLite: whoever closed
/// it again would drop SQLite's locks on it.
static SERVED_FILES: Mutex<BTreeSet<FileIdentity>> = Mutex::new(BTreeSet::new());

impl FileLock {
    /// Takes the lock on the file at `path`; `None`: that is no file to lock, and nothing for SQLite either.
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
    /// Keeps the file at `path`, which is a database by now and the one that is locked.
    pub(super) fn open(path: &Path, lock: Option<FileLock>) -> Result<ServedFile, OpenError> {
        let connection = connect(path, limits::SQLITE_OPEN_PAUSE)?;
        // The first that is read makes the log and the index, and opens them.
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0))?;
        let failed = |error: io::Error| OpenError::Failed(format!("check the file and its disk ({error})"));
        // SQLite has them beside the file itself, not beside a link to it.
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

    /// Looks whether the path leads to the file now.
    pub(super) fn check_now(&self) -> Result<(), StoreError> {
        self.watched.check(&self.watched.lock());
        self.check_last()
    }

    /// Whether it did when somebody looked last.
    pub(super) fn check_last(&self) -> Result<(), StoreError> {
        match self.watched.is_displaced.load(Ordering::Acquire) {
            false => Ok(()),
            true => Err(StoreError::Unavailable("the file was removed or replaced".to_owned())),
        }
    }
}

impl Drop for ServedFile {
    /// Takes the log into the database: who copies the file then has everything.
    fn drop(&mut self) {
        *self.watched.lock() = true;
        self.watched.stopped.notify_all();
        if let Some(Err(_)) = self.watcher.take().map(JoinHandle::join) {
            log::error!("the thread that looks after the file has panicked");
        }
        let path = self.watched.files[0].0.display();
        let connection = self.connection.get_mut().unwrap_or_else(PoisonError::into_inner);
        let is_busy =
            connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, bool>(0));
        match is_busy {
            Ok(false) => {}
            Ok(true) => log::warn!("{path}: another process uses it: what was written last is in {path}-wal"),
            Err(error) => log::error!("{path}: what was written last is in {path}-wal: {}", describe(&error)),
        }
    }
}

impl WatchedFiles {
    /// A thread's life.
    fn watch(&self) {
        let mut is_stopped = self.lock();
        while !*is_stopped {
            self.check(&is_stopped);
            let waited = self.stopped.wait_timeout(is_stopped, limits::SQLITE_LOOK_INTERVAL);
            (is_stopped, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Says in the log when it finds another answer than the last time.
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

    /// What `path` leads to.
    fn at(path: &Path) -> Option<FileIdentity> {
        fs::metadata(path).ok().map(|metadata| FileIdentity::of(&metadata))
    }
}

fn served_files() -> MutexGuard<'static, BTreeSet<FileIdentity>> {
    SERVED_FILES.lock().unwrap_or_else(PoisonError::into_inner)
}
