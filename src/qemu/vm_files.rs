//! The directory of one VM, and the record in it by which a later server recognizes what an earlier one has left behind.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::clock::UnixSeconds;
use crate::ids::ContainerId;
use crate::sys::child::start_time;
use crate::sys::pidfd::Pidfd;

/// The directory of a VM: its seed, its sockets and its record.
#[derive(Debug)]
pub(super) struct VmFiles {
    directory: PathBuf,
}

/// What a later server needs to take a VM over.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct VmRecord {
    pub(super) token_sha256: [u8; 32],
    /// When it was created.
    pub(super) begun: UnixSeconds,
    /// The run of the system, by the kernel's id.
    pub(super) boot_id: String,
    /// When QEMU has started, in clock ticks; `None` until it has.
    pub(super) start_time: Option<u64>,
    /// The port at which its guest has greeted; `None` until it has.
    pub(super) port: Option<u16>,
}

/// What an earlier server has left behind.
pub(super) struct Leftover {
    pub(super) id: ContainerId,
    pub(super) files: VmFiles,
    pub(super) record: Option<VmRecord>,
    /// Its QEMU, if that still runs.
    pub(super) process: Option<Pidfd>,
}

impl VmFiles {
    /// Makes the directory of the VM `id`, with `seed` and `record`; or leaves nothing.
    pub(super) fn create(
        vms_dir: &Path,
        id: ContainerId,
        seed: &[u8],
        record: &VmRecord,
    ) -> io::Result<VmFiles> {
        let files = VmFiles { directory: vms_dir.join(id.to_string()) };
        DirBuilder::new().mode(0o700).create(&files.directory)?;
        let written = files.write_new(SEED_IMAGE, seed).and_then(|()| files.write_record(record));
        if let Err(error) = written {
            files.remove();
            return Err(error);
        }
        Ok(files)
    }

    /// The directory.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The path of one of its files.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Replaces the record.
    pub(super) fn write_record(&self, record: &VmRecord) -> io::Result<()> {
        let text = record.to_json().to_string();
        let next = "vm.json.new";
        self.write_new(next, text.as_bytes())?;
        fs::rename(self.path(next), self.path(RECORD))
    }

    /// The file for QEMU's process number.
    pub(super) fn create_pid_file(&self) -> io::Result<File> {
        private_file().create_new(true).open(self.path(PID))
    }

    /// Removes the directory.
    pub(super) fn remove(&self) {
        if let Err(error) = fs::remove_dir_all(&self.directory) {
            log::error!("can't remove {}: {error}", self.directory.display());
        }
    }

    fn write_new(&self, name: &str, content: &[u8]) -> io::Result<()> {
        private_file().create_new(true).open(self.path(name))?.write_all(content)
    }

    /// Its QEMU, if that still runs: the process with the number that it wrote itself, in the same run of the system, with
    /// the same start, and in this directory.
    fn process(&self, record: &VmRecord) -> Option<Pidfd> {
        let pid: u32 = fs::read_to_string(self.path(PID)).ok()?.parse().ok()?;
        if record.boot_id != boot_id() {
            return None;
        }
        // What is read after this is about the same process, or fails.
        let process = Pidfd::open(pid).ok()?;
        let of = |path: &Path| fs::metadata(path).map(|metadata| (metadata.dev(), metadata.ino())).ok();
        let is_here = of(format!("/proc/{pid}/cwd").as_ref())? == of(&self.directory)?;
        let started = start_time(pid).ok()?;
        (is_here && record.start_time.is_none_or(|recorded| recorded == started)).then_some(process)
    }
}

impl VmRecord {
    fn to_json(&self) -> Value {
        let token: String = self.token_sha256.iter().map(|byte| format!("{byte:02x}")).collect();
        json!({
            "token_sha256": token,
            "begun": self.begun.0,
            "boot_id": self.boot_id,
            "start_time": self.start_time,
            "port": self.port,
        })
    }

    fn from_json(value: &Value) -> Option<VmRecord> {
        let token = value["token_sha256"].as_str().filter(|text| text.len() == 64 && text.is_ascii())?;
        let mut token_sha256 = [0; 32];
        for (index, byte) in token_sha256.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&token[2 * index..2 * index + 2], 16).ok()?;
        }
        Some(VmRecord {
            token_sha256,
            begun: UnixSeconds(value["begun"].as_i64()?),
            boot_id: value["boot_id"].as_str()?.to_owned(),
            start_time: value["start_time"].as_u64(),
            port: value["port"].as_u64().and_then(|port| port.try_into().ok()),
        })
    }
}

