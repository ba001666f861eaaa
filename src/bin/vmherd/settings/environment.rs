//! The environment variables that are relevant for settings.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use vmherd::is_plain_name;

use super::ConfigError;
use super::arguments::nearest;
use super::table::SETTINGS;
use super::values::is_blank;

/// The relevant variables. An empty or blank variable counts as unset.
pub struct Environment {
    variables: BTreeMap<OsString, OsString>,
}

impl Environment {
    /// Keeps the relevant variables of `environment`.
    pub fn collect(environment: impl IntoIterator<Item = (OsString, OsString)>) -> Environment {
        let is_relevant = |name: &OsStr| {
            name.as_bytes().starts_with(PREFIX) || STATE_DIR_VARIABLES.iter().any(|known| name == *known)
        };
        let variables =
            environment.into_iter().filter(|(name, value)| is_relevant(name) && !value.is_empty()).collect();
        Environment { variables }
    }

    /// The text of a variable.
    pub(super) fn text(&self, name: &str) -> Result<Option<&str>, ConfigError> {
        match self.variables.get(OsStr::new(name)) {
            None => Ok(None),
            Some(value) => {
                value.to_str().map(|text| Some(text).filter(|text| !is_blank(text))).ok_or_else(|| {
                    ConfigError::Value(format!(
                        "{name}: its value is not valid UTF-8, which every setting must be"
                    ))
                })
            }
        }
    }

    /// A variable as a path, which need not be UTF-8.
    pub(super) fn path(&self, name: &str) -> Option<PathBuf> {
        self.variables.get(OsStr::new(name)).map(PathBuf::from)
    }

    /// The first directory of systemd's `StateDirectory=`.
    pub(super) fn systemd_state_directory(&self) -> Option<PathBuf> {
        let directories = self.variables.get(OsStr::new("STATE_DIRECTORY"))?;
        let first = directories.as_bytes().split(|byte| *byte == b':').find(|path| !path.is_empty())?;
        Some(PathBuf::from(OsStr::from_bytes(first)))
    }

    /// A warning for each variable with the prefix that names no setting.
    pub(super) fn unknown_settings(&self) -> Vec<String> {
        let known: Vec<String> = SETTINGS.iter().filter_map(|setting| setting.variable_name()).collect();
        let unknown = self.variables.keys().filter(|name| {
            name.as_bytes().starts_with(PREFIX) && !known.iter().any(|known| *name == known.as_str())
        });
        let warning = |name: &OsString| match unknown_setting(&name.to_string_lossy()) {
            Some(warning) => format!("environment variable {warning}"),
            None => "the environment has a variable that begins with VMHERD_ and names no setting".into(),
        };
        unknown.map(warning).collect()
    }
}

/// The error for an unknown setting `name`, with a suggestion. `None` if `name` is not a plain name: it may be
/// a value in the wrong place, so it must not be shown.
pub(super) fn unknown_setting(name: &str) -> Option<String> {
    if !is_plain_name(name) {
        return None;
    }
    let known: Vec<String> = SETTINGS.iter().filter_map(|setting| setting.variable_name()).collect();
    Some(match nearest(name, known.iter().map(String::as_str)) {
        Some(near) => format!("{name:?} is no setting; is {near} meant?"),
        None => format!("{name:?} is no setting; see vmherd --help"),
    })
}

/// Prefix of the variables of settings.
const PREFIX: &[u8] = b"VMHERD_";
/// Variables that determine the default state directory.
const STATE_DIR_VARIABLES: [&str; 3] = ["STATE_DIRECTORY", "XDG_STATE_HOME", "HOME"];
