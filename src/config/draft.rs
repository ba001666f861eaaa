//! A configuration while it is being put together: which of the sources has the say on each setting.

use std::borrow::Cow;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use super::report::Report;
use super::setting::Setting;
use super::sources::{Given, Origin, Values};
use super::{Config, ConfigError, LogFormat, Timeouts};
use crate::app::password::Cost;
use crate::limits;
use crate::store::Location;

/// A configuration while it is being put together.
pub(crate) struct Draft {
    /// What is known; its store and state directory come last.
    pub(super) config: Config,
    pub(super) store: Option<Location>,
    pub(super) store_file: Option<PathBuf>,
    pub(super) state_dir: Option<PathBuf>,
    pub(super) settings_file: Option<PathBuf>,
    pub(super) is_check: bool,
    /// What was said, and by whom.
    pub(super) report: Report,
}

impl Draft {
    /// Gives each of `settings` the value that is given for it, or its preset.
    pub(super) fn read(
        settings: impl Iterator<Item = &'static Setting>,
        given: &Given<'_>,
    ) -> Result<Draft, ConfigError> {
        let mut draft = Draft::new();
        for setting in settings {
            let Values { origin, texts } = given.values(setting)?;
            for text in &texts {
                setting.place(&mut draft, text).map_err(|wrong| {
                    ConfigError::Value(format!("{origin}: {:?} {wrong}", without_credentials(text)))
                })?;
            }
            draft.report.add(setting, &texts.join(" "), origin);
        }
        draft.read_store_file(given)?;
        Ok(draft)
    }

    /// What the first line of the store file says, where there is one.
    fn read_store_file(&mut self, given: &Given<'_>) -> Result<(), ConfigError> {
        let Some(path) = &self.store_file else { return Ok(()) };
        let origin = self.report.origin("store-file").map_or_else(String::new, Origin::to_string);
        if let Some(other) = self.report.origin("store").filter(|other| other.is_given()) {
            return Err(ConfigError::Value(format!(
                "{other} and {origin}: only one of them may say where the store is"
            )));
        }
        let wrong = |why| ConfigError::Value(format!("{origin}: the first line of {} {why}", path.display()));
        let bytes = (given.read_file)(path).map_err(|error| {
            ConfigError::Value(format!("{origin}: can't read {}: {error}", path.display()))
        })?;
        let first = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let text = str::from_utf8(first).map_err(|_| wrong("is not valid UTF-8".into()))?.trim();
        let location = Location::parse(text).map_err(|why| wrong(format!("is no store: {why}")))?;
        let place = Origin::File(format!("{}:1", path.display()), "VMHERD_STORE".into());
        self.report.replace("store", text, place);
        self.store = Some(location);
        Ok(())
    }

    /// What a setting is that has no preset in the table, and something for the others.
    fn new() -> Draft {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let config = Config {
            listen: Vec::new(),
            store: Location::Memory,
            state_dir: PathBuf::new(),
            timeouts: Timeouts {
                first_request: None,
                request: Duration::ZERO,
                idle_anonymous: Some(limits::IDLE_TIMEOUT_ANONYMOUS),
                idle_authenticated: None,
                write: Duration::ZERO,
            },
            registration: None,
            vms_max: 0,
            token_lifetime: Duration::ZERO,
            auth_workers: cores.min(limits::AUTH_WORKERS_MAX),
            auth_queue: 0,
            read_queue: 0,
            write_queue: 0,
            connections_max: 0,
            requests_per_connection: 0,
            requests_max: 0,
            argon2: Cost { memory_kib: 0, passes: 0, lanes: 0 },
            log: String::new(),
            log_format: LogFormat::Text,
            is_plaintext_allowed: false,
            is_listen_given: false,
        };
        Draft {
            config,
            store: None,
            store_file: None,
            state_dir: None,
            settings_file: None,
            is_check: false,
            report: Report::default(),
        }
    }
}

/// What of a bad value can be shown: of a URL that is no listener only how it begins, since the rest may
/// hold a password.
fn without_credentials(text: &str) -> Cow<'_, str> {
    match text.split_once("://") {
        Some((scheme, _)) if scheme.trim() != "tcp" => format!("{scheme}://…").into(),
        _ => text.into(),
    }
}
