//! Passwords: argon2id hashes in PHC format. The only module that uses argon2.
//!
//! A failed check takes the same work for every stored hash, or none; hashes above the cost limits are never run;
//! passwords and hashes are never logged.

use std::fmt;
use std::hint::black_box;
use std::sync::Arc;

use argon2::password_hash::phc::{Output, ParamsString, Salt};
use argon2::{ARGON2ID_IDENT, Algorithm, Argon2, Block, Params, PasswordHash, Version};

use super::stored_costs::{Run, StoredCosts};
use crate::limits;
use crate::model::Secret;
use crate::sys;

pub use super::stored_costs::Cost;

/// Hashes and verifies passwords. Keeps its working memory between calls; one per thread.
pub struct Hasher {
    costs: Arc<StoredCosts>,
    blocks: Vec<Block>,
    /// The runs so far, for tests.
    #[cfg(test)]
    runs: Vec<Run>,
}

/// The result of [`Hasher::verify`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PasswordCheck {
    /// The password is wrong, or there is no stored hash, or the stored hash was refused.
    Wrong,
    /// The password is right.
    Right,
    /// The password is right, but its hash is weaker than the configured cost; here is a new hash.
    RightRehashed(String),
}

impl PasswordCheck {
    /// `None` if the password is wrong; else the new hash, if one is needed.
    pub fn rehash(self) -> Option<Option<String>> {
        match self {
            PasswordCheck::Wrong => None,
            PasswordCheck::Right => Some(None),
            PasswordCheck::RightRehashed(hash) => Some(Some(hash)),
        }
    }
}

/// Shared costs, with `cost` for new hashes.
pub fn known_costs(cost: Cost) -> Arc<StoredCosts> {
    Arc::new(StoredCosts::new(Run { cost, version: Version::V0x13.into() }))
}

/// Why hashing failed; for the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HashError(pub String);

impl Hasher {
    /// A hasher for new hashes of `cost`, with costs of its own.
    pub fn new(cost: Cost) -> Hasher {
        Hasher::sharing(known_costs(cost))
    }

    /// A hasher that shares `costs` with other threads.
    pub fn sharing(costs: Arc<StoredCosts>) -> Hasher {
        Hasher {
            costs,
            blocks: Vec::new(),
            #[cfg(test)]
            runs: Vec::new(),
        }
    }

    /// Hashes `password` with a random salt.
    pub fn hash(&mut self, password: &Secret) -> Result<String, HashError> {
        let mut salt = [0; limits::PASSWORD_SALT_BYTES];
        getrandom::fill(&mut salt).map_err(HashError::because)?;
        let params = params(self.costs.configured())?;
        let phc_params = ParamsString::try_from(&params).map_err(HashError::because)?;
        let output = self.run(password, &salt, Version::V0x13, params)?;
        Ok(PasswordHash {
            algorithm: ARGON2ID_IDENT,
            version: Some(Version::V0x13.into()),
            params: phc_params,
            salt: Some(Salt::new(&salt).map_err(HashError::because)?),
            hash: Some(Output::new(output.as_bytes()).map_err(HashError::because)?),
        }
        .to_string())
    }

    /// Checks `password` against `stored`. A failed check runs one hash of each known cost, whether or not there is a
    /// stored hash.
    pub fn verify(&mut self, password: &Secret, stored: Option<&str>) -> Result<PasswordCheck, HashError> {
        let result = self.verify_keeping_memory(password, stored);
        if self.blocks.len() > self.costs.configured().memory_kib as usize {
            // One expensive stored hash must not make every thread keep that much memory.
            self.release_memory();
        }
        result
    }

    /// Returns the working memory to the system.
    pub fn release_memory(&mut self) {
        self.blocks = Vec::new();
    }

    /// The known costs.
    pub fn costs(&self) -> &Arc<StoredCosts> {
        &self.costs
    }

