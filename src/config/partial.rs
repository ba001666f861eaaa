//! A configuration under construction: settings are applied to it one by one.

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use super::{Config, Durability, LogFormat, Timeouts};
use crate::app::login_limiter::LoginLimits;
#[cfg(feature = "http")]
use crate::framing::http::HttpRules;
use crate::limits;
use crate::store::Location;
use crate::work::password::Cost;

/// A configuration under construction.
pub(crate) struct PartialConfig {
    /// The settings so far; its store and state directory are set last.
    pub(super) config: Config,
    pub(super) store: Option<Location>,
    pub(super) store_file: Option<PathBuf>,
    pub(super) state_dir: Option<PathBuf>,
    pub(super) is_check: bool,
}

impl PartialConfig {
    /// The computed defaults; settings with a default in the table have a placeholder.
    pub(super) fn new() -> PartialConfig {
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
                idle_http: Some(limits::IDLE_TIMEOUT_HTTP),
                write: Duration::ZERO,
            },
            registration: None,
            vms_max: 0,
            token_lifetime: Duration::ZERO,
            logins: LoginLimits { failures: None, delay_max: None },
            #[cfg(feature = "http")]
            http: HttpRules::default(),
            conversion_delay: Duration::ZERO..=Duration::ZERO,
            metrics_durability: Durability::Store,
            metrics_retention: None,
            auth_workers: cores.min(limits::AUTH_WORKERS_MAX),
            auth_queue: 0,
            read_queue: 0,
            write_queue: 0,
            store_connections: limits::STORE_CONNECTIONS_LIMIT,
            connections_max: 0,
            requests_per_connection: 0,
            requests_max: 0,
            buffers_bytes_max: 0,
            argon2: Cost { memory_kib: 0, passes: 0, lanes: 0 },
            log: String::new(),
            log_format: LogFormat::Text,
            is_plaintext_allowed: false,
            is_listen_explicit: false,
        };
        PartialConfig { config, store: None, store_file: None, state_dir: None, is_check: false }
    }
}
