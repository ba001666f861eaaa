//! What stored password hashes begin with: all but salt and output, which are each VM's own.

/// Such starts, each once.
#[derive(Default)]
pub(super) struct HashPrefixes(Vec<String>);

impl HashPrefixes {
    /// Adds that of `hash`, a PHC string; another text has none.
    pub(super) fn add(&mut self, hash: &str, count_max: usize) {
        let Some(start) = hash.rsplitn(3, '$').nth(2) else { return };
        if self.0.len() < count_max && !self.0.iter().any(|known| known == start) {
            self.0.push(start.to_owned());
        }
    }

    /// All of them.
    pub(super) fn into_vec(self) -> Vec<String> {
        self.0
    }
}
