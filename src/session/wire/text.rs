//! Lines of text and their dialect: points to be kept that stand one behind the other are one request.

use super::{Decoded, Ending, Reply, ReplyPage};
use crate::buffer::Buffer;
use crate::dialect;
use crate::dialect::text::{self, Line};
use crate::framing::text::{Piece, Text};
use crate::limits;
use crate::model::{Dialect, Failure, NewPoint, Request};

/// The next message of the input: the points that it begins with, or else one line.
pub(super) fn decode(framing: &mut Text, input: &mut Buffer, has_ended: bool) -> Decoded {
    let mut points = Vec::new();
    let piece = take_points(framing, input, &mut points);
    if !points.is_empty() {
        return request(text::put(points));
    }
    match piece {
        Piece::Line(length) => {
            let decoded = text::decode(&input.as_slice()[..length]);
            framing.consume(input, length);
            match decoded {
                Ok(Line::Put(point)) => request(text::put(vec![point])),
                Ok(Line::Get(filter)) => request(text::get(filter)),
                Err(refusal) => Decoded::Refusal(refusal),
            }
        }
        Piece::HttpLine => Decoded::End(Ending::HttpLine, None),
        Piece::TooLong => Decoded::End(Ending::Linger, Some(Failure::LineTooLong)),
        Piece::BadText => Decoded::End(Ending::Linger, Some(Failure::BadText)),
        Piece::NeedMore if !has_ended => Decoded::NeedInput,
        Piece::NeedMore if framing.is_inside_line() => Decoded::End(Ending::Linger, Some(Failure::CutShort)),
        Piece::NeedMore => Decoded::End(Ending::Close, None),
    }
}

/// Takes the points that the input begins with, up to what is something else; it is found again.
fn take_points(framing: &mut Text, input: &mut Buffer, points: &mut Vec<NewPoint>) -> Piece {
    loop {
        let piece = framing.next(input);
        let Piece::Line(length) = piece else { return piece };
        if points.len() >= limits::POINTS_PER_REQUEST_MAX {
            return piece;
        }
        let Ok(Line::Put(point)) = text::decode(&input.as_slice()[..length]) else { return piece };
        framing.skip(input, length);
        points.push(point);
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
