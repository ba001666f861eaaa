//! A frame's header, which is validated by itself, and its mask.
//!
//! Independent of messages. The payload stays in the input.

use std::io::Cursor;

use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use super::close_code::CloseCode;
use crate::buffer::Buffer;

/// A frame whose header has been consumed.
pub(super) struct Frame {
    pub(super) opcode: OpCode,
    pub(super) is_final: bool,
    mask: [u8; 4],
    /// Payload length in bytes, saturated at `u32::MAX`, which exceeds every limit.
    pub(super) length: u32,
    /// Bytes of the payload that have been unmasked.
    pub(super) unmasked: u32,
}

impl Frame {
    /// Consumes the header at the front of `input`; `None` while it is incomplete. Without extensions, reserved bits
    /// are errors.
    pub(super) fn take(input: &mut Buffer) -> Result<Option<Frame>, CloseCode> {
        let mut cursor = Cursor::new(input.as_slice());
        let (header, length) = match FrameHeader::parse(&mut cursor) {
            Ok(Some(parsed)) => parsed,
            Ok(None) => return Ok(None),
            Err(_) => return Err(CloseCode::Protocol),
        };
        let header_bytes = cursor.position() as usize;
        let opcode = header.opcode;
        let mask = header.mask.ok_or(CloseCode::Protocol)?;
        let is_reserved = header.rsv1
            || header.rsv2
            || header.rsv3
            || matches!(opcode, OpCode::Data(Data::Reserved(_)) | OpCode::Control(Control::Reserved(_)));
        // The length must have its shortest encoding, and its highest bit must be zero.
        let is_length_wrong = header_bytes != header.len(length) || length > i64::MAX as u64;
        let is_control = matches!(opcode, OpCode::Control(_));
        let is_control_wrong = is_control && (!header.is_final || length > CONTROL_BYTES_MAX);
        if is_reserved || is_length_wrong || is_control_wrong {
            return Err(CloseCode::Protocol);
        }
        // The mask is no secret without what it masks, which is wiped.
        input.skip(header_bytes);
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        Ok(Some(Frame { opcode, is_final: header.is_final, mask, length, unmasked: 0 }))
    }

    /// Unmasks `payload`, the bytes that follow those already unmasked.
    pub(super) fn unmask(&mut self, payload: &mut [u8]) {
        let mut mask = self.mask;
        mask.rotate_left(self.unmasked as usize % 4);
        unmask(payload, mask);
        self.unmasked += payload.len() as u32;
    }
}

/// RFC 6455, 5.3, eight bytes at a time.
fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = payload.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(mask.into_iter().cycle()) {
        *byte ^= key;
    }
}

/// Bytes of a control frame's payload (RFC 6455, 5.5).
pub(super) const CONTROL_BYTES_MAX: u64 = 125;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_unmasked_with_its_own_byte_of_the_mask() {
        let mask = [0x11, 0x22, 0x44, 0x88];
        for length in 0..40 {
            let plain: Vec<u8> = (0..length as u8).map(|number| number.wrapping_mul(37)).collect();
            let masked: Vec<u8> =
                plain.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key).collect();
            for split in 0..=length {
                let mut frame = Frame {
                    opcode: OpCode::Data(Data::Text),
                    is_final: true,
                    mask,
                    length: length as u32,
                    unmasked: 0,
                };
                let mut bytes = masked.clone();
                let (head, tail) = bytes.split_at_mut(split);
                frame.unmask(head);
                frame.unmask(tail);
                assert_eq!(bytes, plain, "{length} bytes split at {split}");
            }
        }
    }
}
