//! WebSocket: events and output, and their independence of chunking.

mod progress;

use super::*;
use crate::framing::replay::{Numbers, replay_every_split, replay_random};

/// An event with its bytes, the state at the end of the input, or the whole output.
#[derive(Clone, PartialEq, Debug)]
enum Found {
    Text(String),
    Binary(Vec<u8>),
    Frame,
    Closed,
    Failed(CloseCode),
    End { inside: bool },
    Answer(Vec<u8>),
}

const BYTES_MAX: usize = 1000;
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

const FINAL: u8 = 0x80;
const CONTINUATION: u8 = 0x0;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = FINAL | 0x8;
const PING: u8 = FINAL | 0x9;
const PONG: u8 = FINAL | 0xa;

const END: Found = Found::End { inside: false };
const INSIDE: Found = Found::End { inside: true };

/// Feeds `chunks` and collects every event.
fn replay(chunks: &[&[u8]]) -> Vec<Found> {
    replay_into(WebSocket::default(), chunks)
}

fn replay_into(mut socket: WebSocket, chunks: &[&[u8]]) -> Vec<Found> {
    let (mut input, mut output, mut seen) = (Buffer::new(), Buffer::new(), Vec::new());
    for chunk in chunks {
        input.push(chunk);
        loop {
            let event = socket.next(&mut input, &mut output, BYTES_MAX);
            let is_the_end = matches!(event, WebSocketEvent::Closed | WebSocketEvent::Failed(_));
            assert!(!is_the_end || input.is_empty(), "unread input must not stay");
            match event {
                WebSocketEvent::NeedMore => break,
                WebSocketEvent::Message(kind) => {
                    assert!(!socket.is_inside_message(), "a whole message waits for the server");
                    let bytes = socket.message(&input).to_vec();
                    socket.consume(&mut input);
                    assert!(socket.message(&input).is_empty());
                    seen.push(match kind {
                        MessageKind::Text => Found::Text(String::from_utf8(bytes).expect("text is UTF-8")),
                        MessageKind::Binary => Found::Binary(bytes),
                    });
                }
                WebSocketEvent::Frame => seen.push(Found::Frame),
                WebSocketEvent::Closed => seen.push(Found::Closed),
                WebSocketEvent::Failed(code) => seen.push(Found::Failed(code)),
            }
        }
    }
    let inside = socket.is_inside_message();
    assert_eq!(socket.incomplete().is_some(), inside);
    assert!(
        inside || input.is_empty() && socket.fragments.capacity() == 0,
        "nothing is held between messages"
    );
    if !matches!(seen.last(), Some(Found::Closed | Found::Failed(_))) {
        seen.push(Found::End { inside });
    }
    if !output.is_empty() {
        seen.push(Found::Answer(output.as_slice().to_vec()));
    }
    seen
}

/// The events of `bytes`, which must be the same with every split.
fn events(bytes: &[u8]) -> Vec<Found> {
    replay_every_split(bytes, replay)
}

/// A client's frame.
fn frame(first: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    announced(first, payload.len() as u64, payload)
}

/// A client's frame that announces `length` bytes and then has `payload`.
fn announced(first: u8, length: u64, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match length {
        0..126 => bytes.push(0x80 | length as u8),
        126..65_536 => {
            bytes.push(0x80 | 126);
            bytes.extend((length as u16).to_be_bytes());
        }
        _ => {
            bytes.push(0x80 | 127);
            bytes.extend(length.to_be_bytes());
        }
    }
    bytes.extend(MASK);
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, key)| byte ^ key));
    bytes
}

fn text(text: &str) -> Found {
    Found::Text(text.to_owned())
}

/// A server's frame with less than 126 bytes.
fn plain(first: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    [&[first, payload.len() as u8][..], payload].concat()
}

fn answer(frames: &[Vec<u8>]) -> Found {
    Found::Answer(frames.concat())
}

/// The events of a stream that violates the protocol after `before`.
fn failed(before: &[Found], code: CloseCode) -> Vec<Found> {
    let close = plain(CLOSE, [&(code as u16).to_be_bytes()[..], code.reason().as_bytes()].concat());
    [before, &[Found::Failed(code), Found::Answer(close)]].concat()
}

