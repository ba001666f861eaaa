//! Lines of text.
//!
//! A line runs from its first byte that is no white space to the `\n` behind it; a `\r` right before that is
//! none of it, and what is white space only is no line. What a line says is not looked at. No byte is
//! scanned twice, however the stream comes in pieces; nothing is copied.

use std::io::BufRead;

use super::http_line::HttpLine;
use super::is_white_space;
use crate::buffer::Buffer;
use crate::limits;

/// The state of one connection's cutter.
#[derive(Default)]
pub struct Text {
    /// Bytes of the line at the front of the input that have been looked at: whole characters that may stand
    /// in a line.
    scanned: u32,
    /// The front of the input is the beginning of a line.
    is_inside: bool,
    /// Counts the lines that have begun.
    begun: u32,
}

/// What stands at the front of the input.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LineEvent {
    /// Nothing whole yet.
    NeedMore,
    /// A line of so many bytes, its end left out, for the caller to read; found again until it is consumed.
    Line(usize),
    /// A line that begins like a request of HTTP: the connection is to be closed.
    HttpLine,
    /// A line of more bytes than it may have: due an error and the end.
    TooLong,
    /// A control character, or no UTF-8: due an error and the end.
    BadText,
}

/// What has been seen of bytes that nobody has looked at before.
enum ScannedLine {
    /// So many of them are whole characters; no line ends in them.
    Partial(usize),
    /// All of the line; so many bytes belong to it.
    Complete(usize),
    Invalid,
}

impl Text {
    /// Looks for the next piece; drops white space from the front of `input`.
    pub fn next(&mut self, input: &mut Buffer) -> LineEvent {
        if !self.is_inside {
            let bytes = input.as_slice();
            let blank = bytes.iter().position(|&byte| !is_white_space(byte)).unwrap_or(bytes.len());
            input.skip(blank);
            if input.is_empty() {
                return LineEvent::NeedMore;
            }
            self.is_inside = true;
            self.begun = self.begun.wrapping_add(1);
        }
        let bytes = input.as_slice();
        if HttpLine::new().with_all(bytes) == HttpLine::Yes {
            return LineEvent::HttpLine;
        }
        let scanned = self.scanned as usize;
        match scan_line(&bytes[scanned..bytes.len().min(LINE_BYTES_MAX)]) {
            ScannedLine::Invalid => LineEvent::BadText,
            ScannedLine::Complete(length) => LineEvent::Line(without_return(&bytes[..scanned + length])),
            ScannedLine::Partial(length) => {
                self.scanned += length as u32;
                let is_whole = self.scanned as usize == LINE_BYTES_MAX;
                match bytes.get(LINE_BYTES_MAX..) {
                    None | Some([] | [b'\r']) => LineEvent::NeedMore,
                    Some([b'\n', ..]) if is_whole => {
                        LineEvent::Line(without_return(&bytes[..LINE_BYTES_MAX]))
                    }
                    Some([b'\r', b'\n', ..]) if is_whole => LineEvent::Line(LINE_BYTES_MAX),
                    // A character is cut.
                    Some([b'\n', ..] | [b'\r', b'\n', ..]) => LineEvent::BadText,
                    Some(_) => LineEvent::TooLong,
                }
            }
        }
    }

    /// Drops the line of `length` bytes that was found, which may be anything, a password too.
    pub fn consume(&mut self, input: &mut Buffer, length: usize) {
        input.consume(length);
        (self.scanned, self.is_inside) = (0, false);
    }

    /// As [`Text::consume`]; what it says is no secret.
    pub fn skip(&mut self, input: &mut Buffer, length: usize) {
        input.skip(length);
        (self.scanned, self.is_inside) = (0, false);
    }

    /// Whether a line has begun and not ended: the input must not end here.
    pub fn is_inside_line(&self) -> bool {
        self.is_inside
    }

    /// The number of the line that has begun and not ended, if there is one: the request timeout runs, anew
    /// for each.
    pub fn unfinished(&self) -> Option<u32> {
        self.is_inside.then_some(self.begun)
    }
}

/// Looks at bytes that begin with a character.
fn scan_line(bytes: &[u8]) -> ScannedLine {
    let mut behind = bytes;
    // Finds it in strides; reading from a slice does not fail.
    let until = behind.skip_until(b'\n').unwrap_or(0);
    let end = bytes[..until].strip_suffix(b"\n");
    let line = end.unwrap_or(bytes);
    // Both in one go, many bytes at a time.
    let look_at = |(is_bad, all): (bool, u8), &byte: &u8| (is_bad | is_control(byte), all | byte);
    let (is_bad, all) = line.iter().fold((false, 0), look_at);
    if is_bad {
        return ScannedLine::Invalid;
    }
    if all.is_ascii() {
        return if end.is_some() {
            ScannedLine::Complete(line.len())
        } else {
            ScannedLine::Partial(line.len())
        };
    }
    match (std::str::from_utf8(line), end) {
        (Ok(_), Some(line)) => ScannedLine::Complete(line.len()),
        (Ok(_), None) => ScannedLine::Partial(line.len()),
        (Err(error), None) if error.error_len().is_none() => ScannedLine::Partial(error.valid_up_to()),
        (Err(_), _) => ScannedLine::Invalid,
    }
}

/// The length of a line without what belongs to its end.
fn without_return(line: &[u8]) -> usize {
    line.strip_suffix(b"\r").unwrap_or(line).len()
}

/// Whether `byte` is a control character that no line may hold.
fn is_control(byte: u8) -> bool {
    (byte < b' ' && byte != b'\t' && byte != b'\r') | (byte == 0x7f)
}

const LINE_BYTES_MAX: usize = limits::TEXT_LINE_BYTES_MAX;

const _: () = assert!(size_of::<Text>() <= 12, "every connection has room for one, most are idle");

#[cfg(test)]
#[path = "text_tests.rs"]
mod tests;
