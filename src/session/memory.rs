//! The memory that a session holds, and what it gives up when memory is scarce.

use super::{Ending, Session};
use crate::buffer::Buffer;
use crate::model::{Failure, Refusal};

impl Session {
    /// Drops unprocessed input and begins to end the session, to free memory: with an error, or with the answer to the
    /// open request. Returns false if an answer is being written in pages, or the session ends already.
    pub fn refuse_for_room(&mut self, input: &mut Buffer) -> bool {
        if self.ending.is_some()
            || self.responses.as_ref().is_some_and(|responses| responses.is_writing_pages())
        {
            return false;
        }
        input.clear();
        self.codec.forget();
        if let Some(responses) = &mut self.responses {
            responses.forget_messages();
        }
        match self.has_open() && self.codec.is_ordered() {
            // The answer to the open request says that it is the last.
            true => self.ending = Some(Ending::Linger),
            false => self.end_with(Ending::Linger, Failure::RequestMemoryFull),
        }
        true
    }

    /// Approximate bytes of memory held for the client, without the input and output buffers: partial messages, open
    /// requests, waiting replies. Delayed conversions are counted apart.
    pub fn held_bytes(&self) -> usize {
        let responses = self.responses.as_ref().map_or(0, |responses| responses.held_bytes());
        let watch = self.watch.as_ref().map_or(0, |watch| watch.held_bytes);
        self.codec.held_bytes() + responses + watch
    }

    /// Answers the request that waits for memory for its first page with `busy`. Returns false if there is none, or if
    /// an answer is being written in pages.
    pub fn refuse_page(&mut self) -> bool {
        let Some(responses) = self.responses.as_mut().filter(|responses| !responses.is_writing_pages())
        else {
            return false;
        };
        let Some(message) = &mut responses.deferred else { return false };
        let Ok(request) = message else { return false };
        if !request.is_paged() {
            return false;
        }
        *message = Err(Refusal { dialect: request.dialect, id: request.id.take(), failure: Failure::Busy });
        true
    }
}
