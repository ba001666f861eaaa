//! Raw JSON: a stream of objects, split by structure.
//!
//! A message runs from `{` to the matching `}`, ignoring braces in strings; an array is delimited by its square
//! brackets in the same way. Messages are not validated here. No byte is scanned twice, regardless of how the input is chunked;
//! nothing is copied.

use super::http_line::HttpLine;
use super::is_white_space;
use crate::buffer::Buffer;
use crate::limits;

/// The framing state of one connection.
#[derive(Default)]
pub struct RawJson {
    state: StreamState,
    /// Number of messages and stray lines so far, with the incomplete one.
    started: u32,
}

/// What is at the front of the input.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum JsonEvent {
    /// Nothing complete yet.
    NeedMore,
    /// A balanced object or array of this many bytes, for the caller to read and consume.
    Message(usize),
    /// A byte that starts no message: report one error. The rest of its line will be skipped.
    Stray(u8),
    /// The skipped line starts like an HTTP request: close the connection.
    HttpLine,
    /// The message exceeds the limit: report an error and close.
    TooLarge,
}

#[derive(Default)]
enum StreamState {
    /// Between messages.
    #[default]
    Between,
    /// In a message, which starts at the front of the input.
    Inside(Scan),
    /// In the line of a stray byte; everything before is consumed.
    Skipping(HttpLine),
}

/// Scan progress in a message.
struct Scan {
    /// Bytes of the message that have been scanned.
    scanned: u32,
    /// Open brackets of the kind that delimits the message.
    depth: u32,
    /// The opening and the closing bracket of the message.
    brackets: (u8, u8),
    state: ScanState,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum ScanState {
    Structure,
    InString,
    AfterBackslash,
}

impl RawJson {
    /// The input from the first byte of the next message on; nothing while a message is incomplete or skipped. A caller
    /// that reads the message without [`RawJson::next`] calls [`RawJson::count_message`]. Consumes white space.
    pub fn next_message<'a>(&self, input: &'a mut Buffer) -> &'a [u8] {
        match self.state {
            StreamState::Between => {
                skip_white_space(input);
                input.as_slice()
            }
            StreamState::Inside(_) | StreamState::Skipping(_) => &[],
        }
    }

    /// Counts a message that the caller has read and consumes.
    pub fn count_message(&mut self) {
        self.begin(StreamState::Between);
    }

    /// Returns the next event; consumes white space and skipped lines from the front of `input`.
    pub fn next(&mut self, input: &mut Buffer, bytes_max: usize) -> JsonEvent {
        loop {
            match &mut self.state {
                StreamState::Between => {
                    skip_white_space(input);
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
                    // Consumed (and so wiped): the skipped bytes may contain a password.
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

    /// Whether a message is incomplete: end of input is an error now.
    pub fn is_inside_message(&self) -> bool {
        matches!(self.state, StreamState::Inside(_))
    }

    /// The number of the incomplete message or skipped line, if any. The request timeout applies to each
    /// separately.
    pub fn incomplete(&self) -> Option<u32> {
        match self.state {
            StreamState::Between => None,
            StreamState::Inside(_) | StreamState::Skipping(_) => Some(self.started),
        }
    }

    fn begin(&mut self, state: StreamState) {
        self.started = self.started.wrapping_add(1);
        self.state = state;
    }
}

fn skip_white_space(input: &mut Buffer) {
    let bytes = input.as_slice();
    let blank = bytes.iter().position(|&byte| !is_white_space(byte)).unwrap_or(bytes.len());
    input.skip(blank);
}

impl Scan {
    /// The start of a message; its opening bracket is not scanned yet.
    fn new(brackets: (u8, u8)) -> Scan {
        Scan { scanned: 0, depth: 0, brackets, state: ScanState::Structure }
    }

    /// Continues the scan of the message at the front of `bytes`; true if it ends right before `scanned`.
    fn advance(&mut self, bytes: &[u8]) -> bool {
        let Scan { brackets: (open, close), mut depth, mut state, .. } = *self;
        // Shorter than the scanned bytes if the limit has been lowered.
        let unscanned = bytes.get(self.scanned as usize..).unwrap_or_default();
        let mut rest = unscanned.iter();
        // An inner loop for each state, because most bytes do not change it.
        let has_ended = loop {
            match state {
                ScanState::Structure => {
                    match rest.find(|&&byte| byte == b'"' || byte == open || byte == close) {
                        None => break false,
                        Some(b'"') => state = ScanState::InString,
                        Some(&byte) if byte == open => depth += 1,
                        Some(_) if depth == 1 => break true,
                        Some(_) => depth -= 1,
                    }
                }
                ScanState::InString => match rest.find(|&&byte| byte == b'"' || byte == b'\\') {
                    None => break false,
                    Some(b'"') => state = ScanState::Structure,
                    Some(_) => state = ScanState::AfterBackslash,
                },
                ScanState::AfterBackslash => match rest.next() {
                    None => break false,
                    Some(_) => state = ScanState::InString,
                },
            }
        };
        let scanned = self.scanned + (unscanned.len() - rest.len()) as u32;
        *self = Scan { scanned, depth, state, ..*self };
        has_ended
    }
}

const _: () = assert!(limits::REQUEST_BYTES_MAX <= u32::MAX as usize, "a scan counts in 32 bits");

#[cfg(test)]
#[path = "raw_json_tests.rs"]
mod tests;
