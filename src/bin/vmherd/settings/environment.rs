//! The environment variables that are relevant for settings.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use vmherd::is_plain_name;

use super::arguments::nearest;
use super::config_error::ConfigError;
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
        let Some(value) = self.variables.get(OsStr::new(name)) else { return Ok(None) };
        match value.to_str() {
            Some(text) => Ok(Some(text).filter(|text| !is_blank(text))),
            None => Err(ConfigError::Value(format!(
                "{name}: its value is not valid UTF-8, which every setting must be"
            ))),
        }
    }

    /// The default state directory: systemd's, else the XDG state directory. The paths need not be UTF-8.
    pub(super) fn default_state_dir(&self) -> Result<PathBuf, ConfigError> {
        let [systemd, xdg, home] = STATE_DIR_VARIABLES.map(|name| self.variables.get(OsStr::new(name)));
        // systemd separates several directories by colons.
        let systemd = systemd.map(|all| all.as_bytes().split(|byte| *byte == b':'));
        if let Some(first) = systemd.and_then(|mut all| all.find(|path| !path.is_empty())) {
            return Ok(OsStr::from_bytes(first).into());
        }
        // The XDG specification says to ignore a relative path.
        let xdg = xdg.map(PathBuf::from).filter(|path| path.is_absolute());
        let base = xdg.or_else(|| home.map(|home| Path::new(home).join(".local/state")));
        base.map(|base| base.join("vmherd")).ok_or_else(|| {
            ConfigError::Value(
                "--state-dir: none of $STATE_DIRECTORY, $XDG_STATE_HOME and $HOME is set; say where the \
                 daemon may keep its files: --state-dir DIRECTORY"
                    .into(),
            )
        })
    }

    /// A warning for each variable with the prefix that names no setting.
    pub(super) fn unknown_settings(&self) -> Vec<String> {
        let known = variable_names();
        let unknown = self.variables.keys().filter(|name| {
            let is_known = known.iter().any(|known| *name == known.as_str());
            let is_of_vmherdctl = VMHERDCTL_VARIABLES.iter().any(|known| name == known);
            name.as_bytes().starts_with(PREFIX) && !is_known && !is_of_vmherdctl
        });
        let warning = |name: &OsString| match unknown_setting(&name.to_string_lossy()) {
            Some(warning) => format!("environment variable {warning}"),
            None => "the environment has a variable that begins with VMHERD_ and is not a setting".into(),
        };
        unknown.map(warning).collect()
    }
}

/// The error for an unknown setting `name`, with a suggestion. `None` if `name` is not a plain name: it may be
/// a value in the wrong place, so it must not be shown.
pub(super) fn unknown_setting(name: &str) -> Option<String> {
    is_plain_name(name).then(|| match nearest(name, variable_names().iter().map(String::as_str)) {
        Some(near) => format!("{name:?} is not a setting; did you mean {near}?"),
        None => format!("{name:?} is not a setting; see vmherd --help"),
    })
}

fn variable_names() -> Vec<String> {
    SETTINGS.iter().filter_map(|setting| setting.variable_name()).collect()
}

/// Prefix of the variables of settings.
const PREFIX: &[u8] = b"VMHERD_";
/// Variables of `vmherdctl`, which a user may set for both programs.
const VMHERDCTL_VARIABLES: [&str; 3] = ["VMHERD_SERVER", "VMHERD_PASSWORD", "VMHERD_TOKEN"];
/// Variables that determine the default state directory, in order of precedence.
const STATE_DIR_VARIABLES: [&str; 3] = ["STATE_DIRECTORY", "XDG_STATE_HOME", "HOME"];
