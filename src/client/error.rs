//! What a call can fail with.

use std::error::Error;
use std::fmt;
use std::io;
use std::ops::Range;

use super::input::Malformed;
use crate::escape::Escaped;
use crate::limits;

/// The reason a call failed.
///
/// After [`Timeout`](ClientError::Timeout), [`Closed`](ClientError::Closed), [`BadReply`](ClientError::BadReply) and
/// [`Io`](ClientError::Io) the connection is closed, each further call fails with `Closed`, and whether the server has
/// run the request is unknown. After the others the connection is as before.
#[derive(Debug)]
#[non_exhaustive]
pub enum ClientError {
    /// No connection could be made: nothing listens there, the name is unknown, the socket is for others, or the
    /// time was too short.
    Connect {
        /// The address, as [`ServerAddress`](super::ServerAddress) shows it.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// The reply was not complete in time.
    Timeout,
    /// The server has closed the connection, or an earlier call has.
    Closed,
    /// The reply, or its data, is not one of this protocol; or it is too large. Never holds text of the reply.
    BadReply(String),
    /// The server answered with an error.
    #[non_exhaustive]
    Server {
        /// Its message, as it came.
        message: String,
    },
    /// The server would not accept the argument. Nothing was sent.
    InvalidArgument(String),
    /// The operating system reports another failure of the connection.
    Io(io::Error),
}

/// The reason [`Client::put_many`](super::Client::put_many) failed, and what became of the points. All ranges are of
/// indexes in the list of points; points in none of them are not stored.
#[derive(Debug)]
#[non_exhaustive]
pub struct PutManyError {
    /// Points that are stored.
    pub stored: Vec<Range<usize>>,
    /// Points that may be stored or not: their replies did not come, or the server does not know either.
    pub unknown: Vec<Range<usize>>,
    /// Points of the request that failed first; the message of the server counts from its first point.
    pub failed: Range<usize>,
    /// The first error.
    pub error: ClientError,
}

impl ClientError {
    /// An error of the server.
    pub(super) fn server(message: &str) -> ClientError {
        ClientError::Server { message: message.to_owned() }
    }

    /// A reply that this library can't read.
    pub(super) fn bad_reply(why: impl fmt::Display) -> ClientError {
        ClientError::BadReply(why.to_string())
    }

    /// Whether the replies no longer match the requests, so that the connection is of no use.
    pub(super) fn loses_step(&self) -> bool {
        matches!(
            self,
            ClientError::Timeout | ClientError::Closed | ClientError::BadReply(_) | ClientError::Io(_)
        )
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientError::Connect { address, source } => {
                write!(f, "cannot connect to {}: {source}", Escaped(address))
            }
            ClientError::Timeout => f.write_str("no reply in time; the outcome of the request is unknown"),
            ClientError::Closed => f.write_str("the connection is closed"),
            ClientError::BadReply(why) => write!(f, "the reply is not one of this protocol: {why}"),
            ClientError::Server { message } => {
                let shown = message.chars().take(limits::CLIENT_MESSAGE_CHARS_MAX).collect::<String>();
                write!(f, "the server answered with an error: {}", Escaped(shown))
            }
            ClientError::InvalidArgument(why) => write!(f, "invalid argument: {}", Escaped(why)),
            ClientError::Io(error) => write!(f, "the connection failed: {error}"),
        }
    }
}

impl Error for ClientError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            ClientError::Connect { source, .. } | ClientError::Io(source) => Some(source),
            _ => None,
        }
    }
}

impl From<Malformed> for ClientError {
    fn from(error: Malformed) -> ClientError {
        ClientError::bad_reply(error)
    }
}

impl fmt::Display for PutManyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |ranges: &[Range<usize>]| ranges.iter().map(Range::len).sum::<usize>();
        let Range { start, end } = self.failed;
        write!(
            f,
            "points {start} to {}: {}; stored: {} points, unknown: {}",
            end.saturating_sub(1),
            self.error,
            count(&self.stored),
            count(&self.unknown)
        )
    }
}

impl Error for PutManyError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.error)
    }
}

impl From<PutManyError> for ClientError {
    fn from(error: PutManyError) -> ClientError {
        error.error
    }
}
