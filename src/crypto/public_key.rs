//! The public keys of clients.

use std::fmt;

use aws_lc_rs::rsa::{OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, PublicEncryptingKey};

use super::invalid_key::InvalidKey;

/// An RSA key with 2048 to 8192 bits.
pub struct PublicKey {
    key: OaepPublicEncryptingKey,
}

impl PublicKey {
    /// Parses a SubjectPublicKeyInfo (RFC 5280, 4.1) in PEM (RFC 7468).
    pub fn from_pem(pem: &[u8]) -> Result<PublicKey, InvalidKey> {
        let (label, der) = pem_rfc7468::decode_vec(pem).map_err(|_| InvalidKey::Pem)?;
        if label != LABEL {
            return Err(InvalidKey::Pem);
        }
        let key = PublicEncryptingKey::from_der(&der).map_err(|_| InvalidKey::Rsa)?;
        Ok(PublicKey { key: OaepPublicEncryptingKey::new(key).map_err(|_| InvalidKey::Rsa)? })
    }

    /// The bytes of an encrypted block: those of the modulus.
    pub fn block_bytes(&self) -> usize {
        self.key.ciphertext_size()
    }

    /// Encrypts `text` with RSAES-OAEP (RFC 8017, 7.1): SHA-256 for the hash and for MGF1, and an empty label. `None` if
    /// the text is too long, or the key can't be used.
    pub fn encrypt(&self, text: &[u8]) -> Option<Box<[u8]>> {
        let mut block = vec![0; self.block_bytes()];
        let length = self.key.encrypt(&OAEP_SHA256_MGF1SHA256, text, &mut block, None).ok()?.len();
        block.truncate(length);
        Some(block.into())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({} bits)", 8 * self.block_bytes())
    }
}

/// The label of a public key.
pub(super) const LABEL: &str = "PUBLIC KEY";
