//! Finds where a head or a trailer section ends: at its first empty line.
//!
//! Lines end in CR LF only. A bare CR or LF is an error, because other parsers may take it for a line ending. No byte
//! is scanned twice, regardless of how the input is chunked.

/// Scan progress in a section.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LineScan {
    scanned: u32,
    state: LineState,
}

/// The result of a scan.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ScanProgress {
    /// Incomplete.
    More,
    /// The length of the section, including its empty line.
    End(usize),
    /// A bare CR or LF.
    BareLineEnd,
    /// No end within the limit.
    TooLong,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum LineState {
    LineStart,
    InLine,
    AfterCarriageReturn { line_is_empty: bool },
}

impl LineScan {
    /// A section that starts with a non-empty line.
    pub const IN_FIRST_LINE: LineScan = LineScan { scanned: 0, state: LineState::InLine };

    /// A section that may consist of the empty line only.
    pub const fn at_line_start() -> LineScan {
        LineScan { scanned: 0, state: LineState::LineStart }
    }

    /// Continues the scan of the section at the front of `bytes`, up to `bytes_max`.
    pub fn advance(&mut self, bytes: &[u8], bytes_max: usize) -> ScanProgress {
        let looked_at = &bytes[..bytes.len().min(bytes_max)];
        loop {
            let mut rest = looked_at.get(self.scanned as usize..).unwrap_or_default();
            if self.state == LineState::InLine {
                let inside = count_inside_line(rest);
                self.scanned += inside as u32;
                rest = &rest[inside..];
            }
            let Some(&byte) = rest.first() else { break };
            self.scanned += 1;
            self.state = match (self.state, byte) {
                (LineState::AfterCarriageReturn { line_is_empty: true }, b'\n') => {
                    return ScanProgress::End(self.scanned as usize);
                }
                (LineState::AfterCarriageReturn { line_is_empty: false }, b'\n') => LineState::LineStart,
                (LineState::AfterCarriageReturn { .. }, _) | (_, b'\n') => return ScanProgress::BareLineEnd,
                (state, b'\r') => {
                    LineState::AfterCarriageReturn { line_is_empty: state == LineState::LineStart }
                }
                (_, _) => LineState::InLine,
            };
        }
        if looked_at.len() == bytes_max { ScanProgress::TooLong } else { ScanProgress::More }
    }
}

/// The number of bytes before the first CR or LF.
fn count_inside_line(bytes: &[u8]) -> usize {
    let (words, rest) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let ends = line_ends(u64::from_le_bytes(*word));
        if ends != 0 {
            return 8 * index + ends.trailing_zeros() as usize / 8;
        }
    }
    let ends_line = |byte: &u8| matches!(byte, b'\r' | b'\n');
    8 * words.len() + rest.iter().position(ends_line).unwrap_or(rest.len())
}

/// Eight bytes at a time: the lowest bit that is set is the highest bit of the first byte that is CR or LF; zero if there
/// is none.
fn line_ends(word: u64) -> u64 {
    const EACH: u64 = u64::from_ne_bytes([1; 8]);
    // A byte that becomes zero borrows from the next, so only the first that is found is one.
    let zeros = |word: u64| word.wrapping_sub(EACH) & !word & (EACH << 7);
    zeros(word ^ (EACH * u64::from(b'\r'))) | zeros(word ^ (EACH * u64::from(b'\n')))
}

#[cfg(test)]
#[path = "line_scan_tests.rs"]
mod tests;
