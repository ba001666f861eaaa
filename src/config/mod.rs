//! What the daemon can be told: one table of settings gives each its flag, environment name, default,
//! limits and help text; parsing turns texts into a [`Config`] that needs no more checking.
//!
//! Nothing here opens a file, a socket or the environment: arguments and environment are handed in. A flag
//! goes before the environment, the environment before the default.

mod arguments;
mod draft;
mod environment;
mod help;
mod listen;
mod settings;
#[cfg(test)]
mod tests;
mod values;

use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(crate) use arguments::{Arguments, Flag, Takes};
pub(crate) use environment::Environment;
pub(crate) use help::push_store_settings;
pub(crate) use values::number;

pub use help::{help, settings_as_markdown};

use crate::app::password::Cost;
use crate::limits;
use crate::store::Location;
use draft::Draft;
use settings::{SETTINGS, Setting};

/// What a command line and an environment ask for.
#[derive(Clone, PartialEq, Debug)]
pub enum Parsed {
    /// To show the help text: [`help()`].
    Help,
    /// To show the version.
    Version,
    /// To say that the configuration is valid, which it is; with warnings.
    Check(Vec<String>),
    /// To run, and what to warn of.
    Run(Box<Config>, Vec<String>),
}

/// What is wrong with a command line or an environment; the text says what to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ConfigError {
    /// The command line can't be read: unknown flag, missing value, stray argument.
    Usage(String),
    /// A setting has a value that it can't have.
    Value(String),
}

/// What a tool on the host must know to work on the daemon's store.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct StoreSettings {
    /// Where VMs are kept.
    pub(crate) store: Location,
    /// The state directory, where the store is the default one in it.
    pub(crate) state_dir: Option<PathBuf>,
    /// VMs that the store may hold.
    pub(crate) vms_max: u64,
    /// What a new password hash costs.
    pub(crate) argon2: Cost,
}

/// Everything the daemon was told, checked.
#[derive(Clone, PartialEq, Debug)]
pub struct Config {
    /// Where to listen.
    pub listen: Vec<Listen>,
    /// Where VMs are kept.
    pub store: Location,
    /// The directory for the daemon's own socket, its lock and the default store.
    pub state_dir: PathBuf,
    /// A connection's deadlines.
    pub timeouts: Timeouts,
    /// Who may register: `None` is everybody on loopback and unix listeners, nobody elsewhere.
    pub registration: Option<bool>,
    /// VMs that the store may hold.
    pub vms_max: u64,
    /// How long a token counts.
    pub token_lifetime: Duration,
    /// Threads that hash.
    pub auth_workers: usize,
    /// Jobs that wait in each lane.
    pub auth_queue: usize,
    /// As `auth_queue`, reads.
    pub read_queue: usize,
    /// As `auth_queue`, writes.
    pub write_queue: usize,
    /// Open connections.
    pub connections_max: usize,
    /// Open requests with an id on one connection.
    pub requests_per_connection: usize,
    /// Open requests with an id on all connections.
    pub requests_max: usize,
    /// What a new password hash costs.
    pub argon2: Cost,
    /// What is logged, in RUST_LOG's syntax.
    pub log: String,
    /// How it is logged.
    pub log_format: LogFormat,
}

/// One listener.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listen {
    /// Where.
    pub address: ListenAddress,
    /// What it opens to clients that have not authenticated.
    pub opens: Opens,
}

/// Where a listener listens.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum ListenAddress {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// The dialects that a listener opens to clients that have not authenticated.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[allow(missing_docs)]
pub struct Opens {
    pub action: bool,
    pub metrics: bool,
    pub convert: bool,
    pub verb: bool,
}

/// A connection's deadlines; each runs only while the server waits for the client. `None`: forever.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timeouts {
    /// Nothing sent yet.
    pub first_request: Option<Duration>,
    /// From the first to the last byte of one request.
    pub request: Duration,
    /// Between the requests of a client that has not authenticated.
    pub idle_anonymous: Option<Duration>,
    /// Between the requests of a client that has.
    pub idle_authenticated: Option<Duration>,
    /// Without progress in sending what is due.
    pub write: Duration,
}

/// How log lines look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum LogFormat {
    Text,
    Json,
}

impl Config {
    /// Reads the command line (without the program's name) and the environment.
    pub fn parse(
        args: impl IntoIterator<Item = OsString>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Parsed, ConfigError> {
        let flags: Vec<Flag> = SETTINGS.iter().map(Setting::as_flag).collect();
        let arguments = Arguments::read(args, &flags)?;
        if arguments.has("help") {
            return Ok(Parsed::Help);
        }
        if arguments.has("version") {
            return Ok(Parsed::Version);
        }
        if let Some(stray) = arguments.strays.first() {
            return Err(ConfigError::Usage(format!("unexpected argument {stray:?}; see vmherd --help")));
        }
        let environment = Environment::collect(environment);
        let mut draft = Draft::read(SETTINGS.iter(), &arguments, &environment)?;
        draft.config.state_dir = state_dir(&draft, &environment)?;
        draft.config.store = draft.store.take().unwrap_or_else(|| default_store(&draft.config.state_dir));
        let origin = if arguments.has("listen") { "--listen" } else { "VMHERD_LISTEN" };
        check_listeners(&draft, origin)?;
        check_socket_path(&draft.config.state_dir)?;
        let warnings = environment.unknown_settings();
        if draft.is_check {
            return Ok(Parsed::Check(warnings));
        }
        Ok(Parsed::Run(Box::new(draft.config), warnings))
    }

    /// How many connections may be open where the process may have `descriptors`: what was asked for, or
    /// what is left beside the daemon's own files, at least half of them.
    pub fn connections_that_fit(&self, descriptors: u64) -> usize {
        let descriptors = usize::try_from(descriptors).unwrap_or(usize::MAX);
        let wanted_by_others = limits::DESCRIPTORS_RESERVED + self.listen.len();
        let reserved = wanted_by_others.min(descriptors / 2);
        self.connections_max.min((descriptors - reserved).max(1))
    }
}

impl StoreSettings {
    /// The flags of the table that count for the store.
    pub(crate) const FLAGS: [&str; 6] =
        ["store", "state-dir", "vms-max", "argon2-memory", "argon2-passes", "argon2-lanes"];

