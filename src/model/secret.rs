//! Secrets: wiped after use, never printed.

use std::fmt;

use super::verb::VerbPath;

/// A password or token in clear text. Wiped on drop; `Debug` shows only its length.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<[u8]>);

/// JSON text that may contain a password, so it is a secret as well.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LongText(Secret);

/// A message that is too long to parse on the reactor thread.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LongMessage {
    /// The message.
    pub text: LongText,
    /// The path that it came for, if it names a verb.
    pub path: Option<VerbPath>,
}

/// The SHA-256 of a token; the token itself is never stored.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TokenHash(pub [u8; 32]);

impl Secret {
    /// Copies `text`.
    pub fn new(text: &str) -> Secret {
        Secret(text.as_bytes().into())
    }

    /// Length in bytes.
    pub fn length(&self) -> usize {
        self.0.len()
    }

    /// The secret in clear text.
    pub fn expose(&self) -> &str {
        std::str::from_utf8(&self.0).expect("a secret is made from text")
    }
}

impl LongText {
    /// A copy of `text`.
    pub fn new(text: &[u8]) -> LongText {
        LongText(Secret(text.into()))
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        &self.0.0
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        crate::sys::wipe(&mut self.0);
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({} bytes)", self.0.len())
    }
}
