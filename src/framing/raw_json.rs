//! Raw JSON: a stream of objects, cut by structure.

use crate::buffer::Buffer;

/// The state of one connection's cutter.
#[derive(Default)]
pub struct RawJson {}

/// What stands at the front of the input.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Piece {
    /// Nothing whole yet.
    NeedMore,
    /// A balanced object or array of so many bytes, for the caller to read and consume.
    Message(usize),
    /// A byte that begins nothing: due one error. The rest of its line will be skipped.
    Stray(u8),
    /// The line being skipped began like a request of HTTP: the connection is to be closed.
    HttpLine,
    /// More bytes than a message may have: due an error and the end.
    TooLarge,
}

impl RawJson {
    /// Looks for the next piece; drops white space and skipped lines from the front of `input`.
    pub fn next(&mut self, _input: &mut Buffer, _bytes_max: usize) -> Piece {
        todo!()
    }

    /// Whether a message has begun and is not whole: the input must not end here.
    pub fn is_inside_message(&self) -> bool {
        todo!()
    }

    /// Whether a message or a skipped line has begun and not ended: the request timeout runs.
    pub fn has_begun(&self) -> bool {
        todo!()
    }
}
