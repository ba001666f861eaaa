//! A configuration under construction: settings are applied to it one by one.

use std::path::PathBuf;

use vmherd::{Config, Location};

use super::{LogFormat, LogSettings};

/// A configuration under construction.
pub struct PartialConfig {
    /// The settings so far; its store and state directory are set last.
    pub(super) config: Config,
    pub(super) log: LogSettings,
    pub(super) store: Option<Location>,
    pub(super) store_file: Option<PathBuf>,
    pub(super) state_dir: Option<PathBuf>,
    pub(super) is_check: bool,
}

impl PartialConfig {
    /// The defaults. Without a listener, which the setting adds.
    pub(super) fn new() -> PartialConfig {
        let mut config = Config::default();
        config.listen.clear();
        let log = LogSettings { filter: "info".into(), format: LogFormat::Text };
        PartialConfig { config, log, store: None, store_file: None, state_dir: None, is_check: false }
    }
}
