//! The key of a WebSocket handshake.

/// Sixteen bytes in base64, verbatim. Not a secret: it only proves that the server speaks WebSocket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WebSocketKey([u8; KEY_BYTES]);

impl WebSocketKey {
    /// Parses the header's value.
    pub fn parse(text: &[u8]) -> Option<WebSocketKey> {
        let key: [u8; KEY_BYTES] = text.try_into().ok()?;
        let digits = key.strip_suffix(b"==")?;
        let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
        digits.iter().all(is_digit).then_some(WebSocketKey(key))
    }

    /// The text.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

const KEY_BYTES: usize = 24;

#[cfg(test)]
#[path = "websocket_key_tests.rs"]
mod tests;
