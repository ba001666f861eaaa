//! Raw JSON: events, and their independence of chunking.

use super::*;
use crate::framing::replay::{Numbers, replay_every_split, replay_random};

/// An event with its bytes, or the state at the end of the input.
#[derive(Clone, PartialEq, Debug)]
enum Found {
    Message(String),
    Stray(u8),
    HttpLine,
    TooLarge,
    End { inside: bool, incomplete: bool },
}

const BYTES_MAX: usize = 64;

/// Feeds `chunks` and collects every event, as a connection does: `HttpLine` and `TooLarge` end it.
fn replay(chunks: &[&[u8]]) -> Vec<Found> {
    let (mut framing, mut input, mut seen) = (RawJson::default(), Buffer::new(), Vec::new());
    for chunk in chunks {
        input.push(chunk);
        loop {
            match framing.next(&mut input, BYTES_MAX) {
                JsonEvent::NeedMore => break,
                JsonEvent::Message(length) => {
                    let message = String::from_utf8_lossy(&input.as_slice()[..length]).into_owned();
                    input.consume(length);
                    seen.push(Found::Message(message));
                }
                JsonEvent::Stray(byte) => seen.push(Found::Stray(byte)),
                JsonEvent::HttpLine => return [&seen[..], &[Found::HttpLine]].concat(),
                JsonEvent::TooLarge => return [&seen[..], &[Found::TooLarge]].concat(),
            }
        }
    }
    assert!(framing.is_inside_message() || input.is_empty(), "only an incomplete message stays in the input");
    seen.push(Found::End { inside: framing.is_inside_message(), incomplete: framing.incomplete().is_some() });
    seen
}

/// The events of `bytes`, which must be the same with every split.
fn events(bytes: &[u8]) -> Vec<Found> {
    replay_every_split(bytes, replay)
}

const END: Found = Found::End { inside: false, incomplete: false };
const INSIDE: Found = Found::End { inside: true, incomplete: true };
const SKIPPING: Found = Found::End { inside: false, incomplete: true };

fn message(text: &str) -> Found {
    Found::Message(text.to_string())
}

#[test]
fn a_stream_is_cut_by_structure() {
    let deep = format!("{}{}", "{".repeat(32), "}".repeat(32));
    let cases: Vec<(&[u8], Vec<Found>)> = vec![
        (b"", vec![END]),
        (b" \t\r\n ", vec![END]),
        (b"{}", vec![message("{}"), END]),
        (b"{}{} \n {}\n", vec![message("{}"), message("{}"), message("{}"), END]),
        (b"{\"a\": {\"b\": {}}}x", vec![message("{\"a\": {\"b\": {}}}"), Found::Stray(b'x'), SKIPPING]),
        (b"{\n  \"a\": 1\n}\n{}", vec![message("{\n  \"a\": 1\n}"), message("{}"), END]),
        (b"{\"}\\\"}{\\\\\"}", vec![message("{\"}\\\"}{\\\\\"}"), END]),
        (b"{\"\\u007d}\"}", vec![message("{\"\\u007d}\"}"), END]),
        (b"{not json}{}", vec![message("{not json}"), message("{}"), END]),
        // Only brackets of the message's own kind count.
        (b"{]}[}]", vec![message("{]}"), message("[}]"), END]),
        (b"{[}", vec![message("{[}"), END]),
        (b"[[1],{]", vec![message("[[1],{]"), END]),
        (b"[\"]\",[]]", vec![message("[\"]\",[]]"), END]),
        (deep.as_bytes(), vec![message(&deep), END]),
        (b"{\"\xff\"}", vec![message("{\"\u{fffd}\"}"), END]),
        // Incomplete at the end of the input.
        (b"{", vec![INSIDE]),
        (b"{}{\"}", vec![message("{}"), INSIDE]),
        (b"[{}", vec![INSIDE]),
        (b"{\"\\", vec![INSIDE]),
        // After a stray byte, the rest of its line is skipped.
        (b"x", vec![Found::Stray(b'x'), SKIPPING]),
        (b"x\n", vec![Found::Stray(b'x'), END]),
        (b"xyz {} {\n{}", vec![Found::Stray(b'x'), message("{}"), END]),
        (b"{}}\n{}", vec![message("{}"), Found::Stray(b'}'), message("{}"), END]),
        (b"x\ny\n\n", vec![Found::Stray(b'x'), Found::Stray(b'y'), END]),
        (b"\"{\"\n{}", vec![Found::Stray(b'"'), message("{}"), END]),
        (b"\xef\xbb\xbf{}\n{}", vec![Found::Stray(0xef), message("{}"), END]),
        (b"\x0b{}", vec![Found::Stray(0x0b), SKIPPING]),
        // A browser sends HTTP.
        (b"GET / HTTP/1.1\n{}", vec![Found::Stray(b'G'), Found::HttpLine]),
        (b"{} POST http://a", vec![message("{}"), Found::Stray(b'P'), Found::HttpLine]),
        (b"x\nOPTIONS *\r\n", vec![Found::Stray(b'x'), Found::Stray(b'O'), Found::HttpLine]),
        (b"xGET / HTTP/1.1\n", vec![Found::Stray(b'x'), END]),
        (b"GET\n/ {}\n{}", vec![Found::Stray(b'G'), Found::Stray(b'/'), message("{}"), END]),
        (b"GET ", vec![Found::Stray(b'G'), SKIPPING]),
    ];
    for (bytes, expected) in cases {
        assert_eq!(events(bytes), expected, "{}", bytes.escape_ascii());
    }
}

