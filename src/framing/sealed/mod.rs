//! The sealed framing: an exchange of RSA keys, then one encrypted request and its answer.
//!
//! The client speaks first, and each step is acknowledged with one byte, `1`; `0` ends the connection. Three generations
//! of clients differ in the form of their messages ([`Generation`]); the first message tells which one it is. Messages are
//! not authenticated.

mod length;
mod message;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use message::Generation;

use crate::buffer::Buffer;
use crate::crypto::{Exchanged, MessageKeys, PublicKey};
use crate::limits;
use crate::sys;
use length::LENGTH_BYTES;
use message::{OpenRequest, SEALED_LENGTH_BYTES};

/// The state of a connection.
#[derive(Default)]
pub struct Sealed {
    state: State,
    /// The number of the step that the client has to take.
    step: u32,
}

/// What the client has to send, or the server to do.
#[derive(Default)]
enum State {
    #[default]
    KeyLength,
    Key(usize),
    /// The acknowledgement of the length of the server's key.
    LengthAcknowledgement(Arc<PublicKey>),
    /// The acknowledgement of the server's key.
    KeyAcknowledgement(Arc<PublicKey>),
    /// Its keys, for the server.
    Block(Arc<PublicKey>),
    /// The server makes the keys of the connection.
    Exchange,
    /// The acknowledgement of those.
    BlockAcknowledgement(Box<MessageKeys>),
    RequestLength(Box<MessageKeys>),
    /// A request of this length; of the third generation or not.
    Request(Box<MessageKeys>, usize, bool),
    /// The server has the request.
    Answer(OpenRequest),
    /// The acknowledgement of the answer's length.
    AnswerAcknowledgement(Vec<u8>),
    Ended,
    /// The same, and the client has not acknowledged the length of the answer.
    Unacknowledged,
}

/// What the server contributes.
#[derive(Clone, Copy)]
pub struct SealedRules<'a> {
    /// Its public key, in PEM.
    pub public_key_pem: &'a str,
    /// The bytes of a block that is encrypted for it.
    pub block_bytes: usize,
    /// Whether messages of the first generation are accepted.
    pub first_generation: bool,
    /// The most bytes of a request.
    pub request_bytes_max: usize,
}

/// The result of reading input.
#[derive(Debug)]
pub enum SealedEvent {
    /// Nothing until more input comes.
    NeedMore,
    /// A step: read on.
    Step,
    /// The client's key, and the block that it has encrypted for the server: [`Sealed::exchanged`] has to follow.
    Exchange(Arc<PublicKey>, Box<[u8]>),
    /// A request, as JSON: [`Sealed::answer`] has to follow.
    Request(Vec<u8>),
    /// The whole answer is in the output.
    Answered,
    /// The client has broken a rule; it is told so.
    Failed,
    /// The client has refused a step.
    Refused,
}

/// Whether `body` is a message, of the third generation or of one of the others; to measure how long this takes.
#[cfg(feature = "internals")]
pub fn is_valid(keys: &MessageKeys, body: &[u8], is_third: bool) -> bool {
    message::open(keys, body, is_third).is_some()
}

/// Whether `block` is the length of a message of the third generation; to measure how long this takes.
#[cfg(feature = "internals")]
pub fn is_valid_length(keys: &MessageKeys, block: &[u8; SEALED_LENGTH_BYTES]) -> bool {
    message::open_length(keys, block, limits::SEALED_REQUEST_BYTES_MAX).is_some()
}

/// The acknowledgement of a step, and its refusal.
const ACCEPTED: u8 = b'1';
const REFUSED: u8 = b'0';

impl Sealed {
    /// Reads the next step of the client.
    pub fn next(&mut self, input: &mut Buffer, output: &mut Buffer, rules: SealedRules<'_>) -> SealedEvent {
        let bytes = input.as_slice();
        let wanted = match &self.state {
            State::KeyLength => LENGTH_BYTES,
            State::Key(length) | State::Request(_, length, _) => *length,
            State::Block(_) => rules.block_bytes,
            State::RequestLength(_) if bytes.len() < LENGTH_BYTES => LENGTH_BYTES,
            State::RequestLength(_) if length::is_clear(&bytes[..LENGTH_BYTES]) => LENGTH_BYTES,
            State::RequestLength(_) => SEALED_LENGTH_BYTES,
            State::Exchange | State::Answer(_) => return SealedEvent::NeedMore,
            State::Ended | State::Unacknowledged => return SealedEvent::NeedMore,
            _ => 1,
        };
        if bytes.len() < wanted {
            return SealedEvent::NeedMore;
        }
        let state = std::mem::replace(&mut self.state, State::Ended);
        let step = take_step(state, &bytes[..wanted], output, rules);
        input.consume(wanted);
        self.step += 1;
        let Some((state, event)) = step else {
            output.push(&[REFUSED]);
            return SealedEvent::Failed;
        };
        self.state = state;
        event
    }

