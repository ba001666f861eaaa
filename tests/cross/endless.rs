//! Heads, bodies, messages and frames without an end, in a daemon whose memory is watched.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::Daemon;
use crate::load::{Before, Witness, alone, best_of_three};
use crate::web::{HANDSHAKE, PING, PONG, TEXT, Web, frame, frame_head, is_reset};

/// Bytes that a client means to send.
const ENDLESS: usize = 1 << 30;
/// Bytes of a request.
const REQUEST_MAX: usize = 1 << 20;
/// Bytes that are read and forgotten after the error, and what the sockets' buffers hold besides.
const FORGOTTEN_MAX: usize = (64 << 20) + (32 << 20);
/// How much the daemon may grow meanwhile: a request in its buffer, which doubles, and the like.
const GROWTH_KIB_MAX: u64 = 4 << 10;
/// Allocators keep a little, and where a body grew by chunks what it grew out of.
const KEPT_KIB_MAX: u64 = 3 << 10;

/// What begins a stream, what it goes on with for ever, and what is said to it.
struct Endless {
    what: &'static str,
    start: Vec<u8>,
    more: Vec<u8>,
    says: &'static str,
}

impl Endless {
    fn new(
        what: &'static str,
        start: impl AsRef<[u8]>,
        more: impl AsRef<[u8]>,
        says: &'static str,
    ) -> Endless {
        let (start, more) = (start.as_ref().to_vec(), more.as_ref().to_vec());
        Endless { what, start, more, says }
    }
}

fn of_http() -> Vec<Endless> {
    let head = "POST / HTTP/1.1\r\nHost: localhost\r\n";
    let sized = |length: u64| format!("{head}Content-Length: {length}\r\n\r\n{{\"");
    let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n");
    let two_bytes = "2\r\nxx\r\n";
    vec![
        Endless::new("a target", "GET /", "x", "431"),
        Endless::new("a method", "POST /", " ", "431"),
        Endless::new("a header", format!("{head}X: "), "y", "431"),
        Endless::new("a header's name", head, "X", "431"),
        Endless::new("headers", head, "X: y\r\n", "431"),
        Endless::new(
            "blank lines behind a request",
            "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
            "\r\n",
            "400",
        ),
        Endless::new("what is no request behind a body", sized(1 << 20), "x", "431"),
        Endless::new("a body of a GiB", sized(1 << 30), "x", "413"),
        Endless::new("a body of as much as can be", sized(u64::MAX), "x", "413"),
        Endless::new("chunks", &chunked, format!("1000\r\n{}\r\n", "x".repeat(4096)), "413"),
        Endless::new("small chunks", &chunked, two_bytes, "413"),
        Endless::new("a chunk", format!("{chunked}ffffffff\r\n"), "x", "413"),
        Endless::new("a size of a chunk", &chunked, "0", "400"),
        Endless::new("an extension of a chunk", format!("{chunked}1;"), "x", "400"),
        Endless::new("extensions of chunks", &chunked, "1;abcdefghijkl\r\nx\r\n", "400"),
        Endless::new("a field behind chunks", format!("{chunked}0\r\nX: "), "y", "431"),
        Endless::new("fields behind chunks", format!("{chunked}0\r\n"), "X: y\r\n", "431"),
    ]
}

fn of_websocket() -> Vec<Endless> {
    let more = |payload: &str| frame(0, false, payload.as_bytes());
    let (opened, large) = (frame(TEXT, false, b"{\""), "x".repeat(4096));
    vec![
        Endless::new("a message of more than may be", frame_head(TEXT, true, (1 << 20) + 1), "x", "1009"),
        Endless::new("a message of 4 GiB", frame_head(TEXT, true, 1 << 32), "x", "1009"),
        Endless::new("a message of as much as can be", frame_head(TEXT, true, i64::MAX as u64), "x", "1009"),
        Endless::new("a length that can't be", frame_head(TEXT, true, 1 << 63), "x", "1002"),
        Endless::new("fragments", &opened, more(&large), "1009"),
        Endless::new("small fragments", &opened, more("x"), "1009"),
        Endless::new(
            "small fragments with pings",
            &opened,
            [more("x"), frame(PING, true, b"")].concat(),
            "1009",
        ),
    ]
}

/// What no size ends, since it has none.
fn of_no_size() -> Vec<Endless> {
    let opened = frame(TEXT, false, b"{\"");
    vec![
        Endless::new("empty fragments", &opened, frame(0, false, b""), "1008"),
        Endless::new("pings in a message", &opened, frame(PING, true, b"ping"), "1008"),
        Endless::new("pongs in a message", &opened, frame(PONG, true, &[b'x'; 125]), "1008"),
    ]
}

