//! The deadlines and sizes that a listener sets for its connections.

use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "sealed")]
use super::sealed_listener::SealedListener;
#[cfg(feature = "http")]
use crate::framing::http::HttpListener;
use crate::model::CustomCommands;

/// The rules for all connections of one listener.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rules {
    /// The time until the first byte.
    pub first_request_timeout: Option<Duration>,
    /// The time from the first to the last byte of a request.
    pub request_timeout: Duration,
    /// The time between requests before the client has authenticated.
    pub idle_timeout_anonymous: Option<Duration>,
    /// The time between requests after the client has authenticated.
    pub idle_timeout_authenticated: Option<Duration>,
    /// The time between HTTP requests.
    pub idle_timeout_http: Option<Duration>,
    /// The time without progress in sending output.
    pub write_timeout: Duration,
    /// The most bytes of a request before the client has authenticated.
    pub request_bytes_max_anonymous: usize,
    /// The same for a request that a proxy passes on.
    pub request_bytes_max_forwarded: usize,
    /// The most bytes of a message that is decoded on the reactor's thread; a worker decodes longer ones.
    pub inline_bytes_max: usize,
    /// The most open requests with an id.
    pub requests_max: usize,
    /// The commands and verbs of the embedding program.
    pub customs: Arc<CustomCommands>,
    /// The keys of a sealed listener; its clients speak the sealed framing only.
    #[cfg(feature = "sealed")]
    pub sealed: Option<SealedListener>,
    /// Hosts and origins that HTTP requests may name, and the heads that were accepted.
    #[cfg(feature = "http")]
    pub http: HttpListener,
}
