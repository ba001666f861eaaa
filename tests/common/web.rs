//! A client of HTTP and WebSocket over a real socket, byte for byte. Each wait has a deadline.
//!
//! It implements only what the tests need of either protocol, independently of the daemon.

// Each test binary takes what it needs of this.
#![allow(dead_code, unreachable_pub)]

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::DEADLINE;

/// A connection.
pub struct Web {
    stream: TcpStream,
    /// Bytes that were received and not returned yet.
    received: Vec<u8>,
}

/// An answer of HTTP.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    /// The status line and the header lines.
    pub head: String,
    pub body: String,
}

/// A frame of WebSocket.
#[derive(PartialEq, Eq, Debug)]
pub struct Frame {
    pub opcode: u8,
    pub is_final: bool,
    pub payload: Vec<u8>,
}

pub const CONTINUATION: u8 = 0;
pub const TEXT: u8 = 1;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

/// The request to POST `body`, as simple programs send it.
pub fn post(body: &str) -> String {
    let length = body.len();
    format!("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{body}")
}

/// A WebSocket handshake, as simple programs send it.
pub const HANDSHAKE: &str = "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// The header of a client's frame that announces `length` bytes.
pub fn frame_head(opcode: u8, is_final: bool, length: u64) -> Vec<u8> {
    let mut bytes = vec![opcode | if is_final { 0x80 } else { 0 }];
    match length {
        0..=125 => bytes.push(0x80 | length as u8),
        126..=0xffff => {
            bytes.push(0x80 | 126);
            bytes.extend((length as u16).to_be_bytes());
        }
        _ => {
            bytes.push(0x80 | 127);
            bytes.extend(length.to_be_bytes());
        }
    }
    bytes.extend(MASK);
    bytes
}

