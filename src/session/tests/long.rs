//! In each framing, long messages are decoded by a worker, and later messages wait.

use super::*;
use crate::model::{CustomCommands, Dialect};

/// How to open a connection of one framing, and send a message.
pub(super) struct Transport {
    pub(super) name: &'static str,
    pub(super) opening: &'static str,
    pub(super) send: fn(&str) -> Vec<u8>,
}

pub(super) const TRANSPORTS: &[Transport] = &[
    Transport { name: "raw JSON", opening: "", send: |text| text.as_bytes().to_vec() },
    #[cfg(feature = "http")]
    Transport {
        name: "HTTP",
        opening: "",
        send: |text| {
            let length = text.len();
            format!("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{text}")
                .into_bytes()
        },
    },
    #[cfg(feature = "http")]
    Transport {
        name: "chunked HTTP",
        opening: "",
        send: |text| {
            let head = "POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
            let (start, end) = text.split_at(text.len() / 2);
            format!("{head}{:x}\r\n{start}\r\n{:x}\r\n{end}\r\n0\r\n\r\n", start.len(), end.len())
                .into_bytes()
        },
    },
    #[cfg(feature = "websocket")]
    Transport { name: "WebSocket", opening: HANDSHAKE, send: |text| frame(0x81, text.as_bytes()) },
    #[cfg(feature = "websocket")]
    Transport {
        name: "fragmented WebSocket",
        opening: HANDSHAKE,
        send: |text| {
            let (start, end) = text.split_at(text.len() / 2);
            [frame(0x01, start.as_bytes()), frame(0x80, end.as_bytes())].concat()
        },
    },
];

#[cfg(feature = "websocket")]
const HANDSHAKE: &str = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// A client's WebSocket frame with this first byte; the mask is zero.
#[cfg(feature = "websocket")]
pub(super) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        short @ ..126 => frame.push(0x80 | short as u8),
        medium @ ..0x1_0000 => {
            frame.push(0x80 | 126);
            frame.extend((medium as u16).to_be_bytes());
        }
        long => {
            frame.push(0x80 | 127);
            frame.extend((long as u64).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

/// A ping of `bytes` bytes.
fn ping_of(bytes: usize) -> String {
    let (head, tail) = ("{\"command\": \"ping\", \"data\": {\"token\": \"", "\"}}");
    format!("{head}{}{tail}", "x".repeat(bytes - head.len() - tail.len()))
}

impl Bench {
    /// A connection of this framing.
    pub(super) fn of(transport: &Transport) -> Bench {
        let mut bench = Bench::new();
        bench.input.push(transport.opening.as_bytes());
        bench.waits_for_input();
        bench.output.clear();
        bench
    }

    fn opened(transport: &Transport) -> Bench {
        let mut bench = Bench::of(transport);
        bench.rules.inline_bytes_max = 200;
        bench
    }

    fn decode(&mut self) -> (RequestSeq, LongMessage) {
        match self.next() {
            Step::Decode(seq, message) => (seq, message),
            step => panic!("expected a long message, got {step:?}"),
        }
    }
}

/// The result of decoding `message`.
fn decoded(message: &LongMessage) -> Result<Box<Request>, Refusal> {
    let customs = CustomCommands::default();
    crate::dialect::decode_message(message.text.as_slice(), message.path, &customs)
}

#[test]
fn a_message_over_the_inline_limit_goes_to_a_worker_in_each_framing() {
    for transport in TRANSPORTS {
        let mut bench = Bench::opened(transport);
        let most = bench.rules.inline_bytes_max;
        bench.input.push(&(transport.send)(&ping_of(most)));
        let (seq, name) = bench.call();
        assert_eq!(name, CommandName::Ping, "{}", transport.name);
        bench.answer(seq);
        bench.output.clear();

        let long = ping_of(most + 1);
        bench.input.push(&(transport.send)(&long));
        bench.input.push(&(transport.send)(LOGOUT));
        let (decoding, message) = bench.decode();
        assert_eq!(message.text.as_slice(), long.as_bytes(), "{}", transport.name);
        bench.is_blocked();
        assert_eq!(bench.session.open_count(), 1, "{}", transport.name);
        bench.session.decoded(decoding, decoded(&message));
        let (seq, name) = bench.call();
        assert_eq!(name, CommandName::Ping, "{}", transport.name);
        bench.answer(seq);
        let (_, name) = bench.call();
        assert_eq!(name, CommandName::Logout, "{}: the next message follows", transport.name);
    }
}

#[test]
fn a_failed_decode_is_refused_and_the_next_message_runs() {
    for transport in TRANSPORTS {
        let mut bench = Bench::opened(transport);
        bench.input.push(&(transport.send)(&ping_of(bench.rules.inline_bytes_max + 1)));
        bench.input.push(&(transport.send)(PING));
        let (decoding, _) = bench.decode();
        let busy = Refusal { dialect: Dialect::Command, id: None, failure: Failure::Busy };
        bench.session.decoded(decoding, Err(busy));
        let (seq, _) = bench.call();
        let output = String::from_utf8_lossy(bench.output.as_slice()).into_owned();
        assert!(
            output.contains(r#"{"status":"error","message":"busy","data":{}}"#),
            "{}: {output}",
            transport.name
        );
        let is_http = transport.name.ends_with("HTTP");
        assert_eq!(output.starts_with("HTTP/1.1 503 "), is_http, "{output}");
        bench.answer(seq);
    }
}

#[test]
fn a_late_decode_is_ignored() {
    let mut bench = Bench::opened(&TRANSPORTS[0]);
    bench.input.push(ping_of(bench.rules.inline_bytes_max + 1).as_bytes());
    let (decoding, message) = bench.decode();
    let decoded = || decoded(&message);
    bench.session.decoded(RequestSeq(decoding.0 + 1), decoded());
    bench.is_blocked();
    bench.session.begin_drain(&bench.input);
    bench.ends(Ending::Linger);
    bench.session.decoded(decoding, decoded());
    bench.ends(Ending::Linger);
    assert!(bench.output.is_empty());
}

#[test]
#[cfg(feature = "http")]
fn the_authorization_of_a_long_message_applies_to_its_body() {
    let mut bench = Bench::opened(&TRANSPORTS[0]);
    let body = ping_of(bench.rules.inline_bytes_max + 1).replace("ping", "list");
    let head = "POST / HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic QQ==\r\nContent-Length: ";
    bench.input.push(format!("{head}{}\r\n\r\n{body}", body.len()).as_bytes());
    let (decoding, message) = bench.decode();
    bench.session.decoded(decoding, decoded(&message));
    bench.waits_for_input();
    let output = String::from_utf8_lossy(bench.output.as_slice()).into_owned();
    assert!(output.starts_with("HTTP/1.1 401 "), "{output}");
}
