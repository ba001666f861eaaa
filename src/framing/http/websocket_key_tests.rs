//! Parsing of the key of a handshake.

use super::*;

#[test]
fn a_key_is_sixteen_bytes_in_base64() {
    for key in [b"dGhlIHNhbXBsZSBub25jZQ==", b"x3JJHMbDL1EzLkh9GBhXDw==", b"++++++++++//////////AA=="] {
        assert_eq!(WebSocketKey::parse(key).unwrap().as_bytes(), key);
    }
    let wrong: [&[u8]; 8] = [
        b"",
        b"dGhlIHNhbXBsZSBub25jZQ",
        b"dGhlIHNhbXBsZSBub25jZQ=",
        b"dGhlIHNhbXBsZSBub25jZQ===",
        b"dGhlIHNhbXBsZSBub25jZQA=",
        b"dGhlIHNhbXBsZSBub25jZQAA",
        b"dGhlIHNhbXBsZSBub25j-Q==",
        b"dGhlIHNhbXBsZSBub25 ZQ==",
    ];
    for key in wrong {
        assert_eq!(WebSocketKey::parse(key), None, "{}", key.escape_ascii());
    }
}
