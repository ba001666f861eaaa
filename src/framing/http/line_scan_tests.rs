//! Scanning for the end of a section.

use super::*;

#[test]
fn a_section_ends_at_its_first_empty_line() {
    let head = || LineScan::IN_FIRST_LINE;
    let fields = LineScan::at_line_start;
    let cases: &[(LineScan, &[u8], ScanProgress)] = &[
        (head(), b"", ScanProgress::More),
        (head(), b"a\r\n", ScanProgress::More),
        (head(), b"a\r\n\r", ScanProgress::More),
        (head(), b"a\r\n\r\nb\n", ScanProgress::End(5)),
        (head(), b"\r\n\r\n", ScanProgress::End(4)),
        (fields(), b"\r\n\r\n", ScanProgress::End(2)),
        (fields(), b"a: b\r\n\r\n", ScanProgress::End(8)),
        (head(), b"a\n", ScanProgress::BareLineEnd),
        (head(), b"a\r\n\n", ScanProgress::BareLineEnd),
        (head(), b"a\rb", ScanProgress::BareLineEnd),
        (head(), b"a\r\r\n", ScanProgress::BareLineEnd),
        (fields(), b"\n", ScanProgress::BareLineEnd),
        (fields(), b"\r\r", ScanProgress::BareLineEnd),
        (head(), b"123456789", ScanProgress::More),
        (head(), b"1234567890", ScanProgress::TooLong),
        (head(), b"123456\r\n\r\n", ScanProgress::End(10)),
        (head(), b"1234567\r\n\r\n", ScanProgress::TooLong),
        (head(), b"1234567890\n", ScanProgress::TooLong),
    ];
    for (scan, bytes, expected) in cases {
        assert_eq!({ *scan }.advance(bytes, 10), *expected, "{}", bytes.escape_ascii());
        let mut scan = *scan;
        let scanned = (0..=bytes.len()).map(|end| scan.advance(&bytes[..end], 10));
        let first = scanned.into_iter().find(|scanned| *scanned != ScanProgress::More);
        assert_eq!(first.unwrap_or(ScanProgress::More), *expected, "byte by byte: {}", bytes.escape_ascii());
    }
}

/// The search takes eight bytes at a time: every byte, beside every other that it may be confused with, at every place.
#[test]
fn a_line_ends_at_its_first_cr_or_lf() {
    for first in 0..=u8::MAX {
        for second in *b"\x00\x01\t\n\x0b\x0c\r\x0e\x0f\x80\x8a\x8d\xff" {
            for at in 0..17 {
                let mut bytes = [b'a'; 19];
                bytes[at..at + 2].copy_from_slice(&[first, second]);
                let end = bytes.iter().position(|byte| b"\r\n".contains(byte)).unwrap_or(bytes.len());
                assert_eq!(count_inside_line(&bytes), end, "{}", bytes.escape_ascii());
            }
        }
    }
}

/// Quadratic scanning would take 10^12 steps, minutes even in an optimized build.
#[test]
fn no_byte_is_scanned_twice() {
    let bytes = vec![b'a'; 1 << 20];
    let mut scan = LineScan::IN_FIRST_LINE;
    for end in 0..bytes.len() {
        assert_eq!(scan.advance(&bytes[..end], 2 * bytes.len()), ScanProgress::More);
    }
}
