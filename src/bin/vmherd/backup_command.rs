//! `vmherd backup`: copies the store's file, even while a daemon uses it.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;

use vmherd::Escaped;
use vmherd::redact;
use vmherd::{Interrupt, Location, back_up};

use crate::diagnostic::print_diagnostic;
use crate::limits;
use crate::settings::{
    self, Arguments, ConfigError, Environment, Flag, ParsedSources, StoreSelection, Takes,
};
use crate::settings_file::read_settings_file;
use crate::sys::poll::wait_readable;
use crate::sys::signals::{Signal, Signals};

/// Runs `vmherd backup`; `args` are the arguments after those two words.
pub fn run(
    args: impl IntoIterator<Item = OsString>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> ExitCode {
    match run_backup(args, &Environment::collect(environment)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(BackupError { why, exit_code }) => {
            print_diagnostic("vmherd backup", format_args!("{why}"));
            ExitCode::from(exit_code)
        }
    }
}

/// The reason a backup failed.
struct BackupError {
    why: String,
    exit_code: u8,
}

fn run_backup(
    args: impl IntoIterator<Item = OsString>,
    environment: &Environment,
) -> Result<(), BackupError> {
    let flags: Vec<Flag> = StoreSelection::flags().chain(FLAGS).collect();
    let arguments = Arguments::read(args, &flags)?;
    if arguments.has("help") {
        return Ok(io::stdout().write_all(help().as_bytes())?);
    }
    let usage = |text: &str| ConfigError::Usage(format!("{text}; see vmherd backup --help"));
    let file = match &arguments.positionals[..] {
        [file] => PathBuf::from(file),
        [] => return Err(usage("say which file to make").into()),
        [_, extra, ..] => return Err(usage(&format!("unexpected argument {:?}", redact(extra))).into()),
    };
    let sources = ParsedSources::read(&arguments, environment, read_settings_file)?;
    for warning in sources.warnings().into_iter().chain(sources.file_errors()) {
        print_diagnostic("vmherd backup", format_args!("warning: {warning}"));
    }
    let StoreSelection { store, .. } = StoreSelection::read(&sources)?;
    copy(store, &file)?;
    Ok(writeln!(io::stdout(), "made {}", Escaped(file.display()))?)
}

/// Copies on a thread of its own, so that this thread can handle signals; an interrupted copy leaves no file.
fn copy(store: Location, file: &Path) -> Result<(), BackupError> {
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
        let [is_over, has_signal] = wait_readable([has_ended.as_fd(), signals.as_fd()], pause)?;
        if is_over {
            break;
        }
        if has_signal {
            interrupted = signals.receive()?.or(interrupted);
        }
        if interrupted.is_some() {
            // SQLite ignores an interrupt between two steps, so interrupt repeatedly.
            interrupt = interrupt.or_else(|| begins.recv().ok());
            interrupt.iter().for_each(|interrupt: &Interrupt| interrupt());
        }
    }
    let copied = copying.join().map_err(|_| io::Error::other("the thread that copies has panicked"))?;
    match (copied, interrupted) {
        (Ok(()), _) => Ok(()),
        // The exit code of a shell for a process ended by a signal.
        (Err(_), Some(signal)) => {
            Err(BackupError { why: format!("{signal}: interrupted"), exit_code: 128 + signal.number() as u8 })
        }
        (Err(error), None) => Err(BackupError { why: error.to_string(), exit_code: 1 }),
    }
}

fn help() -> String {
    let mut text = String::from(HELP);
    settings::push_store_selection_help(&mut text);
    text
}

impl From<ConfigError> for BackupError {
    fn from(error: ConfigError) -> BackupError {
        BackupError { why: error.to_string(), exit_code: error.exit_code() }
    }
}

impl From<io::Error> for BackupError {
    fn from(error: io::Error) -> BackupError {
        BackupError { why: error.to_string(), exit_code: 1 }
    }
}

const FLAGS: [Flag; 1] = [Flag { name: "help", takes: Takes::Nothing, is_repeatable: true }];

const HELP: &str = "\
Makes a consistent copy of the store's file, even while a daemon writes to it.
The copy is a new file with mode 0600 and has the owner of the store's file.

  vmherd backup /backups/vmherd-monday.sqlite3
  vmherd backup monday.sqlite3 --state-dir /var/lib/vmherd

To restore it: stop the daemon, remove the store's file and those beside it
(-wal, -shm), put the copy in its place with cp -p, start the daemon.
A PostgreSQL database is copied with pg_dump.

These settings of the daemon apply here too, also as VMHERD_STATE_DIR etc.:

";
