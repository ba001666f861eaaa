//! Encrypted messages.

use serde::de::IgnoredAny;

use super::length;
use crate::crypto::{BLOCK_BYTES, MessageKeys, without_padding};
use crate::sys;

/// The form of a connection's messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Generation {
    /// The length in clear text; every message has the first initialization vector.
    First,
    /// The length in clear text; after each message, the next initialization vector, in clear text.
    Second,
    /// As the second, with an encrypted length.
    Third,
}

/// A decrypted message.
pub(super) struct Opened {
    /// JSON.
    pub(super) text: Vec<u8>,
    pub(super) generation: Generation,
    /// The initialization vector of the answer.
    pub(super) iv: [u8; BLOCK_BYTES],
}

/// What the answer to a request needs.
pub(super) struct OpenRequest {
    pub(super) keys: Box<MessageKeys>,
    pub(super) generation: Generation,
    /// The initialization vector of the answer.
    pub(super) iv: [u8; BLOCK_BYTES],
}

/// Bytes of a length in the third generation.
pub(super) const SEALED_LENGTH_BYTES: usize = BLOCK_BYTES;

/// Decrypts `body`, of the third generation or of one of the others. `None` if its length, its padding or the JSON in it
/// is not valid.
///
/// Every check is made, whatever the others find, and each on as many bytes: the time does not tell which one fails. A
/// message of the first generation may look like one of the second with a byte too many, so both are tried.
pub(super) fn open(keys: &MessageKeys, body: &[u8], is_third: bool) -> Option<Opened> {
    let whole = body.len() / BLOCK_BYTES * BLOCK_BYTES;
    let mut text = body[..whole].to_vec();
    keys.key.decrypt(keys.iv, &mut text);
    let before_iv = whole.saturating_sub(BLOCK_BYTES);
    let (later_length, is_padded_later) = without_padding(&text[..before_iv]);
    let (first_length, is_padded_first) = without_padding(&text);
    let is_later = is_json(&text[..later_length]) & is_padded_later;
    let is_first = is_json(&text[..first_length]) & is_padded_first & !is_third;
    let has_whole_blocks = whole == body.len();
    if !(has_whole_blocks & (is_later | is_first)) {
        sys::wipe(&mut text);
        return None;
    }
    let (length, generation) = match (is_later, is_third) {
        (true, true) => (later_length, Generation::Third),
        (true, false) => (later_length, Generation::Second),
        (false, _) => (first_length, Generation::First),
    };
    let iv = match generation {
        Generation::First => keys.iv,
        _ => body[before_iv..].try_into().expect("it is a block"),
    };
    sys::wipe(&mut text[length..]);
    text.truncate(length);
    Some(Opened { text, generation, iv })
}

/// Decrypts the length of a message of the third generation. `None` if it is not a number with a valid padding.
pub(super) fn open_length(keys: &MessageKeys, block: &[u8; SEALED_LENGTH_BYTES]) -> Option<usize> {
    let mut text = *block;
    keys.key.decrypt(keys.iv, &mut text);
    let (length, is_padded) = without_padding(&text);
    let number = length::read(&text[..length.min(length::LENGTH_BYTES)]);
    number.filter(|_| is_padded & (length <= length::LENGTH_BYTES))
}

/// Encrypts `text`, the answer to `request`. Returns the message of its length, and the body.
pub(super) fn seal(request: &OpenRequest, mut text: Vec<u8>) -> (Vec<u8>, Vec<u8>) {
    let OpenRequest { keys, generation, iv } = request;
    keys.key.encrypt(*iv, &mut text);
    if *generation != Generation::First {
        text.extend_from_slice(&keys.next_iv);
    }
    let mut length = length::write(text.len()).to_vec();
    if *generation == Generation::Third {
        length.clear();
        length.extend_from_slice(text.len().to_string().as_bytes());
        keys.key.encrypt(*iv, &mut length);
    }
    (length, text)
}

fn is_json(text: &[u8]) -> bool {
    // `from_slice` would not look into strings.
    std::str::from_utf8(text).is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok())
}
