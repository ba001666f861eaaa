//! Reads the files that settings name.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::limits;

/// Reads the whole file `path`, of at most [`limits::SETTINGS_FILE_BYTES_MAX`] bytes.
pub fn read_settings_file(path: &Path) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(limits::SETTINGS_FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limits::SETTINGS_FILE_BYTES_MAX {
        return Err(io::Error::other(format!("it has more than {} bytes", limits::SETTINGS_FILE_BYTES_MAX)));
    }
    Ok(bytes)
}
