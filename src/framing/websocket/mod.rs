//! WebSocket (RFC 6455), the server's side: frames into messages, messages into frames.
//!
//! A message that comes in one frame is unmasked where it lies in the input and never copied; one in several
//! frames is gathered. Text is checked to be UTF-8 as it comes, and a message that breaks a rule fails with
//! the first byte that does; no byte is looked at twice, however the stream comes in pieces (but for the up to
//! three bytes that begin a character). Between messages nothing is held.
//!
//! No extension, so no compression, and no subprotocol. It knows neither what messages say nor any clock.

mod frame;
mod frame_writer;

use crate::buffer::Buffer;
use crate::limits;
use frame::{Frame, Opcode};

pub use frame_writer::{accept, append_fragment, write_binary, write_close, write_message};

/// The state of one connection, from its handshake on.
#[derive(Default)]
pub struct WebSocket {
    state: FrameState,
    /// Counts what `unfinished` numbers.
    begun: u32,
    /// What the fragments make that have come so far, if the message under way has several.
    fragmented: Option<MessageKind>,
    /// Their bytes.
    fragments: Buffer,
    /// Bytes at the end of the text so far that begin a character.
    partial_char_bytes: u8,
    allows_binary: bool,
}

/// What a message is made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MessageKind {
    /// Valid UTF-8.
    Text,
    /// Any bytes; only where they are allowed.
    Binary,
}

/// What stands at the front of the input.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WebSocketEvent {
    /// Nothing whole yet.
    NeedMore,
    /// A whole message: see `message`, then `consume` it.
    Message(MessageKind),
    /// A frame that needs nothing from the caller: a ping (its pong is in the output), a pong, a fragment.
    /// One at a call, so that the caller can look at how much output waits, and let others have their turn.
    Frame,
    /// The client has closed and our close frame is in the output; nothing follows.
    Closed,
    /// The client broke a rule. A close frame that says which is in the output; nothing follows.
    Failed(CloseCode),
}

/// Why a connection is closed (RFC 6455, 7.4.1), as far as this end says so.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CloseCode {
    /// All is done.
    Normal = 1000,
    /// The server stops.
    GoingAway = 1001,
    /// A frame that must not be there.
    Protocol = 1002,
    /// A binary message where only text is taken.
    Unsupported = 1003,
    /// Text that is not UTF-8.
    InvalidText = 1007,
    /// Something else that this server does not let happen; a deadline, say.
    Policy = 1008,
    /// A message with more bytes than one may have.
    TooLarge = 1009,
    /// The server failed.
    Internal = 1011,
}

impl CloseCode {
    /// The same in words, for people.
    pub fn reason(self) -> &'static str {
        match self {
            CloseCode::Normal => "",
            CloseCode::GoingAway => "the server stops, or nothing has come for too long",
            CloseCode::Protocol => "the frame is against the protocol",
            CloseCode::Unsupported => "a message must be text, not binary",
            CloseCode::InvalidText => "the text is not valid UTF-8",
            CloseCode::Policy => "the last message says what is wrong",
            CloseCode::TooLarge => "the message is larger than it may be",
            CloseCode::Internal => "internal error",
        }
    }
}

#[derive(Default)]
enum FrameState {
    /// Between frames: of the next one nothing has come.
    #[default]
    Between,
    /// The input begins with a part of a header.
    Header,
    /// The header is taken, the payload is on its way.
    Payload(Frame),
    /// A whole message waits to be read and consumed: so many bytes of the input, or all that is gathered.
    Whole(MessageKind, u32),
    /// A close frame has been written.
    Ended,
}

impl WebSocket {
    /// One that lets binary messages come as well.
    pub fn with_binary() -> WebSocket {
        WebSocket { allows_binary: true, ..WebSocket::default() }
    }

    /// Looks for the next piece. A message has at most `bytes_max` bytes in all its fragments: what
    /// announces more is refused at once. After the end, drops all input.
    pub fn next(&mut self, input: &mut Buffer, output: &mut Buffer, bytes_max: usize) -> WebSocketEvent {
        let piece = self.next_event(input, output, bytes_max).unwrap_or_else(|code| {
            frame_writer::write_close(code, output);
            WebSocketEvent::Failed(code)
        });
        if matches!(piece, WebSocketEvent::Closed | WebSocketEvent::Failed(_)) {
            self.state = FrameState::Ended;
            self.fragmented = None;
            self.fragments.clear();
            input.clear();
        }
        self.check_invariants();
        piece
    }

    /// The bytes of the message that `next` has found; none before and after.
    pub fn message<'a>(&'a self, input: &'a Buffer) -> &'a [u8] {
        match (&self.state, self.fragmented) {
            (FrameState::Whole(..), Some(_)) => self.fragments.as_slice(),
            (FrameState::Whole(_, length), None) => &input.as_slice()[..*length as usize],
            _ => &[],
        }
    }

