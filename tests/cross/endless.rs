//! Heads, bodies, messages and frames without an end, in a daemon whose memory is watched.

use std::net::SocketAddr;
use std::time::Duration;

use crate::common::Daemon;
use crate::flood::Flood;
use crate::overload::{MemoryBounds, alone, attack_in_bounds};
use crate::web::{PING, PONG, TEXT, Web, frame, frame_head};

/// Bytes of a request.
const REQUEST_MAX: usize = 1 << 20;
/// Bytes that the daemon discards after the error, and those in the sockets' buffers.
const FORGOTTEN_MAX: usize = (64 << 20) + (32 << 20);
/// A request in its buffer, which doubles, and the like; allocators keep a little, and the smaller buffers of a body that
/// grew by chunks.
const BOUNDS: MemoryBounds = MemoryBounds { peak_kib: 4 << 10, kept_kib: 3 << 10 };

/// The beginning of a stream, what it goes on with without an end, and the status or close code of the answer.
struct Endless {
    what: &'static str,
    start: Vec<u8>,
    more: Vec<u8>,
    answer: &'static str,
}

impl Endless {
    fn new(
        what: &'static str,
        start: impl AsRef<[u8]>,
        more: impl AsRef<[u8]>,
        answer: &'static str,
    ) -> Endless {
        let (start, more) = (start.as_ref().to_vec(), more.as_ref().to_vec());
        Endless { what, start, more, answer }
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
            "blank lines after a request",
            "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
            "\r\n",
            "400",
        ),
        Endless::new("garbage after a body", sized(1 << 20), "x", "431"),
        Endless::new("a body of a GiB", sized(1 << 30), "x", "413"),
        Endless::new("a body of as much as can be", sized(u64::MAX), "x", "413"),
        Endless::new("chunks", &chunked, format!("1000\r\n{}\r\n", "x".repeat(4096)), "413"),
        Endless::new("small chunks", &chunked, two_bytes, "413"),
        Endless::new("a chunk", format!("{chunked}ffffffff\r\n"), "x", "413"),
        Endless::new("a size of a chunk", &chunked, "0", "400"),
        Endless::new("an extension of a chunk", format!("{chunked}1;"), "x", "400"),
        Endless::new("extensions of chunks", &chunked, "1;abcdefghijkl\r\nx\r\n", "400"),
        Endless::new("a field after chunks", format!("{chunked}0\r\nX: "), "y", "431"),
        Endless::new("fields after chunks", format!("{chunked}0\r\n"), "X: y\r\n", "431"),
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

/// Messages that reach no size limit, since they carry nothing.
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
    attack_in_bounds("HTTP without an end", BOUNDS, Daemon::builder, |daemon| {
        for Endless { what, start, more, answer } in of_http() {
            let flood = Flood::send(Web::connect(daemon.address()).into_stream(), &start, &more);
            let received = String::from_utf8_lossy(&flood.received);
            let last = received.rsplit("HTTP/1.1 ").next().unwrap_or_default();
            assert!(last.starts_with(answer) && last.contains("Connection: close"), "{what}: {received:?}");
            // Small chunks take more than what they carry.
            assert!(flood.sent < 4 * REQUEST_MAX + FORGOTTEN_MAX, "{what}: {} bytes were taken", flood.sent);
        }
    });
}

#[test]
fn messages_of_websocket_without_an_end_are_cut_off() {
    let _alone = alone();
    attack_in_bounds("WebSocket without an end", BOUNDS, Daemon::builder, |daemon| {
        for endless in of_websocket() {
            let flood = endless.expect_close(daemon.address());
            // Small fragments take more than what they carry.
            let most = 14 * REQUEST_MAX + FORGOTTEN_MAX;
            assert!(flood.sent < most, "{}: {} bytes were taken", endless.what, flood.sent);
        }
    });
}

#[test]
fn messages_that_never_end_are_timed_out() {
    let _alone = alone();
    let build = || Daemon::builder().args(["--request-timeout", "1s"]);
    attack_in_bounds("WebSocket without an end or a size", BOUNDS, build, |daemon| {
        for endless in of_no_size() {
            let Flood { took, .. } = endless.expect_close(daemon.address());
            // The timeout, as long again for a client that always has more input, and two seconds of discarding.
            eprintln!("  {}: {took:.1?}", endless.what);
            assert!(took >= Duration::from_secs(1), "{}: it took {took:?}", endless.what);
            assert!(took < Duration::from_secs(5), "{}: it took {took:?}", endless.what);
        }
    });
}

impl Endless {
    /// Sends it over a WebSocket; the last that comes is a close frame with the right code.
    #[track_caller]
    fn expect_close(&self, address: SocketAddr) -> Flood {
        let flood = Flood::send(Web::websocket(address).into_stream(), &self.start, &self.more);
        let code: u16 = self.answer.parse().expect("a code");
        let received = &flood.received[flood.received.len().saturating_sub(200)..];
        // A code and a reason to the end, and no more.
        let is_close = |at: usize| {
            let frame = &received[at..];
            frame[0] == 0x88
                && usize::from(frame[1]) == frame.len() - 2
                && frame[2..].starts_with(&code.to_be_bytes())
        };
        let starts = 0..received.len().saturating_sub(3);
        assert!(starts.into_iter().any(is_close), "{}: {}", self.what, received.escape_ascii());
        flood
    }
}
