//! The lines of earlier consoles, in a file that only its user can read.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;

use crate::limits;
use crate::settings::own_folder;

/// The file, if it can be used. A console works without.
pub struct HistoryFile(Option<File>);

impl HistoryFile {
    /// Opens the file. Its last lines, the oldest first.
    pub fn open() -> (HistoryFile, Vec<String>) {
        open()
            .map_or_else(|| (HistoryFile(None), Vec::new()), |(file, lines)| (HistoryFile(Some(file)), lines))
    }

    /// Adds a line. In one write: other consoles may add theirs.
    pub fn append(&mut self, line: &str) {
        if let Some(file) = &mut self.0
            && file.write_all(format!("{line}\n").as_bytes()).is_err()
        {
            self.0 = None;
        }
    }
}

/// Whether a line may be kept: one that may hold a secret is not.
pub fn may_keep(line: &str) -> bool {
    let line = line.to_ascii_lowercase();
    !line.contains('\n') && ["password", "token", "secret"].iter().all(|word| !line.contains(word))
}

fn open() -> Option<(File, Vec<String>)> {
    let folder = own_folder().ok()?;
    DirBuilder::new().recursive(true).mode(0o700).create(&folder).ok()?;
    let path: PathBuf = folder.join("history");
    let open = || OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(&path);
    let mut text = String::new();
    // A file that is no text is none of ours.
    open().ok()?.take(limits::HISTORY_BYTES_MAX).read_to_string(&mut text).ok()?;
    let lines: Vec<&str> = text.lines().collect();
    let kept = &lines[lines.len().saturating_sub(limits::HISTORY_LINES_MAX)..];
    if lines.len() > 2 * limits::HISTORY_LINES_MAX {
        let new = path.with_extension("new");
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new).ok()?;
        file.write_all(format!("{}\n", kept.join("\n")).as_bytes()).ok()?;
        fs::rename(&new, &path).ok()?;
    }
    let kept = kept.iter().map(|line| (*line).to_owned()).collect();
    Some((open().ok()?, kept))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_may_hold_a_secret_are_not_kept() {
        assert!(may_keep("vms --format json"));
        for line in ["raw '{\"Password\": 1}'", "raw token", "x\ny"] {
            assert!(!may_keep(line), "{line}");
        }
    }
}
