//! Writes the handshake's accept key and the server's frames, which are unmasked.

use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use super::close_code::CloseCode;
use super::frame::CONTROL_BYTES_MAX;
use crate::buffer::Buffer;
use crate::framing::resize_placeholder;

/// The `Sec-WebSocket-Accept` for a `Sec-WebSocket-Key`.
pub use tungstenite::handshake::derive_accept_key as accept;

/// Writes a fragment of a text message; `write` appends its payload directly to the output.
pub fn append_fragment(is_first: bool, is_last: bool, output: &mut Buffer, write: impl FnOnce(&mut Vec<u8>)) {
    let opcode = OpCode::Data(if is_first { Data::Text } else { Data::Continue });
    append_frame(opcode, is_last, output, write);
}

/// Writes a close frame with code and reason; nothing may follow it.
pub fn write_close(code: CloseCode, output: &mut Buffer) {
    let payload = [&(code as u16).to_be_bytes(), code.reason().as_bytes()].concat();
    write_control(Control::Close, &payload, output);
}

/// Answers a close frame by echoing its code, if any.
pub(super) fn write_close_reply(code: Option<u16>, output: &mut Buffer) {
    let code = code.map(u16::to_be_bytes);
    write_control(Control::Close, code.as_ref().map_or(&[][..], |code| code), output);
}

/// Answers a ping.
pub(super) fn write_pong(payload: &[u8], output: &mut Buffer) {
    write_control(Control::Pong, payload, output);
}

/// Writes a control frame. A longer payload would make the frame invalid; no reason and no ping has one.
fn write_control(control: Control, payload: &[u8], output: &mut Buffer) {
    assert!(payload.len() as u64 <= CONTROL_BYTES_MAX, "the payload of a control frame is too long");
    append_frame(OpCode::Control(control), true, output, |bytes| bytes.extend_from_slice(payload));
}

/// Writes a frame; `write` appends its payload, which is moved by a few bytes if its length needs a header of another
/// size than expected.
fn append_frame(opcode: OpCode, is_final: bool, output: &mut Buffer, write: impl FnOnce(&mut Vec<u8>)) {
    output.append_with(|bytes| {
        let start = bytes.len();
        // Most whole messages have up to 125 bytes, most fragments are pages with more.
        bytes.extend_from_slice(if is_final { &[0; 2] } else { &[0; 4] });
        let payload_at = bytes.len();
        write(bytes);
        let length = (bytes.len() - payload_at) as u64;
        let header = FrameHeader { is_final, opcode, ..FrameHeader::default() };
        let mut place = resize_placeholder(bytes, start..payload_at, header.len(length));
        header.format(length, &mut place).expect("the header has this length");
    });
}

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
            assert_eq!(written(|output| append_frame(binary, true, output, append)), frame(0x82));
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
