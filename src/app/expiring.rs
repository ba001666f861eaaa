//! A bounded map whose entries expire.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;

use crate::clock::Instant;

/// Entries with their expiry. When the map is full, an insert evicts the entry that expires first.
pub(super) struct ExpiringMap<K, V> {
    entries: HashMap<K, (Instant, V)>,
    by_end: BTreeSet<(Instant, K)>,
    entries_max: usize,
}

impl<K: Copy + Ord + Hash, V: Copy> ExpiringMap<K, V> {
    pub(super) fn new(entries_max: usize) -> ExpiringMap<K, V> {
        ExpiringMap { entries: HashMap::new(), by_end: BTreeSet::new(), entries_max }
    }

    /// Sets `key` to `value` until `end`.
    pub(super) fn insert(&mut self, key: K, end: Instant, value: V, now: Instant) {
        self.remove(&key);
        self.remove_expired(now);
        if self.entries.len() >= self.entries_max
            && let Some((_, first)) = self.by_end.pop_first()
        {
            self.entries.remove(&first);
        }
        self.entries.insert(key, (end, value));
        self.by_end.insert((end, key));
        debug_assert_eq!(self.entries.len(), self.by_end.len());
    }

    pub(super) fn remove(&mut self, key: &K) {
        if let Some((end, _)) = self.entries.remove(key) {
            self.by_end.remove(&(end, *key));
        }
    }

    /// The expiry and value of `key`, unless it has expired.
    pub(super) fn get(&self, key: &K, now: Instant) -> Option<(Instant, V)> {
        self.entries.get(key).copied().filter(|(end, _)| *end > now)
    }

    /// The number of entries, including expired ones not yet removed.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Removes several expired entries: more than one per insert, so that none pile up.
    fn remove_expired(&mut self, now: Instant) {
        for _ in 0..REMOVED_PER_INSERT_MAX {
            match self.by_end.first() {
                Some((end, _)) if *end <= now => {}
                _ => break,
            }
            if let Some((_, key)) = self.by_end.pop_first() {
                self.entries.remove(&key);
            }
        }
        if self.entries.is_empty() {
            self.entries = HashMap::new();
        }
    }
}

/// Bounds the time of an insert.
const REMOVED_PER_INSERT_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(seconds: u64) -> Instant {
        Instant::ORIGIN + Duration::from_secs(seconds)
    }

    #[test]
    fn entries_expire_and_a_full_map_evicts_the_first_to_expire() {
        let mut map = ExpiringMap::new(3);
        for (key, end) in [(1, 50), (2, 10), (3, 30)] {
            map.insert(key, at(end), key, at(0));
        }
        assert_eq!(map.get(&2, at(9)), Some((at(10), 2)));
        assert_eq!(map.get(&2, at(10)), None, "expired");
        map.insert(4, at(20), 4, at(5));
        assert_eq!([1, 2, 3, 4].map(|key| map.get(&key, at(5)).is_some()), [true, false, true, true]);
        map.insert(3, at(60), 3, at(5));
        assert_eq!(map.len(), 3, "a replaced entry takes no more room");
        map.insert(5, at(70), 5, at(55));
        assert_eq!(map.len(), 2, "expired entries are removed");
        map.remove(&3);
        assert_eq!(map.get(&3, at(56)), None);
        for key in 0..1000 {
            map.insert(key, at(100), key, at(56));
        }
        assert_eq!(map.len(), 3);
    }
}
