//! The codec for WebSocket: a text message is a request, and each answer is one message.

use super::framing_codec::{
    DecodeContext, Decoded, FramingCodec, Reply, ReplyPage, is_ping, read_message, trim,
};
use crate::buffer::Buffer;
use crate::dialect;
use crate::framing::http::WebSocketKey;
use crate::framing::http::response::write_upgrade;
use crate::framing::websocket::{self, CloseCode, WebSocket, WebSocketEvent};
use crate::model::{Refusal, Request, Revision};
use crate::session::ending::Ending;

/// The state of a WebSocket connection.
#[derive(Default)]
pub(in crate::session) struct WebSocketCodec {
    framing: WebSocket,
    /// A close frame was sent.
    has_ended: bool,
    /// A proxy forwarded the handshake, and so all that follows.
    is_forwarded: bool,
}

impl WebSocketCodec {
    /// Answers a handshake, which a proxy may have forwarded.
    pub(super) fn accept(key: &WebSocketKey, is_forwarded: bool, output: &mut Buffer) -> WebSocketCodec {
        write_upgrade(&websocket::accept(key.as_bytes()), output);
        WebSocketCodec { is_forwarded, ..WebSocketCodec::default() }
    }
}

impl FramingCodec for WebSocketCodec {
    fn decode(&mut self, input: &mut Buffer, output: &mut Buffer, context: &DecodeContext<'_>) -> Decoded {
        match self.framing.next(input, output, context.bytes_max(self.is_forwarded)) {
            WebSocketEvent::Message(_) => {
                let text = trim(self.framing.message(input));
                let decoded = match is_ping(text, context.rules) {
                    true => Decoded::Ping,
                    false => read_message(text, None, context.rules),
                };
                self.framing.consume(input);
                match decoded {
                    Decoded::Message(message) => Decoded::Message(self.finish_decoding(message)),
                    other => other,
                }
            }
            WebSocketEvent::Frame => Decoded::HandledInline,
            WebSocketEvent::Closed | WebSocketEvent::Failed(_) => {
                self.has_ended = true;
                Decoded::End(Ending::Gone, None)
            }
            WebSocketEvent::NeedMore if !context.has_ended => Decoded::NeedInput,
            // The client ended its input without a close frame, so it reads nothing more.
            WebSocketEvent::NeedMore => Decoded::End(Ending::Gone, None),
        }
    }

    fn finish_decoding(&mut self, decoded: Result<Box<Request>, Refusal>) -> Result<Box<Request>, Refusal> {
        let mut request = decoded?;
        request.is_forwarded = self.is_forwarded;
        Ok(request)
    }

    fn write_answer(&mut self, reply: &Reply<'_>, output: &mut Buffer) {
        websocket::append_fragment(true, true, output, |bytes| {
            dialect::encode_answer(reply.dialect, reply.id, reply.answer, bytes);
        });
    }

    fn write_page(&mut self, reply: &mut ReplyPage<'_>, output: &mut Buffer) {
        let (is_first, is_last) = (reply.is_message_begin(), reply.is_message_end());
        websocket::append_fragment(is_first, is_last, output, |bytes| {
            dialect::encode_page(reply.dialect, reply.id, reply.page, reply.progress, bytes);
        });
    }

    fn write_change(&mut self, _: Revision, write: &mut dyn FnMut(&mut Vec<u8>), output: &mut Buffer) {
        websocket::append_fragment(true, true, output, write);
    }

    /// Sends a close frame, unless one was sent.
    fn write_end(&mut self, is_fault: bool, output: &mut Buffer) {
        if !std::mem::replace(&mut self.has_ended, true) {
            let code = if is_fault { CloseCode::Policy } else { CloseCode::GoingAway };
            websocket::write_close(code, output);
        }
    }

    fn incomplete_message(&self) -> Option<u32> {
        // Distinct from the numbers of the HTTP requests before, since each number has its own deadline.
        self.framing.incomplete().map(|number| number.wrapping_add(1 << 31))
    }

    fn forget(&mut self) {
        self.framing = WebSocket::default();
    }

    fn held_bytes(&self) -> usize {
        self.framing.held_bytes()
    }
}
