//! Passwords: argon2id hashes in PHC form. The only place that names argon2.

use crate::model::Secret;

/// What one argon2id hash costs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cost {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
}

/// Hashes and verifies; keeps its working memory between calls, one per thread.
pub struct Hasher {
    _cost: Cost,
}

/// What [`Hasher::verify`] found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Not the password (or no hash to compare with, or one that is refused).
    Wrong,
    /// The password.
    Right,
    /// The password, and its hash is weaker than the configured cost: here is one that is not.
    RightRehashed(String),
}

/// The hash could not be made; for the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HashError(pub String);

impl Hasher {
    /// A hasher for new hashes of `cost`.
    pub fn new(cost: Cost) -> Hasher {
        Hasher { _cost: cost }
    }

    /// Hashes `password` under a fresh salt.
    pub fn hash(&mut self, _password: &Secret) -> Result<String, HashError> {
        todo!()
    }

    /// Compares `password` with `stored`. Takes as long where there is nothing to compare with.
    pub fn verify(&mut self, _password: &Secret, _stored: Option<&str>) -> Result<Verdict, HashError> {
        todo!()
    }

    /// Gives the working memory back to the system.
    pub fn release_memory(&mut self) {
        todo!()
    }
}
