//! The bounded log of a VM's serial console, which stays when the VM ends.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::ids::ContainerId;
use crate::limits;

/// Two files: `ID.log`, and before it `ID.log.1`.
pub(super) struct SerialLog {
    path: PathBuf,
    file: Option<File>,
    /// Bytes in the file.
    length: u64,
}

impl SerialLog {
    /// Opens the log of the VM `id` in `directory`. If that fails nothing is logged, and a line says why.
    pub(super) fn open(directory: &Path, id: ContainerId) -> SerialLog {
        let mut log = SerialLog { path: log_path(directory, id), file: None, length: 0 };
        log.open_file();
        log
    }

    /// Adds what the guest has written.
    pub(super) fn append(&mut self, bytes: &[u8]) {
        if self.file.is_some() && self.length + bytes.len() as u64 > limits::SERIAL_LOG_BYTES {
            self.file = None;
            match fs::rename(&self.path, older(&self.path)) {
                Ok(()) => self.open_file(),
                Err(error) => self.fail(&error),
            }
        }
        let Some(file) = &mut self.file else { return };
        match file.write_all(bytes) {
            Ok(()) => self.length += bytes.len() as u64,
            Err(error) => {
                self.file = None;
                self.fail(&error);
            }
        }
    }

    /// The last lines, at most `count`.
    pub(super) fn last_lines(&self, count: usize) -> Vec<String> {
        let read = |path: &Path| fs::read(path).unwrap_or_default();
        let text = [read(&older(&self.path)), read(&self.path)].concat();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
        lines[lines.len().saturating_sub(count)..].iter().map(|line| (*line).to_owned()).collect()
    }

    fn open_file(&mut self) {
        let opened = OpenOptions::new().create(true).append(true).mode(0o600).open(&self.path);
        match opened.and_then(|file| Ok((file.metadata()?.len(), file))) {
            Ok((length, file)) => (self.file, self.length) = (Some(file), length),
            Err(error) => self.fail(&error),
        }
    }

    fn fail(&self, error: &io::Error) {
        log::warn!("the serial console is not logged any more, in {}: {error}", self.path.display());
    }
}

/// The newer file of the log of `id`.
fn log_path(directory: &Path, id: ContainerId) -> PathBuf {
    directory.join(format!("{id}.log"))
}

/// The file before the one at `path`.
fn older(path: &Path) -> PathBuf {
    path.with_extension("log.1")
}

/// Removes the oldest logs of VMs that have ended, so that `kept` are left. A VM has ended if it has no directory in
/// `vms_dir`.
pub(super) fn remove_old(directory: &Path, vms_dir: &Path, kept: usize) -> io::Result<()> {
    let mut logs: Vec<(SystemTime, PathBuf)> = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let is_newer = path.extension() == Some(OsStr::new("log"));
        let has_ended = |stem: &OsStr| !vms_dir.join(stem).exists();
        if is_newer && path.file_stem().is_some_and(has_ended) {
            logs.push((fs::metadata(&path)?.modified()?, path));
        }
    }
    logs.sort();
    for (_, path) in &logs[..logs.len().saturating_sub(kept)] {
        fs::remove_file(path)?;
        match fs::remove_file(older(path)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn directory(name: &str) -> PathBuf {
        let directory = std::env::temp_dir().join(format!("vmherd-{name}-{}", std::process::id()));
        fs::create_dir(&directory).unwrap();
        directory
    }

    #[test]
    fn the_newest_part_is_kept() {
        let directory = directory("serial");
        let mut log = SerialLog::open(&directory, ContainerId([1; 16]));
        let line = [&[b'x'; 1022][..], b"\r\n"].concat();
        for _ in 0..3 * limits::SERIAL_LOG_BYTES / 1024 {
            log.append(&line);
        }
        log.append(b"one\r\n\r\n  two  \r\nthr\xffee");
        assert_eq!(log.last_lines(3), ["one", "  two", "thr\u{fffd}ee"]);
        assert_eq!(log.last_lines(usize::MAX).len(), (limits::SERIAL_LOG_BYTES / 1024) as usize + 3);
        drop(log);
        let again = SerialLog::open(&directory, ContainerId([1; 16]));
        assert_eq!(again.last_lines(1), ["thr\u{fffd}ee"], "it goes on with the same files");
        let sizes: Vec<u64> =
            fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).collect();
        assert!(sizes.len() == 2 && sizes.iter().all(|size| *size <= limits::SERIAL_LOG_BYTES), "{sizes:?}");
        fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn the_oldest_logs_of_ended_vms_are_removed() {
        let (logs, vms) = (directory("logs"), directory("vms"));
        for (index, id) in [5, 4, 3, 2, 1].map(|byte| ContainerId([byte; 16])).into_iter().enumerate() {
            let path = log_path(&logs, id);
            let file = File::create(&path).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1000 + index as u64)).unwrap();
            File::create(older(&path)).unwrap();
        }
        // The oldest belongs to a VM that runs.
        fs::create_dir(vms.join(ContainerId([5; 16]).to_string())).unwrap();
        remove_old(&logs, &vms, 2).unwrap();
        let mut left: Vec<String> = fs::read_dir(&logs)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap()[..2].to_owned())
            .collect();
        left.sort();
        assert_eq!(left, ["01", "01", "02", "02", "05", "05"]);
        fs::remove_dir_all(&logs).unwrap();
        fs::remove_dir_all(&vms).unwrap();
    }
}
