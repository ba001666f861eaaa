//! Framings: split a byte stream into messages and write replies. No dialect, no socket.

#[cfg(feature = "http")]
pub mod http;
mod http_line;
pub mod raw_json;
#[cfg(test)]
mod replay;
#[cfg(feature = "sealed")]
pub mod sealed;
pub mod sniff;
pub mod text;
#[cfg(feature = "websocket")]
pub mod websocket;

use std::cmp::Ordering;
use std::ops::Range;

use crate::sys;

/// Whether `byte` is JSON white space, which may precede requests.
pub(crate) fn is_white_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// Resizes the placeholder at `range` to `length` bytes, and returns it. The bytes after it move; those that they leave
/// free are wiped, since they may be the end of a token.
pub(crate) fn resize_placeholder(bytes: &mut Vec<u8>, range: Range<usize>, length: usize) -> &mut [u8] {
    let (end, resized) = (bytes.len(), range.start + length);
    let resized_end = end - range.end + resized;
    match length.cmp(&range.len()) {
        Ordering::Equal => {}
        Ordering::Greater => {
            bytes.resize(resized_end, 0);
            bytes.copy_within(range.end..end, resized);
        }
        Ordering::Less => {
            bytes.copy_within(range.end..end, resized);
            sys::wipe(&mut bytes[resized_end..]);
            bytes.truncate(resized_end);
        }
    }
    &mut bytes[range.start..resized]
}
