//! Prefixes of stored password hashes: the parameters, without salt and output.

/// Distinct prefixes.
#[derive(Default)]
pub(super) struct HashPrefixes(Vec<String>);

impl HashPrefixes {
    /// Adds the prefix of `hash`. Ignores text that is not a PHC string.
    pub(super) fn add(&mut self, hash: &str, count_max: usize) {
        let Some(start) = hash.rsplitn(3, '$').nth(2) else { return };
        if self.0.len() < count_max && !self.0.iter().any(|known| known == start) {
            self.0.push(start.to_owned());
        }
    }

    pub(super) fn into_vec(self) -> Vec<String> {
        self.0
    }
}
