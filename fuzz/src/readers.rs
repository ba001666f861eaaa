//! The two readers of JSON are one grammar: what the quick one takes, the full one takes with the same result.

use serde_json::Value;
use vmherd::internals::buffer::Buffer;
use vmherd::internals::dialect::{decode_front, decode_in_full, decode_json, ping_length, read_plain_puts};
use vmherd::internals::framing::raw_json::{JsonEvent, RawJson};
use vmherd::internals::model::{Command, CommandName, Dialect, Put, Request};

use crate::dialects;

/// A byte that chooses what comes before the rest, and the rest of a stream of requests.
pub fn readers(input: &[u8]) {
    let Some((choice, rest)) = input.split_first() else { return };
    let beginnings: [&[u8]; 4] =
        [b"", b"{\"command\":", b"{\"action\":", b"{\"command\":\"put\",\"data\":{\"points\":["];
    let mut stream = [beginnings[usize::from(choice % 4)], rest].concat();
    check(&stream);
    while let Some(length) = check_front(&stream) {
        stream.drain(..length);
    }
}

/// A whole message is the same request to both, or the same error.
fn check(text: &[u8]) {
    let customs = dialects::customs();
    let read = decode_json(text, &customs);
    assert_eq!(read, decode_in_full(text, &customs));
    if let Ok(request) = read {
        check_points(text, &request);
    }
}

/// The length of the message that the quick reader takes: the same that the framing cuts off.
fn check_front(stream: &[u8]) -> Option<usize> {
    if let Some(length) = ping_length(stream) {
        // The framing skips white space before a message.
        let ping = decode_in_full(stream[..length].trim_ascii_start(), &dialects::customs());
        assert_eq!(ping, Ok(Box::new(Request::ping())));
    }
    check_puts(stream);
    let (length, read) = decode_front(stream, &dialects::customs())?;
    let mut input = Buffer::new();
    input.push(stream);
    assert_eq!(RawJson::default().next(&mut input, stream.len()), JsonEvent::Message(length));
    assert_eq!(read, decode_in_full(&stream[..length], &dialects::customs()));
    check(&stream[..length]);
    Some(length)
}

/// Puts of one point that are read together are the same, one by one, to the full reader.
fn check_puts(stream: &[u8]) {
    let mut points = Vec::new();
    let mut messages = &stream[..read_plain_puts(stream, &mut points)];
    for point in points {
        let mut input = Buffer::new();
        input.push(messages);
        let JsonEvent::Message(length) = RawJson::default().next(&mut input, messages.len()) else {
            panic!("the framing finds another message");
        };
        let Ok(request) = decode_in_full(&input.as_slice()[..length], &dialects::customs()) else {
            panic!("the full reader does not take it");
        };
        let put = Put { points: vec![point], undated: Vec::new(), is_atomic: true };
        let plain = Request::new(Dialect::Command, CommandName::Put, Ok(Command::Put(put)));
        assert_eq!(*request, plain);
        messages = &messages[messages.len() - input.len() + length..];
    }
    assert!(messages.is_empty(), "there are more messages than points");
}

/// The points are those that another reader of JSON finds.
fn check_points(text: &[u8], request: &Request) {
    let Ok(Command::Put(put)) = &request.command else { return };
    // It refuses half a pair of surrogates, which may stand in a token.
    let Ok(value) = serde_json::from_slice::<Value>(text) else { return };
    let Some(points) = value["data"]["points"].as_array() else { return };
    assert_eq!(points.len(), put.points.len());
    for (index, (given, new)) in points.iter().zip(&put.points).enumerate() {
        assert_eq!(given["key"], new.key.as_str());
        assert_eq!(given["value"].as_f64(), Some(new.point.value.get()));
        match given.get("timestamp") {
            Some(timestamp) => assert_eq!(timestamp.as_i64(), Some(new.point.timestamp)),
            None => assert!(put.undated.contains(&index)),
        }
    }
}
