//! Why a key can't be used.

use std::fmt;

/// A key can't be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum InvalidKey {
    /// It is not PEM with the label of such a key.
    Pem,
    /// It is no RSA key, or has fewer than 2048 or more than 8192 bits.
    Rsa,
    /// There is no such size.
    Bits(usize),
    /// The library can't make one.
    Generation,
}

impl fmt::Display for InvalidKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InvalidKey::Pem => f.write_str("it is not a key in PEM"),
            InvalidKey::Rsa => f.write_str("it is not an RSA key of 2048 to 8192 bits"),
            InvalidKey::Bits(bits) => write!(f, "a key has 2048, 3072, 4096 or 8192 bits, not {bits}"),
            InvalidKey::Generation => f.write_str("no key can be made"),
        }
    }
}

impl std::error::Error for InvalidKey {}
