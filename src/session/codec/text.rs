//! The codec for text: consecutive `put` lines become one request.

use super::{Decoded, Ending, Reply, ReplyPage};
use crate::buffer::Buffer;
use crate::dialect;
use crate::dialect::text::{self, TextCommand};
use crate::framing::text::{LineEvent, Text};
use crate::limits;
use crate::model::{Dialect, Failure, Request};

/// Decodes the next message of the input: the points at its start, or else one line.
pub(super) fn decode(framing: &mut Text, input: &mut Buffer, has_ended: bool) -> Decoded {
    let mut points = Vec::new();
    loop {
        let piece = framing.next(input);
        let line = match piece {
            LineEvent::Line(length) if points.len() < limits::POINTS_PER_REQUEST_MAX => {
                Some((length, text::decode_line(&input.as_slice()[..length])))
            }
            _ => None,
        };
        match line {
            Some((length, Ok(TextCommand::Put(point)))) => {
                framing.skip(input, length);
                points.push(point);
            }
            // The piece after the points is not consumed; the next call decodes it again.
            _ if !points.is_empty() => return request(text::put_request(points)),
            Some((length, Ok(TextCommand::Get(filter)))) => {
                framing.consume(input, length);
                return request(text::get_request(filter));
            }
            Some((length, Err(refusal))) => {
                framing.consume(input, length);
                return Decoded::Refusal(refusal);
            }
            None => return without_line(piece, framing, has_ended),
        }
    }
}

/// Handles input that does not start with a whole line.
fn without_line(piece: LineEvent, framing: &Text, has_ended: bool) -> Decoded {
    match piece {
        LineEvent::HttpLine => Decoded::End(Ending::HttpLine, None),
        LineEvent::TooLong => Decoded::End(Ending::Linger, Some(Failure::LineTooLong)),
        LineEvent::BadText => Decoded::End(Ending::Linger, Some(Failure::BadText)),
        _ if !has_ended => Decoded::NeedInput,
        _ if framing.is_inside_line() => Decoded::End(Ending::Linger, Some(Failure::UnexpectedEnd)),
        _ => Decoded::End(Ending::Close, None),
    }
}

fn request(request: Request) -> Decoded {
    Decoded::Request(Box::new(request))
}

pub(super) fn write_answer(reply: &Reply<'_>, output: &mut Buffer) {
    output.append_with(|bytes| dialect::encode_lines(reply.answer, reply.count, bytes));
}

pub(super) fn write_page(reply: &mut ReplyPage<'_>, output: &mut Buffer) {
    output.append_with(|bytes| {
        dialect::encode_page(Dialect::Text, None, reply.page, reply.progress, bytes);
    });
}
