//! The settings of a server: a validated [`Config`].
//!
//! Nothing here opens a file or a socket or reads the environment.

pub mod bounds;
mod checks;
mod invalid_setting;
mod listener;
mod redact;

use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;
use std::{mem, thread};

use crate::app::login_limiter::LoginLimits;
#[cfg(feature = "http")]
use crate::framing::http::{AllowedHost, AllowedOrigin, HttpRules};
use crate::limits;
use crate::model::{AddressRule, AnonymousAccess, LogAddresses};
use crate::store::Location;
use crate::work::password::Cost;

pub use invalid_setting::InvalidSetting;
pub use listener::{ListenAddress, ListenerSpec};
pub use redact::{is_plain_name, may_hold_password, redact};

/// The settings of a server. [`Config::default`] has the daemon's defaults; change what differs.
///
/// ```
/// # fn main() -> Result<(), vmherd::InvalidSetting> {
/// let mut config = vmherd::Config::default()
///     .state_dir("/var/lib/vmherd")
///     .store("postgresql://vmherd@localhost/vmherd".parse()?)
///     .listen("tcp://127.0.0.1:8888?open=none".parse()?)
///     .listen("unix:/run/vmherd/vms.sock".parse()?);
/// config.vms_max = 500;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct Config {
    /// The listeners.
    pub listen: Vec<ListenerSpec>,
    /// Addresses of clients that may connect; if empty, all may. See [`Config::allow`].
    pub allow: Vec<AddressRule>,
    /// Addresses of clients that may not. See [`Config::deny`].
    pub deny: Vec<AddressRule>,
    /// Where the store is.
    pub store: Location,
    /// The directory for the daemon's own socket, its lock and the default store.
    pub state_dir: PathBuf,
    /// Timeouts of a connection.
    pub timeouts: Timeouts,
    /// Whether anonymous clients may register; `None`: on loopback and unix listeners only.
    pub registration: Option<bool>,
    /// Maximum number of VMs in the store.
    pub vms_max: u64,
    /// How long a token is valid.
    pub token_lifetime: Duration,
    /// When failed logins delay further attempts.
    pub logins: LoginLimits,
    /// How log lines show the addresses of clients.
    pub log_addresses: LogAddresses,
    /// Hosts and origins that HTTP requests may name.
    #[cfg(feature = "http")]
    pub(crate) http: HttpRules,
    /// Whether sealed listeners get a new key pair at each start, instead of the one in the state directory.
    pub sealed_onetime_keys: bool,
    /// Whether clients of sealed listeners need an access token for each verb: [`Registry::add_access_token`].
    ///
    /// [`Registry::add_access_token`]: crate::Registry::add_access_token
    pub sealed_tokens: bool,
    /// Delay of a conversion, drawn at random for each.
    pub conversion_delay: RangeInclusive<Duration>,
    /// When a `put` is acknowledged.
    pub metrics_durability: Durability,
    /// Whether `GET /metrics` has the latest point of each key.
    pub metrics_points: bool,
    /// How long points are kept; `None`: forever.
    pub metrics_retention: Option<Duration>,
    /// Threads that hash passwords.
    pub auth_workers: usize,
    /// Maximum number of waiting password jobs.
    pub auth_queue: usize,
    /// Maximum number of waiting reads.
    pub read_queue: usize,
    /// Maximum number of waiting writes.
    pub write_queue: usize,
    /// Maximum number of connections to a database.
    pub store_connections: usize,
    /// Maximum number of open connections.
    pub connections_max: usize,
    /// Maximum number of open requests with an id, per connection.
    pub requests_per_connection: usize,
    /// Maximum number of open requests with an id, over all connections.
    pub requests_max: usize,
    /// Maximum bytes buffered for all clients together.
    pub buffers_bytes_max: usize,
    /// Cost of new password hashes.
    pub argon2: Cost,
    /// Whether listeners may be reachable from other hosts.
    pub is_plaintext_allowed: bool,
    /// Whether `listen` was set explicitly; otherwise it is the default, which inherited listeners replace.
    pub is_listen_explicit: bool,
}

/// Timeouts of a connection; each runs only while the server waits for the client. `None`: no timeout.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Timeouts {
    /// Until the first byte.
    pub first_request: Option<Duration>,
    /// From the first to the last byte of one request.
    pub request: Duration,
    /// Between requests of an anonymous client.
    pub idle_anonymous: Option<Duration>,
    /// Between requests of an authenticated client.
    pub idle_authenticated: Option<Duration>,
    /// Between requests on an HTTP connection.
    pub idle_http: Option<Duration>,
    /// Without progress in sending pending output.
    pub write: Duration,
}

/// When a `put` is answered `ok`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Durability {
    /// After the store has committed the points.
    Store,
    /// As soon as the points are in memory; they are written later.
    Memory,
}

