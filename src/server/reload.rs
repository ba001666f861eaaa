//! The settings of a running server's parts, as a start and a reload take them from the configuration.

use std::sync::Arc;
use std::thread;

use crate::app;
use crate::app::presence::ListenerPolicy;
use crate::clock::SystemClock;
use crate::config::{Config, ListenerSpec};
#[cfg(feature = "http")]
use crate::framing::http::HttpRules;
use crate::limits;
use crate::model::CustomCommands;
use crate::reactor::mio_net::MioNet;
use crate::reactor::{self, ListenerSettings, Reactor};
use crate::session::Rules;
use crate::sys;
use crate::work::Lane;
use crate::worker::{LaneSettings, Maintenance, Pool, PoolControl, PoolSettings};

/// The reactor of a server.
pub(super) type ServerReactor = Reactor<MioNet, Pool, SystemClock>;

/// The parts of the server that a reload changes, besides the reactor.
pub(super) struct ReloadState {
    /// Every listener, the state directory's last.
    pub(super) listen: Vec<ListenerSpec>,
    pub(super) queues: Arc<PoolControl>,
    /// Threads of the write lane.
    pub(super) writers: usize,
    /// Threads of the handler lane.
    pub(super) handler_threads: usize,
    /// The commands and verbs of the embedding program.
    pub(super) customs: Arc<CustomCommands>,
    pub(super) maintenance: Arc<Maintenance>,
}

impl ReloadState {
    /// Applies the settings of `config` that can change at run time.
    pub(super) fn apply(&self, config: &Config, reactor: &mut ServerReactor) {
        self.maintenance.set_retention(config.metrics_retention);
        self.queues.resize(&pool_settings(config, self.writers, self.handler_threads));
        reactor.reload(self.reactor_settings(config), app_settings(config));
    }

    pub(super) fn reactor_settings(&self, config: &Config) -> reactor::Settings {
        let own_socket = self.listen.len() - 1;
        #[cfg(feature = "http")]
        let http = Arc::new(HttpRules { customs: Arc::clone(&self.customs), ..config.http.clone() });
        let timeouts = config.timeouts;
        let listeners = self.listen.iter().enumerate().map(|(index, listener)| {
            let is_local = listener.address.is_local();
            let anonymous_access = listener.anonymous_access;
            let bytes_max = |is_low: bool| match is_low {
                true => limits::REQUEST_BYTES_MAX_ANONYMOUS,
                false => limits::REQUEST_BYTES_MAX,
            };
            ListenerSettings {
                rules: Rules {
                    inline_bytes_max: limits::INLINE_BYTES_MAX,
                    first_request_timeout: timeouts.first_request,
                    request_timeout: timeouts.request,
                    idle_timeout_anonymous: timeouts.idle_anonymous,
                    idle_timeout_authenticated: timeouts.idle_authenticated,
                    idle_timeout_http: timeouts.idle_http,
                    write_timeout: timeouts.write,
                    request_bytes_max_anonymous: bytes_max(anonymous_access.is_empty()),
                    request_bytes_max_forwarded: bytes_max(anonymous_access.is_empty() || is_local),
                    requests_max: config.requests_per_connection,
                    customs: Arc::clone(&self.customs),
                    #[cfg(feature = "http")]
                    http: Arc::clone(&http),
                },
                policy: ListenerPolicy {
                    open_registration: config.registration.unwrap_or(is_local),
                    anonymous_access,
                    has_operators: index == own_socket,
                    is_local,
                },
                has_reserved_slots: index == own_socket,
            }
        });
        reactor::Settings {
            connections_max: config.connections_max,
            requests_max: config.requests_max,
            buffers_bytes_max: config.buffers_bytes_max,
            bounds: reactor::Bounds::default(),
            own_uid: sys::process::effective_uid(),
            listeners: listeners.collect(),
        }
    }
}

pub(super) fn app_settings(config: &Config) -> app::Settings {
    app::Settings {
        vms_max: config.vms_max,
        token_lifetime: config.token_lifetime,
        logins: config.logins,
        conversion_delay: config.conversion_delay.clone(),
        inline_bytes_max: limits::INLINE_BYTES_MAX,
    }
}

pub(super) fn pool_settings(config: &Config, writers: usize, handler_threads: usize) -> PoolSettings {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let lanes = Lane::ALL.map(|lane| {
        let (queue, threads) = match lane {
            Lane::Auth => (config.auth_queue, config.auth_workers),
            Lane::Compute => (limits::COMPUTE_QUEUE, cores.min(limits::COMPUTE_WORKERS_MAX)),
            Lane::Read => (config.read_queue, cores * limits::READ_WORKERS_PER_CORE),
            Lane::Write => (config.write_queue, writers),
            Lane::Handler => (limits::HANDLER_QUEUE, handler_threads),
        };
        LaneSettings { queue, threads }
    });
    PoolSettings { lanes, cost: config.argon2 }
}
