//! The client codec by itself: replies that come in any parts, and input that it must refuse.

use super::codec::{self, Decoder, Frame, HttpResponse, Malformed, Message, TextReply};

/// Decodes `stream` whole and byte by byte, which must give the same; what `next` returns until it has no more.
#[track_caller]
fn decode<T: PartialEq + std::fmt::Debug>(
    stream: &[u8],
    next: impl Fn(&mut Decoder) -> codec::Decoded<T>,
) -> Result<(Vec<T>, bool), Malformed> {
    let mut results = [stream.len().max(1), 1].map(|size| {
        let (mut decoder, mut found) = (Decoder::default(), Vec::new());
        for part in stream.chunks(size) {
            decoder.push(part);
            while let Some(reply) = next(&mut decoder)? {
                found.push(reply);
            }
        }
        decoder.end_input();
        found.extend(next(&mut decoder)?);
        Ok((found, decoder.is_between_replies()))
    });
    assert_eq!(results[0], results[1], "{}", stream.escape_ascii());
    std::mem::replace(&mut results[0], Err(Malformed("taken")))
}

fn responses(stream: &str) -> Result<(Vec<HttpResponse>, bool), Malformed> {
    decode(stream.as_bytes(), Decoder::response)
}

#[test]
fn lines_and_text_replies_end_with_their_terminators() {
    let (lines, is_whole) = decode(b"{}\n{\"a\":1}\n{", Decoder::line).expect("lines");
    assert_eq!((lines, is_whole), (vec!["{}".to_owned(), "{\"a\":1}".to_owned()], false));
    let (replies, is_whole) =
        decode(b"ok\n\nok\na 1 2\nb 3 4\n\nerror\nbusy\n\n", Decoder::text_reply).expect("text");
    assert_eq!((replies.len(), is_whole), (3, true));
    let points = |reply| match TextReply::parse(reply) {
        Ok(TextReply::Points(points)) => points.iter().map(|point| point.timestamp).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    assert_eq!([points(&replies[0]), points(&replies[1])], [vec![], vec![2, 4]]);
    assert_eq!(TextReply::parse(&replies[2]), Ok(TextReply::Error("busy")));
    for wrong in
        ["", "okay", "error", "error\n", "error\na\nb", "ok\na 1", "ok\na 1 2 3", "ok\na  1 2", "ok\na 1 x"]
    {
        assert!(TextReply::parse(wrong).is_err(), "{wrong:?}");
    }
    assert!(decode(b"\xff\n", Decoder::line).is_err());
}

#[test]
fn responses_have_every_kind_of_body() {
    let stream = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc\
        HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n\
        HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\nabc";
    let (found, is_whole) = responses(stream).expect("responses");
    let found: Vec<(u16, &[u8])> = found.iter().map(|found| (found.head.status, &found.body[..])).collect();
    assert_eq!(found, [(100, &b""[..]), (200, b"abc"), (200, b"abc"), (204, b""), (400, b"abc")]);
    assert!(is_whole);
}

#[test]
fn malformed_responses_are_refused() {
    let sized = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\na";
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    for wrong in [
        "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 +20 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\na",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\na",
        "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length 1\r\n\r\na",
        "HTTP/1.1 200 OK\r\n\r\n",
        &format!("{sized}b"),
        &format!("{chunked}+1\r\na\r\n"),
        &format!("{chunked}\r\na\r\n"),
        &format!("{chunked}1\r\nab\r\n"),
        &format!("{chunked}{}", "0".repeat(30)),
        &format!("{chunked}ffffffffffffffff\r\n"),
        &format!("{chunked}0\r\nA: b\r\n\r\n"),
    ] {
        assert!(responses(wrong).is_err(), "{wrong:?}");
    }
    assert!(responses(sized).is_ok());
}

#[test]
fn frames_of_one_message_are_put_together() {
    let stream = b"\x01\x01a\x8a\x01x\x00\x01b\x80\x01c\x81\x7e\x00\x7e";
    let stream = [&stream[..], &[b'z'; 126], b"\x88\x03\x03\xe9!"].concat();
    let (found, is_whole) = decode(&stream, Decoder::message).expect("messages");
    let text = |text: String| Message::Text(text);
    let close = Message::Close(Some((1001, "!".to_owned())));
    let wanted = [Message::Pong(b"x".to_vec()), text("abc".to_owned()), text("z".repeat(126)), close];
    assert_eq!((&found[..], is_whole), (&wanted[..], true));
}

#[test]
fn malformed_frames_are_refused() {
    let wrong: [&[u8]; 16] = [
        b"\xc1\x00",
        b"\x81\x80",
        b"\x83\x00",
        b"\x8b\x00",
        b"\x0a\x00",
        b"\x8a\x7e\x00\x7e",
        b"\x81\x7e\x00\x7d",
        b"\x81\x7f\x00\x00\x00\x00\x00\x00\xff\xff",
        b"\x81\x7f\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x82\x00",
        b"\x89\x00",
        b"\x80\x00",
        b"\x01\x00\x81\x00",
        b"\x81\x01\xff",
        b"\x88\x01\x03",
        b"\x88\x00\x81\x00",
    ];
    for wrong in wrong {
        assert!(decode(wrong, Decoder::message).is_err(), "{}", wrong.escape_ascii());
    }
}

#[test]
fn encoded_frames_announce_their_lengths_in_the_fewest_bytes() {
    for (length, header) in [(0, 2), (125, 2), (126, 4), (65_535, 4), (65_536, 10)] {
        let mut bytes = Vec::new();
        codec::write_frame(true, codec::TEXT, &vec![b'a'; length], [0; 4], &mut bytes);
        assert_eq!(bytes.len(), header + 4 + length);
        // Without the bit and the key of the mask it is a server's frame.
        bytes[1] &= 0x7f;
        bytes.drain(header..header + 4);
        let frame = Frame { is_final: true, opcode: codec::TEXT, payload: vec![b'a'; length] };
        assert_eq!(decode(&bytes, Decoder::frame), Ok((vec![frame], true)));
    }
}

#[test]
fn requests_are_encoded_as_http_has_them() {
    assert_eq!(codec::post("{}"), "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}");
    let mut bytes = Vec::new();
    for chunk in [&b"0123456789abcdef"[..], b"", b"x"] {
        codec::write_chunk(chunk, ";e", &mut bytes);
    }
    assert_eq!(bytes, b"10;e\r\n0123456789abcdef\r\n1;e\r\nx\r\n");
}
