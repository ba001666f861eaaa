//! Copies the file as of one moment, while servers and tools may write to it.
//!
//! SQLite reads one state and writes it without deleted rows. The copy gets its name only when it is complete
//! and synced.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::super::{Interrupt, StoreError};
use super::connection::{connect, to_store_error};
use crate::limits;
use crate::sys::owner;

/// Copies the database at `from` to `to`, which must not exist. `on_start` receives a handle that interrupts
/// the copy.
pub(in super::super) fn back_up(
    from: &Path,
    to: &Path,
    on_start: impl FnOnce(Interrupt),
) -> Result<(), StoreError> {
    let refused = |path: &Path, error: io::Error| StoreError::Refused(format!("{}: {error}", path.display()));
    // Absolute: never parsed as a `file:` URI.
    let from = std::path::absolute(from).map_err(|error| refused(from, error))?;
    let to = std::path::absolute(to).map_err(|error| refused(to, error))?;
    let connection = connect(&from, limits::SQLITE_BUSY_TIMEOUT).map_err(to_store_error)?;
    // Reserves the name; it never names an incomplete copy.
    let claim = NewFile::new(to.clone()).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            StoreError::Refused(format!("{} exists: a backup never takes a file's place", to.display()))
        }
        _ => refused(&to, error),
    })?;
    let mut name = OsString::from(&to);
    name.push(".partial");
    let partial = NewFile::new(name.into()).map_err(|error| {
        StoreError::Refused(format!("{}.partial, where the copy is made: {error}", to.display()))
    })?;
    let failed = |error: io::Error| StoreError::Unavailable(format!("{}: {error}", to.display()));
    fs::metadata(&from).and_then(|of| owner::copy_owner(&partial.file, &of)).map_err(failed)?;
    let text = partial.path.to_str();
    let text = text.ok_or_else(|| StoreError::Refused(format!("{}: it must be UTF-8", to.display())))?;
    let handle = connection.get_interrupt_handle();
    on_start(Box::new(move || handle.interrupt()));
    connection.execute("VACUUM INTO ?1", [text]).map_err(to_store_error)?;
    partial.file.sync_all().map_err(failed)?;
    fs::rename(&partial.path, &to).map_err(failed)?;
    // Both names lead to the copy now, or to nothing.
    partial.keep();
    claim.keep();
    let directory = to.parent().unwrap_or(Path::new("/"));
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed)
}

/// A new file that only its owner can read; removed on drop unless kept.
struct NewFile {
    path: PathBuf,
    file: File,
    is_kept: bool,
}

impl NewFile {
    fn new(path: PathBuf) -> io::Result<NewFile> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        Ok(NewFile { path, file, is_kept: false })
    }

    fn keep(mut self) {
        self.is_kept = true;
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if self.is_kept {
            return;
        }
        if let Err(error) = fs::remove_file(&self.path) {
            log::error!("{} could not be removed: {error}", self.path.display());
        }
    }
}
