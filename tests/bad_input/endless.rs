//! Requests without an end, and those over their limit.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};

use crate::common::{Builder, DEADLINE, Daemon};
use crate::flood::Flood;
use crate::overload::{MemoryBounds, alone, attack_in_bounds};

/// Bytes of a request, at most, on a listener that is open to anonymous clients.
const OPEN_MAX: usize = 1 << 20;
/// The same on a closed listener.
const CLOSED_MAX: usize = 64 << 10;
/// Bytes that the daemon discards after the error, and those in the sockets' buffers.
const FORGOTTEN_MAX: usize = (64 << 20) + (32 << 20);
/// The memory of a request; allocators keep a little.
const BOUNDS: MemoryBounds = MemoryBounds { peak_kib: 4 << 10, kept_kib: 1 << 10 };

/// What endless requests are made of, how they begin and how they go on.
const ENDLESS_REQUESTS: [(&str, &str, &str); 6] = [
    ("a string", "{\"command\":\"ping\",\"data\":{\"a\":\"", "xxxxxxxxxxxxxxx"),
    ("a string of escapes", "{\"", "\\\"\\\\"),
    ("white space", "{", " \n\t"),
    ("objects in objects", "", "{\"a\":"),
    ("arrays in arrays", "", "["),
    ("values", "[", "{},[],1,\"}\","),
];

/// What is sent after a byte that begins no request.
const GARBAGE: &str = "}}}\"\"{{{ \0\u{fe}";

#[test]
fn a_request_without_an_end_is_cut_off() {
    let _alone = alone();
    attack_in_bounds("1 GiB without an end", BOUNDS, two_listeners, |daemon| {
        for (address, bytes_max) in daemon.addresses().iter().zip([OPEN_MAX, CLOSED_MAX]) {
            for (what, start, more) in ENDLESS_REQUESTS {
                let flood = flood(*address, start, more);
                let text = last_error(&flood);
                assert!(text.contains(&bytes_max.to_string()), "{what}: {text}");
                let most = bytes_max + FORGOTTEN_MAX;
                assert!(flood.sent < most, "{what}: {} bytes were taken", flood.sent);
                assert!(flood.sent >= bytes_max, "{what}: cut off after {} bytes", flood.sent);
            }
        }
    });
}

#[test]
fn garbage_without_a_line_break_gets_one_error_and_the_deadline() {
    let _alone = alone();
    let build = || Daemon::builder().args(["--request-timeout", "1s"]);
    attack_in_bounds("garbage without an end", BOUNDS, build, |daemon| {
        let flood = flood(daemon.address(), "{}", GARBAGE);
        let lines = flood.lines();
        assert_eq!(lines.len(), 3, "{lines:?}");
        assert!(message(&lines[1]).starts_with("Invalid JSON: "), "{lines:?}");
        assert!(last_error(&flood).contains("timeout"), "{lines:?}");
        assert!(flood.took < Duration::from_secs(5), "it took {:?}", flood.took);
    });
}

#[test]
fn white_space_between_requests_costs_nothing() {
    const BLANK: usize = 64 << 20;
    let _alone = alone();
    let bounds = MemoryBounds { peak_kib: 1 << 10, ..BOUNDS };
    attack_in_bounds("64 MiB of white space", bounds, Daemon::builder, |daemon| {
        let mut client = daemon.client();
        client.ping();
        let blank = " \r\n\t".repeat(16 << 10);
        for _ in 0..BLANK / blank.len() {
            client.send(&blank);
        }
        client.ping();
    });
}

#[test]
fn the_request_limit_is_exact_and_closes_the_connection_cleanly() {
    let _alone = alone();
    let daemon = two_listeners().start();
    for (address, bytes_max) in daemon.addresses().iter().zip([OPEN_MAX, CLOSED_MAX]) {
        let request = |length: usize| {
            let (start, end) = ("{\"command\":\"ping\",\"data\":{}", "}");
            format!("{start}{}{end}", " ".repeat(length - start.len() - end.len()))
        };
        let mut client = crate::common::Client::connect(*address);
        client.send(&request(bytes_max));
        assert_eq!(client.reply()["message"], "PONG");
        client.send(&request(bytes_max + 1));
        assert!(client.error().contains(&bytes_max.to_string()));
        // Input after it is not read as a request, and does not replace the error.
        client.send("{\"command\":\"ping\",\"data\":{}}");
        client.half_close();
        client.expect_closed();
    }
}

/// A daemon with an open listener and a closed one.
fn two_listeners() -> Builder {
    Daemon::builder().listen("tcp://0.0.0.0:0").arg("--allow-plaintext")
}

/// Sends text without an end to the daemon at `address`.
#[track_caller]
pub(crate) fn flood(address: SocketAddr, start: &str, more: &str) -> Flood {
    let stream = TcpStream::connect_timeout(&address, DEADLINE).expect("the daemon accepts");
    stream.set_write_timeout(Some(DEADLINE)).expect("a socket option");
    stream.set_read_timeout(Some(DEADLINE)).expect("a socket option");
    Flood::send(stream, start.as_bytes(), more.as_bytes())
}

/// The message of the last line, which must be an error.
#[track_caller]
fn last_error(flood: &Flood) -> String {
    message(flood.lines().last().expect("an error comes before the end"))
}

#[track_caller]
fn message(line: &str) -> String {
    let reply: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
    assert_eq!(reply["status"], json!("error"), "{reply}");
    reply["message"].as_str().expect("an error has a message").to_owned()
}
