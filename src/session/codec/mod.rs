//! The codec of a connection: its framing, which the first bytes select, and the dialects.
//!
//! Framings and dialects meet only here: this module adds to an answer what its framing needs beyond the text, such
//! as a status, chunks or frames.

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

/// The framing of one connection. Large variants are boxed, since raw JSON is the most frequent.
#[derive(Default)]
pub(super) enum Codec {
    /// Too few bytes have arrived to select a framing.
    #[default]
    Sniffing,
    RawJson(RawJson),
    Text(Text),
    #[cfg(feature = "http")]
    Http(Box<HttpCodec>),
    #[cfg(feature = "websocket")]
    WebSocket(Box<WebSocketCodec>),
}

/// An answer, and the fields of its request.
pub(super) struct Reply<'a> {
    pub(super) dialect: Dialect,
    pub(super) id: Option<&'a RequestId>,
    pub(super) answer: &'a Answer,
    /// The number of replies to write.
    pub(super) count: usize,
    /// The date for the reply's head.
    #[cfg_attr(not(feature = "http"), allow(dead_code))]
    pub(super) date: &'a HttpDate,
}

/// A page of an answer, and the fields of its request.
pub(super) struct ReplyPage<'a> {
    pub(super) dialect: Dialect,
    pub(super) id: Option<&'a RequestId>,
    pub(super) page: &'a Page,
    pub(super) progress: &'a mut PageProgress,
    /// The date for the reply's head.
    #[cfg_attr(not(feature = "http"), allow(dead_code))]
    pub(super) date: &'a HttpDate,
}

/// The result of decoding input.
pub(super) enum Decoded {
    Request(Box<Request>),
    /// A message that is not a request.
    Refusal(Refusal),
    /// A long message for a worker; its result goes to [`Codec::finish_decoding`].
    Long(LongText),
    /// A message or frame that is handled completely: decode again.
    HandledInline,
    NeedInput,
    /// The end of decoding, and the error to send, if any.
    End(Ending, Option<Failure>),
}

impl Codec {
    /// Decodes the next message of the input. `has_ended`: no more input follows.
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
                // A login applies to one HTTP request, so `bytes_max` is always the anonymous limit.
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

    /// Completes a long message with its decoded body.
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

    /// Writes what a framing sends at the end of a connection. `is_fault`: the client has violated a rule.
    #[cfg_attr(not(feature = "websocket"), allow(unused_variables))]
    pub(super) fn write_end(&mut self, is_fault: bool, output: &mut Buffer) {
        match self {
            #[cfg(feature = "websocket")]
            Codec::WebSocket(codec) => codec.write_end(is_fault, output),
            _ => {}
        }
    }

    /// The denials of messages, since the last call.
    pub(super) fn take_denials(&mut self) -> Vec<Denial> {
        match self {
            #[cfg(feature = "http")]
            Codec::Http(codec) => codec.take_denials(),
            _ => Vec::new(),
        }
    }

    /// Drops a partial message; nothing more is decoded.
    pub(super) fn forget(&mut self) {
        match self {
            #[cfg(feature = "http")]
            Codec::Http(codec) => codec.forget(),
            #[cfg(feature = "websocket")]
            Codec::WebSocket(codec) => codec.forget(),
            Codec::Sniffing | Codec::RawJson(_) | Codec::Text(_) => {}
        }
    }

    /// Bytes of memory held outside the input buffer.
    pub(super) fn held_bytes(&self) -> usize {
        match self {
            #[cfg(feature = "http")]
            Codec::Http(codec) => codec.held_bytes(),
            #[cfg(feature = "websocket")]
            Codec::WebSocket(codec) => codec.held_bytes(),
            Codec::Sniffing | Codec::RawJson(_) | Codec::Text(_) => 0,
        }
    }

    /// Whether each message must be answered before the next is decoded, whatever its id.
    pub(super) fn is_ordered(&self) -> bool {
        // In text, this also merges the lines that arrive meanwhile into one request.
        self.is_http() || matches!(self, Codec::Text(_))
    }

    /// The dialect of replies that answer no request.
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

    /// Whether a proxy forwards the connection.
    pub(super) fn is_forwarded(&self) -> bool {
        match self {
            #[cfg(feature = "websocket")]
            Codec::WebSocket(codec) => codec.is_forwarded(),
            _ => false,
        }
    }

    /// Whether the framing is not known yet.
    pub(super) fn is_undecided(&self) -> bool {
        matches!(self, Codec::Sniffing)
    }

    /// The number of the partial message, if there is one.
    pub(super) fn unfinished(&self) -> Option<u32> {
        match self {
            // The bytes that select the framing begin the first message, which has one deadline.
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
            // Input that ends within another framing's signature is text.
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

    /// Switches to WebSocket, or refuses it in a build without.
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

/// Decodes a message, or leaves a long one to a worker.
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

/// Removes white space around a message.
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

/// The number of the first message of a connection, in every framing.
const FIRST_MESSAGE: u32 = 1;

/// The reply to a client of another protocol, before the close.
#[cfg(feature = "http")]
const WRONG_PROTOCOL: &[u8] = b"This port speaks JSON, one object a request, for example: \
    {\"command\": \"ping\", \"data\": {}}, metrics text, for example: put KEY VALUE TIMESTAMP, \
    and HTTP/1.1 without encryption\n";
#[cfg(not(feature = "http"))]
const WRONG_PROTOCOL: &[u8] = b"This port speaks JSON, one object a request, for example: \
    {\"command\": \"ping\", \"data\": {}}, and metrics text, for example: put KEY VALUE TIMESTAMP\n";
