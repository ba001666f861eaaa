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
    pub const fn in_first_line() -> LineScan {
        LineScan { scanned: 0, state: LineState::InLine }
    }

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
    let ends_line = |byte: &u8| matches!(byte, b'\r' | b'\n');
    // Whole blocks first: the compiler vectorizes a search that does not stop inside a block.
    let is_inside = |block: &&[u8; 16]| !block.iter().fold(false, |found, byte| found | ends_line(byte));
    let blocks = 16 * bytes.as_chunks::<16>().0.iter().take_while(is_inside).count();
    blocks + bytes[blocks..].iter().take_while(|byte| !ends_line(byte)).count()
}

#[cfg(test)]
#[path = "line_scan_tests.rs"]
mod tests;
