//! The error of invalid settings, and its exit code.

use std::fmt;

/// An error in a command line, an environment or a settings file; the text says how to fix it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ConfigError {
    /// Invalid command line: unknown flag, missing value, unexpected argument.
    Usage(String),
    /// Invalid value of a setting.
    Value(String),
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

/// Exit code for a configuration error, from sysexits.h.
pub const EX_CONFIG: u8 = 78;
