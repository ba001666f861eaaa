//! Requests without an end, and those over their limit.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::common::{DEADLINE, Daemon};
use crate::load::{Before, Witness, alone, best_of_three};

/// Bytes that a client means to send.
const ENDLESS: usize = 1 << 30;
/// Bytes of a request that a listener takes which is open to strangers.
const OPEN_MAX: usize = 1 << 20;
/// The same on one that is not.
const CLOSED_MAX: usize = 64 << 10;
/// Bytes that are read and forgotten after the error, and what the sockets' buffers hold besides.
const FORGOTTEN_MAX: usize = (64 << 20) + (32 << 20);
/// How much the daemon may grow meanwhile.
const GROWTH_KIB_MAX: u64 = 4 << 10;
/// Allocators keep a little.
const KEPT_KIB_MAX: u64 = 1 << 10;

/// How endless requests go on.
const ENDLESS_REQUESTS: [(&str, &str, &str); 6] = [
    ("a string", "{\"command\":\"ping\",\"data\":{\"a\":\"", "xxxxxxxxxxxxxxx"),
    ("a string of escapes", "{\"", "\\\"\\\\"),
    ("white space", "{", " \n\t"),
    ("objects in objects", "", "{\"a\":"),
    ("arrays in arrays", "", "["),
    ("values", "[", "{},[],1,\"}\","),
];

/// What is sent after a byte that begins no request.
const RUBBISH: &str = "}}}\"\"{{{ \0\u{fe}";

#[test]
fn a_request_without_an_end_is_cut_off() {
    let _alone = alone();
    best_of_three("1 GiB without an end", || {
        let daemon = two_listeners();
        let witness = Witness::start(&daemon);
        let before = Before::of(&daemon);
        for (address, bytes_max) in daemon.addresses().iter().zip([OPEN_MAX, CLOSED_MAX]) {
            for (what, start, more) in ENDLESS_REQUESTS {
                let flood = Flood::send(*address, start, more);
                let text = flood.error();
                assert!(text.contains(&bytes_max.to_string()), "{what}: {text}");
                let most = bytes_max + FORGOTTEN_MAX;
                assert!(flood.sent < most, "{what}: {} bytes were taken", flood.sent);
                assert!(flood.sent >= bytes_max, "{what}: cut off after {} bytes", flood.sent);
            }
        }
        let grown_kib = before.peak_growth_kib(&daemon);
        assert!(grown_kib < GROWTH_KIB_MAX, "the daemon grew by {grown_kib} KiB");
        before.expect_back(&daemon, KEPT_KIB_MAX);
        witness.finish()
    });
}

#[test]
fn garbage_without_a_line_break_gets_one_error_and_the_deadline() {
    let _alone = alone();
    best_of_three("rubbish without an end", || {
        let daemon = Daemon::builder().args(["--request-timeout", "1s"]).start();
        let witness = Witness::start(&daemon);
        let before = Before::of(&daemon);
        let flood = Flood::send(daemon.address(), "{}", RUBBISH);
        assert_eq!(flood.lines.len(), 3, "{:?}", flood.lines);
        assert!(message(&flood.lines[1]).starts_with("Invalid JSON: "), "{:?}", flood.lines);
        assert!(flood.error().contains("timeout"), "{:?}", flood.lines);
        assert!(flood.took < Duration::from_secs(5), "it took {:?}", flood.took);
        let grown_kib = before.peak_growth_kib(&daemon);
        assert!(grown_kib < GROWTH_KIB_MAX, "the daemon grew by {grown_kib} KiB");
        before.expect_back(&daemon, KEPT_KIB_MAX);
        witness.finish()
    });
}

#[test]
fn white_space_between_requests_costs_nothing() {
    const BLANK: usize = 64 << 20;
    let _alone = alone();
    best_of_three("64 MiB of white space", || {
        let daemon = Daemon::start();
        let witness = Witness::start(&daemon);
        let before = Before::of(&daemon);
        let mut client = daemon.client();
        client.ping();
        let blank = " \r\n\t".repeat(16 << 10);
        for _ in 0..BLANK / blank.len() {
            client.send(&blank);
        }
        client.ping();
        let grown_kib = before.peak_growth_kib(&daemon);
        assert!(grown_kib < 1 << 10, "the daemon grew by {grown_kib} KiB");
        drop(client);
        before.expect_back(&daemon, KEPT_KIB_MAX);
        witness.finish()
    });
}

#[test]
fn the_request_limit_is_exact_and_closes_the_connection_cleanly() {
    let _alone = alone();
    let daemon = two_listeners();
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
        // What is sent after it is not read as a request, and does not take the error's place.
        client.send("{\"command\":\"ping\",\"data\":{}}");
        client.half_close();
        client.expect_closed();
    }
}

/// One that is open to strangers and one that is not.
fn two_listeners() -> Daemon {
    Daemon::builder().listen("tcp://0.0.0.0:0").arg("--allow-plaintext").start()
}

/// A client that sends without an end, reads meanwhile, and goes on until it is thrown out.
pub(crate) struct Flood {
    pub(crate) sent: usize,
    pub(crate) took: Duration,
    pub(crate) lines: Vec<String>,
}

impl Flood {
    #[track_caller]
    pub(crate) fn send(address: SocketAddr, start: &str, more: &str) -> Flood {
        let begin = Instant::now();
        let mut stream = TcpStream::connect_timeout(&address, DEADLINE).expect("the daemon accepts");
        stream.set_write_timeout(Some(DEADLINE)).expect("a socket option");
        stream.set_read_timeout(Some(DEADLINE)).expect("a socket option");
        let reader = std::thread::spawn({
            let stream = stream.try_clone().expect("a socket can be shared");
            move || read_lines(stream)
        });
        let chunk = more.repeat((64 << 10) / more.len());
        let mut sent = 0;
        let mut next = start.to_owned() + &chunk;
        while sent < ENDLESS {
            match stream.write(next.as_bytes()) {
                Ok(count) => sent += count,
                Err(error) => {
                    let kind = error.kind();
                    let is_thrown_out = matches!(kind, ErrorKind::BrokenPipe | ErrorKind::ConnectionReset);
                    assert!(is_thrown_out, "after {sent} bytes: {error}");
                    break;
                }
            }
            next.clear();
            next.push_str(&chunk);
        }
        let lines = reader.join().expect("the reader does not panic");
        Flood { sent, took: begin.elapsed(), lines }
    }

    /// The last words, which must be an error.
    #[track_caller]
    fn error(&self) -> String {
        message(self.lines.last().expect("an error comes before the end"))
    }
}

/// The whole lines that come before the end, whatever the end is.
fn read_lines(stream: TcpStream) -> Vec<String> {
    let mut reader = BufReader::new(stream);
    let (mut lines, mut line) = (Vec::new(), String::new());
    while matches!(reader.read_line(&mut line), Ok(length) if length > 0) {
        lines.push(std::mem::take(&mut line));
    }
    let _ = reader.read(&mut [0]);
    lines
}

#[track_caller]
fn message(line: &str) -> String {
    let reply: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
    assert_eq!(reply["status"], json!("error"), "{reply}");
    reply["message"].as_str().expect("an error has a message").to_owned()
}