    /// Drops the message that `next` has found, and what memory it took.
    pub fn consume(&mut self, input: &mut Buffer) {
        let FrameState::Whole(_, length) = self.state else { return };
        match self.fragmented.take() {
            Some(_) => self.fragments.clear(),
            None => input.consume(length as usize),
        }
        self.state = FrameState::Between;
        self.check_invariants();
    }

    /// Bytes of memory that it holds: what is gathered of a message that comes in fragments.
    pub fn held_bytes(&self) -> usize {
        self.fragments.capacity()
    }

    /// Whether something has begun and is not whole: the input must not end here.
    pub fn is_inside_message(&self) -> bool {
        self.unfinished().is_some()
    }

    /// The number of the message or control frame that has begun and not ended, if there is one: the
    /// request timeout runs, anew for each. A control frame between fragments belongs to their message.
    pub fn unfinished(&self) -> Option<u32> {
        match self.state {
            FrameState::Between if self.fragmented.is_none() => None,
            FrameState::Whole(..) | FrameState::Ended => None,
            FrameState::Between | FrameState::Header | FrameState::Payload(_) => Some(self.begun),
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
        if frame.opcode.is_control() {
            self.read_control_frame(input, output)
        } else {
            self.read_data_frame(input, bytes_max)
        }
    }

    /// Takes a header; false if it is not whole yet.
    fn begin_frame(&mut self, input: &mut Buffer) -> Result<bool, CloseCode> {
        if input.is_empty() {
            return Ok(false);
        }
        if matches!(self.state, FrameState::Between) && self.fragmented.is_none() {
            self.begun = self.begun.wrapping_add(1);
        }
        self.state = FrameState::Header;
        let Some(frame) = Frame::take(input)? else { return Ok(false) };
        match (frame.opcode, self.fragmented) {
            (Opcode::Close | Opcode::Ping | Opcode::Pong, _) | (Opcode::Continuation, Some(_)) => {}
            (Opcode::Continuation, None) | (Opcode::Text | Opcode::Binary, Some(_)) => {
                return Err(CloseCode::Protocol);
            }
            (Opcode::Binary, None) if !self.allows_binary => return Err(CloseCode::Unsupported),
            (Opcode::Text, None) if !frame.is_final => self.fragmented = Some(MessageKind::Text),
            (Opcode::Binary, None) if !frame.is_final => self.fragmented = Some(MessageKind::Binary),
            (Opcode::Text | Opcode::Binary, None) => {}
        }
        self.state = FrameState::Payload(frame);
        Ok(true)
    }

    /// Deals with a control frame as soon as it is whole.
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
        let piece = match frame.opcode {
            Opcode::Close => {
                frame_writer::write_close_reply(close_code(payload)?, output);
                WebSocketEvent::Closed
            }
            Opcode::Ping => {
                frame_writer::write_pong(payload, output);
                WebSocketEvent::Frame
            }
            _ => WebSocketEvent::Frame,
        };
        input.consume(length);
        self.state = FrameState::Between;
        Ok(piece)
    }

    /// Takes what has come of a data frame.
    fn read_data_frame(&mut self, input: &mut Buffer, bytes_max: usize) -> Result<WebSocketEvent, CloseCode> {
        let FrameState::Payload(frame) = &mut self.state else { return Ok(WebSocketEvent::NeedMore) };
        let length = frame.length as usize;
        let before = frame.unmasked as usize;
        // The payload of a fragment leaves the input as it comes, that of a whole message stays.
        let is_gathered = self.fragmented.is_some();
        let (start, others) = if is_gathered { (0, self.fragments.len() - before) } else { (before, 0) };
        if others + length > bytes_max.min(MESSAGE_BYTES_LIMIT) {
            return Err(CloseCode::TooLarge);
        }
        let end = input.len().min(start + length - before);
        frame.unmask(&mut input.as_mut_slice()[start..end]);
        let is_text = self.fragmented.map_or(frame.opcode == Opcode::Text, |kind| kind == MessageKind::Text);
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

/// How many bytes at the end of `text` begin a character; an error as soon as no more bytes could make
/// valid UTF-8 of it.
fn count_partial_char_bytes(text: &[u8]) -> Result<u8, CloseCode> {
    match std::str::from_utf8(text) {
        Ok(_) => Ok(0),
        Err(error) if error.error_len().is_none() => Ok((text.len() - error.valid_up_to()) as u8),
        Err(_) => Err(CloseCode::InvalidText),
    }
}

/// The code of a close frame, if it has one. Those that may be sent are the ones of RFC 6455, 7.4, and
/// the registry that it founds: 1004 to 1006 and 1015 never go over the wire, 1016 to 2999 are for later.
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

/// What 32 bits count, and one less, so that a longer frame is too long by its saturated length.
const MESSAGE_BYTES_LIMIT: usize = u32::MAX as usize - 1;

const _: () = assert!(limits::REQUEST_BYTES_MAX <= MESSAGE_BYTES_LIMIT);
const _: () = assert!(size_of::<WebSocket>() <= 32, "every connection holds one, most are idle");

#[cfg(test)]
mod tests;
