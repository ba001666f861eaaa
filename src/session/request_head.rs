//! The parts of a request that its reply needs, and its order.

use crate::ids::RequestSeq;
use crate::model::{CommandName, Dialect, Request, RequestId};

/// What the session keeps of a request that waits for its answer.
#[derive(Debug)]
pub struct RequestHead {
    pub(super) seq: RequestSeq,
    pub(super) dialect: Dialect,
    pub(super) id: Option<RequestId>,
    /// Its approximate size.
    pub(super) bytes: u32,
    /// The number of its replies.
    pub(super) reply_count: u32,
    /// The number of requests that came together.
    count: u32,
    /// Nothing after it is decoded until it is answered.
    pub(super) is_barrier: bool,
    /// Its answer may have pages.
    pub(super) is_paged: bool,
    /// Reads and barriers wait for it.
    pub(super) is_write: bool,
    /// Other writes without an id may be open at the same time.
    pub(super) is_direct_write: bool,
}

impl RequestHead {
    /// Takes the head of the request `seq`.
    pub(super) fn take(request: &mut Request, seq: RequestSeq) -> RequestHead {
        RequestHead {
            seq,
            bytes: bytes_of(request),
            dialect: request.dialect,
            id: request.id.take(),
            reply_count: request.reply_count() as u32,
            count: request.count() as u32,
            is_barrier: request.is_barrier(),
            is_paged: request.is_paged(),
            is_write: request.name.is_write(),
            is_direct_write: request.is_direct_write(),
        }
    }

    /// Whether the answer may have pages.
    pub fn is_paged(&self) -> bool {
        self.is_paged
    }

    /// The number of requests that came together.
    pub fn count(&self) -> usize {
        self.count as usize
    }

    /// Whether each of them has an outcome of its own; lines of text share one.
    pub fn has_outcomes(&self) -> bool {
        self.dialect != Dialect::Text
    }
}

/// The approximate size of an open request. A conversion has none: delayed texts are counted apart.
fn bytes_of(request: &Request) -> u32 {
    let bytes = match request.name {
        CommandName::Convert => 0,
        _ => request.held_bytes() + OPEN_BYTES,
    };
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// The approximate size of an open request's entries, in the session and in the dispatcher.
const OPEN_BYTES: usize = 256;
