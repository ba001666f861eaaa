//! The settings of a running server's parts, as a start, a reload and a restart take them from the configuration.

use std::sync::Arc;
use std::thread;

use crate::app;
use crate::app::presence::ListenerPolicy;
use crate::config::{Config, ListenAddress, ListenerSpec};
#[cfg(feature = "http")]
use crate::framing::http::{HttpListener, HttpRules};
use crate::limits;
use crate::model::{AddressLists, AnonymousAccess, CustomCommands};
use crate::reactor::{self, ListenerSettings};
use crate::session::Rules;
#[cfg(feature = "sealed")]
use crate::session::SealedListener;
use crate::sys;
use crate::work::Lane;
use crate::worker::{LaneSettings, PoolSettings};

/// `listen` has every listener, the state directory's last; that for clients of this process, with everything open,
/// follows in the settings. `customs` are the commands and verbs of the embedding program.
pub(super) fn reactor_settings(
    config: &Config,
    listen: &[ListenerSpec],
    customs: &Arc<CustomCommands>,
    #[cfg(feature = "sealed")] sealed: Option<&SealedListener>,
) -> reactor::Settings {
    let own_socket = listen.len() - 1;
    #[cfg(feature = "http")]
    let http = Arc::new(HttpRules { customs: Arc::clone(customs), ..config.http.clone() });
    let timeouts = config.timeouts;
    let access = listen.iter().map(|listener| {
        let is_sealed = matches!(listener.address, ListenAddress::Sealed(_));
        (listener.address.is_local(), is_sealed, listener.anonymous_access)
    });
    let of_process = (true, false, AnonymousAccess::ALL);
    #[cfg(feature = "sealed")]
    let sealed = |index: usize| {
        let ListenerSpec { address, first_generation, .. } = listen.get(index)?;
        let keys = sealed.filter(|_| matches!(address, ListenAddress::Sealed(_)))?;
        Some(keys.with_first_generation(*first_generation || address.is_local()))
    };
    let listeners =
        access.chain([of_process]).enumerate().map(|(index, (is_local, is_sealed, anonymous_access))| {
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
                    customs: Arc::clone(customs),
                    #[cfg(feature = "sealed")]
                    sealed: sealed(index),
                    #[cfg(feature = "http")]
                    http: HttpListener::new(Arc::clone(&http)),
                },
                policy: ListenerPolicy {
                    open_registration: index > own_socket
                        || !is_sealed && config.registration.unwrap_or(is_local),
                    anonymous_access,
                    has_operators: index == own_socket,
                    is_local,
                    demands_access_token: is_sealed && config.sealed_tokens,
                },
                has_reserved_slots: index == own_socket,
            }
        });
    reactor::Settings {
        connections_max: config.connections_max,
        requests_max: config.requests_max,
        buffers_bytes_max: config.buffers_bytes_max,
        bounds: reactor::Bounds::default(),
        addresses: AddressLists { allow: config.allow.clone(), deny: config.deny.clone() },
        own_uid: sys::process::effective_uid(),
        listeners: listeners.collect(),
    }
}

pub(super) fn app_settings(config: &Config) -> app::Settings {
    app::Settings {
        vms_max: config.vms_max,
        token_lifetime: config.token_lifetime,
        logins: config.logins,
        log_addresses: config.log_addresses,
        conversion_delay: config.conversion_delay.clone(),
        metrics_points: config.metrics_points,
        inline_bytes_max: limits::INLINE_BYTES_MAX,
    }
}

pub(super) fn pool_settings(config: &Config, writers: usize, handler_threads: usize) -> PoolSettings {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let lanes = Lane::ALL.map(|lane| {
        let (queue, threads) = match lane {
            Lane::Auth => (config.auth_queue, config.auth_workers),
            Lane::Compute => (limits::COMPUTE_QUEUE, cores.min(limits::COMPUTE_WORKERS_MAX)),
            #[cfg(feature = "sealed")]
            Lane::Keys => (limits::KEYS_QUEUE, cores.min(limits::KEYS_WORKERS_MAX)),
            Lane::Read => (config.read_queue, cores * limits::READ_WORKERS_PER_CORE),
            Lane::Write => (config.write_queue, writers),
            Lane::Handler => (limits::HANDLER_QUEUE, handler_threads),
            Lane::Gate => (limits::GATE_QUEUE, limits::GATE_THREADS),
        };
        LaneSettings { queue, threads }
    });
    PoolSettings { lanes, cost: config.argon2 }
}

#[cfg(all(test, feature = "sealed"))]
mod tests {
    use super::*;

    #[test]
    fn sealed_listeners_demand_access_tokens_where_that_is_set() {
        let listen: Vec<ListenerSpec> = ["tcp://127.0.0.1:0", "sealed://127.0.0.1:0", "unix:/run/own.sock"]
            .map(|text| text.parse().expect(text))
            .into();
        for sealed_tokens in [false, true] {
            let config = Config { sealed_tokens, ..Config::default() };
            let settings = reactor_settings(&config, &listen, &Arc::default(), None);
            let demands: Vec<bool> =
                settings.listeners.iter().map(|listener| listener.policy.demands_access_token).collect();
            assert_eq!(demands, [false, sealed_tokens, false, false]);
        }
    }
}
