//! Each framing by itself: what comes out of a stream does not depend on the pieces in which it came.

use vmherd::internals::buffer::Buffer;
use vmherd::internals::clock::{HttpDate, UnixSeconds};
use vmherd::internals::dialect::text::{TextCommand, decode_line};
use vmherd::internals::framing::http::{self, Authorization, ContentType, Http, HttpRules, Status};
use vmherd::internals::framing::raw_json::{self, RawJson};
use vmherd::internals::framing::text::{self, Text};
use vmherd::internals::framing::websocket::{self, WebSocket};

use crate::pieces::Decisions;
use crate::wire;

/// Four bytes that cut, and a stream of raw JSON.
pub fn raw_json(input: &[u8]) {
    compare(input, replay_raw_json);
}

/// Four bytes that cut, and lines of metrics text, which are then read.
pub fn text(input: &[u8]) {
    compare(input, replay_text);
}

/// Four bytes that cut, and a stream of HTTP.
pub fn http(input: &[u8]) {
    compare(input, replay_http);
}

/// Four bytes that cut, and what a client of WebSocket sends.
pub fn websocket(input: &[u8]) {
    compare(input, replay_websocket);
}

/// What was found in a stream, in words, and what was written meanwhile.
#[derive(PartialEq, Eq, Debug, Default)]
struct Found {
    pieces: Vec<String>,
    output: Vec<u8>,
}

fn compare(input: &[u8], replay: fn(&[&[u8]]) -> Found) {
    let (mut decisions, stream) = Decisions::split_off(input, 4);
    let whole = replay(&[stream]);
    let cut = replay(&decisions.cut(stream));
    assert!(whole == cut, "{} whole, but {} in pieces", shown(&whole), shown(&cut));
}

fn shown(found: &Found) -> String {
    format!("{:?} and {}", found.pieces, found.output.escape_ascii())
}

fn replay_raw_json(chunks: &[&[u8]]) -> Found {
    let (mut framing, mut input, mut found) = (RawJson::default(), Buffer::new(), Found::default());
    for chunk in chunks {
        input.push(chunk);
        loop {
            let piece = framing.next(&mut input, BYTES_MAX);
            match piece {
                raw_json::JsonEvent::NeedMore => break,
                raw_json::JsonEvent::Message(length) => {
                    let message = &input.as_slice()[..length];
                    assert!(length <= BYTES_MAX && matches!(message[0], b'{' | b'['));
                    found.pieces.push(message.escape_ascii().to_string());
                    input.consume(length);
                }
                raw_json::JsonEvent::Stray(byte) => found.pieces.push(format!("stray {byte}")),
                raw_json::JsonEvent::HttpLine | raw_json::JsonEvent::TooLarge => {
                    found.pieces.push(format!("{piece:?}"));
                    return found;
                }
            }
        }
        assert_eq!(
            framing.is_inside_message(),
            framing.is_inside_message() && framing.unfinished().is_some()
        );
        assert!(input.len() <= BYTES_MAX, "more is held than a message may have");
    }
    found.pieces.push(format!("inside: {}", framing.is_inside_message()));
    found
}

fn replay_text(chunks: &[&[u8]]) -> Found {
    let (mut framing, mut input, mut found) = (Text::default(), Buffer::new(), Found::default());
    for chunk in chunks {
        input.push(chunk);
        loop {
            let piece = framing.next(&mut input);
            assert_eq!(framing.next(&mut input), piece, "what is not consumed is found again");
            match piece {
                text::LineEvent::NeedMore => break,
                text::LineEvent::Line(length) => {
                    let line = std::str::from_utf8(&input.as_slice()[..length]).expect("lines are UTF-8");
                    assert!((1..=vmherd::internals::limits::TEXT_LINE_BYTES_MAX).contains(&length));
                    found.pieces.push(said(line));
                    framing.consume(&mut input, length);
                }
                text::LineEvent::HttpLine | text::LineEvent::TooLong | text::LineEvent::BadText => {
                    found.pieces.push(format!("{piece:?}"));
                    return found;
                }
            }
        }
        assert_eq!(framing.is_inside_line(), framing.unfinished().is_some());
        assert!(
            input.len() <= vmherd::internals::limits::TEXT_LINE_BYTES_MAX + 1,
            "more is held than a line may have"
        );
    }
    found.pieces.push(format!("inside: {}", framing.is_inside_line()));
    found
}

