//! A configuration under construction: settings are applied to it one by one.

use std::path::PathBuf;

use vmherd::{Config, Location};

#[cfg(feature = "qemu")]
use super::vm_settings::VmSettings;

/// A configuration under construction; begins with the defaults.
#[derive(Default)]
pub struct PartialConfig {
    /// The settings so far; its store and state directory are set last.
    pub(super) config: Config,
    pub(super) log: LogSettings,
    pub(super) store: Option<Location>,
    pub(super) store_file: Option<PathBuf>,
    pub(super) state_dir: Option<PathBuf>,
    pub(super) is_check: bool,
    #[cfg(feature = "qemu")]
    pub(super) vms: VmSettings,
}

/// The settings of the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogSettings {
    /// The filter, in the syntax of RUST_LOG.
    pub filter: String,
    /// The format of lines.
    pub format: LogFormat,
}

/// Format of log lines.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum LogFormat {
    Text,
    Json,
}

impl Default for LogSettings {
    fn default() -> LogSettings {
        LogSettings { filter: "info".into(), format: LogFormat::Text }
    }
}
