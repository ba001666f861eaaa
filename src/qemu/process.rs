//! The process of one QEMU.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::process::CommandExt;
use std::process::{ChildStderr, Command, ExitStatus, Stdio};

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};

use super::command_line::arguments;
use super::image::ImageFormat;
use super::settings::{Accelerator, QemuSettings};
use super::vm_files::{VmFiles, VmRecord};
use crate::ids::ContainerId;
use crate::limits;
use crate::sys::child::{self, raise_oom_score, start_time};
use crate::sys::pidfd::Pidfd;

/// A process whose end the poll reports.
pub(super) struct Process {
    process: Pidfd,
    /// Its descriptor was readable: it has ended.
    is_ready: bool,
}

impl Process {
    /// Watches a process; kills it if that fails.
    pub(super) fn watch(process: Pidfd, registry: &Registry, token: Token) -> io::Result<Process> {
        let descriptor = process.as_fd().as_raw_fd();
        if let Err(error) = registry.register(&mut SourceFd(&descriptor), token, Interest::READABLE) {
            process.kill()?;
            return Err(error);
        }
        Ok(Process { process, is_ready: false })
    }

    /// Notes an event of the descriptor.
    pub(super) fn set_ready(&mut self) {
        self.is_ready = true;
    }

    /// Whether it has ended, and how; the latter is unknown of a process that an earlier server has started.
    pub(super) fn ended(&mut self) -> Option<Option<ExitStatus>> {
        if !self.is_ready {
            return None;
        }
        Some(self.process.reap().unwrap_or_else(|error| {
            log::warn!("the exit code of a QEMU is unknown: {error}");
            None
        }))
    }

    pub(super) fn kill(&self) -> io::Result<()> {
        self.process.kill()
    }
}

/// Starts QEMU for the VM `id`, and records that in `files`. Returns its standard error as well. After an error no process
/// is left.
pub(super) fn spawn(
    settings: &QemuSettings,
    accelerator: Accelerator,
    format: ImageFormat,
    id: ContainerId,
    (files, record): (&VmFiles, &mut VmRecord),
    (registry, token): (&Registry, Token),
) -> io::Result<(Process, ChildStderr)> {
    let mut command = Command::new(&settings.program);
    command.args(arguments(settings, accelerator, format, id));
    // What the guest writes to its disk is in an unnamed file there.
    command.current_dir(files.directory()).env("TMPDIR", files.directory());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    // Signals from a terminal are for the server only.
    command.process_group(0);
    child::prepare(&mut command, files.create_pid_file()?, !settings.survives);
    let mut spawned = command.spawn()?;
    if let Err(error) = raise_oom_score(spawned.id(), limits::VM_OOM_SCORE) {
        log::debug!("the score of a VM for a lack of memory can't be raised: {error}");
    }
    let watched = start_time(spawned.id()).and_then(|started| {
        record.start_time = Some(started);
        files.write_record(record)?;
        let errors = spawned.stderr.take().ok_or(io::ErrorKind::BrokenPipe)?;
        // It is a child, and not released: its number is its own.
        Ok((Process::watch(Pidfd::open(spawned.id())?, registry, token)?, errors))
    });
    if watched.is_err() {
        spawned.kill()?;
        spawned.wait()?;
    }
    watched
}
