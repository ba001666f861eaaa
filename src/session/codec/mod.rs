//! The codec of a connection: its framing, which the first bytes select, and the dialects.
//!
//! Framings and dialects meet only here: a codec adds to an answer what its framing needs beyond the text, such as a
//! status, chunks or frames.

#[cfg(not(feature = "websocket"))]
mod absent;
mod framing_codec;
#[cfg(feature = "http")]
mod http;
mod raw_json;
mod text;
#[cfg(feature = "websocket")]
mod websocket;

use super::ending::Ending;
use crate::buffer::Buffer;
use crate::framing::raw_json::RawJson;
use crate::framing::sniff::{self, Sniffed};
use crate::framing::text::Text;
use crate::model::{Denial, Dialect, Refusal, Request};
#[cfg(not(feature = "http"))]
use absent::AbsentCodec as HttpCodec;
#[cfg(not(feature = "websocket"))]
use absent::AbsentCodec as WebSocketCodec;
use framing_codec::FramingCodec;
pub(super) use framing_codec::{DecodeContext, Decoded, Reply, ReplyPage};
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
    Http(Box<HttpCodec>),
    WebSocket(Box<WebSocketCodec>),
}

/// Calls the codec of the framing, which `$codec` names; before it is selected, `$sniffing` is the result.
macro_rules! with_codec {
    ($self:expr, $codec:ident => $call:expr, $sniffing:expr) => {
        match $self {
            Codec::Sniffing => $sniffing,
            Codec::RawJson($codec) => $call,
            Codec::Text($codec) => $call,
            Codec::Http($codec) => $call,
            Codec::WebSocket($codec) => $call,
        }
    };
}

impl Codec {
    /// Decodes the next message of the input.
    pub(super) fn decode(
        &mut self,
        input: &mut Buffer,
        output: &mut Buffer,
        context: &DecodeContext<'_>,
    ) -> Decoded {
        match self {
            Codec::Sniffing => self.choose(input, output, context.has_ended),
            Codec::RawJson(codec) => codec.decode(input, output, context),
            Codec::Text(codec) => codec.decode(input, output, context),
            Codec::WebSocket(codec) => codec.decode(input, output, context),
            Codec::Http(codec) => {
                let decoded = codec.decode(input, output, context);
                let handshake = codec.take_handshake();
                if let Some(codec) = handshake.and_then(|it| WebSocketCodec::accept(it, output)) {
                    *self = Codec::WebSocket(codec);
                }
                decoded
            }
        }
    }

    /// Completes a long message with its decoded body.
    pub(super) fn finish_decoding(&mut self, decoded: Result<Request, Refusal>) -> Result<Request, Refusal> {
        with_codec!(self, codec => codec.finish_decoding(decoded), decoded)
    }

    /// Writes a whole answer.
    pub(super) fn write_answer(&mut self, reply: &Reply<'_>, output: &mut Buffer) {
        with_codec!(self, codec => codec.write_answer(reply, output), RawJson::default().write_answer(reply, output));
    }

    /// Writes a page of an answer.
    pub(super) fn write_page(&mut self, reply: &mut ReplyPage<'_>, output: &mut Buffer) {
        with_codec!(self, codec => codec.write_page(reply, output), RawJson::default().write_page(reply, output));
    }

    /// Writes the last bytes of a connection. `is_fault`: the client has violated a rule.
    pub(super) fn write_end(&mut self, is_fault: bool, output: &mut Buffer) {
        with_codec!(self, codec => codec.write_end(is_fault, output), ());
    }

    /// The denials of messages, since the last call.
    pub(super) fn take_denials(&mut self) -> Vec<Denial> {
        with_codec!(self, codec => codec.take_denials(), Vec::new())
    }

    /// Drops a partial message; nothing more is decoded.
    pub(super) fn forget(&mut self) {
        with_codec!(self, codec => codec.forget(), ());
    }

    /// Bytes of memory held outside the input buffer.
    pub(super) fn held_bytes(&self) -> usize {
        with_codec!(self, codec => codec.held_bytes(), 0)
    }

    /// Whether a proxy forwards the connection.
    pub(super) fn is_forwarded(&self) -> bool {
        with_codec!(self, codec => codec.is_forwarded(), false)
    }

    /// The number of the partial message, if there is one.
    pub(super) fn incomplete_message(&self) -> Option<u32> {
        // The bytes that select the framing begin the first message, which has one deadline.
        with_codec!(self, codec => codec.incomplete_message(), Some(FIRST_MESSAGE))
    }

    /// Whether each message must be answered before the next is decoded, whatever its id.
    pub(super) fn is_ordered(&self) -> bool {
        // In text, this also merges the lines that arrive meanwhile into one request.
        matches!(self, Codec::Http(_) | Codec::Text(_))
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
        matches!(self, Codec::Http(_))
    }

    /// Whether the framing is not known yet.
    pub(super) fn is_undecided(&self) -> bool {
        matches!(self, Codec::Sniffing)
    }

    fn choose(&mut self, input: &Buffer, output: &mut Buffer, has_ended: bool) -> Decoded {
        let has_only_white_space = input.as_slice().trim_ascii().is_empty();
        let chosen = match sniff::sniff(input.as_slice()) {
            Sniffed::NeedMore if !has_ended => return Decoded::NeedInput,
            Sniffed::NeedMore if has_only_white_space => return Decoded::End(Ending::Close, None),
            Sniffed::RawJson => Some(Codec::RawJson(RawJson::default())),
            // Input that ends within another framing's signature is text.
            Sniffed::Text | Sniffed::NeedMore => Some(Codec::Text(Text::default())),
            Sniffed::Http => HttpCodec::for_http().map(Codec::Http),
            Sniffed::Unsupported => None,
        };
        match chosen {
            Some(codec) => {
                *self = codec;
                Decoded::HandledInline
            }
            None => {
                output.push(WRONG_PROTOCOL);
                Decoded::End(Ending::Linger, None)
            }
        }
    }
}

/// The number of the first message of a connection, in every framing.
const FIRST_MESSAGE: u32 = 1;

/// The reply to a client of another protocol, before the close.
const WRONG_PROTOCOL: &[u8] = if cfg!(feature = "http") {
    b"This port speaks JSON, one object a request, for example: \
        {\"command\": \"ping\", \"data\": {}}, metrics text, for example: put KEY VALUE TIMESTAMP, \
        and HTTP/1.1 without encryption\n"
} else {
    b"This port speaks JSON, one object a request, for example: \
        {\"command\": \"ping\", \"data\": {}}, and metrics text, for example: put KEY VALUE TIMESTAMP\n"
};
