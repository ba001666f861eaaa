//! The interface of RSA key pairs.

use std::fmt;

/// The RSA key pair of a server, which a sealed listener will use: its connections are encrypted, and begin with an
/// exchange of RSA keys.
///
/// Its methods are called on worker threads, and may take as long as RSA takes. Decryption must take the same time
/// whatever the block holds.
pub trait KeyPair: Send + Sync {
    /// The public key: a SubjectPublicKeyInfo in PEM, in lines of 64 characters, with a final line break. For a key of
    /// 4096 bits and the exponent 65537 it has 800 bytes.
    fn public_key_pem(&self) -> &str;

    /// Decrypts `block`, which is as long as the modulus, with RSAES-OAEP (RFC 8017): SHA-256 for the hash and for MGF1,
    /// and an empty label. A client sends 48 bytes in it: a key of 32 and an initialization vector of 16.
    fn decrypt(&self, block: &[u8]) -> Result<Vec<u8>, DecryptError>;
}

/// A block can't be decrypted. Says nothing more, since any reason would help to find the key or the text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DecryptError;

impl fmt::Display for DecryptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the block can't be decrypted")
    }
}

impl std::error::Error for DecryptError {}
