//! Bytes that a server has sent, and the texts in them.
//!
//! The client codec of the tests is built on this: what the tests hold of it holds for the library.

use std::fmt;

/// Received bytes, of which the decoded part is consumed.
#[derive(Debug, Default)]
pub struct Input {
    bytes: Vec<u8>,
    /// Bytes that are decoded.
    consumed: usize,
    /// Bytes after them in which `searched_for` does not begin.
    searched: usize,
    searched_for: &'static str,
}

/// Input that is not as the protocol has it, and why.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Malformed(pub &'static str);

impl Input {
    /// Adds received bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..std::mem::take(&mut self.consumed));
        self.bytes.extend_from_slice(bytes);
    }

    /// The input that is not decoded.
    pub fn rest(&self) -> &[u8] {
        &self.bytes[self.consumed..]
    }

    /// Marks `count` bytes as decoded.
    pub fn consume(&mut self, count: usize) {
        self.consumed += count;
        self.searched = 0;
    }

    /// The next reply of raw JSON, without its newline; `None`: the input has no whole reply yet.
    pub fn line(&mut self) -> Result<Option<String>, Malformed> {
        self.text_until("\n")
    }

    /// Text up to `end`, which is consumed as well; `None`: the input has no `end` yet.
    pub fn text_until(&mut self, end: &'static str) -> Result<Option<String>, Malformed> {
        let rest = &self.bytes[self.consumed..];
        let from = if self.searched_for == end { self.searched } else { 0 };
        match rest[from..].windows(end.len()).position(|window| window == end.as_bytes()) {
            Some(found) => {
                let text = utf8(rest[..from + found].to_vec())?;
                self.consume(from + found + end.len());
                Ok(Some(text))
            }
            None => {
                self.searched = (rest.len() + 1).saturating_sub(end.len());
                self.searched_for = end;
                Ok(None)
            }
        }
    }
}

/// The text that `bytes` are.
pub fn utf8(bytes: Vec<u8>) -> Result<String, Malformed> {
    String::from_utf8(bytes).map_err(|_| Malformed("no UTF-8"))
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Malformed {}

impl From<Malformed> for String {
    fn from(error: Malformed) -> String {
        error.to_string()
    }
}
