//! `vmherd backup`: copies the store's file, even while a daemon uses it.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;

use vmherd::{Escaped, Interrupt, Location, back_up};

use crate::limits;
use crate::settings::Arguments;
use crate::sys::poll::wait_readable;
use crate::sys::signals::{Signal, Signals};
use crate::tool::{Tool, ToolError};

/// Runs `vmherd backup`; `args` are the arguments after those two words.
pub fn run(args: impl Iterator<Item = OsString>) -> ExitCode {
    TOOL.run(args, parse, |file, settings| {
        copy(settings.config.store, &file)?;
        let written = writeln!(io::stdout(), "made {}", Escaped(file.display()));
        written.map_err(|error| ToolError::new(1, error.to_string()))
    })
}

/// The file to make.
fn parse(arguments: &Arguments) -> Result<PathBuf, ToolError> {
    match &arguments.positionals[..] {
        [file] => Ok(file.into()),
        [] => Err(TOOL.usage_error("say which file to make")),
        [_, extra, ..] => Err(TOOL.unexpected(extra)),
    }
}

/// Copies on a thread of its own, so that this thread can handle signals; an interrupted copy leaves no file.
fn copy(store: Location, file: &Path) -> Result<(), ToolError> {
    let mut signals = Signals::block(&Signal::ENDING)?;
    let (has_ended, ends) = UnixStream::pair()?;
    let (begun, begins) = mpsc::channel();
    let file = file.to_owned();
    let copying = thread::Builder::new().name("vmherd-backup".into()).spawn(move || {
        // Closes when the thread ends for any reason.
        let _ends = ends;
        back_up(&store, &file, |interrupt| drop(begun.send(interrupt)))
    })?;
    let (mut interrupted, mut interrupt) = (None, None);
    loop {
        let pause = interrupted.map(|_| limits::BACKUP_INTERRUPT_PAUSE);
        let [is_over, _] = wait_readable([has_ended.as_fd(), signals.as_fd()], pause)?;
        if is_over {
            break;
        }
        interrupted = signals.receive()?.or(interrupted);
        if interrupted.is_some() {
            // SQLite ignores an interrupt between two steps, so interrupt repeatedly.
            interrupt = interrupt.or_else(|| begins.recv().ok());
            interrupt.iter().for_each(|interrupt: &Interrupt| interrupt());
        }
    }
    let copied = copying.join().map_err(|_| io::Error::other("the thread that copies has panicked"))?;
    match (copied, interrupted) {
        (Ok(()), _) => Ok(()),
        (Err(_), Some(signal)) => Err(ToolError::of_signal(signal, "interrupted")),
        (Err(error), None) => Err(ToolError::new(1, error.to_string())),
    }
}

pub static TOOL: Tool = Tool {
    program: "vmherd backup",
    flags: &[],
    settings: &["store", "store-file", "state-dir"],
    warns: true,
    help: HELP,
};

const HELP: &str = "\
Makes a consistent copy of the store's file, even while a daemon writes to it.
The copy is a new file with mode 0600 and has the owner of the store's file.

  vmherd backup /backups/vmherd-monday.sqlite3
  vmherd backup monday.sqlite3 --state-dir /var/lib/vmherd

To restore it: stop the daemon, remove the store's file and those beside it
(-wal, -shm), put the copy in its place with cp -p, start the daemon.
A PostgreSQL database is copied with pg_dump.
";
