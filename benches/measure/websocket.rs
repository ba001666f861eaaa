//! WebSocket, as far as a client of one kind of short messages needs it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

/// What a connection begins with.
pub const HANDSHAKE: &str = "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
     Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
/// Lines of the answer to it.
pub const HANDSHAKE_LINES: usize = 5;
/// Bytes before the text of a short answer.
pub const ANSWER_HEADER_BYTES: usize = 2;

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const SHORT_MAX: usize = 125;

/// A short text as a client sends it.
pub fn frame(text: &str) -> Vec<u8> {
    assert!(text.len() <= SHORT_MAX, "short texts only");
    let mut frame = vec![0x81, 0x80 | text.len() as u8];
    frame.extend(KEY);
    frame.extend(text.bytes().zip(KEY.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

/// A connection that speaks it, and has had nothing yet.
pub fn connect(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("it accepts");
    stream.write_all(HANDSHAKE.as_bytes()).expect("it reads");
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("it answers");
        answer.extend(byte);
    }
    assert!(answer.starts_with(b"HTTP/1.1 101 "), "{}", answer.escape_ascii());
    stream
}

/// How many bytes answer `text`, header included.
pub fn answer_bytes(stream: &mut TcpStream, text: &str) -> usize {
    stream.write_all(&frame(text)).expect("it reads");
    let mut header = [0; ANSWER_HEADER_BYTES];
    stream.read_exact(&mut header).expect("it answers");
    let length = usize::from(header[1]);
    assert!(header[0] == 0x81 && length <= SHORT_MAX, "a short text in one frame answers");
    stream.read_exact(&mut vec![0; length]).expect("it answers");
    ANSWER_HEADER_BYTES + length
}