/// What a line says; said again in the plainest words, it says the same.
fn said(line: &str) -> String {
    let read = decode_line(line.as_bytes());
    let again = match &read {
        Ok(TextCommand::Put(new)) => format!("put {} {} {}", new.key, new.point.value, new.point.timestamp),
        Ok(TextCommand::Get(filter)) => {
            format!("get {}", filter.key.as_ref().map_or("*", |key| key.as_str()))
        }
        Err(_) => return format!("{line:?} is wrong"),
    };
    assert_eq!(decode_line(again.as_bytes()), read, "{line:?} and {again:?}");
    again
}

fn date() -> HttpDate {
    HttpDate::new(UnixSeconds(0))
}

fn replay_http(chunks: &[&[u8]]) -> Found {
    let (mut framing, rules, mut found) = (Http::default(), HttpRules::default(), Found::default());
    let (mut input, mut output) = (Buffer::new(), Buffer::new());
    'all: for chunk in chunks {
        input.push(chunk);
        loop {
            let piece = framing.next(&mut input, &mut output, BYTES_MAX, &rules);
            let status = match piece {
                http::HttpEvent::NeedMore => break,
                http::HttpEvent::Message { authorization } => {
                    let body = framing.body(&input);
                    assert!(body.len() <= BYTES_MAX);
                    let from = match authorization {
                        Authorization::Bearer(token) => token.expose().to_owned(),
                        other => format!("{other:?}"),
                    };
                    found.pieces.push(format!("{from}: {}", body.escape_ascii()));
                    framing.consume(&mut input);
                    Status::Ok
                }
                http::HttpEvent::Page(page) => {
                    found.pieces.push(format!("{page:?}"));
                    Status::Ok
                }
                http::HttpEvent::Options(methods) => {
                    found.pieces.push(methods.to_owned());
                    Status::Ok
                }
                http::HttpEvent::Upgrade(key) => {
                    let rest = input.as_slice();
                    found.pieces.push(format!("{}", key.as_bytes().escape_ascii()));
                    assert!(chunks.len() > 1 || chunks[0].ends_with(rest), "it takes of what is not its own");
                    break 'all;
                }
                http::HttpEvent::Refused(refused) => {
                    found.pieces.push(format!("{refused:?}"));
                    refused.status
                }
            };
            framing.write_whole(status, ContentType::Json, &date(), b"{}\n", &mut output);
            if framing.closes() {
                let after = framing.next(&mut input, &mut output, BYTES_MAX, &rules);
                assert_eq!(after, http::HttpEvent::NeedMore, "nothing is looked at behind the end");
                found.pieces.push("closes".to_owned());
                break 'all;
            }
        }
        assert!(input.len() <= BYTES_MAX.max(HEAD_BYTES_MAX), "more is held than a request may have");
        assert_eq!(framing.unfinished().is_some(), framing.is_inside_message());
    }
    if found.pieces.last().is_none_or(|last| last != "closes") {
        found.pieces.push(format!("inside: {}", framing.is_inside_message()));
    }
    found.output.extend_from_slice(output.as_slice());
    wire::responses(&found.output, true).expect("what is written is HTTP");
    found
}

fn replay_websocket(chunks: &[&[u8]]) -> Found {
    let (mut framing, mut found) = (WebSocket::default(), Found::default());
    let (mut input, mut output) = (Buffer::new(), Buffer::new());
    'all: for chunk in chunks {
        input.push(chunk);
        loop {
            let piece = framing.next(&mut input, &mut output, BYTES_MAX);
            match piece {
                websocket::WebSocketEvent::NeedMore => break,
                websocket::WebSocketEvent::Message(_) => {
                    let message = framing.message(&input);
                    assert!(message.len() <= BYTES_MAX);
                    found.pieces.push(String::from_utf8(message.to_vec()).expect("text is UTF-8"));
                    framing.consume(&mut input);
                }
                websocket::WebSocketEvent::Frame => found.pieces.push("a frame".to_owned()),
                websocket::WebSocketEvent::Closed | websocket::WebSocketEvent::Failed(_) => {
                    found.pieces.push(format!("{piece:?}"));
                    break 'all;
                }
            }
        }
        assert_eq!(framing.unfinished().is_some(), framing.is_inside_message());
    }
    found.pieces.push(format!("inside: {}", framing.is_inside_message()));
    found.output.extend_from_slice(output.as_slice());
    wire::messages(&found.output).expect("what is written is WebSocket");
    found
}

/// Bytes of a message.
const BYTES_MAX: usize = 1000;
/// Bytes of a head of HTTP, and of one read.
const HEAD_BYTES_MAX: usize = vmherd::internals::limits::HTTP_HEAD_BYTES_MAX + (1 << 14) + 512;