/// A description, the client's frames and the events.
type Case<'a> = (&'a str, Vec<Vec<u8>>, Vec<Found>);

fn check(cases: &[Case]) {
    for (what, frames, expected) in cases {
        assert_eq!(&events(&frames.concat()), expected, "{what}");
    }
}

#[test]
fn messages_are_returned_unchanged() {
    let (small, middle) = ("a".repeat(125), "ä".repeat(63));
    let largest = "x".repeat(BYTES_MAX);
    check(&[
        ("nothing", vec![], vec![END]),
        ("an empty message", vec![frame(FINAL | TEXT, "")], vec![text(""), END]),
        ("a message", vec![frame(FINAL | TEXT, "{}")], vec![text("{}"), END]),
        (
            "several in a packet",
            vec![frame(FINAL | TEXT, "{}"), frame(FINAL | TEXT, ""), frame(FINAL | TEXT, "é𝄞")],
            vec![text("{}"), text(""), text("é𝄞"), END],
        ),
        ("the longest with a short length", vec![frame(FINAL | TEXT, &small)], vec![text(&small), END]),
        ("the shortest with a longer one", vec![frame(FINAL | TEXT, &middle)], vec![text(&middle), END]),
        ("the largest", vec![frame(FINAL | TEXT, &largest)], vec![text(&largest), END]),
        (
            "fragments",
            vec![frame(TEXT, "{\"a\""), frame(CONTINUATION, ":"), frame(FINAL | CONTINUATION, "1}")],
            vec![Found::Frame, Found::Frame, text("{\"a\":1}"), END],
        ),
        (
            "empty fragments",
            vec![frame(TEXT, ""), frame(CONTINUATION, ""), frame(FINAL | CONTINUATION, "")],
            vec![Found::Frame, Found::Frame, text(""), END],
        ),
        (
            "a character in four fragments",
            vec![
                frame(TEXT, "\u{1d11e}".as_bytes().split_at(1).0),
                frame(CONTINUATION, [0x9d]),
                frame(CONTINUATION, [0x84]),
                frame(FINAL | CONTINUATION, [0x9e]),
                frame(FINAL | TEXT, "{}"),
            ],
            vec![Found::Frame, Found::Frame, Found::Frame, text("\u{1d11e}"), text("{}"), END],
        ),
        ("a part of a header", vec![vec![FINAL | TEXT]], vec![INSIDE]),
        ("a part of a payload", vec![announced(FINAL | TEXT, 3, b"ab")], vec![INSIDE]),
        ("a part of a message", vec![frame(TEXT, "ab")], vec![Found::Frame, INSIDE]),
        ("a part of a ping", vec![announced(PING, 3, b"ab")], vec![INSIDE]),
    ]);
}

#[test]
fn control_frames_are_answered_between_and_inside_messages() {
    let longest = "p".repeat(125);
    check(&[
        ("a ping", vec![frame(PING, "hello")], vec![Found::Frame, END, answer(&[plain(PONG, "hello")])]),
        ("an empty ping", vec![frame(PING, "")], vec![Found::Frame, END, answer(&[plain(PONG, "")])]),
        (
            "a long ping",
            vec![frame(PING, &longest)],
            vec![Found::Frame, END, answer(&[plain(PONG, &longest)])],
        ),
        (
            "binary in a ping",
            vec![frame(PING, b"\xff")],
            vec![Found::Frame, END, answer(&[plain(PONG, b"\xff")])],
        ),
        ("a pong", vec![frame(PONG, "x"), frame(FINAL | TEXT, "a")], vec![Found::Frame, text("a"), END]),
        (
            "pings between fragments",
            vec![
                frame(TEXT, "a"),
                frame(PING, "1"),
                frame(CONTINUATION, "b"),
                frame(PONG, ""),
                frame(PING, "2"),
                frame(FINAL | CONTINUATION, "c"),
            ],
            vec![
                Found::Frame,
                Found::Frame,
                Found::Frame,
                Found::Frame,
                Found::Frame,
                text("abc"),
                END,
                answer(&[plain(PONG, "1"), plain(PONG, "2")]),
            ],
        ),
        (
            "a ping inside a character",
            vec![frame(TEXT, b"\xc3"), frame(PING, "x"), frame(FINAL | CONTINUATION, b"\xa9")],
            vec![Found::Frame, Found::Frame, text("é"), END, answer(&[plain(PONG, "x")])],
        ),
    ]);
}

