//! Lines: events, and their independence of chunking.

use super::*;
use crate::framing::replay::{Numbers, replay_every_split, replay_random, single_bytes};

/// An event with its bytes, or the state at the end of the input.
#[derive(Clone, PartialEq, Debug)]
enum Found {
    Line(String),
    HttpLine,
    TooLong,
    BadText,
    End { inside: bool },
}

/// Feeds `chunks` and collects every event, as a connection does: all but lines end it.
fn replay(chunks: &[&[u8]]) -> Vec<Found> {
    let (mut framing, mut input, mut seen) = (Text::default(), Buffer::new(), Vec::new());
    for chunk in chunks {
        input.push(chunk);
        loop {
            let event = framing.next(&mut input);
            assert_eq!(framing.next(&mut input), event, "what is not consumed is found again");
            match event {
                LineEvent::NeedMore => break,
                LineEvent::Line(length) => {
                    let line = std::str::from_utf8(&input.as_slice()[..length]).expect("lines are UTF-8");
                    assert!((1..=limits::TEXT_LINE_BYTES_MAX).contains(&length));
                    seen.push(Found::Line(line.to_owned()));
                    framing.consume(&mut input, length);
                }
                LineEvent::HttpLine => return [&seen[..], &[Found::HttpLine]].concat(),
                LineEvent::TooLong => return [&seen[..], &[Found::TooLong]].concat(),
                LineEvent::BadText => return [&seen[..], &[Found::BadText]].concat(),
            }
        }
        assert!(input.len() <= limits::TEXT_LINE_BYTES_MAX + 1, "more is held than a line may have");
    }
    assert_eq!(framing.is_inside_line(), !input.is_empty(), "only an incomplete line stays in the input");
    assert_eq!(framing.is_inside_line(), framing.incomplete().is_some());
    seen.push(Found::End { inside: framing.is_inside_line() });
    seen
}

/// The events of `bytes`, which must be the same with every split.
fn events(bytes: &[u8]) -> Vec<Found> {
    replay_every_split(bytes, replay)
}

const END: Found = Found::End { inside: false };
const INSIDE: Found = Found::End { inside: true };

fn line(text: &str) -> Found {
    Found::Line(text.to_string())
}

#[test]
fn a_stream_is_cut_into_lines() {
    let cases: Vec<(&[u8], Vec<Found>)> = vec![
        (b"", vec![END]),
        (b" \t\r\n\n \r\n\t", vec![END]),
        (b"put a 1 2\n", vec![line("put a 1 2"), END]),
        (b"put a 1 2\r\nget *\n", vec![line("put a 1 2"), line("get *"), END]),
        (b"\n  a\n\n\n\r\n b \n", vec![line("a"), line("b "), END]),
        (b"a \t\r\n", vec![line("a \t"), END]),
        (b"a\r\r\n", vec![line("a\r"), END]),
        (b"a\rb\n", vec![line("a\rb"), END]),
        ("ключ é €\n😀\n".as_bytes(), vec![line("ключ é €"), line("😀"), END]),
        ("\u{85}\u{a0}\n".as_bytes(), vec![line("\u{85}\u{a0}"), END]),
        (b"{\"command\":\"ping\"}\n", vec![line("{\"command\":\"ping\"}"), END]),
        // Incomplete at the end of the input.
        (b"a", vec![INSIDE]),
        (b"a\r", vec![INSIDE]),
        (b"a\n\n b ", vec![line("a"), INSIDE]),
        (b"a\n\xe2\x82", vec![line("a"), INSIDE]),
        // Invalid bytes.
        (b"a\n\0\n", vec![line("a"), Found::BadText]),
        (b"ab\x7fc\n", vec![Found::BadText]),
        (b"a\x1b", vec![Found::BadText]),
        (b"\x0bput a 1 2\n", vec![Found::BadText]),
        (b"\xff", vec![Found::BadText]),
        (b"a\x80\n", vec![Found::BadText]),
        (b"a\xe2\x82\n", vec![Found::BadText]),
        (b"a\xe2\x82 b", vec![Found::BadText]),
        (b"\xc0\x80\n", vec![Found::BadText]),
        (b"\xed\xa0\x80\n", vec![Found::BadText]),
        // HTTP.
        (b"a\nGET / HTTP/1.1\r\n", vec![line("a"), Found::HttpLine]),
        (b"a\n  POST http://a/ HTTP/1.1\r\n", vec![line("a"), Found::HttpLine]),
        (b"OPTIONS *", vec![Found::HttpLine]),
        (b"GET /\0", vec![Found::HttpLine]),
        (b"GET a\nget /\n", vec![line("GET a"), line("get /"), END]),
        (b"GET", vec![INSIDE]),
        (b"GET\0", vec![Found::BadText]),
    ];
    for (bytes, wanted) in cases {
        assert_eq!(events(bytes), wanted, "{}", bytes.escape_ascii());
    }
}

