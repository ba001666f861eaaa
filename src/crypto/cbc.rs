//! AES-256 in CBC mode (NIST SP 800-38A), and the padding of PKCS #7 (RFC 5652, 6.3).

use std::fmt;

use aws_lc_rs::cipher::{
    AES_256, DecryptingKey, DecryptionContext, EncryptingKey, EncryptionContext, UnboundCipherKey,
};
use aws_lc_rs::iv::FixedLength;

use crate::sys;

/// Bytes of a block, and of an initialization vector.
pub const BLOCK_BYTES: usize = 16;

/// A key for messages. Wiped on drop, never printed.
#[derive(Clone)]
pub struct MessageKey([u8; 32]);

impl MessageKey {
    /// The key with these bytes.
    pub fn new(bytes: [u8; 32]) -> MessageKey {
        MessageKey(bytes)
    }

    /// Encrypts `text` in place, with padding.
    pub fn encrypt(&self, iv: [u8; BLOCK_BYTES], text: &mut Vec<u8>) {
        let padding = BLOCK_BYTES - text.len() % BLOCK_BYTES;
        text.resize(text.len() + padding, padding as u8);
        let context = EncryptionContext::Iv128(FixedLength::from(iv));
        let key = EncryptingKey::cbc(self.unbound()).expect("AES-256 has CBC");
        key.less_safe_encrypt(text, context).expect("the text has whole blocks");
    }

    /// Decrypts `text`, which has whole blocks, in place. The padding stays: [`without_padding`].
    pub fn decrypt(&self, iv: [u8; BLOCK_BYTES], text: &mut [u8]) {
        let context = DecryptionContext::Iv128(FixedLength::from(iv));
        let key = DecryptingKey::cbc(self.unbound()).expect("AES-256 has CBC");
        key.decrypt(text, context).expect("the text has whole blocks");
    }

    fn unbound(&self) -> UnboundCipherKey {
        UnboundCipherKey::new(&AES_256, &self.0).expect("the key has the length of AES-256")
    }
}

impl Drop for MessageKey {
    fn drop(&mut self) {
        sys::wipe(&mut self.0);
    }
}

impl fmt::Debug for MessageKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MessageKey")
    }
}

/// The length of `text`, which has whole blocks, without its padding, and whether the padding is valid. If it is not,
/// the length is that with the shortest one. Takes the same time for all texts of one length.
pub fn without_padding(text: &[u8]) -> (usize, bool) {
    let Some(&padding) = text.last() else { return (0, false) };
    let tail = &text[text.len() - BLOCK_BYTES..];
    let mut wrong = u8::from(padding == 0) | u8::from(usize::from(padding) > BLOCK_BYTES);
    for (index, byte) in tail.iter().enumerate() {
        let is_padding = u8::from(BLOCK_BYTES - index <= usize::from(padding));
        wrong |= is_padding.wrapping_neg() & (byte ^ padding);
    }
    let is_valid = wrong == 0;
    let mask = usize::from(is_valid).wrapping_neg();
    let length = text.len() - (usize::from(padding) & mask | 1 & !mask);
    (length, is_valid)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    }

    /// NIST SP 800-38A, F.2.5 and F.2.6: four blocks.
    #[test]
    fn the_vectors_of_the_standard_are_met() {
        let key = bytes("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4");
        let key = MessageKey::new(key.try_into().unwrap());
        let iv: [u8; 16] = bytes("000102030405060708090a0b0c0d0e0f").try_into().unwrap();
        let plain = bytes(
            "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51\
             30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710",
        );
        let cipher = bytes(
            "f58c4c04d6e5f1ba779eabfb5f7bfbd69cfc4e967edb808d679f777bc6702c7d\
             39f23369a9d9bacfa530e26304231461b2eb05e2c39be9fcda6c19078c6a9d1b",
        );
        let mut text = plain.clone();
        key.encrypt(iv, &mut text);
        assert_eq!(text[..64], cipher);
        assert_eq!(text.len(), 80, "whole blocks are padded with one more");
        key.decrypt(iv, &mut text);
        assert_eq!((&text[..64], without_padding(&text)), (&plain[..], (64, true)));
    }

    #[test]
    fn padding_is_as_long_as_its_bytes_say() {
        for length in 1..=16 {
            let mut text = vec![b'x'; 32];
            text[32 - length..].fill(length as u8);
            assert_eq!(without_padding(&text), (32 - length, true), "{length}");
            for wrong in 32 - length..31 {
                let mut text = text.clone();
                text[wrong] ^= 0x80;
                assert_eq!(without_padding(&text), (31, false), "{length}, {wrong}");
            }
        }
        for last in [0, 17, 32, 255] {
            assert_eq!(without_padding(&[last; 32]), (31, false), "{last}");
        }
        assert_eq!(without_padding(&[]), (0, false));
    }
}
