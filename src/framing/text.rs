//! Lines of text.
//!
//! A line runs from the first byte that is not white space to the next `\n`; a `\r` right before it is not part of the
//! line. Blank lines are skipped. The content of lines is not interpreted. No byte is scanned twice, regardless of how
//! the input is chunked; nothing is copied.

use std::io::BufRead;

use super::http_line::HttpLine;
use super::is_white_space;
use crate::buffer::Buffer;
use crate::limits;

/// The framing state of one connection.
#[derive(Default)]
pub struct Text {
    /// Scanned bytes of the line at the front of the input: complete, allowed characters.
    scanned: u32,
    /// Whether the input starts with an incomplete line.
    is_inside: bool,
    /// Number of lines so far, with the incomplete one.
    started: u32,
}

/// What is at the front of the input.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LineEvent {
    /// Nothing complete yet.
    NeedMore,
    /// A line of this many bytes without its line ending; returned again until it is consumed.
    Line(usize),
    /// A line that starts like an HTTP request: close the connection.
    HttpLine,
    /// The line exceeds the limit: report an error and close.
    TooLong,
    /// A control character or invalid UTF-8: report an error and close.
    BadText,
}

/// Result of scanning new bytes.
enum ScannedLine {
    /// This many bytes are complete characters; there is no line ending.
    Partial(usize),
    /// The line ends after this many bytes.
    Complete(usize),
    Invalid,
}

impl Text {
    /// Returns the next event; consumes white space from the front of `input`.
    pub fn next(&mut self, input: &mut Buffer) -> LineEvent {
        if !self.is_inside {
            if !self.starts_line(input) {
                return LineEvent::NeedMore;
            }
            self.is_inside = true;
            self.started = self.started.wrapping_add(1);
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
                    // The limit splits a character.
                    Some([b'\n', ..] | [b'\r', b'\n', ..]) => LineEvent::BadText,
                    Some(_) => LineEvent::TooLong,
                }
            }
        }
    }

    /// Consumes the line of `length` bytes and wipes it: it may contain a password.
    pub fn consume(&mut self, input: &mut Buffer, length: usize) {
        input.consume(length);
        (self.scanned, self.is_inside) = (0, false);
    }

    /// As [`Text::consume`], without wiping, for lines that contain no secret.
    pub fn skip(&mut self, input: &mut Buffer, length: usize) {
        input.skip(length);
        (self.scanned, self.is_inside) = (0, false);
    }

    /// Whether `input` starts with a line that was not looked at, once the white space before it is consumed.
    pub fn starts_line(&self, input: &mut Buffer) -> bool {
        if self.is_inside {
            return false;
        }
        let bytes = input.as_slice();
        let blank = bytes.iter().position(|&byte| !is_white_space(byte)).unwrap_or(bytes.len());
        input.skip(blank);
        !input.is_empty()
    }

    /// Whether a line is incomplete: end of input is an error now.
    pub fn is_inside_line(&self) -> bool {
        self.is_inside
    }

    /// The number of the incomplete line, if any. The request timeout applies to each line separately.
    pub fn incomplete(&self) -> Option<u32> {
        self.is_inside.then_some(self.started)
    }
}

/// Scans bytes that start at a character boundary.
fn scan_line(bytes: &[u8]) -> ScannedLine {
    let mut rest = bytes;
    // Uses memchr; reading from a slice cannot fail.
    let until = rest.skip_until(b'\n').unwrap_or(0);
    let end = bytes[..until].strip_suffix(b"\n");
    let line = end.unwrap_or(bytes);
    // One pass for both checks, which the compiler vectorizes.
    let look_at = |(is_bad, all): (bool, u8), &byte: &u8| (is_bad | is_control(byte), all | byte);
    let (is_bad, all) = line.iter().fold((false, 0), look_at);
    if is_bad {
        return ScannedLine::Invalid;
    }
    let scanned = |length| match end {
        Some(_) => ScannedLine::Complete(length),
        None => ScannedLine::Partial(length),
    };
    if all.is_ascii() {
        return scanned(line.len());
    }
    match std::str::from_utf8(line) {
        Ok(_) => scanned(line.len()),
        Err(error) if end.is_none() && error.error_len().is_none() => {
            ScannedLine::Partial(error.valid_up_to())
        }
        Err(_) => ScannedLine::Invalid,
    }
}

/// The length of a line without a trailing `\r`.
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
