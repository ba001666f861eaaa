//! Framings: split a byte stream into messages and write replies. No dialect, no socket.

#[cfg(feature = "http")]
pub mod http;
mod http_line;
pub mod raw_json;
#[cfg(test)]
mod replay;
pub mod sniff;
pub mod text;
#[cfg(feature = "websocket")]
pub mod websocket;

/// Whether `byte` is JSON white space, which may precede requests.
pub(crate) fn is_white_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}
