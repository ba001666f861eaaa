//! A message that is too long to parse on the reactor thread.

use std::fmt;

use crate::sys;

/// The bytes of a message for a worker. May contain a password: `Debug` shows only the length, and the bytes are
/// wiped on drop.
#[derive(Clone, PartialEq, Eq)]
pub struct LongText(Vec<u8>);

impl LongText {
    /// A copy of `text`.
    pub fn new(text: &[u8]) -> LongText {
        LongText(text.to_vec())
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for LongText {
    fn drop(&mut self) {
        sys::wipe(&mut self.0);
    }
}

impl fmt::Debug for LongText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LongText({} bytes)", self.0.len())
    }
}
