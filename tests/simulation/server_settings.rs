//! The settings of the server in a simulated world.

use std::sync::Arc;

#[cfg(feature = "sealed")]
use super::fake_keys::FakeKeyPair;
use super::fault_config::FaultConfig;
#[cfg(feature = "sealed")]
use super::network::SEALED_LISTENER;
use super::network::{CLOSED_LISTENER, LISTENERS};
use vmherd::internals::app::presence::ListenerPolicy;
#[cfg(feature = "http")]
use vmherd::internals::framing::http::{HttpListener, HttpRules};
use vmherd::internals::limits;
use vmherd::internals::model::{AddressLists, AnonymousAccess, CustomCommands};
use vmherd::internals::reactor::{ListenerSettings, Settings};
use vmherd::internals::session::Rules;
#[cfg(feature = "sealed")]
use vmherd::internals::session::SealedListener;

pub(super) fn settings(config: &FaultConfig, customs: &Arc<CustomCommands>) -> Settings {
    let rules = Rules {
        customs: Arc::clone(customs),
        inline_bytes_max: config.inline_bytes_max,
        first_request_timeout: Some(limits::FIRST_REQUEST_TIMEOUT),
        request_timeout: limits::REQUEST_TIMEOUT,
        idle_timeout_anonymous: Some(limits::IDLE_TIMEOUT_ANONYMOUS),
        idle_timeout_authenticated: config.idle_authenticated,
        idle_timeout_http: Some(limits::IDLE_TIMEOUT_HTTP),
        #[cfg(feature = "http")]
        http: HttpListener::new(Arc::new(HttpRules { customs: Arc::clone(customs), ..HttpRules::default() })),
        write_timeout: limits::WRITE_TIMEOUT,
        request_bytes_max_anonymous: config.anonymous_bytes_max,
        request_bytes_max_forwarded: config.anonymous_bytes_max,
        requests_max: config.named_max,
        #[cfg(feature = "sealed")]
        sealed: None,
    };
    let listener = |at| ListenerSettings {
        rules: Rules {
            #[cfg(feature = "sealed")]
            sealed: (at == SEALED_LISTENER).then(|| sealed_listener(config)),
            ..rules.clone()
        },
        policy: ListenerPolicy {
            open_registration: at != CLOSED_LISTENER,
            anonymous_access: if at == CLOSED_LISTENER {
                AnonymousAccess::NONE
            } else {
                AnonymousAccess::ALL
            },
            has_operators: true,
            is_local: true,
            demands_access_token: false,
        },
        has_reserved_slots: false,
    };
    Settings {
        connections_max: config.connections_max,
        requests_max: config.requests_max,
        buffers_bytes_max: config.buffers_bytes_max,
        bounds: config.bounds,
        addresses: AddressLists::default(),
        own_uid: 0,
        listeners: (0..LISTENERS).map(listener).collect(),
    }
}

#[cfg(feature = "sealed")]
fn sealed_listener(config: &FaultConfig) -> SealedListener {
    let listener = SealedListener::new(Arc::new(FakeKeyPair)).expect("the key has the form of one");
    listener.with_first_generation(config.accepts_first_generation)
}