#[test]
fn a_message_is_limited_in_bytes() {
    let fits = format!("{{\"{}\"}}", "a".repeat(BYTES_MAX - 4));
    assert_eq!(events(fits.as_bytes()), vec![message(&fits), END]);
    assert_eq!(events(&fits.as_bytes()[..BYTES_MAX - 1]), vec![INSIDE]);
    let larger = format!("{{\"{}\"}}", "a".repeat(BYTES_MAX - 3));
    assert_eq!(events(larger.as_bytes()), vec![Found::TooLarge]);
    assert_eq!(events(&larger.as_bytes()[..BYTES_MAX]), vec![INSIDE], "may still be balanced");
    assert_eq!(events(format!("{{}} {larger}").as_bytes()), vec![message("{}"), Found::TooLarge]);
    // The limit does not apply to white space and skipped lines.
    let blank = " ".repeat(3 * BYTES_MAX);
    assert_eq!(events(format!("{blank}{{}}").as_bytes()), vec![message("{}"), END]);
    assert_eq!(events(format!("x{blank}\n{{}}").as_bytes()), vec![Found::Stray(b'x'), message("{}"), END]);
}

#[test]
fn the_limit_may_change_inside_a_message() {
    let (mut framing, mut input) = (RawJson::default(), Buffer::new());
    input.push(b"{\"aaaaaaaa");
    assert_eq!(framing.next(&mut input, 10), JsonEvent::NeedMore);
    input.push(b"\"");
    assert_eq!(framing.next(&mut input, 10), JsonEvent::TooLarge);
    assert_eq!(framing.next(&mut input, 10), JsonEvent::TooLarge, "asking again does not change it");
    assert_eq!(framing.next(&mut input, 12), JsonEvent::NeedMore);
    assert_eq!(framing.next(&mut input, 5), JsonEvent::TooLarge);
    input.push(b"}");
    assert_eq!(framing.next(&mut input, 12), JsonEvent::Message(12));
}

#[test]
fn http_is_reported_once() {
    let (mut framing, mut input) = (RawJson::default(), Buffer::new());
    input.push(b"GET / HTTP/1.1\r\nHost: x\r\n");
    assert_eq!(framing.next(&mut input, 10), JsonEvent::Stray(b'G'));
    assert_eq!(framing.next(&mut input, 10), JsonEvent::HttpLine);
    assert_eq!(framing.next(&mut input, 10), JsonEvent::Stray(b'H'));
    assert_eq!(framing.next(&mut input, 10), JsonEvent::NeedMore);
}

#[test]
fn a_caller_may_read_messages_by_itself() {
    let (mut framing, mut input) = (RawJson::default(), Buffer::new());
    input.push(b" \n{} {");
    assert_eq!(framing.next_message(&mut input), b"{} {");
    framing.count_message();
    input.consume(2);
    assert_eq!((framing.next_message(&mut input), framing.incomplete()), (&b"{"[..], None));
    assert_eq!(framing.next(&mut input, 10), JsonEvent::NeedMore);
    assert_eq!((framing.next_message(&mut input), framing.incomplete()), (&b""[..], Some(2)));
    input.push(b"}x");
    assert_eq!(framing.next(&mut input, 10), JsonEvent::Message(2));
    input.consume(2);
    assert_eq!(framing.next(&mut input, 10), JsonEvent::Stray(b'x'));
    assert_eq!(framing.next_message(&mut input), b"", "the rest of the line is skipped");
}

/// A large message in single bytes: quadratic scanning would take 10^12 steps, minutes even in an optimized build.
#[test]
fn no_byte_is_scanned_twice() {
    let size = 1 << 20;
    let (mut framing, mut input) = (RawJson::default(), Buffer::new());
    input.push(b"{\"");
    for _ in 0..size {
        input.push(b"a");
        assert_eq!(framing.next(&mut input, 2 * size), JsonEvent::NeedMore);
    }
    input.push(b"\"}");
    assert_eq!(framing.next(&mut input, 2 * size), JsonEvent::Message(size + 4));
}

#[test]
fn events_do_not_depend_on_chunking() {
    let words: [&[u8]; 16] = [
        b"{",
        b"}",
        b"[",
        b"]",
        b"\"",
        b"\\",
        b"\n",
        b" ",
        b"GET /",
        b"{}",
        b"{\"a\":\"b\"}",
        b"x",
        b"\xff",
        b"[1,2]",
        b"OPTIONS *",
        b"12345678901",
    ];
    let mut kinds = [0; 4];
    let stream = |_, numbers: &mut Numbers| {
        let count = numbers.below(60);
        (0..count).flat_map(|_| words[numbers.below(words.len())]).copied().collect()
    };
    for event in replay_random(20, stream, replay) {
        match event {
            Found::Message(_) => kinds[0] += 1,
            Found::Stray(_) => kinds[1] += 1,
            Found::HttpLine => kinds[2] += 1,
            Found::TooLarge => kinds[3] += 1,
            Found::End { .. } => {}
        }
    }
    assert!(kinds.iter().all(|&count| count > 100), "every kind of event came up often: {kinds:?}");
}