#[test]
fn a_close_frame_is_answered_and_ends_the_input() {
    let longest = [&[0x03, 0xe8][..], "r".repeat(123).as_bytes()].concat();
    let closed = |payload: &[u8]| vec![Found::Closed, answer(&[plain(CLOSE, payload)])];
    check(&[
        ("empty", vec![frame(CLOSE, "")], closed(b"")),
        ("with a code", vec![frame(CLOSE, b"\x03\xe8")], closed(b"\x03\xe8")),
        ("with a reason", vec![frame(CLOSE, b"\x03\xe9bye \xc3\xa9")], closed(b"\x03\xe9")),
        ("with a long reason", vec![frame(CLOSE, &longest)], closed(b"\x03\xe8")),
        (
            "data after it",
            vec![frame(CLOSE, b"\x03\xe8"), frame(PING, "x"), frame(FINAL | TEXT, "{}"), frame(CLOSE, "")],
            closed(b"\x03\xe8"),
        ),
        ("noise after it", vec![frame(CLOSE, ""), vec![0xff; 50]], closed(b"")),
        (
            "inside a message",
            vec![frame(TEXT, "{"), frame(CLOSE, ""), frame(FINAL | CONTINUATION, "}")],
            [vec![Found::Frame], closed(b"")].concat(),
        ),
        ("half a code", vec![frame(CLOSE, b"\x03")], failed(&[], CloseCode::Protocol)),
        (
            "a reason that is no text",
            vec![frame(CLOSE, b"\x03\xe8\xff")],
            failed(&[], CloseCode::InvalidText),
        ),
        ("half a character", vec![frame(CLOSE, b"\x03\xe8\xc3")], failed(&[], CloseCode::InvalidText)),
    ]);
}

#[test]
fn only_valid_close_codes_are_accepted() {
    for code in 0..=u16::MAX {
        let may_be_sent = matches!(
            code,
            1000 | 1001 | 1002 | 1003 | 1007 | 1008 | 1009 | 1010 | 1011 | 1012 | 1013 | 1014 | 3000..5000
        );
        let expected = if may_be_sent {
            vec![Found::Closed, answer(&[plain(CLOSE, code.to_be_bytes())])]
        } else {
            failed(&[], CloseCode::Protocol)
        };
        assert_eq!(replay(&[&frame(CLOSE, code.to_be_bytes())]), expected, "{code}");
    }
}

#[test]
fn invalid_frames_close_the_connection() {
    let long = [b'x'; 126];
    let unmasked = vec![FINAL | TEXT, 2, b'{', b'}'];
    let mut cases = vec![
        ("no mask", vec![unmasked]),
        ("no mask, no payload", vec![vec![FINAL | TEXT, 0]]),
        ("a ping without a mask", vec![vec![PING, 0]]),
        ("a ping in fragments", vec![frame(PING & !FINAL, "x")]),
        ("a pong in fragments", vec![frame(PONG & !FINAL, "x")]),
        ("a close in fragments", vec![frame(CLOSE & !FINAL, "")]),
        ("a long ping", vec![frame(PING, long)]),
        ("a long pong", vec![frame(PONG, long)]),
        ("a long close", vec![frame(CLOSE, long)]),
        ("a continuation of nothing", vec![frame(CONTINUATION, "x")]),
        ("a last continuation of nothing", vec![frame(FINAL | CONTINUATION, "x")]),
        ("a continuation of nothing that is too large", vec![announced(CONTINUATION, 1 << 40, b"")]),
        ("a length with its highest bit", vec![announced(FINAL | TEXT, 1 << 63, b"")]),
        ("every bit of a length", vec![announced(FINAL | TEXT, u64::MAX, b"")]),
        ("a length of 2 in two bytes", vec![[&[FINAL | TEXT, 0xfe, 0, 2][..], &MASK, b"ab"].concat()]),
        ("a length of 125 in two bytes", vec![[&[FINAL | TEXT, 0xfe, 0, 125][..], &MASK].concat()]),
        ("a ping's in two bytes", vec![[&[PING, 0xfe, 0, 0][..], &MASK].concat()]),
        (
            "a length of 126 in eight bytes",
            vec![[&[FINAL | TEXT, 0xff, 0, 0, 0, 0, 0, 0, 0, 126][..], &MASK].concat()],
        ),
        (
            "a length of 65535 in eight bytes",
            vec![[&[FINAL | TEXT, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff][..], &MASK].concat()],
        ),
    ];
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        cases.push(("a reserved opcode", vec![frame(FINAL | opcode, "")]));
        cases.push(("one with a payload", vec![frame(FINAL | opcode, "xyz"), frame(PING, "")]));
    }
    for reserved in (0x10..0x80).step_by(0x10) {
        for opcode in [FINAL | TEXT, TEXT, CLOSE, PING, PONG] {
            cases.push(("reserved bits", vec![frame(reserved | opcode, "")]));
        }
    }
    for (what, frames) in cases {
        let stream = frames.concat();
        assert_eq!(events(&stream), failed(&[], CloseCode::Protocol), "{what}: {stream:x?}");
        // Frames before the violation are answered, later ones are not.
        let stream = [frame(FINAL | TEXT, "{}"), stream, frame(PING, "x"), frame(CLOSE, "")].concat();
        assert_eq!(events(&stream), failed(&[text("{}")], CloseCode::Protocol), "{what}: {stream:x?}");
    }
    for opcode in [TEXT, BINARY, FINAL | TEXT, FINAL | BINARY] {
        let stream = [frame(TEXT, "{"), frame(opcode, "}")].concat();
        assert_eq!(events(&stream), failed(&[Found::Frame], CloseCode::Protocol), "a message inside another");
    }
}

