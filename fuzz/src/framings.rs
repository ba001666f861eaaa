//! Each framing by itself: what is decoded does not depend on the chunks in which a stream arrives.

use vmherd::internals::buffer::Buffer;
use vmherd::internals::clock::{HttpDate, UnixSeconds};
use vmherd::internals::dialect::text::{TextCommand, decode_line};
use vmherd::internals::framing::http::{
    self, Authorization, BodyBytesMax, ContentType, Http, HttpListener, Status,
};
use vmherd::internals::framing::raw_json::{self, RawJson};
use vmherd::internals::framing::text::{self, Text};
use vmherd::internals::framing::websocket::{self, WebSocket};

use crate::decisions::Decisions;
use crate::replies;

/// Four decisions, and a stream of raw JSON.
pub fn raw_json(input: &[u8]) {
    compare(input, replay_raw_json);
}

/// Four decisions, and lines of metrics text, which are then decoded.
pub fn text(input: &[u8]) {
    compare(input, replay_text);
}

/// Four decisions, and a stream of HTTP, once and twice: the second time its heads are known.
pub fn http(input: &[u8]) {
    compare(input, replay_http);
    let (_, stream) = Decisions::split_off(input, 4);
    replay_http(&[&[stream, stream].concat()]);
}

/// Four decisions, and what a WebSocket client sends.
pub fn websocket(input: &[u8]) {
    compare(input, replay_websocket);
}

/// The events found in a stream, as text, and the output.
#[derive(PartialEq, Eq, Debug, Default)]
struct Found {
    events: Vec<String>,
    output: Vec<u8>,
}

fn compare(input: &[u8], replay: fn(&[&[u8]]) -> Found) {
    let (mut decisions, stream) = Decisions::split_off(input, 4);
    let whole = replay(&[stream]);
    let cut = replay(&decisions.cut(stream));
    assert!(whole == cut, "{} whole, but {} in chunks", shown(&whole), shown(&cut));
}

fn shown(found: &Found) -> String {
    format!("{:?} and {}", found.events, found.output.escape_ascii())
}

fn replay_raw_json(chunks: &[&[u8]]) -> Found {
    let (mut framing, mut input, mut found) = (RawJson::default(), Buffer::new(), Found::default());
    for chunk in chunks {
        input.push(chunk);
        loop {
            let event = framing.next(&mut input, BYTES_MAX);
            match event {
                raw_json::JsonEvent::NeedMore => break,
                raw_json::JsonEvent::Message(length) => {
                    let message = &input.as_slice()[..length];
                    assert!(length <= BYTES_MAX && matches!(message[0], b'{' | b'['));
                    found.events.push(message.escape_ascii().to_string());
                    input.consume(length);
                }
                raw_json::JsonEvent::Stray(byte) => found.events.push(format!("stray {byte}")),
                raw_json::JsonEvent::HttpLine | raw_json::JsonEvent::TooLarge => {
                    found.events.push(format!("{event:?}"));
                    return found;
                }
            }
        }
        assert_eq!(
            framing.is_inside_message(),
            framing.is_inside_message() && framing.incomplete().is_some()
        );
        assert!(input.len() <= BYTES_MAX, "more is held than a message may have");
    }
    found.events.push(format!("inside: {}", framing.is_inside_message()));
    found
}

fn replay_text(chunks: &[&[u8]]) -> Found {
    let (mut framing, mut input, mut found) = (Text::default(), Buffer::new(), Found::default());
    for chunk in chunks {
        input.push(chunk);
        loop {
            let event = framing.next(&mut input);
            assert_eq!(framing.next(&mut input), event, "what is not consumed is found again");
            match event {
                text::LineEvent::NeedMore => break,
                text::LineEvent::Line(length) => {
                    let line = std::str::from_utf8(&input.as_slice()[..length]).expect("lines are UTF-8");
                    assert!((1..=vmherd::internals::limits::TEXT_LINE_BYTES_MAX).contains(&length));
                    found.events.push(normalize(line));
                    framing.consume(&mut input, length);
                }
                text::LineEvent::HttpLine | text::LineEvent::TooLong | text::LineEvent::BadText => {
                    found.events.push(format!("{event:?}"));
                    return found;
                }
            }
        }
        assert_eq!(framing.is_inside_line(), framing.incomplete().is_some());
        assert!(
            input.len() <= vmherd::internals::limits::TEXT_LINE_BYTES_MAX + 1,
            "more is held than a line may have"
        );
    }
    found.events.push(format!("inside: {}", framing.is_inside_line()));
    found
}

