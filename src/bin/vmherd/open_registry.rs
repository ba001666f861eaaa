//! Opens the store for the tools that change it directly.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;

use vmherd::{Location, Registry, RegistryError};

use crate::settings::{ConfigError, ToolSettings};
use crate::sys::process::is_root;
use crate::tool::{Tool, ToolError};

/// Opens the store for `tool`; creates a new one only if `is_new_allowed`.
pub fn open_registry(
    tool: &Tool,
    settings: &ToolSettings,
    is_new_allowed: bool,
) -> Result<Registry, ToolError> {
    let ToolSettings { config, is_default_store } = settings;
    let (location, directory) = (&config.store, &config.state_dir);
    if !exists(location)? && !is_new_allowed {
        let why = format!("there is no store {location}; say which one with --store or --state-dir");
        return Err(ToolError::new(1, why));
    }
    if *is_default_store && is_new_allowed && !directory.exists() {
        // Private to its owner.
        let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
        let directory = directory.display();
        made.map_err(|error| ToolError::new(1, format!("can't make {directory}: {error}")))?;
        if is_root() {
            tool.warn(format_args!(
                "{directory} belongs to root: for a daemon of another user, chown -R USER {directory}"
            ));
        }
    }
    let registry = Registry::open(config)?;
    #[cfg(feature = "sqlite")]
    warn_of_owner(tool, location);
    Ok(registry)
}

/// Warns if the store's file and its directory have different owners: the daemon could not open it.
#[cfg(feature = "sqlite")]
fn warn_of_owner(tool: &Tool, location: &Location) {
    use std::fs;
    use std::os::unix::fs::MetadataExt;

    if let Location::Sqlite(path) = location
        && is_root()
        && let Ok(file) = fs::metadata(path)
        && let Some(directory) = path.parent()
        && let Ok(owner) = fs::metadata(directory)
        && file.uid() != owner.uid()
    {
        let (path, directory) = (path.display(), directory.display());
        tool.warn(format_args!(
            "{path} belongs to user {}, its directory to user {}: for a daemon of that user, chown --reference={directory} {path}",
            file.uid(),
            owner.uid(),
        ));
    }
}

/// Whether there is a store at `location`; an error if it is in the daemon's memory.
fn exists(location: &Location) -> Result<bool, ConfigError> {
    match location {
        Location::Memory => Err(ConfigError::Value(
            "--store: \"memory:\" exists only inside the daemon's process; name a persistent store".into(),
        )),
        #[cfg(feature = "sqlite")]
        Location::Sqlite(path) => Ok(path.exists()),
        // A database is created by its administrator, never here.
        Location::Postgres(_) => Ok(true),
    }
}

impl From<RegistryError> for ToolError {
    fn from(error: RegistryError) -> ToolError {
        ToolError::new(1, error.to_string())
    }
}
