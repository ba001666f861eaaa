//! Decoding of chunked bodies.

use super::*;
use crate::framing::replay::{replay_every_split, single_bytes};

const BYTES_MAX: usize = 20;

/// The result of [`Chunked::advance`].
type Progress = Result<bool, HttpError>;
const MORE: Progress = Ok(false);
const WHOLE: Progress = Ok(true);

fn is_malformed(progress: Progress) -> bool {
    progress.is_err_and(|error| error.status == Status::BadRequest)
}

/// Decodes `chunks`; returns the progress, the body and the rest of the input.
fn replay(chunks: &[&[u8]]) -> (Progress, String, String) {
    let (mut chunked, mut input) = (Chunked::default(), Buffer::new());
    let mut progress = MORE;
    for chunk in chunks {
        input.push(chunk);
        if progress == MORE {
            progress = chunked.advance(&mut input, BYTES_MAX);
        }
    }
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (progress, text(chunked.body()), text(input.as_slice()))
}

/// Decodes `bytes` with every split; body and rest are compared only if the body is complete.
fn progress(bytes: &[u8]) -> (Progress, String, String) {
    let forget = |(progress, body, rest): (Progress, String, String)| match progress {
        WHOLE => (progress, body, rest),
        _ => (progress, String::new(), String::new()),
    };
    replay_every_split(bytes, |chunks| forget(replay(chunks)))
}

#[test]
fn chunks_are_joined_to_a_body() {
    let cases: &[(&str, &str, &str)] = &[
        ("0\r\n\r\n", "", ""),
        ("0\r\n\r\nGET /", "", "GET /"),
        ("3\r\nabc\r\n0\r\n\r\n", "abc", ""),
        ("3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n", "abcd", ""),
        ("a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n", "01234567890123456789", ""),
        ("0000000000000003\r\nabc\r\n0000\r\n\r\n", "abc", ""),
        ("2\r\n\r\n\r\n0\r\n\r\n", "\r\n", ""),
        ("1;\r\na\r\n0\r\n\r\n", "a", ""),
        ("1;name=value;other=\"quoted ;\"\r\na\r\n0 \t;x\r\n\r\n", "a", ""),
        ("1\r\na\r\n0\r\nA: b\r\nC:\r\n\r\nrest", "a", "rest"),
        // Trailers are ignored.
        ("1\r\na\r\n0\r\nContent-Length: 5\r\nHost: x\r\n\r\nrest", "a", "rest"),
    ];
    for (bytes, body, rest) in cases {
        let expected = (WHOLE, body.to_string(), rest.to_string());
        assert_eq!(progress(bytes.as_bytes()), expected, "{}", bytes.escape_debug());
        let cut = &bytes[..bytes.len() - rest.len() - 1];
        assert_eq!(progress(cut.as_bytes()).0, MORE, "{}", cut.escape_debug());
    }
}

#[test]
fn ambiguous_chunks_are_malformed() {
    let malformed = [
        "\r\n",
        "g\r\n",
        "-1\r\n",
        "+1\r\n",
        " 1\r\na",
        "0x1\r\n",
        "1h\r\n",
        "1\n",
        "1\ra",
        "1 \r\n",
        "1\t\r\n",
        "1 2\r\n",
        ";\r\n",
        "1,2\r\n",
        "1\0\r\n",
        "00000000000000001\r\n",
        "10000000000000000\r\n",
        "1\r\nab",
        "1\r\na\n",
        "1\r\na\rb",
        "1\r\na0\r\n",
        "1;a\n",
        "1;a\rb",
        "1;\0\r\n",
        "1;\x7f\r\n",
        "1;a\r\rb",
        "0\r\nno colon\r\n\r\n",
        "0\r\nA : b\r\n\r\n",
        "0\r\nA: b\r\n c\r\n\r\n",
        "0\r\nA: b\n\r\n",
        "0\r\n\n",
        "0\r\nA: \x01\r\n\r\n",
        "0\r\n\rx",
        "0\n\n",
        "1\r\na\r\n\r\n",
    ];
    for bytes in malformed {
        let seen = progress(bytes.as_bytes()).0;
        assert!(is_malformed(seen), "{seen:?}: {}", bytes.escape_debug());
    }
}

#[test]
fn every_part_of_a_chunked_body_has_a_limit() {
    let cases = [
        ("15\r\n".to_string(), Err(TOO_LARGE)),
        ("15;a".to_string(), Err(TOO_LARGE)),
        ("ffffffffffffffff\r".to_string(), Err(TOO_LARGE)),
        ("14\r\n01234567890123456789\r\n1\r".to_string(), Err(TOO_LARGE)),
        ("14\r\n01234567890123456789\r\n0\r\n".to_string(), MORE),
    ];
    for (bytes, expected) in cases {
        assert_eq!(progress(bytes.as_bytes()).0, expected, "{bytes}");
    }
    let extended = |count: usize| format!("0;{}\r\n\r\n", "e".repeat(count - 1));
    assert_eq!(progress(extended(limits::HTTP_CHUNK_EXTENSION_BYTES_MAX).as_bytes()).0, WHOLE);
    let longer = progress(extended(limits::HTTP_CHUNK_EXTENSION_BYTES_MAX + 1).as_bytes()).0;
    assert!(is_malformed(longer), "{longer:?}");
    // The limit applies to the sum of all extensions.
    let many = "1;e\r\na\r\n".repeat(limits::HTTP_CHUNK_EXTENSION_BYTES_MAX / 2 + 1);
    let mut chunked = Chunked::default();
    let mut input = Buffer::new();
    input.push(many.as_bytes());
    assert!(is_malformed(chunked.advance(&mut input, many.len())));

    let trailing = |count: usize| format!("0\r\nA: {}\r\n\r\n", "t".repeat(count - 7));
    let whole = |text: String| (replay(&[text.as_bytes()]).0, replay(&single_bytes(text.as_bytes())).0);
    let most = limits::HTTP_TRAILER_BYTES_MAX;
    assert_eq!(whole(trailing(most)), (WHOLE, WHOLE));
    assert_eq!(whole(trailing(most + 1)), (Err(TRAILERS_TOO_LARGE), Err(TRAILERS_TOO_LARGE)));
    let lines = |count: usize| format!("0\r\n{}\r\n", "A: b\r\n".repeat(count));
    assert_eq!(whole(lines(limits::HTTP_HEADERS_MAX)).0, WHOLE);
    assert_eq!(whole(lines(limits::HTTP_HEADERS_MAX + 1)).0, Err(TRAILERS_TOO_LARGE));
}

/// Quadratic scanning would take 10^12 steps, minutes even in an optimized build.
#[test]
fn no_byte_is_scanned_twice() {
    let size = 1 << 20;
    let (mut chunked, mut input) = (Chunked::default(), Buffer::new());
    input.push(format!("{size:x}\r\n").as_bytes());
    for _ in 0..size {
        input.push(b"a");
        assert_eq!(chunked.advance(&mut input, size), MORE);
        assert!(input.is_empty());
    }
    input.push(b"\r\n0\r\n\r\n");
    assert_eq!(chunked.advance(&mut input, size), WHOLE);
    assert_eq!(chunked.body().len(), size);
}