impl Default for Config {
    /// The daemon's defaults, except that nothing comes from the environment: the store is in memory, and the state
    /// directory is `vmherd` in the current directory.
    fn default() -> Config {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let address = ListenAddress::Tcp((Ipv4Addr::LOCALHOST, limits::PORT).into());
        Config {
            listen: vec![ListenerSpec {
                address,
                anonymous_access: AnonymousAccess::ALL,
                first_generation: false,
            }],
            allow: Vec::new(),
            deny: Vec::new(),
            store: Location::Memory,
            state_dir: "vmherd".into(),
            timeouts: Timeouts::default(),
            registration: None,
            vms_max: limits::VMS_MAX,
            token_lifetime: limits::TOKEN_LIFETIME,
            logins: LoginLimits {
                failures: Some(limits::LOGIN_FAILURES),
                delay_max: Some(limits::LOGIN_DELAY_MAX),
            },
            log_addresses: LogAddresses::Full,
            #[cfg(feature = "http")]
            http: HttpRules::default(),
            sealed_onetime_keys: false,
            sealed_tokens: false,
            conversion_delay: limits::CONVERSION_DELAY_MIN..=limits::CONVERSION_DELAY_MAX,
            metrics_durability: Durability::Store,
            metrics_points: false,
            metrics_retention: None,
            auth_workers: cores.min(limits::AUTH_WORKERS_MAX),
            auth_queue: limits::AUTH_QUEUE,
            read_queue: limits::READ_QUEUE,
            write_queue: limits::WRITE_QUEUE,
            store_connections: limits::STORE_CONNECTIONS_LIMIT,
            connections_max: limits::CONNECTIONS_MAX,
            requests_per_connection: limits::REQUESTS_PER_CONNECTION,
            requests_max: limits::REQUESTS_MAX,
            buffers_bytes_max: limits::BUFFERS_BYTES_MAX,
            argon2: Cost {
                memory_kib: limits::ARGON2_MEMORY_KIB,
                passes: limits::ARGON2_PASSES,
                lanes: limits::ARGON2_LANES,
            },
            is_plaintext_allowed: false,
            is_listen_explicit: false,
        }
    }
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts {
            first_request: Some(limits::FIRST_REQUEST_TIMEOUT),
            request: limits::REQUEST_TIMEOUT,
            idle_anonymous: Some(limits::IDLE_TIMEOUT_ANONYMOUS),
            idle_authenticated: None,
            idle_http: Some(limits::IDLE_TIMEOUT_HTTP),
            write: limits::WRITE_TIMEOUT,
        }
    }
}

impl Config {
    /// Adds a listener; the first replaces the default.
    pub fn listen(mut self, listener: ListenerSpec) -> Config {
        if !mem::replace(&mut self.is_listen_explicit, true) {
            self.listen.clear();
        }
        self.listen.push(listener);
        self
    }

    /// Adds an entry to the list of addresses that may connect.
    ///
    /// The first of these rules that applies to a client's address decides: a `deny` entry that is the address or a
    /// network with it refuses it; such an `allow` entry admits it; `deny` with `any` refuses it; `allow` with entries,
    /// but without `any`, refuses it. Otherwise it is admitted. Clients without an address always are.
    pub fn allow(mut self, rule: AddressRule) -> Config {
        self.allow.push(rule);
        self
    }

    /// Adds an entry to the list of addresses that may not connect; see [`Config::allow`].
    pub fn deny(mut self, rule: AddressRule) -> Config {
        self.deny.push(rule);
        self
    }

    /// Sets the store.
    pub fn store(mut self, store: Location) -> Config {
        self.store = store;
        self
    }

    /// Sets the directory for the server's own socket and its lock. No two servers can share one.
    pub fn state_dir(mut self, directory: impl Into<PathBuf>) -> Config {
        self.state_dir = directory.into();
        self
    }

    /// Adds a name that HTTP requests may have in `Host`, beside `localhost` and IP addresses; without a port.
    #[cfg(feature = "http")]
    pub fn http_host(mut self, name: &str) -> Result<Config, InvalidSetting> {
        let host = AllowedHost::parse(name).map_err(|error| InvalidSetting(format!("is {error}")))?;
        self.http.hosts.push(host);
        Ok(self)
    }

    /// Adds an origin, such as `https://vms.example.org`, whose pages may send requests.
    #[cfg(feature = "http")]
    pub fn http_origin(mut self, origin: &str) -> Result<Config, InvalidSetting> {
        let origin = AllowedOrigin::parse(origin).map_err(|error| InvalidSetting(format!("is {error}")))?;
        self.http.origins.push(origin);
        Ok(self)
    }

    /// Maximum number of connections with a limit of `descriptors` open files: [`Config::connections_max`], or
    /// what is left beside the daemon's own files, which is at least half of them.
    pub fn connections_within(&self, descriptors: u64) -> usize {
        let descriptors = usize::try_from(descriptors).unwrap_or(usize::MAX);
        let wanted_by_others =
            limits::DESCRIPTORS_RESERVED + limits::OWN_SOCKET_CONNECTIONS + self.listen.len();
        let reserved = wanted_by_others.min(descriptors / 2);
        self.connections_max.min((descriptors - reserved).max(1))
    }
}

/// The name of the daemon's own socket in the state directory.
pub const SOCKET_NAME: &str = "vmherd.sock";
