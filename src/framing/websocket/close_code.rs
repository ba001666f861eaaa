//! Why the server closes a WebSocket connection.

/// Close codes that the server sends (RFC 6455, 7.4.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CloseCode {
    /// The server shuts down.
    GoingAway = 1001,
    /// A protocol error.
    Protocol = 1002,
    /// A binary message where only text is accepted.
    Unsupported = 1003,
    /// Text that is not UTF-8.
    InvalidText = 1007,
    /// A violation of the server's policy, such as a deadline.
    Policy = 1008,
    /// A message that exceeds the limit.
    TooLarge = 1009,
}

impl CloseCode {
    /// The reason text of the close frame.
    pub fn reason(self) -> &'static str {
        match self {
            CloseCode::GoingAway => "the server stops, or nothing has come for too long",
            CloseCode::Protocol => "the frame is against the protocol",
            CloseCode::Unsupported => "a message must be text, not binary",
            CloseCode::InvalidText => "the text is not valid UTF-8",
            CloseCode::Policy => "the last message says what is wrong",
            CloseCode::TooLarge => "the message is larger than it may be",
        }
    }
}