/// Decodes a line, and writes it in its shortest form, which must decode to the same.
fn normalize(line: &str) -> String {
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

/// What a connection finds, which does not depend on the heads that its listener knows.
fn replay_http(chunks: &[&[u8]]) -> Found {
    let (found, without) = (replay_http_with(chunks, true), replay_http_with(chunks, false));
    assert!(found == without, "{}, but {} without known heads", shown(&found), shown(&without));
    found
}

fn replay_http_with(chunks: &[&[u8]], keeps_heads: bool) -> Found {
    let (mut framing, mut found) = (Http::default(), Found::default());
    let mut listener = HttpListener::default();
    let (mut input, mut output) = (Buffer::new(), Buffer::new());
    'all: for chunk in chunks {
        input.push(chunk);
        loop {
            if !keeps_heads {
                listener = HttpListener::default();
            }
            let event = framing.next(&mut input, &mut output, BODY_BYTES_MAX, &listener);
            let status = match event {
                http::HttpEvent::NeedMore => break,
                http::HttpEvent::Message => {
                    let authorization = framing.take_authorization();
                    let body = framing.body(&input);
                    assert!(body.len() <= BYTES_MAX);
                    let from = match authorization {
                        Authorization::Bearer(token) => token.expose().to_owned(),
                        other => format!("{other:?}"),
                    };
                    found.events.push(format!("{from}: {}", body.escape_ascii()));
                    framing.consume(&mut input);
                    Status::Ok
                }
                http::HttpEvent::Page(page) => {
                    found.events.push(format!("{page:?}"));
                    Status::Ok
                }
                http::HttpEvent::Web(resource, query) => {
                    let credentials = framing.take_authorization();
                    found.events.push(format!("{resource:?} {query:?} {credentials:?}"));
                    Status::Ok
                }
                http::HttpEvent::Options(methods) => {
                    found.events.push(methods.as_str().to_owned());
                    Status::Ok
                }
                http::HttpEvent::Upgrade(key) => {
                    let rest = input.as_slice();
                    found.events.push(format!("{}", key.as_bytes().escape_ascii()));
                    assert!(
                        chunks.len() > 1 || chunks[0].ends_with(rest),
                        "it consumes input after the handshake"
                    );
                    break 'all;
                }
                http::HttpEvent::Refused(refused) => {
                    found.events.push(format!("{refused:?}"));
                    refused.status
                }
            };
            let write = |bytes: &mut Vec<u8>| bytes.extend_from_slice(b"{}\n");
            framing.exchange.write_whole(status, ContentType::Json, &date(), &mut output, write);
            if framing.exchange.closes {
                let after = framing.next(&mut input, &mut output, BODY_BYTES_MAX, &listener);
                assert_eq!(after, http::HttpEvent::NeedMore, "input after the end is ignored");
                found.events.push("closes".to_owned());
                break 'all;
            }
        }
        assert!(input.len() <= BYTES_MAX.max(HEAD_BYTES_MAX), "more is held than a request may have");
        assert_eq!(framing.incomplete().is_some(), framing.is_inside_message());
    }
    if found.events.last().is_none_or(|last| last != "closes") {
        found.events.push(format!("inside: {}", framing.is_inside_message()));
    }
    found.output.extend_from_slice(output.as_slice());
    replies::responses(&found.output, true).expect("the output is HTTP");
    found
}

fn replay_websocket(chunks: &[&[u8]]) -> Found {
    let (mut framing, mut found) = (WebSocket::default(), Found::default());
    let (mut input, mut output) = (Buffer::new(), Buffer::new());
    'all: for chunk in chunks {
        input.push(chunk);
        loop {
            let event = framing.next(&mut input, &mut output, BYTES_MAX);
            match event {
                websocket::WebSocketEvent::NeedMore => break,
                websocket::WebSocketEvent::Message(_) => {
                    let message = framing.message(&input);
                    assert!(message.len() <= BYTES_MAX);
                    found.events.push(String::from_utf8(message.to_vec()).expect("text is UTF-8"));
                    framing.consume(&mut input);
                }
                websocket::WebSocketEvent::Frame => found.events.push("a frame".to_owned()),
                websocket::WebSocketEvent::Closed | websocket::WebSocketEvent::Failed(_) => {
                    found.events.push(format!("{event:?}"));
                    break 'all;
                }
            }
        }
        assert_eq!(framing.incomplete().is_some(), framing.is_inside_message());
    }
    found.events.push(format!("inside: {}", framing.is_inside_message()));
    found.output.extend_from_slice(output.as_slice());
    replies::messages(&found.output).expect("the output is WebSocket");
    found
}

/// Bytes of a message.
const BYTES_MAX: usize = 1000;
/// Bytes of a body.
const BODY_BYTES_MAX: BodyBytesMax = BodyBytesMax { direct: BYTES_MAX, forwarded: BYTES_MAX };
/// The longest head of HTTP, and one read.
const HEAD_BYTES_MAX: usize = vmherd::internals::limits::HTTP_HEAD_BYTES_MAX + (1 << 14) + 512;
