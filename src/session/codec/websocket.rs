//! The codec for WebSocket: a text message is a request, and each answer is one message.

use super::{Decoded, Ending, Reply, ReplyPage, Rules, read_message, trim};
use crate::buffer::Buffer;
use crate::dialect;
use crate::framing::http::{WebSocketKey, write_upgrade};
use crate::framing::websocket::{self, CloseCode, WebSocket, WebSocketEvent};
use crate::model::Request;

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
    /// Creates the state after the handshake.
    pub(super) fn new(is_forwarded: bool) -> WebSocketCodec {
        WebSocketCodec { is_forwarded, ..WebSocketCodec::default() }
    }

    /// Marks a request as forwarded if the handshake was.
    pub(super) fn mark(&self, request: Request) -> Request {
        Request { is_forwarded: self.is_forwarded, ..request }
    }

    /// Whether a proxy forwarded the handshake.
    pub(super) fn is_forwarded(&self) -> bool {
        self.is_forwarded
    }

    /// Decodes the next message of the input.
    pub(super) fn decode(
        &mut self,
        input: &mut Buffer,
        output: &mut Buffer,
        has_ended: bool,
        bytes_max: usize,
        rules: &Rules,
    ) -> Decoded {
        match self.framing.next(input, output, bytes_max) {
            WebSocketEvent::Message(_) => {
                let decoded = read_message(trim(self.framing.message(input)), rules);
                self.framing.consume(input);
                match decoded {
                    Decoded::Request(request) => Decoded::Request(Box::new(self.mark(*request))),
                    other => other,
                }
            }
            WebSocketEvent::Frame => Decoded::HandledInline,
            WebSocketEvent::Closed | WebSocketEvent::Failed(_) => {
                self.has_ended = true;
                Decoded::End(Ending::Gone, None)
            }
            WebSocketEvent::NeedMore if !has_ended => Decoded::NeedInput,
            // The client ended its input without a close frame, so it reads nothing more.
            WebSocketEvent::NeedMore => Decoded::End(Ending::Gone, None),
        }
    }

    /// Sends a close frame, unless one was sent.
    pub(super) fn write_end(&mut self, is_fault: bool, output: &mut Buffer) {
        if !std::mem::replace(&mut self.has_ended, true) {
            let code = if is_fault { CloseCode::Policy } else { CloseCode::GoingAway };
            websocket::write_close(code, output);
        }
    }

    /// Drops a partial message; nothing more is decoded.
    pub(super) fn forget(&mut self) {
        self.framing = WebSocket::default();
    }

    /// Bytes of memory held outside the input buffer.
    pub(super) fn held_bytes(&self) -> usize {
        self.framing.held_bytes()
    }

    pub(super) fn unfinished(&self) -> Option<u32> {
        // Distinct from the numbers of the HTTP requests before, since each number has its own deadline.
        self.framing.unfinished().map(|number| number.wrapping_add(1 << 31))
    }
}

/// Answers the handshake.
pub(super) fn write_switch(key: &WebSocketKey, output: &mut Buffer) {
    write_upgrade(&websocket::accept(key.as_bytes()), output);
}

pub(super) fn write_answer(reply: &Reply<'_>, output: &mut Buffer) {
    websocket::append_fragment(true, true, output, |bytes| {
        dialect::encode_answer(reply.dialect, reply.id, reply.answer, bytes);
    });
}

pub(super) fn write_page(reply: &mut ReplyPage<'_>, output: &mut Buffer) {
    let (is_first, is_last) = (!reply.progress.has_begun, reply.page.next.is_none());
    websocket::append_fragment(is_first, is_last, output, |bytes| {
        dialect::encode_page(reply.dialect, reply.id, reply.page, reply.progress, bytes);
    });
}