/// What earlier servers have left below `vms_dir`.
pub(super) fn leftovers(vms_dir: &Path) -> io::Result<Vec<Leftover>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(vms_dir)? {
        let directory = entry?.path();
        let name = directory.file_name().and_then(|name| name.to_str());
        let Some(id) = name.and_then(ContainerId::parse) else {
            log::warn!("{} is not the directory of a VM; leaving it alone", directory.display());
            continue;
        };
        let files = VmFiles { directory };
        let text = fs::read(files.path(RECORD)).ok();
        let record = text.and_then(|text| VmRecord::from_json(&serde_json::from_slice(&text).ok()?));
        let process = record.as_ref().and_then(|record| files.process(record));
        found.push(Leftover { id, files, record, process });
    }
    Ok(found)
}

/// The kernel's id of this run of the system.
pub(super) fn boot_id() -> String {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    text.trim().to_owned()
}

/// Options for a file that only this user can read.
fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    options
}

/// QEMU's monitor.
pub(super) const QMP_SOCKET: &str = "qmp";
/// The guest's serial port.
pub(super) const SERIAL_SOCKET: &str = "serial";
/// Where consoles connect.
pub(super) const CONSOLE_SOCKET: &str = "console";
/// What the guest learns its user from.
pub(super) const SEED_IMAGE: &str = "seed.img";
const RECORD: &str = "vm.json";
const PID: &str = "pid";

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    fn record() -> VmRecord {
        VmRecord {
            token_sha256: [0xa5; 32],
            begun: UnixSeconds(1_700_000_000),
            boot_id: boot_id(),
            start_time: None,
            port: None,
        }
    }

    #[test]
    fn records_are_read_as_they_were_written() {
        for (start_time, port) in [(None, None), (Some(7), None), (Some(u64::MAX), Some(22))] {
            let record = VmRecord { start_time, port, ..record() };
            assert_eq!(VmRecord::from_json(&record.to_json()), Some(record));
        }
        for broken in [
            json!({}),
            json!({"token_sha256": "é".repeat(32), "begun": 1, "boot_id": ""}),
            json!({"token_sha256": "0".repeat(63) + "x", "begun": 1, "boot_id": ""}),
            json!({"token_sha256": "0".repeat(64), "begun": "1", "boot_id": ""}),
        ] {
            assert_eq!(VmRecord::from_json(&broken), None, "{broken}");
        }
    }

    #[test]
    fn a_process_is_recognized_by_more_than_its_number() {
        let vms_dir = std::env::temp_dir().join(format!("vmherd-leftovers-{}", std::process::id()));
        fs::create_dir(&vms_dir).unwrap();
        let id = ContainerId([3; 16]);
        let files = VmFiles::create(&vms_dir, id, b"seed", &record()).unwrap();
        assert_eq!(fs::metadata(files.path(SEED_IMAGE)).unwrap().mode() & 0o777, 0o600);
        let taken = VmFiles::create(&vms_dir, id, b"seed", &record()).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AlreadyExists);
        let is_running = || {
            let mut found = leftovers(&vms_dir).unwrap();
            assert_eq!((found.len(), found[0].id), (1, id));
            found.pop().unwrap().process.is_some()
        };
        assert!(!is_running(), "no number was written");
        let mut command = Command::new("cat");
        command.stdin(Stdio::piped()).current_dir(files.directory());
        let mut child = command.spawn().unwrap();
        write!(files.create_pid_file().unwrap(), "{}", child.id()).unwrap();
        assert!(is_running());
        let started = start_time(child.id()).unwrap();
        for (start_time, boot_id, wanted) in [
            (Some(started), boot_id(), true),
            (Some(started + 1), boot_id(), false),
            (Some(started), "another".to_owned(), false),
        ] {
            files.write_record(&VmRecord { start_time, boot_id, ..record() }).unwrap();
            assert_eq!(is_running(), wanted);
        }
        files.write_record(&record()).unwrap();
        // A process in another directory.
        fs::write(files.path(PID), std::process::id().to_string()).unwrap();
        assert!(!is_running());
        drop(child.stdin.take());
        child.wait().unwrap();
        files.remove();
        assert!(leftovers(&vms_dir).unwrap().is_empty());
        fs::remove_dir(&vms_dir).unwrap();
    }
}
