//! The framings of fake clients.

/// The framing of a client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Framing {
    RawJson,
    /// Lines of metrics text.
    Text,
    Http,
    WebSocket,
    #[cfg(feature = "sealed")]
    Sealed,
}
