//! Encrypted messages.

use std::hint::black_box;

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

/// Decrypts `body`, which has whole blocks, of the third generation or of one of the others. `None` if the padding or the
/// JSON in it is not valid.
///
/// Every check is made, whatever the others find, and each on as many bytes: the time does not tell which one fails. The
/// last block of a message of the first generation could be an initialization vector, so both are tried.
pub(super) fn open(keys: &MessageKeys, body: &[u8], is_third: bool) -> Option<Opened> {
    let mut text = body.to_vec();
    keys.key.decrypt(keys.iv, &mut text);
    let before_iv = body.len().saturating_sub(BLOCK_BYTES);
    let (later_length, is_padded_later) = without_padding(&text[..before_iv]);
    let (first_length, is_padded_first) = without_padding(&text);
    let is_later = both(is_json(&text[..later_length]), is_padded_later);
    let is_first = both(both(is_json(&text[..first_length]), is_padded_first), !is_third);
    if !(is_later | is_first) {
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

/// Decrypts the length of a message of the third generation. `None` if its padding is not valid, if it is not a number, or
/// not a length that [`is_possible`]; its time does not tell which.
pub(super) fn open_length(
    keys: &MessageKeys,
    block: &[u8; SEALED_LENGTH_BYTES],
    bytes_max: usize,
) -> Option<usize> {
    let mut text = *block;
    keys.key.decrypt(keys.iv, &mut text);
    let (digits, is_padded) = without_padding(&text);
    let (mut number, mut is_number) = (0, both(digits > 0, digits <= length::LENGTH_BYTES));
    for (index, byte) in text[..length::LENGTH_BYTES].iter().enumerate() {
        let digit = usize::from(byte.wrapping_sub(b'0'));
        let mask = usize::from(black_box(index < digits)).wrapping_neg();
        is_number &= (digit & mask) < 10;
        number = (number * 10 + digit) & mask | number & !mask;
    }
    both(both(is_padded, is_number), is_possible(number, bytes_max)).then_some(number)
}

/// Whether a message may have this length: some whole blocks.
pub(super) fn is_possible(length: usize, bytes_max: usize) -> bool {
    (length > 0) & length.is_multiple_of(BLOCK_BYTES) & (length <= bytes_max)
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

/// Whether both hold, without a branch that the processor could predict or not.
fn both(one: bool, other: bool) -> bool {
    black_box(one) & black_box(other)
}

fn is_json(text: &[u8]) -> bool {
    // `from_slice` would not look into strings.
    std::str::from_utf8(text).is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok())
}