#[test]
fn binary_is_rejected_unless_allowed() {
    let stream =
        [frame(FINAL | BINARY, b"\xff\0"), frame(BINARY, b"\xc3"), frame(FINAL | CONTINUATION, b"x")];
    for first in &stream[..2] {
        assert_eq!(events(first), failed(&[], CloseCode::Unsupported));
    }
    let binary = [Found::Binary(b"\xff\0".to_vec()), Found::Frame, Found::Binary(b"\xc3x".to_vec()), END];
    let replay = |chunks: &[&[u8]]| replay_into(WebSocket::with_binary(), chunks);
    assert_eq!(replay_every_split(&stream.concat(), replay), binary);
}

#[test]
fn a_message_is_limited_in_bytes() {
    let too_large = |before: &[Found]| failed(before, CloseCode::TooLarge);
    let (most, one) = (vec![b'x'; BYTES_MAX], announced(FINAL | CONTINUATION, 1, b""));
    check(&[
        // As soon as the header is read, before any payload.
        ("one more", vec![announced(FINAL | TEXT, BYTES_MAX as u64 + 1, b"")], too_large(&[])),
        ("just as many", vec![announced(FINAL | TEXT, BYTES_MAX as u64, b"")], vec![INSIDE]),
        ("2^32", vec![announced(FINAL | TEXT, 1 << 32, b"")], too_large(&[])),
        ("2^32 - 1", vec![announced(TEXT, (1 << 32) - 1, b"")], too_large(&[])),
        ("2^63 - 1", vec![announced(FINAL | TEXT, i64::MAX as u64, b"")], too_large(&[])),
        ("one more in a fragment", vec![frame(TEXT, &most), one.clone()], too_large(&[Found::Frame])),
        (
            "two halves and one more",
            vec![frame(TEXT, &most[..BYTES_MAX / 2]), frame(CONTINUATION, &most[BYTES_MAX / 2..]), one],
            too_large(&[Found::Frame, Found::Frame]),
        ),
    ]);
}

#[test]
fn the_limit_may_change_inside_a_message() {
    let (mut socket, mut input, mut output) = (WebSocket::default(), Buffer::new(), Buffer::new());
    input.push(&announced(FINAL | TEXT, 20, b"abc"));
    assert_eq!(socket.next(&mut input, &mut output, 20), WebSocketEvent::NeedMore);
    assert_eq!(socket.next(&mut input, &mut output, 1000), WebSocketEvent::NeedMore);
    assert_eq!(socket.next(&mut input, &mut output, 19), WebSocketEvent::Failed(CloseCode::TooLarge));
}
