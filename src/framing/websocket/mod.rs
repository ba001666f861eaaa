//! WebSocket (RFC 6455), the server's side: frames into messages, messages into frames.
//!
//! A message in a single frame is unmasked in place in the input and never copied; a fragmented one is assembled in a
//! buffer. Text is validated as UTF-8 incrementally, and a message fails at the first invalid byte. No byte is examined
//! twice, except for up to three bytes of an incomplete character. No memory is held between messages.
//!
//! No extensions (so no compression) and no subprotocols. It does not interpret messages and reads no clock.

mod close_code;
mod frame;
mod frame_writer;

use crate::buffer::Buffer;
use crate::limits;
use frame::Frame;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

pub use close_code::CloseCode;
pub use frame_writer::{accept, append_fragment, write_close};

/// The framing state of one connection after its handshake.
#[derive(Default)]
pub struct WebSocket {
    state: FrameState,
    /// Number of messages and control frames so far, with the incomplete one.
    started: u32,
    /// The kind of the message whose fragments are being received, if any.
    fragmented: Option<MessageKind>,
    /// The payloads of its fragments.
    fragments: Buffer,
    /// Bytes of an incomplete character at the end of the text so far.
    partial_char_bytes: u8,
    allows_binary: bool,
}

/// The kind of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MessageKind {
    /// Valid UTF-8.
    Text,
    /// Arbitrary bytes, if binary messages are allowed.
    Binary,
}

/// What is at the front of the input.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WebSocketEvent {
    /// Nothing complete yet.
    NeedMore,
    /// A complete message: read it with `message`, then call `consume`.
    Message(MessageKind),
    /// A frame that needs no action: a ping (its pong is in the output), a pong or a fragment. One per call, so that
    /// the caller can check the output's size and yield to other connections.
    Frame,
    /// The client closed; the close frame of the server is in the output. Nothing follows.
    Closed,
    /// The client violated the protocol; a close frame with the reason is in the output. Nothing follows.
    Failed(CloseCode),
}

#[derive(Default)]
enum FrameState {
    /// Between frames.
    #[default]
    Between,
    /// The input starts with an incomplete header.
    Header,
    /// The header is consumed, the payload is incomplete.
    Payload(Frame),
    /// A complete message to read and consume: this many bytes of the input, or all fragments.
    Whole(MessageKind, u32),
    /// A close frame has been written.
    Ended,
}

impl WebSocket {
    /// Accepts binary messages as well.
    #[cfg(feature = "internals")]
    pub fn with_binary() -> WebSocket {
        WebSocket { allows_binary: true, ..WebSocket::default() }
    }

    /// Returns the next event. A message has at most `bytes_max` bytes in all its fragments; a frame that announces
    /// more fails at once. After the end, discards all input.
    pub fn next(&mut self, input: &mut Buffer, output: &mut Buffer, bytes_max: usize) -> WebSocketEvent {
        let event = self.next_event(input, output, bytes_max).unwrap_or_else(|code| {
            frame_writer::write_close(code, output);
            WebSocketEvent::Failed(code)
        });
        if matches!(event, WebSocketEvent::Closed | WebSocketEvent::Failed(_)) {
            self.state = FrameState::Ended;
            self.fragmented = None;
            self.fragments.clear();
            input.clear();
        }
        self.check_invariants();
        event
    }

    /// The message that `next` has returned, until it is consumed; empty otherwise.
    pub fn message<'a>(&'a self, input: &'a Buffer) -> &'a [u8] {
        match (&self.state, self.fragmented) {
            (FrameState::Whole(..), Some(_)) => self.fragments.as_slice(),
            (FrameState::Whole(_, length), None) => &input.as_slice()[..*length as usize],
            _ => &[],
        }
    }

    /// Consumes the message that `next` has returned and frees its memory.
    pub fn consume(&mut self, input: &mut Buffer) {
        let FrameState::Whole(_, length) = self.state else { return };
        match self.fragmented.take() {
            Some(_) => self.fragments.clear(),
            None => input.consume(length as usize),
        }
        self.state = FrameState::Between;
        self.check_invariants();
    }

