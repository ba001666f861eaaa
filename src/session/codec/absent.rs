//! A codec without values, in place of a codec whose feature is off.

use super::framing_codec::{DecodeContext, Decoded, FramingCodec, Handshake, Reply, ReplyPage};
use crate::buffer::Buffer;

/// The codec of a feature that is off.
pub(in crate::session) enum AbsentCodec {}

impl AbsentCodec {
    pub(super) fn for_http() -> Option<Box<AbsentCodec>> {
        None
    }

    pub(super) fn accept(_handshake: Handshake, _output: &mut Buffer) -> Option<Box<AbsentCodec>> {
        None
    }

    pub(super) fn take_handshake(&mut self) -> Option<Handshake> {
        match *self {}
    }
}

impl FramingCodec for AbsentCodec {
    fn decode(&mut self, _: &mut Buffer, _: &mut Buffer, _: &DecodeContext<'_>) -> Decoded {
        match *self {}
    }

    fn write_answer(&mut self, _: &Reply<'_>, _: &mut Buffer) {
        match *self {}
    }

    fn write_page(&mut self, _: &mut ReplyPage<'_>, _: &mut Buffer) {
        match *self {}
    }

    fn incomplete_message(&self) -> Option<u32> {
        match *self {}
    }
}
