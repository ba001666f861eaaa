//! The session of a client whose address is refused.

use super::Session;
use super::codec::Codec;

impl Session {
    /// A session that answers the first request of HTTP with a refusal, and ends without a reply in any other framing. Its
    /// client has the time of one request.
    pub fn refused() -> Session {
        Session { codec: Codec::Refused(Box::default()), ..Session::default() }
    }
}