    /// Heap size in bytes: the buffer for fragments.
    pub fn held_bytes(&self) -> usize {
        self.fragments.capacity()
    }

    /// Whether a message or frame is incomplete: end of input is an error now.
    pub fn is_inside_message(&self) -> bool {
        self.incomplete().is_some()
    }

    /// The number of the incomplete message or control frame, if any. The request timeout applies to each
    /// separately; a control frame between fragments counts as part of their message.
    pub fn incomplete(&self) -> Option<u32> {
        match self.state {
            FrameState::Between if self.fragmented.is_none() => None,
            FrameState::Whole(..) | FrameState::Ended => None,
            FrameState::Between | FrameState::Header | FrameState::Payload(_) => Some(self.started),
        }
    }

    fn next_event(
        &mut self,
        input: &mut Buffer,
        output: &mut Buffer,
        bytes_max: usize,
    ) -> Result<WebSocketEvent, CloseCode> {
        match self.state {
            FrameState::Between | FrameState::Header => {
                if !self.begin_frame(input)? {
                    return Ok(WebSocketEvent::NeedMore);
                }
            }
            FrameState::Payload(_) => {}
            FrameState::Whole(kind, _) => return Ok(WebSocketEvent::Message(kind)),
            FrameState::Ended => {
                input.clear();
                return Ok(WebSocketEvent::NeedMore);
            }
        }
        let FrameState::Payload(frame) = &self.state else { return Ok(WebSocketEvent::NeedMore) };
        match frame.opcode {
            OpCode::Control(_) => self.read_control_frame(input, output),
            OpCode::Data(_) => self.read_data_frame(input, bytes_max),
        }
    }

    /// Consumes a frame header; false if it is incomplete.
    fn begin_frame(&mut self, input: &mut Buffer) -> Result<bool, CloseCode> {
        if input.is_empty() {
            return Ok(false);
        }
        if matches!(self.state, FrameState::Between) && self.fragmented.is_none() {
            self.started = self.started.wrapping_add(1);
        }
        self.state = FrameState::Header;
        let Some(frame) = Frame::take(input)? else { return Ok(false) };
        let kind = match (frame.opcode, self.fragmented) {
            (OpCode::Control(_), _) | (OpCode::Data(Data::Continue), Some(_)) => None,
            (OpCode::Data(Data::Text), None) => Some(MessageKind::Text),
            (OpCode::Data(Data::Binary), None) if self.allows_binary => Some(MessageKind::Binary),
            (OpCode::Data(Data::Binary), None) => return Err(CloseCode::Unsupported),
            (OpCode::Data(_), _) => return Err(CloseCode::Protocol),
        };
        if !frame.is_final {
            self.fragmented = self.fragmented.or(kind);
        }
        self.state = FrameState::Payload(frame);
        Ok(true)
    }

    /// Handles a control frame once it is complete.
    fn read_control_frame(
        &mut self,
        input: &mut Buffer,
        output: &mut Buffer,
    ) -> Result<WebSocketEvent, CloseCode> {
        let FrameState::Payload(frame) = &mut self.state else { return Ok(WebSocketEvent::NeedMore) };
        let length = frame.length as usize;
        if input.len() < length {
            return Ok(WebSocketEvent::NeedMore);
        }
        frame.unmask(&mut input.as_mut_slice()[..length]);
        let payload = &input.as_slice()[..length];
        let event = match frame.opcode {
            OpCode::Control(Control::Close) => {
                frame_writer::write_close_reply(close_code(payload)?, output);
                WebSocketEvent::Closed
            }
            OpCode::Control(Control::Ping) => {
                frame_writer::write_pong(payload, output);
                WebSocketEvent::Frame
            }
            _ => WebSocketEvent::Frame,
        };
        input.consume(length);
        self.state = FrameState::Between;
        Ok(event)
    }

