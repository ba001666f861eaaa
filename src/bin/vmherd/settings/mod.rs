//! The daemon's settings. One table gives each setting its flag, environment variable, default, limits and
//! help text; parsing turns texts into a validated [`Config`].
//!
//! Nothing here opens a file or a socket or reads the environment: the caller passes arguments, variables and
//! a function that reads files. Precedence: flag, environment, settings file, default.

mod arguments;
mod environment;
mod environment_file;
mod help;
mod loader;
#[cfg(all(test, feature = "sqlite", feature = "http"))]
mod manual;
mod partial;
mod report;
mod setting;
mod sources;
#[cfg(test)]
mod sources_tests;
mod table;
#[cfg(test)]
mod tests;
mod tool_settings;
mod values;
#[cfg(test)]
mod values_tests;

use std::fmt;

use vmherd::{Config, redact};

use loader::Loader;
use setting::Setting;
use table::SETTINGS;

pub use arguments::{Arguments, Flag, Takes};
pub use environment::Environment;
pub use help::{help, push_state_dir_help, push_store_selection_help, push_store_settings_help};
pub use report::{Report, SettingChange};
pub use sources::{ParsedSources, Sources};
pub use tool_settings::{StateDirSetting, StoreSelection, StoreSettings};
pub use values::parse_number;

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
    /// The configuration of the server.
    pub config: Config,
    /// The settings of the log.
    pub log: LogSettings,
    /// Each setting's value and origin.
    pub report: Report,
    /// Warnings, such as unknown variables.
    pub warnings: Vec<String>,
}

/// The settings of the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogSettings {
    /// The filter, in the syntax of RUST_LOG.
    pub filter: String,
    /// The format of lines.
    pub format: LogFormat,
}

/// An error in a command line, an environment or a settings file; the text says how to fix it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ConfigError {
    /// Invalid command line: unknown flag, missing value, unexpected argument.
    Usage(String),
    /// Invalid value of a setting.
    Value(String),
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
