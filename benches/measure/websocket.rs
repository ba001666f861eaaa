//! Connections of WebSocket for short messages.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::codec::{Decoded, Decoder, HANDSHAKE, TEXT, text_frame};

/// Bytes before the text of a short answer.
pub const ANSWER_HEADER_BYTES: usize = 2;

/// A new connection after its handshake.
pub fn connect(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("the server accepts");
    stream.write_all(HANDSHAKE.as_bytes()).expect("the server reads");
    let head = next(&mut stream, Decoder::head);
    assert!(head.accepts_handshake(), "{head:?}");
    stream
}

/// The bytes of the answer to `text`, header included.
pub fn answer_bytes(stream: &mut TcpStream, text: &str) -> usize {
    stream.write_all(&text_frame(text)).expect("the server reads");
    let frame = next(stream, Decoder::frame);
    assert!(frame.is_final && frame.opcode == TEXT && frame.payload.len() <= 125, "{frame:?}");
    ANSWER_HEADER_BYTES + frame.payload.len()
}

/// The next reply, which is all that the server sends.
fn next<T>(stream: &mut TcpStream, decode: impl Fn(&mut Decoder) -> Decoded<T>) -> T {
    let (mut decoder, mut chunk) = (Decoder::default(), [0; 4096]);
    loop {
        let count = stream.read(&mut chunk).expect("the server answers");
        assert_ne!(count, 0, "the server closed after {}", decoder.rest().escape_ascii());
        decoder.push(&chunk[..count]);
        if let Some(reply) = decode(&mut decoder).expect("a reply") {
            return reply;
        }
    }
}