    fn verify_keeping_memory(
        &mut self,
        password: &Secret,
        stored: Option<&str>,
    ) -> Result<PasswordCheck, HashError> {
        let stored = stored.and_then(|stored| match StoredHash::parse(stored) {
            Ok(stored) => Some(stored),
            Err(refusal) => {
                log::error!("refused a stored password hash, so its VM can't log in: {refusal}");
                None
            }
        });
        let own = stored.as_ref().map(StoredHash::run);
        own.into_iter().for_each(|run| self.costs.learn(run));
        let runs = self.costs.runs();
        // Allocate for the largest run first, so that allocation time does not depend on the order of the runs.
        let blocks = runs.iter().map(|run| Ok(params(run.cost)?.block_count()));
        let blocks = blocks.collect::<Result<Vec<usize>, HashError>>()?;
        self.reserve(blocks.into_iter().max().unwrap_or(0))?;
        if let Some(stored) = stored {
            let output = self.run(password, &stored.salt, stored.version, stored.params.clone())?;
            if is_equal(output.as_bytes(), stored.output.as_bytes()) {
                return Ok(match stored.is_weaker_than(self.costs.configured()) {
                    true => PasswordCheck::RightRehashed(self.hash(password)?),
                    false => PasswordCheck::Right,
                });
            }
        }
        for run in runs.into_iter().filter(|run| Some(*run) != own) {
            let version = Version::try_from(run.version).map_err(HashError::because)?;
            let output = self.run(password, &DUMMY_SALT, version, params(run.cost)?)?;
            black_box(is_equal(output.as_bytes(), &DUMMY_OUTPUT));
        }
        Ok(PasswordCheck::Wrong)
    }

    /// Runs argon2id.
    fn run(
        &mut self,
        password: &Secret,
        salt: &[u8],
        version: Version,
        params: Params,
    ) -> Result<RawOutput, HashError> {
        let length = params.output_len().unwrap_or(limits::PASSWORD_HASH_BYTES).min(Output::MAX_LENGTH);
        let block_count = params.block_count();
        let mut output = RawOutput { bytes: [0; Output::MAX_LENGTH], length };
        let argon2 = Argon2::new(Algorithm::Argon2id, version, params);
        self.reserve(block_count)?;
        let password = password.expose().as_bytes();
        #[cfg(test)]
        self.runs.push(run_of(argon2.params(), version));
        let result = argon2.hash_password_into_with_memory(
            password,
            salt,
            &mut output.bytes[..length],
            &mut self.blocks[..block_count],
        );
        result.map_err(HashError::because)?;
        Ok(output)
    }

    /// Grows `self.blocks` to at least `count` blocks.
    fn reserve(&mut self, count: usize) -> Result<(), HashError> {
        if self.blocks.len() >= count {
            return Ok(());
        }
        self.release_memory();
        let reserved = count.max(limits::ARGON2_RESERVED_BYTES_MIN / Block::SIZE);
        self.blocks.try_reserve_exact(reserved).map_err(HashError::because)?;
        self.blocks.resize(count, Block::new());
        Ok(())
    }
}

fn params(Cost { memory_kib, passes, lanes }: Cost) -> Result<Params, HashError> {
    Params::new(memory_kib, passes, lanes, Some(limits::PASSWORD_HASH_BYTES)).map_err(HashError::because)
}

fn run_of(params: &Params, version: Version) -> Run {
    let cost = Cost { memory_kib: params.m_cost(), passes: params.t_cost(), lanes: params.p_cost() };
    Run { cost, version: version.into() }
}

/// The run of a PHC string with this prefix, which ends before the `$` of the salt; `None` if it is refused.
pub fn run_of_prefix(prefix: &str) -> Option<Run> {
    // The salt and output are arbitrary.
    let text = format!("{prefix}$MDEyMzQ1Njc4OWFiY2RlZg$Kvwb05PNyLP0eoYf9cqwNV1f3bHXdAvr/YkcYjMufM4");
    StoredHash::parse(&text).ok().map(|stored| stored.run())
}

