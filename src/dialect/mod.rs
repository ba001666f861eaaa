//! What requests say, and how answers are said. No framing, no socket.

pub mod command;
pub mod json;

use crate::model::{Answer, Dialect, Page, Refusal, Request, RequestId};

/// How far a paged answer has been written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PageProgress {
    /// The head has been written.
    pub has_begun: bool,
    /// An item has been written: the next one needs a comma.
    pub has_items: bool,
}

/// Reads one JSON message (an object, or an array, which is refused) in whichever dialect it is.
pub fn decode_json(_text: &[u8]) -> Result<Request, Refusal> {
    todo!()
}

/// Writes a whole reply, without anything of a framing.
pub fn encode_answer(_dialect: Dialect, _id: Option<&RequestId>, _answer: &Answer, _output: &mut Vec<u8>) {
    todo!()
}

/// Writes one page of a reply: the head with the first page, the tail with the last.
pub fn encode_page(
    _dialect: Dialect,
    _id: Option<&RequestId>,
    _page: &Page,
    _progress: &mut PageProgress,
    _output: &mut Vec<u8>,
) {
    todo!()
}
