//! How a connection ends.

use super::Session;
use crate::buffer::Buffer;

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

impl Session {
    /// Starts no more requests; open ones are still answered.
    pub fn begin_drain(&mut self, input: &Buffer) {
        if self.ending.is_none() {
            let is_idle = !self.has_open() && input.is_empty();
            self.is_draining = true;
            if let Some(responses) = &mut self.responses {
                responses.forget_messages();
            }
            if let Some(watch) = &mut self.watch {
                watch.outlasts_requests = true;
            }
            self.ending = Some(if is_idle { Ending::Close } else { Ending::Linger });
        }
    }

    /// Ends the session at once: nothing more is decoded or answered. Answers that are written already are still sent.
    pub fn disconnect(&mut self) {
        self.responses().poison();
        self.ending = Some(Ending::Gone);
    }
}
