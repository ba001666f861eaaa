//! Scanning for the end of a section.

use super::*;

#[test]
fn a_section_ends_at_its_first_empty_line() {
    let head = LineScan::in_first_line;
    let fields = LineScan::at_line_start;
    let cases: &[(LineScan, &[u8], Scanned)] = &[
        (head(), b"", Scanned::More),
        (head(), b"a\r\n", Scanned::More),
        (head(), b"a\r\n\r", Scanned::More),
        (head(), b"a\r\n\r\nb\n", Scanned::End(5)),
        (head(), b"\r\n\r\n", Scanned::End(4)),
        (fields(), b"\r\n\r\n", Scanned::End(2)),
        (fields(), b"a: b\r\n\r\n", Scanned::End(8)),
        (head(), b"a\n", Scanned::BareLineEnd),
        (head(), b"a\r\n\n", Scanned::BareLineEnd),
        (head(), b"a\rb", Scanned::BareLineEnd),
        (head(), b"a\r\r\n", Scanned::BareLineEnd),
        (fields(), b"\n", Scanned::BareLineEnd),
        (fields(), b"\r\r", Scanned::BareLineEnd),
        (head(), b"123456789", Scanned::More),
        (head(), b"1234567890", Scanned::TooLong),
        (head(), b"123456\r\n\r\n", Scanned::End(10)),
        (head(), b"1234567\r\n\r\n", Scanned::TooLong),
        (head(), b"1234567890\n", Scanned::TooLong),
    ];
    for (scan, bytes, expected) in cases {
        assert_eq!({ *scan }.advance(bytes, 10), *expected, "{}", bytes.escape_ascii());
        let mut scan = *scan;
        let scanned = (0..=bytes.len()).map(|end| scan.advance(&bytes[..end], 10));
        let first = scanned.into_iter().find(|scanned| *scanned != Scanned::More);
        assert_eq!(first.unwrap_or(Scanned::More), *expected, "byte by byte: {}", bytes.escape_ascii());
    }
}

/// Looking twice at each byte would be 10^12 looks, minutes even when optimized.
#[test]
fn no_byte_is_scanned_twice() {
    let bytes = vec![b'a'; 1 << 20];
    let mut scan = LineScan::in_first_line();
    for end in 0..bytes.len() {
        assert_eq!(scan.advance(&bytes[..end], 2 * bytes.len()), Scanned::More);
    }
}
