//! The codec for raw JSON: each answer is one line. Consecutive puts of one point become one request.

use super::framing_codec::{DecodeContext, Decoded, FramingCodec, Reply, ReplyPage, read_message};
use crate::buffer::Buffer;
use crate::dialect;
use crate::framing::raw_json::{JsonEvent, RawJson};
use crate::model::{Dialect, Failure, Refusal, Request};
use crate::session::ending::Ending;

impl FramingCodec for RawJson {
    fn decode(&mut self, input: &mut Buffer, _: &mut Buffer, context: &DecodeContext<'_>) -> Decoded {
        let (bytes_max, rules) = (context.bytes_max(false), context.rules);
        let front = self.next_message(input);
        let front = &front[..front.len().min(bytes_max).min(rules.inline_bytes_max)];
        if let Some(length) = dialect::ping_length(front) {
            self.count_message();
            input.skip(length);
            return Decoded::Ping;
        }
        let mut points = Vec::new();
        let length = dialect::read_plain_puts(front, &mut points);
        if length > 0 {
            self.count_message();
            input.skip(length);
            return Decoded::Message(Ok(Box::new(Request::puts(Dialect::Command, points))));
        }
        if let Some((length, decoded)) = dialect::decode_front(front, &rules.customs) {
            self.count_message();
            input.consume(length);
            return Decoded::Message(decoded);
        }
        match self.next(input, bytes_max) {
            JsonEvent::Message(length) => {
                let decoded = read_message(&input.as_slice()[..length], None, rules);
                input.consume(length);
                decoded
            }
            JsonEvent::Stray(byte) => Decoded::Message(Err(stray(byte))),
            JsonEvent::TooLarge => Decoded::End(Ending::Linger, Some(Failure::TooLarge(bytes_max))),
            JsonEvent::HttpLine => Decoded::End(Ending::HttpLine, None),
            JsonEvent::NeedMore => context.need_input(self.is_inside_message()),
        }
    }

    fn write_answer(&mut self, reply: &Reply<'_>, output: &mut Buffer) {
        output.append_with(|bytes| {
            dialect::encode_lines(reply.dialect, reply.id, reply.answer, reply.count, bytes);
        });
    }

    fn write_page(&mut self, reply: &mut ReplyPage<'_>, output: &mut Buffer) {
        output.append_with(|bytes| {
            dialect::encode_page(reply.dialect, reply.id, reply.page, reply.progress, bytes);
            if reply.is_message_end() {
                bytes.push(b'\n');
            }
        });
    }

    fn incomplete_message(&self) -> Option<u32> {
        self.incomplete()
    }
}

/// The refusal of a byte that does not begin a request.
fn stray(byte: u8) -> Refusal {
    let seen = match byte {
        b'!'..=b'~' => format!("'{}'", char::from(byte)),
        // At the start of a connection these bytes select text, so here they follow raw JSON.
        0xef | 0xfe | 0xff => format!("the byte 0x{byte:02x}, as a byte-order mark (U+FEFF) does"),
        _ => format!("the byte 0x{byte:02x}"),
    };
    let why = format!("a request begins with '{{', not with {seen}; skipped to the end of the line");
    Failure::InvalidJson(why).into()
}
