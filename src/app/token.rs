//! Access tokens: 256 random bits that identify a login. The server stores only their SHA-256; random input needs no
//! slow hash and no salt.

use sha2::{Digest, Sha256};
use std::io;

use crate::limits;
use crate::model::{Secret, TokenHash};

/// A source of random bytes.
pub trait Random: Send {
    /// Fills `bytes` with random bytes.
    fn fill(&mut self, bytes: &mut [u8]) -> io::Result<()>;
}

/// The system's random number generator.
#[derive(Debug, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        getrandom::fill(bytes).map_err(io::Error::other)
    }
}

/// Generates a token: 64 lower-case hexadecimal digits.
pub fn issue(random: &mut dyn Random) -> io::Result<Secret> {
    let mut bytes = [0; limits::TOKEN_BYTES];
    random.fill(&mut bytes)?;
    let mut digits = [0; 2 * limits::TOKEN_BYTES];
    for (pair, byte) in digits.chunks_exact_mut(2).zip(bytes) {
        pair[0] = HEX_DIGITS[usize::from(byte >> 4)];
        pair[1] = HEX_DIGITS[usize::from(byte & 15)];
    }
    let token = Secret::new(std::str::from_utf8(&digits).expect("hexadecimal digits are UTF-8"));
    crate::sys::wipe(&mut bytes);
    crate::sys::wipe(&mut digits);
    Ok(token)
}

/// Generates a text of `length` characters of `alphabet`, each with the same probability. `alphabet` has at most 256.
pub fn text(random: &mut dyn Random, alphabet: &[u8], length: usize) -> io::Result<Secret> {
    // Bytes above the last multiple would favour the first characters.
    let accepted = 256 - 256 % alphabet.len();
    let mut text = Vec::with_capacity(length);
    let mut bytes = [0; 64];
    for _ in 0..limits::RANDOM_TEXT_ROUNDS_MAX {
        random.fill(&mut bytes)?;
        let usable = bytes.iter().map(|byte| usize::from(*byte)).filter(|byte| *byte < accepted);
        text.extend(usable.take(length - text.len()).map(|byte| alphabet[byte % alphabet.len()]));
        if text.len() == length {
            break;
        }
    }
    crate::sys::wipe(&mut bytes);
    let secret = std::str::from_utf8(&text).ok().filter(|text| text.len() == length).map(Secret::new);
    crate::sys::wipe(&mut text);
    secret.ok_or_else(|| io::Error::other("the bytes are not random"))
}

/// Generates a text: `COUNT` random bytes in base64 for URLs (RFC 4648, section 5), without padding.
pub fn base64url<const COUNT: usize>(random: &mut dyn Random) -> io::Result<Secret> {
    let mut bytes = [0; COUNT];
    random.fill(&mut bytes)?;
    let mut text = Vec::with_capacity((COUNT * 4).div_ceil(3));
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        let digits = (0..=group.len()).map(|index| bits >> (18 - 6 * index) & 63);
        text.extend(digits.map(|digit| BASE64URL_DIGITS[digit as usize]));
    }
    let secret = Secret::new(std::str::from_utf8(&text).expect("base64 is UTF-8"));
    crate::sys::wipe(&mut bytes);
    crate::sys::wipe(&mut text);
    Ok(secret)
}

/// The SHA-256 of a token, as the store keeps it.
pub fn hash(token: &Secret) -> TokenHash {
    TokenHash(Sha256::digest(token.expose().as_bytes()).into())
}

const HEX_DIGITS: &[u8; 16] = b"0123456789abcdef";
const BASE64URL_DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_256_random_bits_in_hexadecimal() {
        let (one, other) = (issue(&mut SystemRandom).unwrap(), issue(&mut SystemRandom).unwrap());
        assert_eq!(one.expose().len(), 64);
        assert!(one.expose().bytes().all(|byte| HEX_DIGITS.contains(&byte)));
        assert_ne!(one, other);
        assert_ne!(hash(&one), hash(&other));
    }

    /// Random bytes that count.
    struct Counting(u8);

    impl Random for Counting {
        fn fill(&mut self, bytes: &mut [u8]) -> io::Result<()> {
            for byte in bytes {
                *byte = self.0;
                self.0 = self.0.wrapping_add(1);
            }
            Ok(())
        }
    }

    /// The same byte again and again.
    struct Stuck(u8);

    impl Random for Stuck {
        fn fill(&mut self, bytes: &mut [u8]) -> io::Result<()> {
            bytes.fill(self.0);
            Ok(())
        }
    }

    #[test]
    fn a_text_has_each_character_equally_often() {
        for alphabet in [&b"0123456789"[..], b"abc", b"x", &[b'a'; 62]] {
            let accepted = 256 - 256 % alphabet.len();
            let text = text(&mut Counting(0), alphabet, accepted).unwrap();
            for (index, character) in alphabet.iter().enumerate().filter(|_| alphabet.len() < 62) {
                let count = text.expose().bytes().filter(|byte| byte == character).count();
                assert_eq!(count, accepted / alphabet.len(), "character {index}");
            }
        }
        assert_eq!(text(&mut Counting(0), b"0123456789", 12).unwrap().expose(), "012345678901");
        assert_eq!(text(&mut Counting(249), b"0123456789", 3).unwrap().expose(), "901");
        assert!(text(&mut Stuck(255), b"0123456789", 5).is_err(), "it does not loop forever");
    }

    #[test]
    fn base64url_is_that_of_the_rfc() {
        assert_eq!(base64url::<3>(&mut Counting(0)).unwrap().expose(), "AAEC");
        assert_eq!(base64url::<2>(&mut Counting(0xfe)).unwrap().expose(), "_v8");
        assert_eq!(base64url::<1>(&mut Stuck(0xff)).unwrap().expose(), "_w");
        let token = base64url::<{ limits::CONTAINER_TOKEN_BYTES }>(&mut SystemRandom).unwrap();
        assert_eq!(token.length(), limits::CONTAINER_TOKEN_CHARS);
    }

    #[test]
    fn the_hash_is_the_sha_256_of_the_text() {
        let TokenHash(hash) = hash(&Secret::new("abc"));
        assert_eq!(hash[..4], [0xba, 0x78, 0x16, 0xbf]);
    }
}