/// A client's frame.
pub fn frame(opcode: u8, is_final: bool, payload: &[u8]) -> Vec<u8> {
    let mut bytes = frame_head(opcode, is_final, payload.len() as u64);
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// A client's message in one frame.
pub fn message(text: &str) -> Vec<u8> {
    frame(TEXT, true, text.as_bytes())
}

impl Web {
    #[track_caller]
    pub fn connect(address: SocketAddr) -> Web {
        let stream = TcpStream::connect_timeout(&address, DEADLINE).expect("the daemon accepts");
        Web::over(stream)
    }

    /// On a connection that is there already.
    pub fn over(stream: TcpStream) -> Web {
        stream.set_nodelay(true).expect("a socket option");
        stream.set_write_timeout(Some(DEADLINE)).expect("a socket option");
        Web { stream, received: Vec::new() }
    }

    /// A new connection with a WebSocket handshake.
    #[track_caller]
    pub fn websocket(address: SocketAddr) -> Web {
        let mut web = Web::connect(address);
        web.send(HANDSHAKE);
        web.expect_upgrade();
        web
    }

    /// Reads the answer to the handshake.
    #[track_caller]
    pub fn expect_upgrade(&mut self) {
        let head = self.until(b"\r\n\r\n");
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        assert!(head.contains("\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{head}");
    }

    /// Sends `bytes` in one write.
    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).expect("the daemon takes what is sent");
    }

    /// Sends `bytes`, or as many of them as the daemon takes before it closes.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref())
    }

    /// Ends the output of this side.
    #[track_caller]
    pub fn half_close(&mut self) {
        self.stream.shutdown(Shutdown::Write).expect("an open socket can be half closed");
    }

    /// The socket alone; what has come and was not asked for is lost.
    #[track_caller]
    pub fn into_stream(self) -> TcpStream {
        self.stream.set_read_timeout(Some(DEADLINE)).expect("a socket option");
        self.stream
    }

    /// The socket itself.
    pub fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// The next answer of HTTP, whole. Interim ones are skipped.
    #[track_caller]
    pub fn reply(&mut self) -> Reply {
        let reply = self.reply_to_head();
        let body = match header(&reply.head, "Content-Length") {
            Some(length) => self.take(length.parse().expect("a length")),
            None if reply.status == 204 => Vec::new(),
            None => self.chunks(),
        };
        Reply { body: text(body), ..reply }
    }

    /// The next answer to a request that asked for its head only.
    #[track_caller]
    pub fn reply_to_head(&mut self) -> Reply {
        loop {
            let head = self.until(b"\r\n\r\n");
            let status = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
            let status = status.unwrap_or_else(|| panic!("no status line: {head:?}"));
            if status != 100 {
                return Reply { status, head, body: String::new() };
            }
        }
    }

    /// The next frame, whole.
    #[track_caller]
    pub fn frame(&mut self) -> Frame {
        let head = self.take(2);
        let length = match head[1] {
            short @ 0..=125 => u64::from(short),
            126 => self.take(2).iter().fold(0, |length, &byte| length << 8 | u64::from(byte)),
            127 => self.take(8).iter().fold(0, |length, &byte| length << 8 | u64::from(byte)),
            _ => panic!("a server masks nothing"),
        };
        assert_eq!(head[0] & 0x70, 0, "no reserved bit is set");
        let payload = self.take(length as usize);
        Frame { opcode: head[0] & 15, is_final: head[0] & 0x80 != 0, payload }
    }

    /// The next message, which comes in one frame.
    #[track_caller]
    pub fn message(&mut self) -> String {
        let frame = self.frame();
        assert!(frame.opcode == TEXT && frame.is_final, "{frame:?}");
        text(frame.payload)
    }

    /// The server sends a close frame with `code` next, and nothing more. Returns its reason.
    #[track_caller]
    pub fn expect_close(&mut self, code: u16) -> String {
        let frame = self.frame();
        let (found, reason) = frame.payload.split_at(2.min(frame.payload.len()));
        assert_eq!((frame.opcode, found), (CLOSE, &code.to_be_bytes()[..]));
        let reason = text(reason.to_vec());
        self.expect_end();
        reason
    }

    /// Everything that comes until the daemon closes, in good order.
    #[track_caller]
    pub fn rest(&mut self) -> Vec<u8> {
        let end = Instant::now() + DEADLINE;
        while self.receive(end).unwrap_or_else(|error| panic!("not closed: {error}")) > 0 {}
        std::mem::take(&mut self.received)
    }

    /// The daemon closes in good order, without more output.
    #[track_caller]
    pub fn expect_end(&mut self) {
        let rest = self.rest();
        assert!(rest.is_empty(), "more than was asked for: {}", rest.escape_ascii());
    }

    /// Waits until the daemon has closed, also by a reset; all bytes before.
    #[track_caller]
    pub fn until_closed(&mut self, what: &str) -> Vec<u8> {
        let end = Instant::now() + DEADLINE;
        loop {
            match self.receive(end) {
                Ok(0) => break,
                Err(error) if is_reset(&error) => break,
                received => received.unwrap_or_else(|error| panic!("{what}: not closed: {error}")),
            };
        }
        std::mem::take(&mut self.received)
    }

    /// The body of an answer that comes in chunks.
    #[track_caller]
    fn chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let line = self.until(b"\r\n");
            let size = usize::from_str_radix(line.trim_end(), 16).expect("the size of a chunk");
            body.extend(self.take(size));
            assert_eq!(self.take(2), b"\r\n");
            if size == 0 {
                return body;
            }
        }
    }

    /// The next bytes, up to and with the first `end`.
    #[track_caller]
    fn until(&mut self, end: &[u8]) -> String {
        let deadline = Instant::now() + DEADLINE;
        let mut searched = 0;
        loop {
            let found = self.received[searched..].windows(end.len()).position(|window| window == end);
            if let Some(found) = found {
                return text(self.take(searched + found + end.len()));
            }
            searched = self.received.len().saturating_sub(end.len() - 1);
            self.receive_more(deadline);
        }
    }

    /// The next so many bytes.
    #[track_caller]
    fn take(&mut self, count: usize) -> Vec<u8> {
        let deadline = Instant::now() + DEADLINE;
        while self.received.len() < count {
            self.receive_more(deadline);
        }
        let rest = self.received.split_off(count);
        std::mem::replace(&mut self.received, rest)
    }

    #[track_caller]
    fn receive_more(&mut self, deadline: Instant) {
        let so_far = |web: &Web| web.received[..web.received.len().min(300)].escape_ascii().to_string();
        match self.receive(deadline) {
            Ok(0) => panic!("closed in the middle; so far: {}", so_far(self)),
            Ok(_) => {}
            Err(error) => panic!("no more ({error}); so far: {}", so_far(self)),
        }
    }

    /// Receives more bytes; 0 at the end.
    fn receive(&mut self, end: Instant) -> io::Result<usize> {
        let mut chunk = [0; 16 << 10];
        let left = end.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        self.stream.set_read_timeout(Some(left))?;
        let length = loop {
            match self.stream.read(&mut chunk) {
                // A suspended machine interrupts reads with a timeout.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                received => break received?,
            }
        };
        self.received.extend_from_slice(&chunk[..length]);
        Ok(length)
    }
}

impl Reply {
    /// The message of the body, which must be an error.
    #[track_caller]
    pub fn error(&self) -> String {
        let body: Value = serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"));
        assert_eq!(body["status"], "error", "{self:?}");
        body["message"].as_str().expect("an error has a message").to_owned()
    }

    /// Whether it has `Connection: close`.
    pub fn closes(&self) -> bool {
        header(&self.head, "Connection") == Some("close")
    }
}

/// Whether the other end has closed without reading all input.
pub fn is_reset(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
}

/// The value of the header `name`.
pub fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = head.lines().skip(1).filter_map(|line| line.split_once(": "));
    lines.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

#[track_caller]
fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("the daemon sends UTF-8")
}

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
