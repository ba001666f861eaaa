//! What stands between a connection's bytes and its requests: the framing that the first bytes chose, and the
//! dialects.
//!
//! The one place where framings and dialects meet: what an answer is in a framing beyond its text (a status,
//! chunks, frames) is decided here.

#[cfg(feature = "http")]
mod http;
mod raw_json;
mod text;
#[cfg(feature = "websocket")]
mod websocket;

use super::{Ending, Rules};
use crate::buffer::Buffer;
use crate::clock::HttpDate;
use crate::dialect::{self, PageProgress};
#[cfg(feature = "http")]
use crate::framing::http::BodyBytesMax;
use crate::framing::raw_json::RawJson;
use crate::framing::sniff::{self, Sniffed};
use crate::framing::text::Text;
use crate::model::{Answer, Denial, Dialect, Failure, LongText, Page, Refusal, Request, RequestId};
#[cfg(feature = "http")]
use http::HttpCodec;
#[cfg(feature = "websocket")]
use websocket::WebSocketCodec;

/// The framing of one connection, once it is known. Those that take more room than the most frequent stand
/// elsewhere.
#[derive(Default)]
pub(super) enum Codec {
    /// Too few bytes have come.
    #[default]
    Sniffing,
    RawJson(RawJson),
    Text(Text),
    #[cfg(feature = "http")]
    Http(Box<HttpCodec>),
    #[cfg(feature = "websocket")]
    WebSocket(Box<WebSocketCodec>),
}

/// An answer, and what it answers.
pub(super) struct Reply<'a> {
    pub(super) dialect: Dialect,
    pub(super) id: Option<&'a RequestId>,
    pub(super) answer: &'a Answer,
    /// How many replies it makes.
    pub(super) count: usize,
    /// When it is given.
    #[cfg_attr(not(feature = "http"), allow(dead_code))]
    pub(super) date: &'a HttpDate,
}

/// A page of an answer, and what that answers.
pub(super) struct ReplyPage<'a> {
    pub(super) dialect: Dialect,
    pub(super) id: Option<&'a RequestId>,
    pub(super) page: &'a Page,
    pub(super) progress: &'a mut PageProgress,
    /// When it is given.
    #[cfg_attr(not(feature = "http"), allow(dead_code))]
    pub(super) date: &'a HttpDate,
}

/// What has been found in the input.
pub(super) enum Decoded {
    Request(Box<Request>),
    /// A message that is no request.
    Refusal(Refusal),
    /// A message that takes long to read: [`Codec::finish_decoding`] is to be told what it says.
    Long(LongText),
    /// Something that needs nothing more: look again.
    HandledInline,
    NeedInput,
    /// Nothing more is to be decoded; the last words, if any.
    End(Ending, Option<Failure>),
}

impl Codec {
    /// The next message of the input. `has_ended`: nothing comes behind what has come.
    pub(super) fn decode(
        &mut self,
        input: &mut Buffer,
        output: &mut Buffer,
        has_ended: bool,
        bytes_max: usize,
        rules: &Rules,
        #[cfg_attr(not(feature = "http"), allow(unused_variables))] date: &HttpDate,
    ) -> Decoded {
        match self {
            Codec::Sniffing => self.choose(input, output, has_ended),
            Codec::RawJson(framing) => raw_json::decode(framing, input, has_ended, bytes_max, rules),
            Codec::Text(framing) => text::decode(framing, input, has_ended),
            #[cfg(feature = "http")]
            Codec::Http(codec) => {
                // Nobody is ever authenticated on a connection of HTTP.
                let bytes_max =
                    BodyBytesMax { direct: bytes_max, forwarded: rules.request_bytes_max_forwarded };
                match codec.decode(input, output, has_ended, bytes_max, rules, date) {
                    http::HttpDecoded::Message(decoded) => decoded,
                    http::HttpDecoded::Upgrade { key, is_forwarded } => {
                        self.upgrade(key, is_forwarded, output)
                    }
                }
            }
            #[cfg(feature = "websocket")]
            Codec::WebSocket(codec) => codec.decode(input, output, has_ended, bytes_max, rules),
        }
    }

