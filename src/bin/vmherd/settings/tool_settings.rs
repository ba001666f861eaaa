//! The settings that the host's tools read: only those they need, so that an error in the rest does not lock an
//! operator out.

use std::path::PathBuf;

use vmherd::{Config, Location, PasswordCost};

use super::loader::{Loader, default_store};
use super::setting::Setting;
use super::table::SETTINGS;
use super::{ConfigError, Flag, ParsedSources};

/// The location of the daemon's store, for `vmherd backup`.
#[derive(Clone, PartialEq, Debug)]
pub struct StoreSelection {
    /// The store.
    pub store: Location,
    /// The state directory, if the store is the default one in it.
    pub state_dir: Option<PathBuf>,
}

/// The settings of `vmherd vm`.
#[derive(Clone, PartialEq, Debug)]
pub struct StoreSettings {
    /// The location of the store.
    pub selection: StoreSelection,
    /// Maximum number of VMs in the store.
    pub vms_max: u64,
    /// Cost of new password hashes.
    pub argon2: PasswordCost,
}

/// The state directory, which has the daemon's own socket, for `vmherd stats`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StateDirSetting(pub PathBuf);

impl StoreSelection {
    const FLAGS: [&str; 3] = ["store", "store-file", "state-dir"];

    /// The flags that count for it.
    pub fn flags() -> impl Iterator<Item = Flag> {
        StoreSelection::table().map(Setting::as_flag).chain(ParsedSources::flags())
    }

    /// Reads it and leaves the other settings alone.
    pub fn read(sources: &ParsedSources<'_>) -> Result<StoreSelection, ConfigError> {
        let Loader { mut partial, .. } = Loader::load(StoreSelection::table(), sources)?;
        if let Some(store) = partial.store.take() {
            return Ok(StoreSelection { store, state_dir: None });
        }
        let directory = partial.resolve_state_dir(sources.environment)?;
        Ok(StoreSelection { store: default_store(&directory), state_dir: Some(directory) })
    }

    pub(super) fn table() -> impl Iterator<Item = &'static Setting> {
        SETTINGS.iter().filter(|setting| StoreSelection::FLAGS.contains(&setting.flag))
    }
}

impl StoreSettings {
    /// The flags of these settings.
    pub const FLAGS: [&str; 7] =
        ["store", "store-file", "state-dir", "vms-max", "argon2-memory", "argon2-passes", "argon2-lanes"];

    /// The same as command-line flags.
    pub fn flags() -> impl Iterator<Item = Flag> {
        StoreSettings::table().map(Setting::as_flag).chain(ParsedSources::flags())
    }

    /// Reads the settings of the store and ignores all others, even invalid ones.
    pub fn read(sources: &ParsedSources<'_>) -> Result<StoreSettings, ConfigError> {
        let Loader { partial, .. } = Loader::load(StoreSettings::table(), sources)?;
        let Config { vms_max, argon2, .. } = partial.config;
        Ok(StoreSettings { selection: StoreSelection::read(sources)?, vms_max, argon2 })
    }

    pub(super) fn table() -> impl Iterator<Item = &'static Setting> {
        SETTINGS.iter().filter(|setting| StoreSettings::FLAGS.contains(&setting.flag))
    }
}

impl StateDirSetting {
    /// The flags that count for it.
    pub fn flags() -> impl Iterator<Item = Flag> {
        StateDirSetting::table().map(Setting::as_flag).chain(ParsedSources::flags())
    }

    /// Reads it and leaves the other settings alone.
    pub fn read(sources: &ParsedSources<'_>) -> Result<StateDirSetting, ConfigError> {
        let Loader { partial, .. } = Loader::load(StateDirSetting::table(), sources)?;
        Ok(StateDirSetting(partial.resolve_state_dir(sources.environment)?))
    }

    pub(super) fn table() -> impl Iterator<Item = &'static Setting> {
        SETTINGS.iter().filter(|setting| setting.flag == "state-dir")
    }
}
