//! Cryptography of the sealed framing: RSA with OAEP for the exchange of keys, AES-256 in CBC mode for messages.
//!
//! The only module that uses the cryptographic library. Blocking: an exchange takes milliseconds; a message of 64 KiB
//! takes less than one.

mod cbc;
mod exchange;
mod invalid_key;
mod public_key;
mod rsa_key_pair;

pub use cbc::{BLOCK_BYTES, without_padding};
pub use exchange::{Exchanged, KeyExchange, MessageKeys};
pub use invalid_key::InvalidKey;
pub use public_key::PublicKey;
pub use rsa_key_pair::RsaKeyPair;