    /// Goes on with what a long message says.
    pub(super) fn finish_decoding(&mut self, decoded: Result<Request, Refusal>) -> Result<Request, Refusal> {
        match self {
            #[cfg(feature = "http")]
            Codec::Http(codec) => codec.finish_decoding(decoded),
            #[cfg(feature = "websocket")]
            Codec::WebSocket(codec) => decoded.map(|request| codec.mark(request)),
            _ => decoded,
        }
    }

    /// Writes a whole answer.
    pub(super) fn write_answer(&mut self, reply: &Reply<'_>, output: &mut Buffer) {
        match self {
            Codec::Sniffing | Codec::RawJson(_) => raw_json::write_answer(reply, output),
            Codec::Text(_) => text::write_answer(reply, output),
            #[cfg(feature = "http")]
            Codec::Http(codec) => codec.write_answer(reply, output),
            #[cfg(feature = "websocket")]
            Codec::WebSocket(_) => websocket::write_answer(reply, output),
        }
    }

    /// Writes a page of an answer.
    pub(super) fn write_page(&mut self, reply: &mut ReplyPage<'_>, output: &mut Buffer) {
        match self {
            Codec::Sniffing | Codec::RawJson(_) => raw_json::write_page(reply, output),
            Codec::Text(_) => text::write_page(reply, output),
            #[cfg(feature = "http")]
            Codec::Http(codec) => codec.write_page(reply, output),
            #[cfg(feature = "websocket")]
            Codec::WebSocket(_) => websocket::write_page(reply, output),
        }
    }

    /// Writes what a connection ends with beyond its answers. `is_fault`: the client has broken a rule.
    #[cfg_attr(not(feature = "websocket"), allow(unused_variables))]
    pub(super) fn write_end(&mut self, is_fault: bool, output: &mut Buffer) {
        match self {
            #[cfg(feature = "websocket")]
            Codec::WebSocket(codec) => codec.write_end(is_fault, output),
            _ => {}
        }
    }

    /// Why messages were refused for where they come from, since the last call.
    pub(super) fn take_denials(&mut self) -> Vec<Denial> {
        match self {
            #[cfg(feature = "http")]
            Codec::Http(codec) => codec.take_denials(),
            _ => Vec::new(),
        }
    }

    /// Drops what has come of a message that is not whole: no more are decoded.
    pub(super) fn forget(&mut self) {
        match self {
            #[cfg(feature = "http")]
            Codec::Http(codec) => codec.forget(),
            #[cfg(feature = "websocket")]
            Codec::WebSocket(codec) => codec.forget(),
            Codec::Sniffing | Codec::RawJson(_) | Codec::Text(_) => {}
        }
    }

    /// Bytes of memory held beside the input.
    pub(super) fn held_bytes(&self) -> usize {
        match self {
            #[cfg(feature = "http")]
            Codec::Http(codec) => codec.held_bytes(),
            #[cfg(feature = "websocket")]
            Codec::WebSocket(codec) => codec.held_bytes(),
            Codec::Sniffing | Codec::RawJson(_) | Codec::Text(_) => 0,
        }
    }

    /// Whether each message has to be answered before the next is looked at, whatever its id.
    pub(super) fn is_ordered(&self) -> bool {
        // Of text, too: what comes meanwhile becomes one request with what comes behind it.
        self.is_http() || matches!(self, Codec::Text(_))
    }

    /// The language of what is said to whoever has made no request.
    pub(super) fn dialect(&self) -> Dialect {
        match self {
            Codec::Text(_) => Dialect::Text,
            _ => Dialect::Command,
        }
    }

    /// Whether the framing is HTTP, which has an idle timeout of its own.
    pub(super) fn is_http(&self) -> bool {
        #[cfg(feature = "http")]
        return matches!(self, Codec::Http(_));
        #[cfg(not(feature = "http"))]
        return false;
    }

    /// Whether a proxy has passed on all that comes on the connection.
    pub(super) fn is_forwarded(&self) -> bool {
        match self {
            #[cfg(feature = "websocket")]
            Codec::WebSocket(codec) => codec.is_forwarded(),
            _ => false,
        }
    }

