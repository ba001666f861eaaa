//! Writes the handshake's accept key and the server's frames, which are unmasked.

use tungstenite::handshake::derive_accept_key;
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use super::close_code::CloseCode;
use super::frame::CONTROL_BYTES_MAX;
use crate::buffer::Buffer;
use crate::sys;

/// The `Sec-WebSocket-Accept` for a `Sec-WebSocket-Key`.
pub fn accept(key: &[u8]) -> String {
    derive_accept_key(key)
}

/// Writes a fragment of a text message; `write` appends its payload directly to the output. The payload is moved by a
/// few bytes if its length needs a header of another size than expected.
pub fn append_fragment<R>(
    is_first: bool,
    is_last: bool,
    output: &mut Buffer,
    write: impl FnOnce(&mut Vec<u8>) -> R,
) -> R {
    let opcode = OpCode::Data(if is_first { Data::Text } else { Data::Continue });
    output.append_with(|bytes| {
        let start = bytes.len();
        bytes.extend_from_slice(&[0; HEADER_BYTES_EXPECTED]);
        let result = write(bytes);
        let length = bytes.len() - start - HEADER_BYTES_EXPECTED;
        let (header, header_bytes) = header(opcode, is_last, length);
        resize_header(bytes, start, HEADER_BYTES_EXPECTED, header_bytes);
        bytes[start..start + header_bytes].copy_from_slice(&header[..header_bytes]);
        result
    })
}

/// Writes a close frame with code and reason; nothing may follow it.
pub fn write_close(code: CloseCode, output: &mut Buffer) {
    let payload = [&(code as u16).to_be_bytes(), code.reason().as_bytes()].concat();
    debug_assert!(payload.len() as u64 <= CONTROL_BYTES_MAX, "no reason is longer");
    write_frame(OpCode::Control(Control::Close), true, &payload, output);
}

/// Answers a close frame by echoing its code, if any.
pub(super) fn write_close_reply(code: Option<u16>, output: &mut Buffer) {
    let code = code.map(u16::to_be_bytes);
    let payload = code.as_ref().map_or(&[][..], |code| code);
    write_frame(OpCode::Control(Control::Close), true, payload, output);
}

/// Answers a ping; `payload` has at most 125 bytes.
pub(super) fn write_pong(payload: &[u8], output: &mut Buffer) {
    debug_assert!(payload.len() as u64 <= CONTROL_BYTES_MAX, "a ping has no more");
    write_frame(OpCode::Control(Control::Pong), true, payload, output);
}

fn write_frame(opcode: OpCode, is_final: bool, payload: &[u8], output: &mut Buffer) {
    let (header, header_bytes) = header(opcode, is_final, payload.len());
    output.push(&header[..header_bytes]);
    output.push(payload);
}

/// A header and its length.
fn header(opcode: OpCode, is_final: bool, length: usize) -> ([u8; HEADER_BYTES_MAX], usize) {
    let header = FrameHeader { is_final, opcode, ..FrameHeader::default() };
    let mut bytes = [0; HEADER_BYTES_MAX];
    let mut room = &mut bytes[..];
    header.format(length as u64, &mut room).expect("a header fits where the longest does");
    (bytes, header.len(length as u64))
}

/// Moves the payload from `start + from` to `start + to` and wipes the bytes that it leaves free: they may be the end
/// of a token.
fn resize_header(bytes: &mut Vec<u8>, start: usize, from: usize, to: usize) {
    let end = bytes.len();
    if to > from {
        bytes.resize(end + to - from, 0);
    }
    bytes.copy_within(start + from..end, start + to);
    if to < from {
        let end = end - (from - to);
        sys::wipe(&mut bytes[end..]);
        bytes.truncate(end);
    }
}

/// The header of a frame with 126 to 65 535 bytes, the size of most replies and pages.
const HEADER_BYTES_EXPECTED: usize = 4;

/// The longest header without a mask.
const HEADER_BYTES_MAX: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    const ALL_CODES: [CloseCode; 6] = [
        CloseCode::GoingAway,
        CloseCode::Protocol,
        CloseCode::Unsupported,
        CloseCode::InvalidText,
        CloseCode::Policy,
        CloseCode::TooLarge,
    ];

    /// The frames that `write` writes after other output, which must not change.
    fn written(write: impl FnOnce(&mut Buffer)) -> Vec<u8> {
        let mut output = Buffer::new();
        output.push(b"before");
        write(&mut output);
        assert!(output.as_slice().starts_with(b"before"));
        output.as_slice()[6..].to_vec()
    }

    #[test]
    fn the_accept_key_matches_the_example_of_the_rfc() {
        assert_eq!(accept(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn frame_lengths_have_the_shortest_encoding() {
        let heads: [(usize, &[u8]); 7] = [
            (0, &[0]),
            (1, &[1]),
            (125, &[125]),
            (126, &[126, 0, 126]),
            (65_535, &[126, 0xff, 0xff]),
            (65_536, &[127, 0, 0, 0, 0, 0, 1, 0, 0]),
            (1 << 20, &[127, 0, 0, 0, 0, 0, 0x10, 0, 0]),
        ];
        for (length, head) in heads {
            let text: Vec<u8> = (0..length).map(|number| b'a' + (number % 26) as u8).collect();
            let frame = |first: u8| [&[first][..], head, &text].concat();
            let append = |bytes: &mut Vec<u8>| bytes.extend_from_slice(&text);
            let binary = OpCode::Data(Data::Binary);
            assert_eq!(written(|output| write_frame(binary, true, &text, output)), frame(0x82));
            for (is_first, is_last, first) in
                [(true, true, 0x81), (true, false, 0x01), (false, false, 0x00), (false, true, 0x80)]
            {
                let appended = written(|output| append_fragment(is_first, is_last, output, append));
                assert_eq!(appended, frame(first), "{length}");
            }
        }
    }

    #[test]
    fn a_close_frame_has_code_and_reason() {
        for code in ALL_CODES {
            let close = written(|output| write_close(code, output));
            let (head, payload) = close.split_at(2);
            assert_eq!(head, [0x88, payload.len() as u8]);
            assert!(payload.len() as u64 <= CONTROL_BYTES_MAX, "{code:?}");
            let expected = [&(code as u16).to_be_bytes()[..], code.reason().as_bytes()].concat();
            assert_eq!(payload, expected);
            assert!(!code.reason().is_empty(), "{code:?} says why");
        }
        assert_eq!(written(|output| write_close_reply(None, output)), b"\x88\x00");
        assert_eq!(written(|output| write_close_reply(Some(4999), output)), b"\x88\x02\x13\x87");
    }
}
