//! The codec for text: consecutive `put` lines become one request.

use super::framing_codec::{DecodeContext, Decoded, FramingCodec, Reply, ReplyPage};
use crate::buffer::Buffer;
use crate::dialect;
use crate::dialect::text::{self, TextCommand};
use crate::framing::text::{LineEvent, Text};
use crate::limits;
use crate::model::{Dialect, Failure, Request};
use crate::session::ending::Ending;

impl FramingCodec for Text {
    /// Decodes the points at the start of the input, or else one line.
    fn decode(&mut self, input: &mut Buffer, _: &mut Buffer, context: &DecodeContext<'_>) -> Decoded {
        let mut points = Vec::new();
        loop {
            if self.starts_line(input) {
                let count_max = limits::POINTS_PER_REQUEST_MAX;
                let bytes = text::read_plain_puts(input.as_slice(), count_max, &mut points);
                input.skip(bytes);
            }
            let event = self.next(input);
            let line = match event {
                LineEvent::Line(length) if points.len() < limits::POINTS_PER_REQUEST_MAX => {
                    Some((length, text::decode_line(&input.as_slice()[..length])))
                }
                _ => None,
            };
            match line {
                Some((length, Ok(TextCommand::Put(point)))) => {
                    self.skip(input, length);
                    points.push(point);
                }
                // The event after the points is not consumed; the next call finds it again.
                _ if !points.is_empty() => {
                    return Decoded::Message(Ok(Box::new(Request::puts(Dialect::Text, points))));
                }
                Some((length, Ok(TextCommand::Get(filter)))) => {
                    self.consume(input, length);
                    return Decoded::Message(Ok(Box::new(text::get_request(filter))));
                }
                Some((length, Err(refusal))) => {
                    self.consume(input, length);
                    return Decoded::Message(Err(refusal));
                }
                None => {
                    return match event {
                        LineEvent::HttpLine => Decoded::End(Ending::HttpLine, None),
                        LineEvent::TooLong => Decoded::End(Ending::Linger, Some(Failure::LineTooLong)),
                        LineEvent::BadText => Decoded::End(Ending::Linger, Some(Failure::BadText)),
                        LineEvent::NeedMore | LineEvent::Line(_) => context.need_input(self.is_inside_line()),
                    };
                }
            }
        }
    }

    fn write_answer(&mut self, reply: &Reply<'_>, output: &mut Buffer) {
        output.append_with(|bytes| text::encode_answer(reply.answer, reply.count, bytes));
    }

    fn write_page(&mut self, reply: &mut ReplyPage<'_>, output: &mut Buffer) {
        output.append_with(|bytes| {
            dialect::encode_page(Dialect::Text, None, reply.page, reply.progress, bytes);
        });
    }

    fn incomplete_message(&self) -> Option<u32> {
        self.incomplete()
    }

    fn is_ordered(&self) -> bool {
        // This also merges the lines that arrive meanwhile into one request.
        true
    }

    fn dialect(&self) -> Dialect {
        Dialect::Text
    }
}