#[test]
fn a_line_is_limited_without_its_line_ending() {
    let max = limits::TEXT_LINE_BYTES_MAX;
    let cases: Vec<(usize, &[u8], Vec<Found>)> = vec![
        (max, b"\n", vec![line(&"x".repeat(max)), END]),
        (max, b"\r\nb\n", vec![line(&"x".repeat(max)), line("b"), END]),
        (max - 1, b"\r\n", vec![line(&"x".repeat(max - 1)), END]),
        (max - 1, b"\r\r\n", vec![line(&("x".repeat(max - 1) + "\r")), END]),
        (max, b"", vec![INSIDE]),
        (max, b"\r", vec![INSIDE]),
        (max, b"\rx", vec![Found::TooLong]),
        (max, b"\r\r\n", vec![Found::TooLong]),
        (max, b"x", vec![Found::TooLong]),
        (max, b" \n", vec![Found::TooLong]),
        (max, b"\0\n", vec![Found::TooLong]),
        (max, b"\r\0", vec![Found::TooLong]),
        (max + 1, b"\n", vec![Found::TooLong]),
        (max - 1, b"\0\n", vec![Found::BadText]),
        (max - 1, b"\xe2\n", vec![Found::BadText]),
        (max - 1, b"\xe2\r\n", vec![Found::BadText]),
        (max - 1, b"\xe2\x82\xac\n", vec![Found::TooLong]),
        (max - 2, "é\n".as_bytes(), vec![line(&("x".repeat(max - 2) + "é")), END]),
    ];
    for (count, tail, wanted) in cases {
        let bytes = ["x".repeat(count).as_bytes(), tail].concat();
        let whole = replay(&[&bytes]);
        assert_eq!(whole, wanted, "{count} and {}", tail.escape_ascii());
        assert_eq!(
            replay(&single_bytes(&bytes)),
            wanted,
            "{count} and {}, byte by byte",
            tail.escape_ascii()
        );
        for split in bytes.len() - 6..=bytes.len() {
            let (head, rest) = bytes.split_at(split);
            assert_eq!(replay(&[head, rest]), wanted, "{count} and {}, at {split}", tail.escape_ascii());
        }
    }
}

#[test]
fn white_space_has_no_limit_and_holds_no_memory() {
    let (mut framing, mut input) = (Text::default(), Buffer::new());
    input.push(&[b' '; 100_000]);
    assert_eq!(framing.next(&mut input), LineEvent::NeedMore);
    assert_eq!((framing.incomplete(), input.capacity()), (None, 0));
}

#[test]
fn each_line_has_its_own_number() {
    let (mut framing, mut input) = (Text::default(), Buffer::new());
    for number in 1..=5 {
        input.push(b"\n a");
        assert_eq!(framing.next(&mut input), LineEvent::NeedMore, "{number}");
        assert_eq!((framing.incomplete(), framing.is_inside_line()), (Some(number), true));
        input.push(b"b\n");
        assert_eq!(framing.next(&mut input), LineEvent::Line(2));
        framing.consume(&mut input, 2);
        assert_eq!(framing.incomplete(), None);
    }
}

#[test]
fn events_do_not_depend_on_chunking() {
    let long = "x".repeat(1500);
    let words: [&[u8]; 16] = [
        b"\n",
        b"\n",
        b"\n",
        b"\r\n",
        b"\r",
        b" ",
        b"\t",
        b"put a 1 2",
        b"get *",
        b"GET /",
        b"GET",
        b"\xe2\x82\xac",
        b"\xd0",
        b"\x07",
        b"OPTIONS *",
        long.as_bytes(),
    ];
    let mut kinds = [0; 4];
    let stream = |seed, numbers: &mut Numbers| {
        let mut stream = Vec::new();
        // The last few words end a stream, so they are chosen less often.
        let choice = if seed % 2 == 0 { words.len() } else { 12 };
        for _ in 0..numbers.below(30) {
            stream.extend_from_slice(words[numbers.below(choice)]);
            if seed % 5 == 0 {
                stream.extend_from_slice(long.as_bytes());
            }
        }
        stream
    };
    for event in replay_random(20, stream, replay) {
        match event {
            Found::Line(_) => kinds[0] += 1,
            Found::HttpLine => kinds[1] += 1,
            Found::TooLong => kinds[2] += 1,
            Found::BadText => kinds[3] += 1,
            Found::End { .. } => {}
        }
    }
    assert!(kinds.iter().all(|&count| count > 50), "every kind of event came up often: {kinds:?}");
}
