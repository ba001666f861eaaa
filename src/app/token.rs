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

/// The SHA-256 of a token, as the store keeps it.
pub fn hash(token: &Secret) -> TokenHash {
    TokenHash(Sha256::digest(token.expose().as_bytes()).into())
}

const HEX_DIGITS: &[u8; 16] = b"0123456789abcdef";

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

    #[test]
    fn the_hash_is_the_sha_256_of_the_text() {
        let TokenHash(hash) = hash(&Secret::new("abc"));
        assert_eq!(hash[..4], [0xba, 0x78, 0x16, 0xbf]);
    }
}
