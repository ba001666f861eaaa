//! What the tools of the host read of the daemon's settings: as much as they need, so that a mistake in
//! the rest does not keep an operator out.

use std::path::PathBuf;

use super::loader::{Loader, default_store};
use super::setting::Setting;
use super::settings::SETTINGS;
use super::{Config, ConfigError, Flag, ParsedSources};
use crate::app::password::Cost;
use crate::store::Location;

/// Where the daemon's store is.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct StoreSelection {
    /// Where VMs are kept.
    pub(crate) store: Location,
    /// The state directory, where the store is the default one in it.
    pub(crate) state_dir: Option<PathBuf>,
}

/// What a tool on the host must know to work on the daemon's store.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct StoreSettings {
    /// Where it is.
    pub(crate) selection: StoreSelection,
    /// VMs that the store may hold.
    pub(crate) vms_max: u64,
    /// What a new password hash costs.
    pub(crate) argon2: Cost,
}

/// Where the daemon's own socket is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct StateDirSetting(pub(crate) PathBuf);

impl StoreSelection {
    const FLAGS: [&str; 3] = ["store", "store-file", "state-dir"];

    /// The flags that count for it.
    pub(crate) fn flags() -> impl Iterator<Item = Flag> {
        StoreSelection::table().map(Setting::as_flag).chain(ParsedSources::flags())
    }

    /// Reads it and leaves the other settings alone.
    pub(crate) fn read(sources: &ParsedSources<'_>) -> Result<StoreSelection, ConfigError> {
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
    /// The flags of the table that count for the store.
    pub(crate) const FLAGS: [&str; 7] =
        ["store", "store-file", "state-dir", "vms-max", "argon2-memory", "argon2-passes", "argon2-lanes"];

    /// The same as the command line knows them.
    pub(crate) fn flags() -> impl Iterator<Item = Flag> {
        StoreSettings::table().map(Setting::as_flag).chain(ParsedSources::flags())
    }

    /// Reads what counts for the store and leaves the other settings alone, wrong ones too.
    pub(crate) fn read(sources: &ParsedSources<'_>) -> Result<StoreSettings, ConfigError> {
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
    pub(crate) fn flags() -> impl Iterator<Item = Flag> {
        StateDirSetting::table().map(Setting::as_flag).chain(ParsedSources::flags())
    }

    /// Reads it and leaves the other settings alone.
    pub(crate) fn read(sources: &ParsedSources<'_>) -> Result<StateDirSetting, ConfigError> {
        let Loader { partial, .. } = Loader::load(StateDirSetting::table(), sources)?;
        Ok(StateDirSetting(partial.resolve_state_dir(sources.environment)?))
    }

    pub(super) fn table() -> impl Iterator<Item = &'static Setting> {
        SETTINGS.iter().filter(|setting| setting.flag == "state-dir")
    }
}
