//! A configuration under construction: settings are applied to it one by one.

use std::path::PathBuf;

use super::Config;
use crate::store::Location;

/// A configuration under construction.
pub struct PartialConfig {
    /// The settings so far; its store and state directory are set last.
    pub(super) config: Config,
    pub(super) store: Option<Location>,
    pub(super) store_file: Option<PathBuf>,
    pub(super) state_dir: Option<PathBuf>,
    pub(super) is_check: bool,
}

impl PartialConfig {
    /// The defaults. Without a listener, which the setting adds.
    pub(super) fn new() -> PartialConfig {
        let config = Config { listen: Vec::new(), ..Config::default() };
        PartialConfig { config, store: None, store_file: None, state_dir: None, is_check: false }
    }
}
