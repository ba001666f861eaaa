//! What requests say, and how answers are said. No framing, no socket.
//!
//! Every dialect of JSON comes in through [`decode_json`], which reads what they have in common (the
//! envelope) and hands on to the one that the request is in; [`text`] is read a line at a time. A dialect knows
//! nothing of the others.

mod action;
mod command;
mod conversion;
mod envelope;
mod fields;
mod json_writer;
mod number;
pub mod text;

pub use conversion::convert;
use envelope::Envelope;

use crate::ids::SeriesId;
use crate::model::{Answer, Dialect, Page, Refusal, Request, RequestId};

/// How far a paged answer has been written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PageProgress {
    /// The head has been written.
    pub has_begun: bool,
    /// An item has been written: the next one needs a comma.
    pub has_items: bool,
    /// The series that is being written, where each has a head and a tail of its own.
    pub series: Option<SeriesId>,
}

/// Reads one JSON message (an object, or an array, which is refused) in whichever dialect it is.
pub fn decode_json(text: &[u8]) -> Result<Request, Refusal> {
    let mut envelope = Envelope::new();
    envelope.read(text)?;
    match envelope.dialect_key()? {
        "command" => command::decode(envelope),
        "action" => action::decode(envelope),
        "request_id" => conversion::decode(envelope),
        key => Err(envelope.refuse_other(key)),
    }
}

/// Writes a whole reply, without anything of a framing: of JSON one compact line, its newline not included.
pub fn encode_answer(dialect: Dialect, id: Option<&RequestId>, answer: &Answer, output: &mut Vec<u8>) {
    match dialect {
        Dialect::Command => command::encode_answer(id, answer, output),
        Dialect::Action => action::encode_answer(id, answer, output),
        Dialect::Conversion => conversion::encode_answer(id, answer, output),
        Dialect::Text => encode_lines(answer, 1, output),
    }
}

/// Writes the replies to a request of metrics text that gets `count` of them.
pub fn encode_lines(answer: &Answer, count: usize, output: &mut Vec<u8>) {
    text::encode_answer(answer, count, output);
}

/// Writes one page of a reply: the head with the first page, the tail with the last.
pub fn encode_page(
    dialect: Dialect,
    id: Option<&RequestId>,
    page: &Page,
    progress: &mut PageProgress,
    output: &mut Vec<u8>,
) {
    match dialect {
        Dialect::Command => command::encode_page(id, page, progress, output),
        Dialect::Action => action::encode_page(id, page, progress, output),
        Dialect::Conversion => debug_assert!(false, "a conversion is answered whole"),
        Dialect::Text => text::encode_page(page, progress, output),
    }
}
