//! The codec of a client whose address is refused: it answers one request of HTTP, and nothing else.
//!
//! Reads what it takes to recognize HTTP and to find the end of the request's head. Yields no message, so that nothing
//! reaches a dialect, and writes no error.

use super::FIRST_MESSAGE;
use super::framing_codec::{DecodeContext, Decoded, FramingCodec, Reply, ReplyPage};
use crate::buffer::Buffer;
use crate::framing::sniff::{self, Sniffed};
use crate::session::ending::Ending;
#[cfg(feature = "http")]
use crate::{
    dialect,
    framing::http::{
        ContentType, Status,
        line_scan::{LineScan, ScanProgress},
        response::Exchange,
    },
    framing::is_white_space,
    limits,
};

/// What is read of the input.
#[derive(Default)]
pub(in crate::session) enum RefusedCodec {
    /// The first bytes, which select the framing.
    #[default]
    Sniffing,
    /// The head of a request.
    #[cfg(feature = "http")]
    Http(LineScan),
}

impl FramingCodec for RefusedCodec {
    #[cfg_attr(not(feature = "http"), allow(unused_variables))]
    fn decode(&mut self, input: &mut Buffer, output: &mut Buffer, context: &DecodeContext<'_>) -> Decoded {
        match self {
            RefusedCodec::Sniffing => match sniff::sniff(input.as_slice()) {
                Sniffed::NeedMore if !context.has_ended => Decoded::NeedInput,
                #[cfg(feature = "http")]
                Sniffed::Http => {
                    let is_blank = |byte: &&u8| is_white_space(**byte);
                    input.consume(input.as_slice().iter().take_while(is_blank).count());
                    *self = RefusedCodec::Http(LineScan::IN_FIRST_LINE);
                    Decoded::HandledInline
                }
                _ => Decoded::End(Ending::Close, None),
            },
            #[cfg(feature = "http")]
            RefusedCodec::Http(scan) => match scan.advance(input.as_slice(), limits::HTTP_HEAD_BYTES_MAX) {
                ScanProgress::More if context.has_ended => Decoded::End(Ending::Close, None),
                ScanProgress::More => Decoded::NeedInput,
                // A head that is malformed or too large gets the same answer.
                ScanProgress::End(_) | ScanProgress::BareLineEnd | ScanProgress::TooLong => {
                    let is_head = input.as_slice().starts_with(b"HEAD ");
                    let exchange = Exchange { is_head, closes: true, ..Exchange::default() };
                    let write = dialect::encode_refusal;
                    exchange.write_whole(Status::Ok, ContentType::Json, context.date, output, write);
                    Decoded::End(Ending::Linger, None)
                }
            },
        }
    }

    fn write_answer(&mut self, _reply: &Reply<'_>, _output: &mut Buffer) {}

    fn write_page(&mut self, _reply: &mut ReplyPage<'_>, _output: &mut Buffer) {}

    fn incomplete_message(&self) -> Option<u32> {
        // All input has one deadline, which begins with the connection.
        Some(FIRST_MESSAGE)
    }
}