/// A PHC string within the cost limits.
struct StoredHash {
    version: Version,
    params: Params,
    salt: Salt,
    output: Output,
}

/// Why a stored hash is refused. Reveals only its cost.
#[derive(PartialEq, Debug)]
enum HashRefusal {
    /// Not a PHC string with a salt and an output.
    Malformed,
    /// An algorithm other than argon2id.
    OtherAlgorithm,
    /// Its KiB, passes and lanes exceed the limits.
    TooCostly(u32, u32, u32),
}

impl StoredHash {
    fn parse(text: &str) -> Result<StoredHash, HashRefusal> {
        let hash = PasswordHash::new(text).map_err(|_| HashRefusal::Malformed)?;
        if hash.algorithm != ARGON2ID_IDENT {
            return Err(HashRefusal::OtherAlgorithm);
        }
        let params = Params::try_from(&hash).map_err(|_| HashRefusal::Malformed)?;
        let (memory_kib, passes, lanes) = (params.m_cost(), params.t_cost(), params.p_cost());
        if memory_kib > limits::ARGON2_MEMORY_KIB_MAX
            || passes > limits::ARGON2_PASSES_MAX
            || lanes > limits::ARGON2_LANES_MAX
        {
            return Err(HashRefusal::TooCostly(memory_kib, passes, lanes));
        }
        // A PHC string without a version has the first version.
        let version = Version::try_from(hash.version.unwrap_or(Version::V0x10.into()))
            .map_err(|_| HashRefusal::Malformed)?;
        let (Some(salt), Some(output)) = (hash.salt, hash.hash) else {
            return Err(HashRefusal::Malformed);
        };
        Ok(StoredHash { version, params, salt, output })
    }

    fn run(&self) -> Run {
        run_of(&self.params, self.version)
    }

    /// Whether a new hash with `cost` is stronger in any respect.
    fn is_weaker_than(&self, cost: Cost) -> bool {
        self.params.m_cost() < cost.memory_kib
            || self.params.t_cost() < cost.passes
            || self.params.p_cost() < cost.lanes
            || self.output.len() < limits::PASSWORD_HASH_BYTES
            || self.version != Version::V0x13
    }
}

/// The output of argon2, wiped after use.
struct RawOutput {
    bytes: [u8; Output::MAX_LENGTH],
    length: usize,
}

impl RawOutput {
    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl Drop for RawOutput {
    fn drop(&mut self) {
        sys::wipe(&mut self.bytes);
    }
}

impl HashError {
    fn because(error: impl fmt::Display) -> HashError {
        HashError(error.to_string())
    }
}

impl fmt::Display for HashRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HashRefusal::Malformed => f.write_str("it is not a complete PHC string"),
            HashRefusal::OtherAlgorithm => f.write_str("it is not argon2id"),
            HashRefusal::TooCostly(memory_kib, passes, lanes) => write!(
                f,
                "m={memory_kib},t={passes},p={lanes} is more than m={},t={},p={}",
                limits::ARGON2_MEMORY_KIB_MAX,
                limits::ARGON2_PASSES_MAX,
                limits::ARGON2_LANES_MAX
            ),
        }
    }
}

/// Compares in a time that depends only on the lengths.
fn is_equal(left: &[u8], right: &[u8]) -> bool {
    if left.len() != right.len() {
        return false;
    }
    let difference = left.iter().zip(right).fold(0, |difference, (a, b)| black_box(difference | (a ^ b)));
    difference == 0
}

/// The salt and hash of dummy runs.
const DUMMY_SALT: [u8; limits::PASSWORD_SALT_BYTES] = *b"nobody has this.";
const DUMMY_OUTPUT: [u8; limits::PASSWORD_HASH_BYTES] = [0; limits::PASSWORD_HASH_BYTES];

const _: () = assert!(limits::PASSWORD_HASH_BYTES <= Output::MAX_LENGTH);

#[cfg(test)]
#[path = "password_tests.rs"]
mod tests;
