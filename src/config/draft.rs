//! A configuration while it is being put together: which of the sources has the say on each setting.

use std::borrow::Cow;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use super::arguments::Arguments;
use super::environment::Environment;
use super::settings::Setting;
use super::{Config, ConfigError, LogFormat, Timeouts};
use crate::app::password::Cost;
use crate::limits;
use crate::store::Location;

/// A configuration while it is being put together.
pub(crate) struct Draft {
    /// What is known; its store and state directory come last.
    pub(super) config: Config,
    pub(super) store: Option<Location>,
    pub(super) state_dir: Option<PathBuf>,
    pub(super) is_plaintext_allowed: bool,
    pub(super) is_check: bool,
}

impl Draft {
    /// Gives each of `settings` the value that the command line, the environment or its preset has.
    pub(super) fn read(
        settings: impl Iterator<Item = &'static Setting>,
        arguments: &Arguments,
        environment: &Environment,
    ) -> Result<Draft, ConfigError> {
        let mut draft = Draft::new();
        for setting in settings {
            let Values { origin, texts } = Values::of(setting, arguments, environment)?;
            for text in texts {
                setting.place(&mut draft, &text).map_err(|wrong| {
                    ConfigError::Value(format!("{origin}: {:?} {wrong}", without_credentials(&text)))
                })?;
            }
        }
        Ok(draft)
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
        };
        Draft { config, store: None, state_dir: None, is_plaintext_allowed: false, is_check: false }
    }
}

/// The texts given for one setting and who gave them.
struct Values {
    origin: String,
    texts: Vec<String>,
}

impl Values {
    fn of(
        setting: &Setting,
        arguments: &Arguments,
        environment: &Environment,
    ) -> Result<Values, ConfigError> {
        if arguments.has(setting.flag) {
            let mut texts: Vec<String> = arguments.values(setting.flag).map(String::from).collect();
            if texts.is_empty() {
                texts.push("yes".into());
            }
            return Ok(Values { origin: format!("--{}", setting.flag), texts });
        }
        if let Some(name) = setting.environment()
            && let Some(text) = environment.text(&name)?
        {
            let is_list = setting.as_flag().is_repeatable;
            let list = || text.split_whitespace().map(String::from).collect();
            return Ok(Values { origin: name, texts: if is_list { list() } else { vec![text.into()] } });
        }
        Ok(Values {
            origin: format!("--{}", setting.flag),
            texts: setting.preset.text().into_iter().collect(),
        })
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
