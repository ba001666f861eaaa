//! The prefixes of keys whose points are recorded: those that clients watch, and those that they have watched lately.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::clock::Instant;
use crate::limits;

/// The prefixes.
#[derive(Default)]
pub(super) struct Prefixes {
    recorded: BTreeMap<Box<str>, Recorded>,
    /// When those that no client watches are searched for.
    next_sweep: Option<Instant>,
}

struct Recorded {
    /// Clients that watch it.
    watchers: u32,
    /// The number of the last change before it was recorded.
    since: u64,
    /// When its last client ended.
    unused_since: Option<Instant>,
}

/// There are as many prefixes as may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Full;

impl Prefixes {
    /// Adds a client that watches `prefixes`; those that are new are recorded after the change `last`.
    pub(super) fn add(&mut self, prefixes: &[Box<str>], last: u64) -> Result<(), Full> {
        if !self.has_room_for(prefixes) {
            // Those that no client watches make room, except for those that are watched again.
            self.recorded.retain(|known, recorded| recorded.watchers > 0 || prefixes.contains(known));
            if !self.has_room_for(prefixes) {
                return Err(Full);
            }
        }
        for prefix in prefixes {
            // What a shorter prefix has recorded is there.
            let since = self.recorded_since(prefix).unwrap_or(last);
            let recorded = self.recorded.entry(prefix.clone()).or_insert(Recorded {
                watchers: 0,
                since,
                unused_since: None,
            });
            recorded.watchers += 1;
            recorded.unused_since = None;
        }
        Ok(())
    }

    fn has_room_for(&self, prefixes: &[Box<str>]) -> bool {
        let new = prefixes.iter().filter(|prefix| !self.recorded.contains_key(*prefix)).count();
        self.recorded.len() + new <= limits::WATCH_PREFIXES_MAX
    }

    /// Removes a client that watches `prefixes`.
    pub(super) fn remove(&mut self, prefixes: &[Box<str>], now: Instant) {
        for prefix in prefixes {
            if let Some(recorded) = self.recorded.get_mut(prefix) {
                recorded.watchers -= 1;
                recorded.unused_since = Some(now).filter(|_| recorded.watchers == 0);
            }
        }
        if !prefixes.is_empty() {
            self.next_sweep.get_or_insert(now + limits::WATCH_PREFIXES_SWEEP);
        }
    }

    /// Forgets the prefixes that no client has watched for [`limits::WATCH_RESUME_TIME`], from time to time.
    pub(super) fn sweep(&mut self, now: Instant) {
        if self.next_sweep.is_none_or(|at| at > now) {
            return;
        }
        let is_kept = |since: Instant| since + limits::WATCH_RESUME_TIME > now;
        self.recorded.retain(|_, recorded| recorded.unused_since.is_none_or(is_kept));
        let has_unused = self.recorded.values().any(|recorded| recorded.unused_since.is_some());
        self.next_sweep = has_unused.then_some(now + limits::WATCH_PREFIXES_SWEEP);
    }

    /// When [`Prefixes::sweep`] has work.
    pub(super) fn next_sweep(&self) -> Option<Instant> {
        self.next_sweep
    }

    /// Whether points of `key` are recorded.
    pub(super) fn covers(&self, key: &str) -> bool {
        self.prefixes_of(key).next().is_some()
    }

    /// The number of the change after which all points whose keys begin with `prefix` are recorded.
    pub(super) fn recorded_since(&self, prefix: &str) -> Option<u64> {
        self.prefixes_of(prefix).map(|recorded| recorded.since).min()
    }