#[test]
fn http_without_an_end_is_cut_off() {
    let _alone = alone();
    best_of_three("HTTP without an end", || {
        let daemon = Daemon::start();
        let witness = Witness::start(&daemon);
        let before = Before::of(&daemon);
        for endless in of_http() {
            let Endless { what, says, .. } = endless;
            let flood = Flood::send(daemon.address(), "", &endless);
            let said = String::from_utf8_lossy(&flood.said);
            let last = said.rsplit("HTTP/1.1 ").next().unwrap_or_default();
            assert!(last.starts_with(says) && last.contains("Connection: close"), "{what}: {said:?}");
            // Small chunks take more than what they carry.
            assert!(flood.sent < 4 * REQUEST_MAX + FORGOTTEN_MAX, "{what}: {} bytes were taken", flood.sent);
        }
        let grown_kib = before.peak_growth_kib(&daemon);
        assert!(grown_kib < GROWTH_KIB_MAX, "the daemon grew by {grown_kib} KiB");
        before.expect_back(&daemon, KEPT_KIB_MAX);
        witness.finish()
    });
}

#[test]
fn messages_of_websocket_without_an_end_are_cut_off() {
    let _alone = alone();
    best_of_three("WebSocket without an end", || {
        let daemon = Daemon::start();
        let witness = Witness::start(&daemon);
        let before = Before::of(&daemon);
        for endless in of_websocket() {
            let Endless { what, .. } = endless;
            let flood = Flood::send(daemon.address(), HANDSHAKE, &endless);
            flood.expect_close(&endless);
            // Small fragments take more than what they carry.
            assert!(flood.sent < 14 * REQUEST_MAX + FORGOTTEN_MAX, "{what}: {} bytes were taken", flood.sent);
        }
        let grown_kib = before.peak_growth_kib(&daemon);
        assert!(grown_kib < GROWTH_KIB_MAX, "the daemon grew by {grown_kib} KiB");
        before.expect_back(&daemon, KEPT_KIB_MAX);
        witness.finish()
    });
}

#[test]
fn messages_that_never_end_are_timed_out() {
    let _alone = alone();
    best_of_three("WebSocket without an end or a size", || {
        let daemon = Daemon::builder().args(["--request-timeout", "1s"]).start();
        let witness = Witness::start(&daemon);
        let before = Before::of(&daemon);
        for endless in of_no_size() {
            let Endless { what, .. } = endless;
            let flood = Flood::send(daemon.address(), HANDSHAKE, &endless);
            flood.expect_close(&endless);
            // The timeout, as long again for whom we never catch up with, and then what is forgotten takes two
            // seconds at most.
            eprintln!("  {what}: {:.1?}", flood.took);
            assert!(flood.took >= Duration::from_secs(1), "{what}: it took {:?}", flood.took);
            assert!(flood.took < Duration::from_secs(5), "{what}: it took {:?}", flood.took);
        }
        let grown_kib = before.peak_growth_kib(&daemon);
        assert!(grown_kib < GROWTH_KIB_MAX, "the daemon grew by {grown_kib} KiB");
        before.expect_back(&daemon, KEPT_KIB_MAX);
        witness.finish()
    });
}

/// A client that sends without an end, reads meanwhile, and goes on until it is thrown out.
struct Flood {
    sent: usize,
    took: Duration,
    /// The last of what was said.
    said: Vec<u8>,
}

impl Flood {
    #[track_caller]
    fn send(address: SocketAddr, prelude: &str, endless: &Endless) -> Flood {
        let begin = Instant::now();
        let mut web = Web::connect(address);
        if !prelude.is_empty() {
            web.send(prelude);
            web.expect_upgrade();
        }
        let reader = thread::spawn({
            let stream = web.stream().try_clone().expect("a socket can be shared");
            move || last_words(stream)
        });
        let chunk = endless.more.repeat((64 << 10) / endless.more.len());
        let (mut sent, mut next) = (0, [&endless.start[..], &chunk].concat());
        while sent < ENDLESS {
            if let Err(error) = web.stream().write_all(&next) {
                assert!(is_reset(&error), "{} after {sent} bytes: {error}", endless.what);
                break;
            }
            sent += next.len();
            next.clear();
            next.extend_from_slice(&chunk);
        }
        let said = reader.join().expect("the reader does not panic");
        Flood { sent, took: begin.elapsed(), said }
    }

    /// The last words are a close frame with the right code.
    #[track_caller]
    fn expect_close(&self, endless: &Endless) {
        let code: u16 = endless.says.parse().expect("a code");
        let said = &self.said[self.said.len().saturating_sub(200)..];
        // A code and a reason to the end, and no more.
        let is_close = |at: usize| {
            let frame = &said[at..];
            frame[0] == 0x88
                && usize::from(frame[1]) == frame.len() - 2
                && frame[2..].starts_with(&code.to_be_bytes())
        };
        let starts = 0..said.len().saturating_sub(3);
        assert!(starts.into_iter().any(is_close), "{}: {}", endless.what, said.escape_ascii());
    }
}

/// The last of what comes before the end, whatever the end is.
fn last_words(stream: TcpStream) -> Vec<u8> {
    let mut web = Web::over(stream);
    let mut said = Vec::new();
    while let Some(more) = web.more() {
        said.extend(more);
        said.drain(..said.len().saturating_sub(SAID_MAX));
    }
    said
}

/// More than any answer takes.
const SAID_MAX: usize = 4 << 10;
