//! What the codecs of all framings have in common.

use crate::buffer::Buffer;
use crate::clock::HttpDate;
use crate::dialect::{self, PageProgress};
use crate::framing::is_white_space;
use crate::model::{Answer, Denial, Dialect, Failure, LongText, Page, Refusal, Request, RequestId};
use crate::session::ending::Ending;
use crate::session::rules::Rules;

/// Reads requests and writes answers in one framing.
pub(super) trait FramingCodec {
    /// Decodes the next message of the input.
    fn decode(&mut self, input: &mut Buffer, output: &mut Buffer, context: &DecodeContext<'_>) -> Decoded;

    /// Completes a long message with its decoded body.
    fn finish_decoding(&mut self, decoded: Result<Request, Refusal>) -> Result<Request, Refusal> {
        decoded
    }

    /// Writes a whole answer.
    fn write_answer(&mut self, reply: &Reply<'_>, output: &mut Buffer);

    /// Writes a page of an answer.
    fn write_page(&mut self, reply: &mut ReplyPage<'_>, output: &mut Buffer);

    /// Writes the last bytes of a connection. `is_fault`: the client has violated a rule.
    fn write_end(&mut self, _is_fault: bool, _output: &mut Buffer) {}

    /// The number of the partial message, if there is one.
    fn incomplete_message(&self) -> Option<u32>;

    /// The denials of messages, since the last call.
    fn take_denials(&mut self) -> Vec<Denial> {
        Vec::new()
    }

    /// Drops a partial message; nothing more is decoded.
    fn forget(&mut self) {}

    /// Bytes of memory held outside the input buffer.
    fn held_bytes(&self) -> usize {
        0
    }

    /// Whether a proxy forwards the connection.
    fn is_forwarded(&self) -> bool {
        false
    }
}

/// The circumstances in which input is decoded.
pub(in crate::session) struct DecodeContext<'a> {
    /// No more input follows.
    pub(in crate::session) has_ended: bool,
    /// The limit of a message.
    pub(in crate::session) bytes_max: usize,
    pub(in crate::session) rules: &'a Rules,
    /// The date for the heads of replies.
    pub(in crate::session) date: &'a HttpDate,
}

/// The result of decoding input.
pub(in crate::session) enum Decoded {
    Request(Box<Request>),
    /// A message that is not a request.
    Refusal(Refusal),
    /// A long message for a worker; its result goes to [`FramingCodec::finish_decoding`].
    Long(LongText),
    /// A message or frame that is handled completely: decode again.
    HandledInline,
    NeedInput,
    /// The end of decoding, and the error to send, if any.
    End(Ending, Option<Failure>),
}

/// An answer, and the fields of its request.
pub(in crate::session) struct Reply<'a> {
    pub(in crate::session) dialect: Dialect,
    pub(in crate::session) id: Option<&'a RequestId>,
    pub(in crate::session) answer: &'a Answer,
    /// The number of replies to write.
    pub(in crate::session) count: usize,
    /// The date for the reply's head.
    pub(in crate::session) date: &'a HttpDate,
}

/// A page of an answer, and the fields of its request.
pub(in crate::session) struct ReplyPage<'a> {
    pub(in crate::session) dialect: Dialect,
    pub(in crate::session) id: Option<&'a RequestId>,
    pub(in crate::session) page: &'a Page,
    pub(in crate::session) progress: &'a mut PageProgress,
    /// The date for the reply's head.
    pub(in crate::session) date: &'a HttpDate,
}

/// A WebSocket handshake, which a proxy may have forwarded.
pub(super) struct Handshake {
    pub(super) key: Box<[u8]>,
    pub(super) is_forwarded: bool,
}

/// Decodes a message, or leaves a long one to a worker.
pub(super) fn read_message(text: &[u8], rules: &Rules) -> Decoded {
    if text.len() > rules.inline_bytes_max {
        return Decoded::Long(LongText::new(text));
    }
    dialect::decode_json(text).into()
}

impl From<Result<Request, Refusal>> for Decoded {
    fn from(decoded: Result<Request, Refusal>) -> Decoded {
        match decoded {
            Ok(request) => Decoded::Request(Box::new(request)),
            Err(refusal) => Decoded::Refusal(refusal),
        }
    }
}

/// Removes white space around a message.
pub(super) fn trim(mut text: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = text
        && is_white_space(*first)
    {
        text = rest;
    }
    while let [rest @ .., last] = text
        && is_white_space(*last)
    {
        text = rest;
    }
    text
}