    /// The recorded prefixes of `text`, longest first.
    fn prefixes_of(&self, text: &str) -> impl Iterator<Item = &Recorded> {
        let mut rest = Some(text);
        std::iter::from_fn(move || {
            while let Some(bound) = rest {
                let Some((last, recorded)) =
                    self.recorded.range::<str, _>((Bound::Unbounded, Bound::Included(bound))).next_back()
                else {
                    rest = None;
                    break;
                };
                if bound.starts_with(&**last) {
                    rest = last.char_indices().next_back().map(|(end, _)| &bound[..end]);
                    return Some(recorded);
                }
                // Every prefix of `bound` in the table is before `last`, so it is one of their common prefix, too.
                let same = bound.char_indices().zip(last.chars()).find(|((_, one), other)| one != other);
                rest = same.map(|((end, _), _)| &bound[..end]);
            }
            None
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(prefixes: &[&str]) -> Vec<Box<str>> {
        prefixes.iter().map(|prefix| (*prefix).into()).collect()
    }

    fn at(seconds: u64) -> Instant {
        Instant::ORIGIN + std::time::Duration::from_secs(seconds)
    }

    #[test]
    fn keys_are_covered_by_any_prefix() {
        let names = ["b.", "a", "ab.", "abc.d", "ключ"];
        let keys = ["", "a", "ab", "b", "b.x", "abd", "abc.e", "c", "ключи", "клад", "ab.z", "abc.d"];
        for count in 0..=names.len() {
            let mut prefixes = Prefixes::default();
            prefixes.add(&texts(&names[..count]), 0).unwrap();
            for key in keys {
                let wanted = names[..count].iter().any(|prefix| key.starts_with(prefix));
                assert_eq!(prefixes.covers(key), wanted, "{key} by {:?}", &names[..count]);
            }
        }
        let mut all = Prefixes::default();
        all.add(&texts(&["zz", ""]), 0).unwrap();
        assert!(keys.into_iter().all(|key| all.covers(key)));
    }

    #[test]
    fn a_prefix_is_recorded_since_its_first_client_or_that_of_a_shorter_one() {
        let mut prefixes = Prefixes::default();
        prefixes.add(&texts(&["a.b"]), 3).unwrap();
        prefixes.add(&texts(&["a.b"]), 5).unwrap();
        prefixes.add(&texts(&["a."]), 7).unwrap();
        prefixes.add(&texts(&["a.c"]), 9).unwrap();
        for (prefix, since) in [("a.b", Some(3)), ("a.bc", Some(3)), ("a.c", Some(7)), ("a.z", Some(7))] {
            assert_eq!(prefixes.recorded_since(prefix), since, "{prefix}");
        }
        assert_eq!(prefixes.recorded_since("a"), None);
    }

    #[test]
    fn a_prefix_outlasts_its_last_client_for_a_while() {
        let mut prefixes = Prefixes::default();
        let (a, b) = (texts(&["a"]), texts(&["b"]));
        for prefix in [&a, &a, &b] {
            prefixes.add(prefix, 1).unwrap();
        }
        prefixes.remove(&a, at(0));
        prefixes.remove(&b, at(0));
        let sweep = |prefixes: &mut Prefixes, seconds| {
            prefixes.sweep(at(seconds));
            ["a", "b"].map(|key| prefixes.covers(key))
        };
        let kept = limits::WATCH_RESUME_TIME.as_secs();
        assert_eq!(sweep(&mut prefixes, kept - 1), [true, true]);
        assert_eq!(sweep(&mut prefixes, 2 * kept), [true, false]);
        assert_eq!(prefixes.next_sweep(), None, "nothing is left to forget");
        prefixes.remove(&a, at(2 * kept));
        prefixes.add(&a, 9).unwrap();
        assert_eq!(sweep(&mut prefixes, 9 * kept), [true, false], "it is watched again");
        assert_eq!(prefixes.recorded_since("a"), Some(1));
    }

    #[test]
    fn prefixes_are_bounded() {
        let mut prefixes = Prefixes::default();
        for number in 0..limits::WATCH_PREFIXES_MAX {
            prefixes.add(&texts(&[&number.to_string()]), 0).unwrap();
        }
        assert_eq!(prefixes.add(&texts(&["7", "x"]), 0), Err(Full));
        prefixes.add(&texts(&["7"]), 0).unwrap();
        prefixes.remove(&texts(&["7", "7"]), at(0));
        assert!(prefixes.covers("7"), "a client that was refused holds nothing");
        prefixes.remove(&texts(&["8"]), at(0));
        prefixes.add(&texts(&["7", "x"]), 0).unwrap();
        assert!(!prefixes.covers("8") && prefixes.covers("x"), "one that no client watches makes room");
    }
}
