//! Loads each setting from its source, then resolves and checks what depends on several settings.

use std::path::{Path, PathBuf};

use vmherd::{InvalidSetting, Location, redact};

use super::environment::Environment;
use super::partial::PartialConfig;
use super::report::Report;
use super::setting::Setting;
use super::sources::{Origin, ParsedSources, SourcedValues};
use super::{ConfigError, Resolved};

/// The settings loaded so far.
pub(super) struct Loader {
    pub(super) partial: PartialConfig,
    /// Each setting's value and origin.
    pub(super) report: Report,
}

impl Loader {
    /// Loads each of `settings` from its source, or its default.
    pub(super) fn load(
        settings: impl Iterator<Item = &'static Setting>,
        sources: &ParsedSources<'_>,
    ) -> Result<Loader, ConfigError> {
        let mut loader = Loader { partial: PartialConfig::new(), report: Report::default() };
        for setting in settings {
            let SourcedValues { origin, texts } = sources.values(setting)?;
            for text in &texts {
                setting.set(&mut loader.partial, text, &origin)?;
            }
            loader.report.add(setting, &texts.join(" "), origin);
        }
        loader.read_store_file(sources)?;
        Ok(loader)
    }

    /// Reads the store's URL from the first line of the store file, if one is set.
    fn read_store_file(&mut self, sources: &ParsedSources<'_>) -> Result<(), ConfigError> {
        let Some(path) = &self.partial.store_file else { return Ok(()) };
        let origin = self.report.origin("store-file").map_or_else(String::new, Origin::to_string);
        if let Some(other) = self.report.origin("store").filter(|other| other.is_explicit()) {
            return Err(ConfigError::Value(format!(
                "{other} and {origin}: only one of them may say where the store is"
            )));
        }
        let wrong = |why| ConfigError::Value(format!("{origin}: the first line of {} {why}", path.display()));
        let bytes = (sources.read_file)(path).map_err(|error| {
            ConfigError::Value(format!("{origin}: can't read {}: {error}", redact(&path.to_string_lossy())))
        })?;
        let first = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let text = str::from_utf8(first).map_err(|_| wrong("is not valid UTF-8".into()))?.trim();
        let location: Location = text.parse().map_err(|error: InvalidSetting| wrong(error.to_string()))?;
        let origin = Origin::File(format!("{}:1", path.display()), "VMHERD_STORE".into());
        self.report.replace("store", text, origin);
        self.partial.store = Some(location);
        Ok(())
    }

    /// Computes and checks what depends on more than one setting.
    pub(super) fn resolve(self, sources: &ParsedSources<'_>) -> Result<Resolved, ConfigError> {
        let state_dir = self.partial.resolve_state_dir(sources.environment)?;
        let Loader { partial: PartialConfig { mut config, log, store, .. }, mut report } = self;
        config.store = store.unwrap_or_else(|| default_store(&state_dir));
        config.state_dir = state_dir;
        report.set_computed("store", config.store.to_string());
        report.set_computed("state-dir", config.state_dir.display().to_string());
        report.set_computed("auth-workers", config.auth_workers.to_string());
        let origin = report.origin("listen");
        config.is_listen_explicit = origin.is_some_and(Origin::is_explicit);
        let origin = origin.map_or_else(String::new, Origin::to_string);
        config.check(&origin).map_err(|error| ConfigError::Value(error.to_string()))?;
        Ok(Resolved { config, log, report, warnings: sources.warnings() })
    }
}

impl PartialConfig {
    /// The state directory: the setting, else systemd's, else the XDG state directory.
    pub(super) fn resolve_state_dir(&self, environment: &Environment) -> Result<PathBuf, ConfigError> {
        if let Some(directory) = &self.state_dir {
            return Ok(directory.clone());
        }
        if let Some(directory) = environment.systemd_state_directory() {
            return Ok(directory);
        }
        // The XDG specification says to ignore a relative path.
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
}

#[cfg(feature = "sqlite")]
pub(super) fn default_store(state_dir: &Path) -> Location {
    Location::Sqlite(state_dir.join("vmherd.sqlite3"))
}

#[cfg(not(feature = "sqlite"))]
pub(super) fn default_store(_state_dir: &Path) -> Location {
    Location::Memory
}
