//! What stands between a connection's bytes and its requests: the framing that the first bytes chose, and the
//! dialects.
//!
//! The one place where framings and dialects meet: what an answer is in a framing beyond its text (a status,
//! chunks, frames) is decided here.

use super::Ending;
use crate::buffer::Buffer;
use crate::dialect::{self, PageProgress};
use crate::framing::raw_json::{self, RawJson};
use crate::framing::sniff::{self, Sniffed};
use crate::model::{Answer, Dialect, Failure, Page, Refusal, Request, RequestId};

/// The framing of one connection, once it is known.
#[derive(Default)]
pub(super) enum Wire {
    /// Too few bytes have come.
    #[default]
    Sniffing,
    RawJson(RawJson),
}

/// What has been found in the input.
pub(super) enum Decoded {
    Request(Box<Request>),
    /// A message that is no request.
    Refusal(Refusal),
    /// Something that needs nothing more: look again.
    Dealt,
    NeedInput,
    /// Nothing more is to be decoded; the last words, if any.
    End(Ending, Option<Failure>),
}

impl Wire {
    /// The next message of the input. `has_ended`: nothing comes behind what has come.
    pub(super) fn decode(
        &mut self,
        input: &mut Buffer,
        output: &mut Buffer,
        has_ended: bool,
        bytes_max: usize,
    ) -> Decoded {
        match self {
            Wire::Sniffing => self.choose(input, output, has_ended),
            Wire::RawJson(framing) => decode_raw_json(framing, input, has_ended, bytes_max),
        }
    }

    /// Writes a whole answer.
    pub(super) fn write_answer(
        &mut self,
        dialect: Dialect,
        id: Option<&RequestId>,
        answer: &Answer,
        output: &mut Buffer,
    ) {
        match self {
            Wire::Sniffing | Wire::RawJson(_) => output.append_with(|bytes| {
                dialect::encode_answer(dialect, id, answer, bytes);
                bytes.push(b'\n');
            }),
        }
    }

    /// Writes a page of an answer.
    pub(super) fn write_page(
        &mut self,
        dialect: Dialect,
        id: Option<&RequestId>,
        page: &Page,
        progress: &mut PageProgress,
        output: &mut Buffer,
    ) {
        match self {
            Wire::Sniffing | Wire::RawJson(_) => output.append_with(|bytes| {
                dialect::encode_page(dialect, id, page, progress, bytes);
                if page.next.is_none() {
                    bytes.push(b'\n');
                }
            }),
        }
    }

    /// Whether each message has to be answered before the next is looked at, whatever its id.
    pub(super) fn is_serial(&self) -> bool {
        match self {
            Wire::Sniffing | Wire::RawJson(_) => false,
        }
    }

    /// Whether too little has come to know the framing.
    pub(super) fn is_undecided(&self) -> bool {
        matches!(self, Wire::Sniffing)
    }

    /// The number of the message that has begun and not ended, if there is one.
    pub(super) fn unfinished(&self) -> Option<u32> {
        match self {
            Wire::Sniffing => Some(0),
            Wire::RawJson(framing) => framing.unfinished(),
        }
    }

    fn choose(&mut self, input: &Buffer, output: &mut Buffer, has_ended: bool) -> Decoded {
        let has_only_white_space = input.as_slice().trim_ascii().is_empty();
        match sniff::sniff(input.as_slice()) {
            Sniffed::RawJson => {
                *self = Wire::RawJson(RawJson::default());
                Decoded::Dealt
            }
            Sniffed::NeedMore if !has_ended => Decoded::NeedInput,
            Sniffed::NeedMore if has_only_white_space => Decoded::End(Ending::Close, None),
            Sniffed::NeedMore | Sniffed::Http | Sniffed::Foreign | Sniffed::Text => {
                output.push(WRONG_PROTOCOL);
                Decoded::End(Ending::Linger, None)
            }
        }
    }
}

fn decode_raw_json(framing: &mut RawJson, input: &mut Buffer, has_ended: bool, bytes_max: usize) -> Decoded {
    use raw_json::Piece;
    match framing.next(input, bytes_max) {
        Piece::Message(length) => {
            let decoded = dialect::decode_json(&input.as_slice()[..length]);
            input.consume(length);
            match decoded {
                Ok(request) => Decoded::Request(Box::new(request)),
                Err(refusal) => Decoded::Refusal(refusal),
            }
        }
        Piece::Stray(byte) => Decoded::Refusal(stray(byte)),
        Piece::TooLarge => Decoded::End(Ending::Linger, Some(Failure::TooLarge(bytes_max))),
        Piece::HttpLine => Decoded::End(Ending::HttpLine, None),
        Piece::NeedMore if !has_ended => Decoded::NeedInput,
        Piece::NeedMore if framing.is_inside_message() => {
            Decoded::End(Ending::Linger, Some(Failure::CutShort))
        }
        Piece::NeedMore => Decoded::End(Ending::Close, None),
    }
}

/// A byte that begins no request.
fn stray(byte: u8) -> Refusal {
    let seen = match byte {
        b'!'..=b'~' => format!("'{}'", char::from(byte)),
        _ => format!("the byte 0x{byte:02x}"),
    };
    let why = format!("a request begins with '{{', not with {seen}; skipped to the end of the line");
    Refusal { dialect: Dialect::Command, id: None, failure: Failure::InvalidJson(why) }
}

/// What a client of another protocol reads, before the connection is closed.
const WRONG_PROTOCOL: &[u8] =
    b"This port speaks JSON, one object a request, for example: {\"command\": \"ping\", \"data\": {}}\n";
