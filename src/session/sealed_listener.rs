//! What a sealed listener contributes to its connections.

use std::fmt;
use std::sync::Arc;

use crate::crypto::{InvalidKey, PublicKey};
use crate::embed::KeyPair;
use crate::framing::sealed::SealedRules;
use crate::limits;

/// The keys of a sealed listener, and the generations of clients that it accepts.
#[derive(Clone)]
pub struct SealedListener {
    key_pair: Arc<dyn KeyPair>,
    block_bytes: usize,
    /// Whether messages of the first generation are accepted.
    first_generation: bool,
}

impl SealedListener {
    /// One with these keys, that does not accept the first generation. Fails if the public key can't be used.
    pub fn new(key_pair: Arc<dyn KeyPair>) -> Result<SealedListener, InvalidKey> {
        let block_bytes = PublicKey::from_pem(key_pair.public_key_pem().as_bytes())?.block_bytes();
        Ok(SealedListener { key_pair, block_bytes, first_generation: false })
    }

    /// The same, that accepts the first generation or not.
    pub fn with_first_generation(&self, first_generation: bool) -> SealedListener {
        SealedListener { first_generation, ..self.clone() }
    }

    /// Its keys.
    pub fn key_pair(&self) -> Arc<dyn KeyPair> {
        Arc::clone(&self.key_pair)
    }

    /// The rules of its connections.
    pub fn rules(&self) -> SealedRules<'_> {
        SealedRules {
            public_key_pem: self.key_pair.public_key_pem(),
            block_bytes: self.block_bytes,
            first_generation: self.first_generation,
            request_bytes_max: limits::SEALED_REQUEST_BYTES_MAX,
        }
    }
}

impl PartialEq for SealedListener {
    fn eq(&self, other: &SealedListener) -> bool {
        Arc::ptr_eq(&self.key_pair, &other.key_pair) && self.first_generation == other.first_generation
    }
}

impl Eq for SealedListener {}

impl fmt::Debug for SealedListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealedListener").field("first_generation", &self.first_generation).finish()
    }
}
