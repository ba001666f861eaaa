//! The daemon's settings. One table gives each setting its flag, environment variable, default, limits and
//! help text; parsing turns texts into a validated [`Config`].
//!
//! Nothing here opens a file or a socket or reads the environment: the caller passes arguments, variables and
//! a function that reads files. Precedence: flag, environment, settings file, default.

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
#[cfg(feature = "http")]
use crate::framing::http::HttpRules;
use crate::limits;
use crate::model::AnonymousAccess;
use crate::store::Location;
use crate::work::password::Cost;
use loader::Loader;
use setting::Setting;
use settings::SETTINGS;

/// What a command line asks for.
#[derive(Clone, PartialEq, Debug)]
pub enum Invocation {
    /// Print the help text: [`help()`].
    Help,
    /// Print the version.
    Version,
    /// Report that the configuration is valid, with these warnings.
    Check(Vec<String>),
    /// Print the settings and where they come from.
    Show(Box<Resolved>),
    /// Run the daemon.
    Run(Box<Resolved>),
}

/// Valid settings, with their origins and warnings.
#[derive(Clone, PartialEq, Debug)]
pub struct Resolved {
    /// The configuration.
    pub config: Config,
    /// Each setting's value and origin.
    pub report: Report,
    /// Warnings, such as unknown variables.
    pub warnings: Vec<String>,
}

/// An error in a command line, an environment or a settings file; the text says how to fix it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ConfigError {
    /// Invalid command line: unknown flag, missing value, unexpected argument.
    Usage(String),
    /// Invalid value of a setting.
    Value(String),
}

/// The validated configuration of a daemon.
#[derive(Clone, PartialEq, Debug)]
pub struct Config {
    /// The listeners.
    pub listen: Vec<ListenerSpec>,
    /// Where the store is.
    pub store: Location,
    /// The directory for the daemon's own socket, its lock and the default store.
    pub state_dir: PathBuf,
    /// Timeouts of a connection.
    pub timeouts: Timeouts,
    /// Whether anonymous clients may register; `None`: on loopback and unix listeners only.
    pub registration: Option<bool>,
    /// Maximum number of VMs in the store.
    pub vms_max: u64,
    /// How long a token is valid.
    pub token_lifetime: Duration,
    /// When failed logins delay further attempts.
    pub logins: LoginLimits,
    /// Hosts and origins that HTTP requests may name.
    #[cfg(feature = "http")]
    pub http: HttpRules,
    /// Delay of a conversion, drawn at random for each.
    pub conversion_delay: RangeInclusive<Duration>,
    /// When a `put` is acknowledged.
    pub metrics_durability: Durability,
    /// How long points are kept; `None`: forever.
    pub metrics_retention: Option<Duration>,
    /// Threads that hash passwords.
    pub auth_workers: usize,
    /// Maximum number of waiting password jobs.
    pub auth_queue: usize,
    /// Maximum number of waiting reads.
    pub read_queue: usize,
    /// Maximum number of waiting writes.
    pub write_queue: usize,
    /// Maximum number of connections to a database.
    pub store_connections: usize,
    /// Maximum number of open connections.
    pub connections_max: usize,
    /// Maximum number of open requests with an id, per connection.
    pub requests_per_connection: usize,
    /// Maximum number of open requests with an id, over all connections.
    pub requests_max: usize,
    /// Maximum bytes buffered for all clients together.
    pub buffers_bytes_max: usize,
    /// Cost of new password hashes.
    pub argon2: Cost,
    /// Log filter, in the syntax of RUST_LOG.
    pub log: String,
    /// Format of log lines.
    pub log_format: LogFormat,
    /// Whether listeners may be reachable from other hosts.
    pub is_plaintext_allowed: bool,
    /// Whether `listen` was set explicitly; otherwise [`Config::listen`] is the default.
    pub is_listen_explicit: bool,
}

/// One listener.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListenerSpec {
    /// Its address.
    pub address: ListenAddress,
    /// What clients may do without authentication.
    pub anonymous_access: AnonymousAccess,
}

/// The address of a listener.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum ListenAddress {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// Timeouts of a connection; each runs only while the server waits for the client. `None`: no timeout.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timeouts {
    /// Until the first byte.
    pub first_request: Option<Duration>,
    /// From the first to the last byte of one request.
    pub request: Duration,
    /// Between requests of an anonymous client.
    pub idle_anonymous: Option<Duration>,
    /// Between requests of an authenticated client.
    pub idle_authenticated: Option<Duration>,
    /// Between requests on an HTTP connection.
    pub idle_http: Option<Duration>,
    /// Without progress in sending pending output.
    pub write: Duration,
}

/// When a `put` is answered `ok`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Durability {
    /// After the store has committed the points.
    Store,
    /// As soon as the points are in memory; they are written later.
    Memory,
}

/// Format of log lines.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum LogFormat {
    Text,
    Json,
}

impl Sources {
    /// Parses command line, environment and settings file, and validates all settings.
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
    /// Maximum number of connections with a limit of `descriptors` open files: [`Config::connections_max`], or
    /// what is left beside the daemon's own files, which is at least half of them.
    pub fn connections_within(&self, descriptors: u64) -> usize {
        let descriptors = usize::try_from(descriptors).unwrap_or(usize::MAX);
        let wanted_by_others =
            limits::DESCRIPTORS_RESERVED + limits::OWN_SOCKET_CONNECTIONS + self.listen.len();
        let reserved = wanted_by_others.min(descriptors / 2);
        self.connections_max.min((descriptors - reserved).max(1))
    }
}

impl ConfigError {
    /// The exit code: by convention 2 for usage errors, else [`EX_CONFIG`].
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

/// Exit code for a configuration error, from sysexits.h.
pub const EX_CONFIG: u8 = 78;

/// The name of the daemon's own socket in the state directory.
pub const SOCKET_NAME: &str = "vmherd.sock";