    /// The same as the command line knows them.
    pub(crate) fn flags() -> impl Iterator<Item = Flag> {
        StoreSettings::table().map(Setting::as_flag)
    }

    /// Reads what counts for the store and leaves the other settings alone, wrong ones too.
    pub(crate) fn read(
        arguments: &Arguments,
        environment: &Environment,
    ) -> Result<StoreSettings, ConfigError> {
        let mut draft = Draft::read(StoreSettings::table(), arguments, environment)?;
        let (store, state_dir) = match draft.store.take() {
            Some(store) => (store, None),
            None => {
                let directory = state_dir(&draft, environment)?;
                (default_store(&directory), Some(directory))
            }
        };
        let Config { vms_max, argon2, .. } = draft.config;
        Ok(StoreSettings { store, state_dir, vms_max, argon2 })
    }

    fn table() -> impl Iterator<Item = &'static Setting> {
        SETTINGS.iter().filter(|setting| StoreSettings::FLAGS.contains(&setting.flag))
    }
}

impl ConfigError {
    /// The exit code that goes with it: 2 is usage by old custom, 78 is `EX_CONFIG` of sysexits.h.
    pub fn exit_code(&self) -> u8 {
        match self {
            ConfigError::Usage(_) => 2,
            ConfigError::Value(_) => 78,
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigError::Usage(text) | ConfigError::Value(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for ConfigError {}

/// The state directory: what was said, else systemd's, else where the XDG base directories have it.
fn state_dir(draft: &Draft, environment: &Environment) -> Result<PathBuf, ConfigError> {
    if let Some(directory) = &draft.state_dir {
        return Ok(directory.clone());
    }
    if let Some(directory) = environment.systemd_state_directory() {
        return Ok(directory);
    }
    // A relative path in XDG_STATE_HOME is to be ignored, says its specification.
    let xdg = environment.path("XDG_STATE_HOME").filter(|path| path.is_absolute());
    let base = xdg.or_else(|| environment.path("HOME").map(|home| home.join(".local/state")));
    base.map(|base| base.join("vmherd")).ok_or_else(|| {
        ConfigError::Value(
            "--state-dir: none of $STATE_DIRECTORY, $XDG_STATE_HOME and $HOME is set; say where the \
             daemon may keep its files: --state-dir DIRECTORY"
                .into(),
        )
    })
}

#[cfg(feature = "sqlite")]
fn default_store(state_dir: &Path) -> Location {
    Location::Sqlite(state_dir.join("vmherd.sqlite3"))
}

#[cfg(not(feature = "sqlite"))]
fn default_store(_state_dir: &Path) -> Location {
    Location::Memory
}

/// What can only be told of all listeners together.
fn check_listeners(draft: &Draft, origin: &str) -> Result<(), ConfigError> {
    let listen = &draft.config.listen;
    // One is the state directory's.
    let count_max = limits::LISTENERS_MAX - 1;
    if listen.len() > count_max {
        let count = listen.len();
        return Err(ConfigError::Value(format!(
            "{origin}: {count} listeners; at most {count_max} are allowed"
        )));
    }
    for (index, Listen { address, .. }) in listen.iter().enumerate() {
        let is_repeated = listen[..index].iter().any(|other| other.address == *address);
        if is_repeated && !address.has_any_port() {
            return Err(ConfigError::Value(format!("{origin}: {address} stands there twice")));
        }
        if !address.is_local() && !draft.is_plaintext_allowed {
            return Err(ConfigError::Value(plaintext_refusal(address, origin)));
        }
    }
    Ok(())
}

fn plaintext_refusal(address: &ListenAddress, origin: &str) -> String {
    let port = match address {
        ListenAddress::Tcp(address) => address.port(),
        ListenAddress::Unix(_) => 0,
    };
    format!(
        "{origin}: {address} can be reached from other hosts, and passwords and tokens would cross the \
         network in clear text, so vmherd does not start. Do one of these: (1) listen on this host only, \
         --listen tcp://127.0.0.1:{port}; (2) do that and let clients come through a tunnel (ssh -L, \
         WireGuard, stunnel); (3) if nobody can listen in on that network, say so: --allow-plaintext (or \
         VMHERD_ALLOW_PLAINTEXT=yes)."
    )
}

/// The daemon's own socket lies in the state directory, and the system's addresses are short.
fn check_socket_path(state_dir: &Path) -> Result<(), ConfigError> {
    let socket = state_dir.join(SOCKET_NAME);
    let bytes = socket.as_os_str().len();
    if bytes <= limits::UNIX_PATH_BYTES_MAX {
        return Ok(());
    }
    Err(ConfigError::Value(format!(
        "--state-dir: {} has {bytes} bytes, and a socket's path may have {}; choose a shorter directory",
        socket.display(),
        limits::UNIX_PATH_BYTES_MAX
    )))
}

/// The name of the daemon's own socket in the state directory.
pub const SOCKET_NAME: &str = "vmherd.sock";
