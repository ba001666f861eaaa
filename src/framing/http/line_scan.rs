//! Finds where a head or a trailer section ends: at its first empty line.
//!
//! Lines end in CR LF and in nothing else; a CR or LF alone is an error, since others take one for the end
//! of a line where we would not. No byte is scanned twice, however the stream comes in pieces.

/// How far a section has been scanned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LineScan {
    scanned: u32,
    state: LineState,
}

/// What a scan has come to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ScanProgress {
    /// The section goes on behind these bytes.
    More,
    /// It has so many bytes, its empty line included.
    End(usize),
    /// A CR or LF stands alone.
    BareLineEnd,
    /// It has as many bytes as it may, and no end.
    TooLong,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum LineState {
    LineStart,
    InLine,
    AfterCarriageReturn { line_is_empty: bool },
}

impl LineScan {
    /// A section that begins with a line of its own, whatever is in it.
    pub const fn in_first_line() -> LineScan {
        LineScan { scanned: 0, state: LineState::InLine }
    }

    /// A section that may have no line but the empty one.
    pub const fn at_line_start() -> LineScan {
        LineScan { scanned: 0, state: LineState::LineStart }
    }

    /// Scans on in the section that begins `bytes`, up to `bytes_max` of it.
    pub fn advance(&mut self, bytes: &[u8], bytes_max: usize) -> ScanProgress {
        let looked_at = &bytes[..bytes.len().min(bytes_max)];
        for &byte in looked_at.iter().skip(self.scanned as usize) {
            self.scanned += 1;
            self.state = match (self.state, byte) {
                (LineState::AfterCarriageReturn { line_is_empty: true }, b'\n') => {
                    return ScanProgress::End(self.scanned as usize);
                }
                (LineState::AfterCarriageReturn { line_is_empty: false }, b'\n') => LineState::LineStart,
                (LineState::AfterCarriageReturn { .. }, _) | (_, b'\n') => return ScanProgress::BareLineEnd,
                (place, b'\r') => {
                    LineState::AfterCarriageReturn { line_is_empty: place == LineState::LineStart }
                }
                (_, _) => LineState::InLine,
            };
        }
        if looked_at.len() == bytes_max { ScanProgress::TooLong } else { ScanProgress::More }
    }
}

#[cfg(test)]
#[path = "line_scan_tests.rs"]
mod tests;
