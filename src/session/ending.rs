//! How a connection ends.

/// How a connection ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// Everything is sent: close.
    Close,
    /// The client may still be sending: let it read the last reply before the close.
    Linger,
    /// As `Linger`, but at once: the client reads no more replies.
    Gone,
    /// As `Linger`, after a line of HTTP, which a browser or proxy may have been tricked into sending.
    HttpLine,
    /// An answer broke off: close, so that the client does not take it for complete.
    Abort,
}