    /// Whether too little has come to know the framing.
    pub(super) fn is_undecided(&self) -> bool {
        matches!(self, Codec::Sniffing)
    }

    /// The number of the message that has begun and not ended, if there is one.
    pub(super) fn unfinished(&self) -> Option<u32> {
        match self {
            // What chooses the framing is the beginning of its first message: one clock for both.
            Codec::Sniffing => Some(FIRST_MESSAGE),
            Codec::RawJson(framing) => framing.unfinished(),
            Codec::Text(framing) => framing.unfinished(),
            #[cfg(feature = "http")]
            Codec::Http(codec) => codec.unfinished(),
            #[cfg(feature = "websocket")]
            Codec::WebSocket(codec) => codec.unfinished(),
        }
    }

    fn choose(&mut self, input: &Buffer, output: &mut Buffer, has_ended: bool) -> Decoded {
        let has_only_white_space = input.as_slice().trim_ascii().is_empty();
        match sniff::sniff(input.as_slice()) {
            Sniffed::RawJson => {
                *self = Codec::RawJson(RawJson::default());
                Decoded::HandledInline
            }
            #[cfg(feature = "http")]
            Sniffed::Http => {
                *self = Codec::Http(Box::default());
                Decoded::HandledInline
            }
            Sniffed::NeedMore if !has_ended => Decoded::NeedInput,
            Sniffed::NeedMore if has_only_white_space => Decoded::End(Ending::Close, None),
            // The beginning of something else that stops here was never that.
            Sniffed::Text | Sniffed::NeedMore => {
                *self = Codec::Text(Text::default());
                Decoded::HandledInline
            }
            _ => {
                output.push(WRONG_PROTOCOL);
                Decoded::End(Ending::Linger, None)
            }
        }
    }

    /// Goes on with WebSocket, where the build speaks it.
    #[cfg(feature = "http")]
    #[cfg_attr(not(feature = "websocket"), allow(unused_variables))]
    fn upgrade(&mut self, key: http::Key, is_forwarded: bool, output: &mut Buffer) -> Decoded {
        #[cfg(feature = "websocket")]
        {
            websocket::write_switch(&key, output);
            *self = Codec::WebSocket(Box::new(WebSocketCodec::new(is_forwarded)));
            Decoded::HandledInline
        }
        #[cfg(not(feature = "websocket"))]
        match self {
            Codec::Http(codec) => codec.refuse_upgrade(&key, output),
            _ => Decoded::HandledInline,
        }
    }
}

/// Reads a message that needs nothing more than that, or leaves it to a worker.
fn read_message(text: &[u8], rules: &Rules) -> Decoded {
    if text.len() > rules.inline_bytes_max {
        return Decoded::Long(LongText::new(text));
    }
    decoded(dialect::decode_json(text))
}

fn decoded(decoded: Result<Request, Refusal>) -> Decoded {
    match decoded {
        Ok(request) => Decoded::Request(Box::new(request)),
        Err(refusal) => Decoded::Refusal(refusal),
    }
}

/// Without the white space around it.
#[cfg(feature = "http")]
fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t' | b'\n' | b'\r', rest @ ..] = text {
        text = rest;
    }
    while let [rest @ .., b' ' | b'\t' | b'\n' | b'\r'] = text {
        text = rest;
    }
    text
}

/// The number that each framing gives the first message of a connection.
const FIRST_MESSAGE: u32 = 1;

/// What a client of another protocol reads, before the connection is closed.
#[cfg(feature = "http")]
const WRONG_PROTOCOL: &[u8] = b"This port speaks JSON, one object a request, for example: \
    {\"command\": \"ping\", \"data\": {}}, metrics text, for example: put KEY VALUE TIMESTAMP, \
    and HTTP/1.1 without encryption\n";
#[cfg(not(feature = "http"))]
const WRONG_PROTOCOL: &[u8] = b"This port speaks JSON, one object a request, for example: \
    {\"command\": \"ping\", \"data\": {}}, and metrics text, for example: put KEY VALUE TIMESTAMP\n";