    /// Processes the available bytes of a data frame.
    fn read_data_frame(&mut self, input: &mut Buffer, bytes_max: usize) -> Result<WebSocketEvent, CloseCode> {
        let FrameState::Payload(frame) = &mut self.state else { return Ok(WebSocketEvent::NeedMore) };
        let length = frame.length as usize;
        let before = frame.unmasked as usize;
        // The payload of a fragment moves to the buffer, that of an unfragmented message stays in the input.
        let is_gathered = self.fragmented.is_some();
        let (start, others) = if is_gathered { (0, self.fragments.len() - before) } else { (before, 0) };
        if others + length > bytes_max.min(MESSAGE_BYTES_LIMIT) {
            return Err(CloseCode::TooLarge);
        }
        let end = input.len().min(start + length - before);
        frame.unmask(&mut input.as_mut_slice()[start..end]);
        let is_text = match self.fragmented {
            Some(kind) => kind == MessageKind::Text,
            None => frame.opcode == OpCode::Data(Data::Text),
        };
        let incomplete = self.partial_char_bytes as usize;
        let unchecked = if is_gathered {
            let checked = self.fragments.len() - incomplete;
            self.fragments.push(&input.as_slice()[..end]);
            input.consume(end);
            &self.fragments.as_slice()[checked..]
        } else {
            &input.as_slice()[start - incomplete..end]
        };
        if is_text {
            self.partial_char_bytes = count_partial_char_bytes(unchecked)?;
        }
        if frame.unmasked < frame.length {
            return Ok(WebSocketEvent::NeedMore);
        }
        if !frame.is_final {
            self.state = FrameState::Between;
            return Ok(WebSocketEvent::Frame);
        }
        if self.partial_char_bytes > 0 {
            return Err(CloseCode::InvalidText);
        }
        let kind = if is_text { MessageKind::Text } else { MessageKind::Binary };
        self.state = FrameState::Whole(kind, frame.length);
        Ok(WebSocketEvent::Message(kind))
    }

    fn check_invariants(&self) {
        debug_assert!(self.fragmented.is_some() || self.fragments.is_empty(), "fragments of no message");
        debug_assert!(self.partial_char_bytes < 4, "no character has more than four bytes");
        debug_assert!(
            self.partial_char_bytes == 0
                || self.is_inside_message()
                || matches!(self.state, FrameState::Ended),
            "only a message that is not whole may end inside a character"
        );
    }
}

/// Number of bytes of an incomplete character at the end of `text`; an error if no continuation could make it valid
/// UTF-8.
fn count_partial_char_bytes(text: &[u8]) -> Result<u8, CloseCode> {
    match std::str::from_utf8(text) {
        Ok(_) => Ok(0),
        Err(error) if error.error_len().is_none() => Ok((text.len() - error.valid_up_to()) as u8),
        Err(_) => Err(CloseCode::InvalidText),
    }
}

/// The code of a close frame, if any. RFC 6455, 7.4, and its registry define the valid ones: 1004 to 1006 and 1015 are
/// never sent, 1016 to 2999 are reserved.
fn close_code(payload: &[u8]) -> Result<Option<u16>, CloseCode> {
    let Some((&code, reason)) = payload.split_first_chunk() else {
        return if payload.is_empty() { Ok(None) } else { Err(CloseCode::Protocol) };
    };
    let code = u16::from_be_bytes(code);
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(CloseCode::Protocol);
    }
    std::str::from_utf8(reason).map_err(|_| CloseCode::InvalidText)?;
    Ok(Some(code))
}

/// One less than `u32::MAX`, so that a frame with a saturated length is always too large.
const MESSAGE_BYTES_LIMIT: usize = u32::MAX as usize - 1;

const _: () = assert!(limits::REQUEST_BYTES_MAX <= MESSAGE_BYTES_LIMIT);
const _: () = assert!(size_of::<WebSocket>() <= 32, "every connection holds one, most are idle");

#[cfg(test)]
mod tests;
