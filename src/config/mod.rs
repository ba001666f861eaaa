//! What the daemon can be told: one table of settings gives each its flag, environment name, default,
//! limits and help text; parsing turns texts into a [`Config`] that needs no more checking.
//!
//! Nothing here opens a file, a socket or the environment: arguments, environment and the means to read a
//! file are handed in. A flag goes before the environment, the environment before the settings file, the
//! file before the default.

mod arguments;
mod checks;
mod environment;
mod environment_file;
mod help;
mod listen;
mod loader;
#[cfg(all(test, feature = "sqlite", feature = "http"))]
mod manual;
mod partial;
mod redact;
mod report;
mod setting;
mod settings;
mod sources;
#[cfg(test)]
mod sources_tests;
#[cfg(test)]
mod tests;
mod tool_settings;
mod values;
#[cfg(test)]
mod values_tests;

use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

pub(crate) use arguments::{Arguments, Flag, Takes};
pub(crate) use environment::Environment;
pub(crate) use help::{push_state_dir_help, push_store_selection_help, push_store_settings_help};
pub(crate) use redact::redact;
pub(crate) use sources::ParsedSources;
pub(crate) use tool_settings::{StateDirSetting, StoreSelection, StoreSettings};
pub(crate) use values::parse_number;

pub use help::{help, settings_as_file};
pub use report::{Report, SettingChange};
pub use sources::{ReadFile, Sources};

use crate::app::login_limiter::LoginLimits;
use crate::app::password::Cost;
#[cfg(feature = "http")]
use crate::framing::http::HttpRules;
use crate::limits;
use crate::model::AnonymousAccess;
use crate::store::Location;
use loader::Loader;
use setting::Setting;
use settings::SETTINGS;

/// What a command line, an environment and a settings file ask for.
#[derive(Clone, PartialEq, Debug)]
pub enum Invocation {
    /// To show the help text: [`help()`].
    Help,
    /// To show the version.
    Version,
    /// To say that the configuration is valid, which it is; with warnings.
    Check(Vec<String>),
    /// To show the settings and where they come from.
    Show(Box<Resolved>),
    /// To run.
    Run(Box<Resolved>),
}

/// Settings that are in order.
#[derive(Clone, PartialEq, Debug)]
pub struct Resolved {
    /// What they mean.
    pub config: Config,
    /// What was said, and by whom.
    pub report: Report,
    /// What is to be warned of.
    pub warnings: Vec<String>,
}

/// What is wrong with a command line, an environment or a settings file; the text says what to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ConfigError {
    /// The command line can't be read: unknown flag, missing value, stray argument.
    Usage(String),
    /// A setting has a value that it can't have.
    Value(String),
}

/// Everything the daemon was told, checked.
#[derive(Clone, PartialEq, Debug)]
pub struct Config {
    /// Where to listen.
    pub listen: Vec<ListenerSpec>,
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
    /// From when on guesses of passwords are delayed.
    pub logins: LoginLimits,
    /// Hosts and origins that requests of HTTP may name.
    #[cfg(feature = "http")]
    pub http: HttpRules,
    /// How long a conversion takes: drawn for each.
    pub conversion_delay: RangeInclusive<Duration>,
    /// When points of metrics are answered.
    pub metrics_durability: Durability,
    /// How long points are kept; `None`: for good.
    pub metrics_retention: Option<Duration>,
    /// Threads that hash.
    pub auth_workers: usize,
    /// Jobs that wait in each lane.
    pub auth_queue: usize,
    /// As `auth_queue`, reads.
    pub read_queue: usize,
    /// As `auth_queue`, writes.
    pub write_queue: usize,
    /// Connections to a database that there are at a time.
    pub store_connections: usize,
    /// Open connections.
    pub connections_max: usize,
    /// Open requests with an id on one connection.
    pub requests_per_connection: usize,
    /// Open requests with an id on all connections.
    pub requests_max: usize,
    /// Bytes that all connections together may hold for their clients.
    pub buffers_bytes_max: usize,
    /// What a new password hash costs.
    pub argon2: Cost,
    /// What is logged, in RUST_LOG's syntax.
    pub log: String,
    /// How it is logged.
    pub log_format: LogFormat,
    /// Listeners may reach beyond this host.
    pub is_plaintext_allowed: bool,
    /// Somebody has said where to listen; otherwise [`Config::listen`] is the default.
    pub is_listen_explicit: bool,
}

/// One listener.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListenerSpec {
    /// Where.
    pub address: ListenAddress,
    /// What it opens to clients that have not authenticated.
    pub anonymous_access: AnonymousAccess,
}

/// Where a listener listens.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum ListenAddress {
    Tcp(SocketAddr),
    Unix(PathBuf),
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
    /// Between the requests of a connection of HTTP.
    pub idle_http: Option<Duration>,
    /// Without progress in sending what is due.
    pub write: Duration,
}

/// When points of metrics are answered `ok`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Durability {
    /// When they are as safe as the store makes them.
    Store,
    /// When they are in this process's memory; they are written behind.
    Memory,
}

/// How log lines look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum LogFormat {
    Text,
    Json,
}

impl Sources {
    /// Reads everything there is.
    pub fn parse(&self) -> Result<Invocation, ConfigError> {
        let flags: Vec<Flag> = SETTINGS.iter().map(Setting::as_flag).collect();
        let arguments = Arguments::read(self.args.iter().cloned(), &flags)?;
        if arguments.has("help") {
            return Ok(Invocation::Help);
        }
        if arguments.has("version") {
            return Ok(Invocation::Version);
        }
        if let Some(stray) = arguments.positionals.first() {
            let text = format!("unexpected argument {:?}; see vmherd --help", redact(stray));
            return Err(ConfigError::Usage(text));
        }
        let environment = Environment::collect(self.variables.iter().cloned());
        let sources = ParsedSources::read(&arguments, &environment, self.read_file)?;
        if let Some(mistake) = sources.file_errors().into_iter().next() {
            return Err(ConfigError::Value(mistake));
        }
        let loader = Loader::load(SETTINGS.iter(), &sources)?;
        let is_check = loader.partial.is_check;
        let resolved = Box::new(loader.resolve(&sources)?);
        if is_check {
            return Ok(Invocation::Check(resolved.warnings));
        }
        Ok(if arguments.has("show-config") { Invocation::Show(resolved) } else { Invocation::Run(resolved) })
    }
}

impl Config {
    /// How many connections may be open where the process may have `descriptors`: what was asked for, or
    /// what is left beside the daemon's own files, at least half of them.
    pub fn connections_within(&self, descriptors: u64) -> usize {
        let descriptors = usize::try_from(descriptors).unwrap_or(usize::MAX);
        let wanted_by_others =
            limits::DESCRIPTORS_RESERVED + limits::OWN_SOCKET_CONNECTIONS + self.listen.len();
        let reserved = wanted_by_others.min(descriptors / 2);
        self.connections_max.min((descriptors - reserved).max(1))
    }
}

impl ConfigError {
    /// The exit code that goes with it: 2 is usage by old custom.
    pub fn exit_code(&self) -> u8 {
        match self {
            ConfigError::Usage(_) => 2,
            ConfigError::Value(_) => EX_CONFIG,
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

/// The exit code of who can't go on with these settings, as sysexits.h has it.
pub const EX_CONFIG: u8 = 78;

/// The name of the daemon's own socket in the state directory.
pub const SOCKET_NAME: &str = "vmherd.sock";
