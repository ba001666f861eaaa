//! A client of HTTP and WebSocket over a real socket, byte for byte. Each wait has a deadline.
//!
//! It implements only what the tests need of either protocol, independently of the daemon.

// Each test binary takes what it needs of this.
#![allow(dead_code, unreachable_pub, unused_imports)]

use std::io;
use std::net::{Shutdown, SocketAddr, TcpStream};

use serde_json::Value;
use socket2::Socket;

pub use crate::common::codec::{
    CLOSE, CONTINUATION, Frame, HANDSHAKE, PING, PONG, TEXT, post, text_frame as message,
};
use crate::common::codec::{Decoder, HttpHead, write_frame, write_frame_header};
pub use crate::common::is_reset;
use crate::common::{Connection, DEADLINE};

/// A connection.
pub struct Web(Connection);

/// An answer of HTTP.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    /// The status line and the header lines.
    pub head: String,
    pub body: String,
}

/// The header of a client's frame that announces `length` bytes.
pub fn frame_head(opcode: u8, is_final: bool, length: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_frame_header(is_final, opcode, length, MASK, &mut bytes);
    bytes
}

/// A client's frame.
pub fn frame(opcode: u8, is_final: bool, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_frame(is_final, opcode, payload, MASK, &mut bytes);
    bytes
}

impl Web {
    #[track_caller]
    pub fn connect(address: SocketAddr) -> Web {
        let stream = TcpStream::connect_timeout(&address, DEADLINE).expect("the daemon accepts");
        stream.set_nodelay(true).expect("a socket option");
        Web::over(stream)
    }

    /// On a connected socket.
    pub fn over(socket: impl Into<Socket>) -> Web {
        Web(Connection::new(socket))
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
        let head = self.0.expect(Decoder::head);
        assert!(head.accepts_handshake(), "{head:?}");
    }

    /// Sends `bytes` in one write.
    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).expect("the daemon takes what is sent");
    }

    /// Sends `bytes`, or as many of them as the daemon takes before it closes.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.0.send(bytes.as_ref())
    }

    /// Ends the output of this side.
    #[track_caller]
    pub fn half_close(&mut self) {
        self.socket().shutdown(Shutdown::Write).expect("an open socket can be half closed");
    }

    /// The socket alone; what has come and was not asked for is lost.
    #[track_caller]
    pub fn into_stream(self) -> TcpStream {
        self.socket().set_read_timeout(Some(DEADLINE)).expect("a socket option");
        self.0.into_socket().into()
    }

    /// The socket itself.
    pub fn socket(&self) -> &Socket {
        self.0.socket()
    }

    /// The next answer of HTTP, whole. Interim ones are skipped.
    #[track_caller]
    pub fn reply(&mut self) -> Reply {
        loop {
            let response = self.0.expect(Decoder::response);
            if response.head.status != 100 {
                return Reply { body: text(response.body), ..Reply::of_head(response.head) };
            }
        }
    }

    /// The next answer to a request that asked for its head only.
    #[track_caller]
    pub fn reply_to_head(&mut self) -> Reply {
        loop {
            let head = self.0.expect(Decoder::head);
            if head.status != 100 {
                return Reply::of_head(head);
            }
        }
    }

    /// The next frame, whole.
    #[track_caller]
    pub fn frame(&mut self) -> Frame {
        self.0.expect(Decoder::frame)
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
        self.0.rest()
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
        self.0.rest_before_any_end(what)
    }
}

impl Reply {
    fn of_head(head: HttpHead) -> Reply {
        Reply { status: head.status, head: head.text + "\r\n\r\n", body: String::new() }
    }

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
