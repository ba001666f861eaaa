//! What the codecs of all framings have in common.

use super::Codec;
use crate::buffer::Buffer;
use crate::clock::HttpDate;
#[cfg(feature = "sealed")]
use crate::crypto::{Exchanged, KeyExchange};
use crate::dialect::{self, PageProgress};
use crate::framing::is_white_space;
use crate::limits;
use crate::model::{
    Answer, Denial, Dialect, Failure, LongMessage, LongText, Page, Refusal, Request, RequestId, Revision,
    VerbPath,
};
use crate::session::ending::Ending;
use crate::session::rules::Rules;

/// Reads requests and writes answers in one framing.
pub(in crate::session) trait FramingCodec: Send {
    /// Decodes the next message of the input.
    fn decode(&mut self, input: &mut Buffer, output: &mut Buffer, context: &DecodeContext<'_>) -> Decoded;

    /// Completes a long message with its decoded body.
    fn finish_decoding(&mut self, decoded: Result<Box<Request>, Refusal>) -> Result<Box<Request>, Refusal> {
        decoded
    }

    /// Takes the keys of a sealed connection.
    #[cfg(feature = "sealed")]
    fn exchanged(&mut self, _exchanged: Exchanged, _output: &mut Buffer) {}

    /// Writes a whole answer.
    fn write_answer(&mut self, reply: &Reply<'_>, output: &mut Buffer);

    /// Writes a page of an answer.
    fn write_page(&mut self, reply: &mut ReplyPage<'_>, output: &mut Buffer);

    /// Writes a change of this revision; its text is `write`'s.
    fn write_change(
        &mut self,
        _revision: Revision,
        write: &mut dyn FnMut(&mut Vec<u8>),
        output: &mut Buffer,
    ) {
        output.append_with(|bytes| {
            write(bytes);
            bytes.push(b'\n');
        });
    }

    /// Whether silence is to be filled with comments.
    fn has_comments(&self) -> bool {
        false
    }

    /// Writes a comment, where the framing has any.
    fn write_comment(&mut self, _output: &mut Buffer) {}

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

    /// Whether an answer is not in the output: it waits for the client to take a step, or the client has not taken it.
    fn owes_answer(&self) -> bool {
        false
    }

    /// Whether each message must be answered before the next is decoded, whatever its id.
    fn is_ordered(&self) -> bool {
        false
    }

    /// The dialect of replies that answer no request.
    fn dialect(&self) -> Dialect {
        Dialect::Command
    }

    /// Whether the framing is HTTP, which has an idle timeout of its own.
    fn is_http(&self) -> bool {
        false
    }
}

/// The circumstances in which input is decoded.
pub(in crate::session) struct DecodeContext<'a> {
    /// No more input follows.
    pub(in crate::session) has_ended: bool,
    pub(in crate::session) is_authenticated: bool,
    pub(in crate::session) rules: &'a Rules,
    /// The date for the heads of replies.
    pub(in crate::session) date: &'a HttpDate,
}

/// The result of decoding input.
pub(in crate::session) enum Decoded {
    /// A request, or a message that is not one.
    Message(Result<Box<Request>, Refusal>),
    /// A `ping` without an id or a token.
    Ping,
    /// A long message for a worker; its result goes to [`FramingCodec::finish_decoding`].
    Long(LongMessage),
    /// A key exchange for a worker; its result goes to [`FramingCodec::exchanged`].
    #[cfg(feature = "sealed")]
    Exchange(KeyExchange),
    /// A message or frame that is handled completely: decode again.
    HandledInline,
    /// The framing changes: decode again, with this codec.
    Switch(Codec),
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

impl ReplyPage<'_> {
    /// Whether it begins a message.
    pub(super) fn is_message_begin(&self) -> bool {
        !self.progress.has_head || self.page.listing.query.has_whole_pages()
    }

    /// Whether it ends a message.
    pub(super) fn is_message_end(&self) -> bool {
        self.page.next.is_none() || self.page.listing.query.has_whole_pages()
    }
}

impl DecodeContext<'_> {
    /// The limit of a message, which a proxy forwards or the client itself sends.
    pub(super) fn bytes_max(&self, is_forwarded: bool) -> usize {
        match (self.is_authenticated, is_forwarded) {
            (true, _) => limits::REQUEST_BYTES_MAX,
            (false, true) => self.rules.request_bytes_max_forwarded,
            (false, false) => self.rules.request_bytes_max_anonymous,
        }
    }

    /// The result for input without a whole message. `is_inside`: it has a part of one.
    pub(super) fn need_input(&self, is_inside: bool) -> Decoded {
        match (self.has_ended, is_inside) {
            (false, _) => Decoded::NeedInput,
            (true, true) => Decoded::End(Ending::Linger, Some(Failure::UnexpectedEnd)),
            (true, false) => Decoded::End(Ending::Close, None),
        }
    }
}

/// Decodes a message, or leaves a long one to a worker. `path`: the path that it came for, if it names a verb.
pub(super) fn read_message(text: &[u8], path: Option<VerbPath>, rules: &Rules) -> Decoded {
    if text.len() > rules.inline_bytes_max {
        return Decoded::Long(LongMessage { text: LongText::new(text), path });
    }
    Decoded::Message(dialect::decode_message(text, path, &rules.customs))
}

/// Whether a message is a `ping` without an id or a token, in the dialect that all but sealed clients may use.
pub(super) fn is_ping(text: &[u8], rules: &Rules) -> bool {
    text.len() <= rules.inline_bytes_max && dialect::ping_length(text) == Some(text.len())
}

/// Removes white space around a message.
pub(super) fn trim(text: &[u8]) -> &[u8] {
    let is_text = |&byte: &u8| !is_white_space(byte);
    let start = text.iter().position(is_text).unwrap_or(text.len());
    let end = text.iter().rposition(is_text).map_or(start, |last| last + 1);
    &text[start..end]
}
