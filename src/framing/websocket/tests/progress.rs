//! Where a message may be cut, and what each call does.

use super::*;

/// Each with the number of bytes after which it cannot become valid; `None` if only its end makes it invalid.
const NOT_UTF8: &[(&[u8], Option<usize>)] = &[
    (b"\x80", Some(1)),
    (b"abc\xff", Some(4)),
    (b"\xfe\xfe\xff\xff", Some(1)),
    (b"\xc0\xaf", Some(1)),
    (b"\xc1\xbf", Some(1)),
    (b"\xe0\x80\xaf", Some(2)),
    (b"\xe0\x9f\xbf", Some(2)),
    (b"\xf0\x8f\xbf\xbf", Some(2)),
    (b"\xed\xa0\x80", Some(2)),
    (b"\xed\xbf\xbf", Some(2)),
    (b"\xf4\x90\x80\x80", Some(2)),
    (b"\xf5\x80\x80\x80", Some(1)),
    (b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4\x90\x80\x80ed", Some(13)),
    (b"\xc3x", Some(2)),
    (b"\xe2\x82x", Some(3)),
    (b"\xf0\x9d\x84x", Some(4)),
    (b"\xc3", None),
    (b"\xe2\x82", None),
    (b"x\xf0\x9d\x84", None),
];

#[test]
fn invalid_utf8_fails_at_its_first_invalid_byte() {
    let invalid = CloseCode::InvalidText;
    for &(bytes, wrong_at) in NOT_UTF8 {
        assert_eq!(events(&frame(FINAL | TEXT, bytes)), failed(&[], invalid), "{bytes:x?}");
        // In fragments of one byte each.
        let mut stream: Vec<u8> = frame(TEXT, "");
        stream.extend(bytes.iter().flat_map(|&byte| frame(CONTINUATION, [byte])));
        stream.extend(frame(FINAL | CONTINUATION, ""));
        let before = vec![Found::Frame; wrong_at.map_or(1 + bytes.len(), |count| count)];
        assert_eq!(events(&stream), failed(&before, invalid), "{bytes:x?}");
        // In an incomplete frame.
        let Some(wrong_at) = wrong_at else { continue };
        for first in [FINAL | TEXT, TEXT] {
            let incomplete = announced(first, 100, &bytes[..wrong_at - 1]);
            assert_eq!(events(&incomplete), vec![INSIDE], "{bytes:x?}");
            let incomplete = announced(first, 100, &bytes[..wrong_at]);
            assert_eq!(events(&incomplete), failed(&[], invalid), "{bytes:x?}");
        }
    }
}

#[test]
fn each_incomplete_message_has_its_own_number() {
    let (mut socket, mut input, mut output) = (WebSocket::default(), Buffer::new(), Buffer::new());
    let mut numbers = Vec::new();
    let mut feed = |bytes: &[u8]| {
        input.push(bytes);
        loop {
            match socket.next(&mut input, &mut output, BYTES_MAX) {
                WebSocketEvent::NeedMore => break,
                WebSocketEvent::Message(_) => socket.consume(&mut input),
                _ => {}
            }
        }
        numbers.push(socket.incomplete());
    };
    for part in frame(FINAL | TEXT, "a").chunks(2) {
        feed(part);
    }
    feed(&frame(PING, "xyz")[..4]);
    feed(&frame(PING, "xyz")[4..]);
    feed(&frame(TEXT, "a"));
    feed(&frame(PING, "xyz")[..7]);
    feed(&frame(PING, "xyz")[7..]);
    feed(&frame(CONTINUATION, ""));
    feed(&frame(FINAL | CONTINUATION, ""));
    feed(&[frame(FINAL | TEXT, ""), frame(FINAL | TEXT, ""), vec![FINAL | TEXT]].concat());
    let (first, ping, fragments, last) = (Some(1), Some(2), Some(3), Some(6));
    let message = [first, first, first, None];
    let rest = [ping, None, fragments, fragments, fragments, fragments, None, last];
    assert_eq!(numbers, [&message[..], &rest].concat());
}

/// One frame per call, so that many frames in one packet are not answered at once.
#[test]
fn each_call_handles_one_frame() {
    let (mut socket, mut input, mut output) = (WebSocket::default(), Buffer::new(), Buffer::new());
    input.push(&frame(PING, "x").repeat(100));
    for count in 1..=100 {
        assert_eq!(socket.next(&mut input, &mut output, BYTES_MAX), WebSocketEvent::Frame);
        assert_eq!(output.len(), 3 * count);
    }
    assert_eq!(socket.next(&mut input, &mut output, BYTES_MAX), WebSocketEvent::NeedMore);
}

#[test]
fn a_message_in_one_frame_is_not_copied() {
    let (mut socket, mut input, mut output) = (WebSocket::default(), Buffer::new(), Buffer::new());
    input.push(&frame(FINAL | TEXT, "{\"a\":1}"));
    let place = input.as_slice()[6..].as_ptr();
    assert_eq!(socket.next(&mut input, &mut output, BYTES_MAX), WebSocketEvent::Message(MessageKind::Text));
    assert_eq!(
        socket.next(&mut input, &mut output, BYTES_MAX),
        WebSocketEvent::Message(MessageKind::Text),
        "until consumed"
    );
    assert_eq!(socket.message(&input), b"{\"a\":1}");
    assert_eq!(socket.message(&input).as_ptr(), place);
}

/// A large message in single bytes: quadratic scanning would take 10^12 steps, minutes even in an optimized build.
#[test]
fn no_byte_is_scanned_twice() {
    let size = 1 << 20;
    for is_final in [0, FINAL] {
        let (mut socket, mut input, mut output) = (WebSocket::default(), Buffer::new(), Buffer::new());
        input.push(&announced(is_final | TEXT, size, b""));
        for (number, key) in (1..size).zip(MASK.iter().cycle()) {
            input.push(&[b'a' ^ key]);
            assert_eq!(
                socket.next(&mut input, &mut output, size as usize),
                WebSocketEvent::NeedMore,
                "{number}"
            );
        }
        input.push(&[b'a' ^ MASK[3]]);
        if is_final == 0 {
            assert_eq!(socket.next(&mut input, &mut output, size as usize), WebSocketEvent::Frame);
            input.push(&frame(FINAL | CONTINUATION, ""));
        }
        assert_eq!(
            socket.next(&mut input, &mut output, size as usize),
            WebSocketEvent::Message(MessageKind::Text)
        );
        assert!(socket.message(&input).iter().all(|&byte| byte == b'a'));
        assert_eq!(socket.message(&input).len(), size as usize);
    }
}

#[test]
fn events_do_not_depend_on_chunking() {
    let words = [
        frame(FINAL | TEXT, "{}"),
        frame(FINAL | TEXT, "é𝄞".repeat(30)),
        frame(TEXT, b"{\"\xf0\x9d"),
        frame(CONTINUATION, b"\x84\x9e\xc3"),
        frame(CONTINUATION, ""),
        frame(FINAL | CONTINUATION, b"\xa9"),
        frame(FINAL | CONTINUATION, ""),
        frame(PING, "x"),
        frame(PONG, "x"),
        frame(PING, "x".repeat(125)),
        frame(FINAL | TEXT, ""),
        frame(CLOSE, b"\x03\xe8"),
    ];
    let rare = [
        announced(CONTINUATION, 990, b"abc"),
        announced(FINAL | TEXT, 1001, b""),
        frame(FINAL | BINARY, ""),
        frame(FINAL | TEXT, b"\xff"),
        vec![0x7e],
        vec![FINAL | TEXT, 0],
        vec![FINAL | TEXT, 0xfe, 0],
    ];
    let mut kinds = [0; 7];
    let stream = |_, numbers: &mut Numbers| {
        let mut stream = Vec::new();
        let mut inside = false;
        for _ in 0..numbers.below(40) {
            // Mostly valid frames, or all streams would end early.
            let choices: &[usize] = if inside { &[3, 4, 5, 7, 8, 9] } else { &[0, 1, 2, 7, 8, 9, 10] };
            match numbers.below(60) {
                0 => stream.extend_from_slice(&rare[numbers.below(rare.len())]),
                1 => stream.extend_from_slice(&words[numbers.below(words.len())]),
                _ => {
                    let chosen = choices[numbers.below(choices.len())];
                    inside = if inside { chosen != 5 } else { chosen == 2 };
                    stream.extend_from_slice(&words[chosen]);
                    if chosen == 2 {
                        stream.extend_from_slice(&words[3]);
                    }
                }
            }
        }
        stream
    };
    for event in replay_random(20, stream, replay) {
        match event {
            Found::Text(_) => kinds[0] += 1,
            Found::Frame => kinds[1] += 1,
            Found::Closed => kinds[2] += 1,
            Found::Failed(CloseCode::Protocol) => kinds[3] += 1,
            Found::Failed(CloseCode::InvalidText) => kinds[4] += 1,
            Found::Failed(_) => kinds[5] += 1,
            Found::End { .. } => kinds[6] += 1,
            Found::Binary(_) | Found::Answer(_) => {}
        }
    }
    assert!(kinds.iter().all(|&count| count > 30), "every kind of event came up often: {kinds:?}");
}