    /// Takes the keys of the connection.
    pub fn exchanged(&mut self, exchanged: Exchanged, output: &mut Buffer) {
        if matches!(self.state, State::Exchange) {
            self.state = State::BlockAcknowledgement(exchanged.keys);
            output.push(&[ACCEPTED]);
            output.push(&exchanged.block);
        }
    }

    /// Encrypts `text`, the answer to the request, and writes its length; [`Sealed::next`] writes the rest. If there is no
    /// request, the client's step is refused, and after an answer nothing more is written.
    pub fn answer(&mut self, mut text: Vec<u8>, output: &mut Buffer) {
        match std::mem::replace(&mut self.state, State::Ended) {
            State::Answer(request) => {
                let (length, body) = message::seal(&request, text);
                output.push(&length);
                self.state = State::AnswerAcknowledgement(body);
                return;
            }
            State::AnswerAcknowledgement(_) | State::Unacknowledged => self.state = State::Unacknowledged,
            State::Ended => {}
            _ => output.push(&[REFUSED]),
        }
        sys::wipe(&mut text);
    }

    /// Whether nothing more is read or written.
    pub fn has_ended(&self) -> bool {
        matches!(self.state, State::Ended | State::Unacknowledged)
    }

    /// Ends without another byte: the client sends no more.
    pub fn end(&mut self) {
        self.state = if self.owes_answer() { State::Unacknowledged } else { State::Ended };
    }

    /// The number of the step that the client has to take; `None` while the server has to.
    pub fn awaited(&self) -> Option<u32> {
        match self.state {
            State::Exchange | State::Answer(_) | State::Ended | State::Unacknowledged => None,
            _ => Some(self.step),
        }
    }

    /// Whether the client has the length of the answer, but not the answer, even if it will not get it any more.
    pub fn owes_answer(&self) -> bool {
        matches!(self.state, State::AnswerAcknowledgement(_) | State::Unacknowledged)
    }

    /// Bytes of the answer, while it waits.
    pub fn held_bytes(&self) -> usize {
        match &self.state {
            State::AnswerAcknowledgement(body) => body.capacity(),
            _ => 0,
        }
    }
}

/// Takes a whole step of the client in `state`. `None` if it breaks a rule.
fn take_step(
    state: State,
    bytes: &[u8],
    output: &mut Buffer,
    rules: SealedRules<'_>,
) -> Option<(State, SealedEvent)> {
    let is_accepted = bytes == [ACCEPTED];
    let next = match state {
        State::KeyLength => {
            let length = length::read(bytes)?;
            if !(1..=limits::CLIENT_KEY_BYTES_MAX).contains(&length) {
                return None;
            }
            output.push(&[ACCEPTED]);
            State::Key(length)
        }
        State::Key(_) => {
            let key = PublicKey::from_pem(bytes).ok()?;
            output.push(&[ACCEPTED]);
            output.push(&length::write(rules.public_key_pem.len()));
            State::LengthAcknowledgement(Arc::new(key))
        }
        State::LengthAcknowledgement(key) if is_accepted => {
            output.push(rules.public_key_pem.as_bytes());
            State::KeyAcknowledgement(key)
        }
        State::KeyAcknowledgement(key) if is_accepted => State::Block(key),
        State::Block(key) => return Some((State::Exchange, SealedEvent::Exchange(key, bytes.into()))),
        State::BlockAcknowledgement(keys) if is_accepted => State::RequestLength(keys),
        State::RequestLength(keys) => {
            let bytes_max = rules.request_bytes_max;
            let (length, is_third) = match bytes.try_into() {
                Ok(block) => (message::open_length(&keys, block, bytes_max)?, true),
                Err(_) => {
                    (length::read(bytes).filter(|length| message::is_possible(*length, bytes_max))?, false)
                }
            };
            output.push(&[ACCEPTED]);
            State::Request(keys, length, is_third)
        }
        State::Request(keys, _, is_third) => {
            let opened = message::open(&keys, bytes, is_third)?;
            if opened.generation == Generation::First && !rules.first_generation {
                return None;
            }
            let request = OpenRequest { keys, generation: opened.generation, iv: opened.iv };
            return Some((State::Answer(request), SealedEvent::Request(opened.text)));
        }
        State::AnswerAcknowledgement(body) if is_accepted => {
            output.push(&body);
            return Some((State::Ended, SealedEvent::Answered));
        }
        // The client has refused the step.
        State::AnswerAcknowledgement(_) => return Some((State::Unacknowledged, SealedEvent::Refused)),
        _ => return Some((State::Ended, SealedEvent::Refused)),
    };
    Some((next, SealedEvent::Step))
}
