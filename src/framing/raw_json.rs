//! Raw JSON: a stream of objects, cut by structure.
//!
//! A message runs from `{` to the `}` that matches it, counting braces outside of strings only; an array
//! is cut the same way by its square brackets. Whether a message is valid JSON is not looked at. No byte is
//! scanned twice, however the stream comes in pieces; nothing is copied.

use super::http_line::HttpLine;
use super::is_white_space;
use crate::buffer::Buffer;
use crate::limits;

/// The state of one connection's cutter.
#[derive(Default)]
pub struct RawJson {
    state: StreamState,
    /// Counts the messages and stray lines that have begun.
    begun: u32,
}

/// What stands at the front of the input.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum JsonEvent {
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

#[derive(Default)]
enum StreamState {
    /// Between messages.
    #[default]
    Between,
    /// In a message, which begins at the front of the input.
    Inside(Scan),
    /// In the line of a stray byte; all of it that came before is consumed.
    Skipping(HttpLine),
}

/// How far a message has been scanned.
struct Scan {
    /// Bytes of the message that have been looked at.
    scanned: u32,
    /// Brackets of the message's own kind that are open.
    depth: u32,
    /// The bracket that opens and the one that closes the message.
    brackets: (u8, u8),
    place: ScanState,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum ScanState {
    Structure,
    InString,
    AfterBackslash,
}

impl RawJson {
    /// Looks for the next piece; drops white space and skipped lines from the front of `input`.
    pub fn next(&mut self, input: &mut Buffer, bytes_max: usize) -> JsonEvent {
        loop {
            match &mut self.state {
                StreamState::Between => {
                    let bytes = input.as_slice();
                    let blank = bytes.iter().position(|&byte| !is_white_space(byte)).unwrap_or(bytes.len());
                    input.skip(blank);
                    match input.as_slice().first() {
                        None => return JsonEvent::NeedMore,
                        Some(b'{') => self.begin(StreamState::Inside(Scan::new((b'{', b'}')))),
                        Some(b'[') => self.begin(StreamState::Inside(Scan::new((b'[', b']')))),
                        Some(&stray) => {
                            self.begin(StreamState::Skipping(HttpLine::new()));
                            return JsonEvent::Stray(stray);
                        }
                    }
                }
                StreamState::Inside(scan) => {
                    let bytes = input.as_slice();
                    if scan.advance(&bytes[..bytes.len().min(bytes_max)]) {
                        let length = scan.scanned as usize;
                        self.state = StreamState::Between;
                        return JsonEvent::Message(length);
                    }
                    return if bytes.len() > bytes_max { JsonEvent::TooLarge } else { JsonEvent::NeedMore };
                }
                StreamState::Skipping(line) => {
                    let bytes = input.as_slice();
                    let end = bytes.iter().position(|&byte| byte == b'\n');
                    let rest = &bytes[..end.unwrap_or(bytes.len())];
                    let before = *line;
                    *line = line.with_all(rest);
                    let is_http = *line == HttpLine::Yes && before != HttpLine::Yes;
                    // What is skipped may be the rest of a broken request with a password in it.
                    let rest_length = rest.len();
                    input.consume(rest_length);
                    if is_http {
                        return JsonEvent::HttpLine;
                    }
                    if end.is_none() {
                        return JsonEvent::NeedMore;
                    }
                    self.state = StreamState::Between;
                }
            }
        }
    }

    /// Whether a message has begun and is not whole: the input must not end here.
    pub fn is_inside_message(&self) -> bool {
        matches!(self.state, StreamState::Inside(_))
    }

    /// The number of the message or skipped line that has begun and not ended, if there is one: the
    /// request timeout runs, anew for each.
    pub fn unfinished(&self) -> Option<u32> {
        match self.state {
            StreamState::Between => None,
            StreamState::Inside(_) | StreamState::Skipping(_) => Some(self.begun),
        }
    }

    fn begin(&mut self, state: StreamState) {
        self.begun = self.begun.wrapping_add(1);
        self.state = state;
    }
}

impl Scan {
    /// A message whose first byte, its opening bracket, is still to be scanned.
    fn new(brackets: (u8, u8)) -> Scan {
        Scan { scanned: 0, depth: 0, brackets, place: ScanState::Structure }
    }

    /// Scans on in the message that begins `bytes`; true if it ends there, right before `scanned`.
    fn advance(&mut self, bytes: &[u8]) -> bool {
        let Scan { brackets: (open, close), mut depth, mut place, .. } = *self;
        // Less than what was scanned, where the limit has become smaller.
        let unscanned = bytes.get(self.scanned as usize..).unwrap_or_default();
        let mut rest = unscanned.iter();
        // A loop of its own for each place: most bytes change nothing.
        let has_ended = loop {
            match place {
                ScanState::Structure => {
                    match rest.find(|&&byte| byte == b'"' || byte == open || byte == close) {
                        None => break false,
                        Some(b'"') => place = ScanState::InString,
                        Some(&byte) if byte == open => depth += 1,
                        Some(_) if depth == 1 => break true,
                        Some(_) => depth -= 1,
                    }
                }
                ScanState::InString => match rest.find(|&&byte| byte == b'"' || byte == b'\\') {
                    None => break false,
                    Some(b'"') => place = ScanState::Structure,
                    Some(_) => place = ScanState::AfterBackslash,
                },
                ScanState::AfterBackslash => match rest.next() {
                    None => break false,
                    Some(_) => place = ScanState::InString,
                },
            }
        };
        let scanned = self.scanned + (unscanned.len() - rest.len()) as u32;
        *self = Scan { scanned, depth, place, ..*self };
        has_ended
    }
}

const _: () = assert!(limits::REQUEST_BYTES_MAX <= u32::MAX as usize, "a scan counts in 32 bits");

#[cfg(test)]
#[path = "raw_json_tests.rs"]
mod tests;
