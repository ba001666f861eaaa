//! The codec of a connection: its framing, which the first bytes select, and the dialects.
//!
//! Framings and dialects meet only here: a codec adds to an answer what its framing needs beyond the text, such as a
//! status, chunks or frames.

#[cfg(feature = "page")]
mod event_stream;
mod framing_codec;
#[cfg(feature = "http")]
mod http;
mod raw_json;
mod refused;
#[cfg(feature = "sealed")]
mod sealed;
mod text;
#[cfg(feature = "websocket")]
mod websocket;

use std::ops::{Deref, DerefMut};

use super::ending::Ending;
use crate::buffer::Buffer;
use crate::framing::raw_json::RawJson;
#[cfg(feature = "sealed")]
use crate::framing::sealed::Sealed;
use crate::framing::sniff::{self, Sniffed};
use crate::framing::text::Text;
use framing_codec::FramingCodec;
pub(super) use framing_codec::{DecodeContext, Decoded, Reply, ReplyPage};
#[cfg(feature = "http")]
use http::HttpCodec;
use refused::RefusedCodec;
#[cfg(feature = "websocket")]
use websocket::WebSocketCodec;

/// The framing of one connection. Small codecs are inline; raw JSON is the most frequent.
pub(super) enum Codec {
    Sniffing(Sniffing),
    RawJson(RawJson),
    Text(Text),
    #[cfg(feature = "http")]
    Http(Box<HttpCodec>),
    #[cfg(feature = "websocket")]
    WebSocket(Box<WebSocketCodec>),
    #[cfg(feature = "sealed")]
    Sealed(Box<Sealed>),
    Refused(Box<RefusedCodec>),
}

const _: () = assert!(size_of::<Codec>() <= 16, "every connection has one, most are idle");

/// Selects the framing; until then, too few bytes have arrived.
pub(super) struct Sniffing;

impl Default for Codec {
    fn default() -> Codec {
        Codec::Sniffing(Sniffing)
    }
}

#[cfg(feature = "sealed")]
impl Codec {
    /// The codec of a sealed listener, which is not detected.
    pub(super) fn sealed() -> Codec {
        Codec::Sealed(Box::default())
    }
}

impl Deref for Codec {
    type Target = dyn FramingCodec;

    fn deref(&self) -> &Self::Target {
        match self {
            Codec::Sniffing(codec) => codec,
            Codec::RawJson(codec) => codec,
            Codec::Text(codec) => codec,
            #[cfg(feature = "http")]
            Codec::Http(codec) => &**codec,
            #[cfg(feature = "websocket")]
            Codec::WebSocket(codec) => &**codec,
            #[cfg(feature = "sealed")]
            Codec::Sealed(codec) => &**codec,
            Codec::Refused(codec) => &**codec,
        }
    }
}

impl DerefMut for Codec {
    fn deref_mut(&mut self) -> &mut Self::Target {
        match self {
            Codec::Sniffing(codec) => codec,
            Codec::RawJson(codec) => codec,
            Codec::Text(codec) => codec,
            #[cfg(feature = "http")]
            Codec::Http(codec) => &mut **codec,
            #[cfg(feature = "websocket")]
            Codec::WebSocket(codec) => &mut **codec,
            #[cfg(feature = "sealed")]
            Codec::Sealed(codec) => &mut **codec,
            Codec::Refused(codec) => &mut **codec,
        }
    }
}

impl FramingCodec for Sniffing {
    fn decode(&mut self, input: &mut Buffer, output: &mut Buffer, context: &DecodeContext<'_>) -> Decoded {
        Decoded::Switch(match sniff::sniff(input.as_slice()) {
            Sniffed::NeedMore if !context.has_ended => return Decoded::NeedInput,
            Sniffed::NeedMore if input.as_slice().trim_ascii().is_empty() => {
                return Decoded::End(Ending::Close, None);
            }
            Sniffed::RawJson => Codec::RawJson(RawJson::default()),
            // Input that ends within another framing's signature is text.
            Sniffed::Text | Sniffed::NeedMore => Codec::Text(Text::default()),
            #[cfg(feature = "http")]
            Sniffed::Http => Codec::Http(Box::default()),
            // Without a codec for it, HTTP is as unsupported as the others.
            _ => {
                output.push(WRONG_PROTOCOL);
                return Decoded::End(Ending::Linger, None);
            }
        })
    }

    fn write_answer(&mut self, reply: &Reply<'_>, output: &mut Buffer) {
        RawJson::default().write_answer(reply, output);
    }

    fn write_page(&mut self, reply: &mut ReplyPage<'_>, output: &mut Buffer) {
        RawJson::default().write_page(reply, output);
    }

    fn incomplete_message(&self) -> Option<u32> {
        // The bytes that select the framing begin the first message, which has one deadline.
        Some(FIRST_MESSAGE)
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
