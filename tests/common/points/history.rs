//! What clients have sent and which answers they got, and the check of it against what the store holds in the end.
//!
//! Each client records it in a file of its own, which is synced before points are sent and after their answers have
//! come. The check reads those files: so it works after a power failure as well.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use super::Point;
use crate::common::TempDir;

/// The answer to a point.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// None before the connection ended.
    Unanswered,
    /// The point is kept.
    Acknowledged,
    /// It is not.
    Refused,
    /// It may be kept or not.
    Unknown,
}

/// A point that was sent.
struct Entry {
    point: Point,
    client: u64,
    /// The request, all or nothing, that the point is part of, if any.
    request: Option<u64>,
    sent: Nanoseconds,
    outcome: Outcome,
    answered_at: Nanoseconds,
}

/// Since the first call of [`since_begin`].
pub type Nanoseconds = u64;

/// What some clients have sent to one store, with the answers.
pub struct PointHistory {
    folder: TempDir,
    entries: Vec<Entry>,
    /// The keys that were there at the last check, in their order.
    keys: Vec<String>,
    /// How often each error was the answer.
    pub errors: BTreeMap<String, usize>,
    /// The longest that a batch took.
    pub worst: Duration,
    pub counts: Counts,
}

/// The figures of a test's report.
#[derive(Clone, Copy, Default)]
pub struct Counts {
    /// Points that were acknowledged.
    pub acked: usize,
    /// Points that were there at the last check.
    pub recovered: usize,
    /// Points that were acknowledged and were not there.
    pub lost: usize,
}

/// The order in which the unanswered points of a client came to the store, as far as they did.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// As they were sent.
    OfClient,
    /// As they were sent, for each key only.
    OfKey,
}

impl PointHistory {
    pub fn new() -> PointHistory {
        PointHistory {
            folder: TempDir::new(),
            entries: Vec::new(),
            keys: Vec::new(),
            errors: BTreeMap::new(),
            worst: Duration::ZERO,
            counts: Counts::default(),
        }
    }

    /// Checks the points `found` in the store: all that were acknowledged are there; each was sent, has its value's
    /// bits and is there once; refused ones are not there; requests for several points are there whole or not at all;
    /// keys are in the order in which they were first put. What is there now has to be there from now on.
    #[track_caller]
    pub fn check(&mut self, found: &[Point], order: Order) {
        self.compare(found, order, |_| true).unwrap_or_else(|wrong| panic!("{}: {wrong}", self.counts));
    }

    /// As [`PointHistory::check`], but of the acknowledged points only those have to be there that were acknowledged
    /// `time` before `end`, or earlier.
    #[track_caller]
    pub fn check_promised_for(&mut self, found: &[Point], time: Duration, end: Instant) {
        let last = since_begin(end).saturating_sub(time.as_nanos() as Nanoseconds);
        let compared = self.compare(found, Order::OfKey, |entry| entry.answered_at <= last);
        compared.unwrap_or_else(|wrong| panic!("{}: {wrong}", self.counts));
    }

    /// What [`PointHistory::check`] finds wrong, if anything.
    pub fn try_check(&mut self, found: &[Point], order: Order) -> Result<(), String> {
        self.compare(found, order, |_| true)
    }

    fn compare(
        &mut self,
        found: &[Point],
        order: Order,
        is_promised: impl Fn(&Entry) -> bool,
    ) -> Result<(), String> {
        let keys = keys_of(found)?;
        let there: HashMap<(&str, i64), u64> =
            found.iter().map(|point| ((point.key.as_str(), point.second), point.value.to_bits())).collect();
        let bits_of = |entry: &Entry| there.get(&(entry.point.key.as_str(), entry.point.second)).copied();
        let is_there = |entry: &Entry| bits_of(entry).is_some();
        let (mut known, mut lost, mut wrong) = (0, Vec::new(), Vec::new());
        for entry in &self.entries {
            match bits_of(entry) {
                None if entry.outcome == Outcome::Acknowledged && is_promised(entry) => {
                    lost.push(&entry.point)
                }
                None => {}
                Some(bits) if bits != entry.point.value.to_bits() || entry.outcome == Outcome::Refused => {
                    wrong.push((&entry.point, entry.outcome, f64::from_bits(bits)));
                }
                Some(_) => known += 1,
            }
        }
        self.counts.recovered = found.len();
        self.counts.lost += lost.len();
        demand(lost.is_empty(), || {
            format!("points are missing, among others {:?}", &lost[..lost.len().min(5)])
        })?;
        demand(wrong.is_empty(), || format!("points were refused, or are not what was sent: {wrong:?}"))?;
        demand(known == found.len(), || format!("{} points that no client sent", found.len() - known))?;
        check_whole(&self.entries, is_there)?;
        check_order(&self.entries, order, is_there)?;
        let has_kept_order = keys.iter().zip(&self.keys).all(|(now, before)| now == before);
        demand(has_kept_order, || format!("keys were {:?} and are {keys:?}", self.keys))?;
        check_key_order(&self.entries, &keys)?;
        self.keys = keys.into_iter().map(str::to_owned).collect();
        let now = since_begin(Instant::now());
        for entry in
            self.entries.iter_mut().filter(|entry| entry.outcome != Outcome::Acknowledged && is_there(entry))
        {
            (entry.outcome, entry.answered_at) = (Outcome::Acknowledged, now);
        }
        Ok(())
    }

    /// Where the clients' files are.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// All errors are `allowed`.
    #[track_caller]
    pub fn check_answers(&self, allowed: &[&str]) {
        for error in self.errors.keys() {
            assert!(allowed.contains(&error.as_str()), "{error:?} was an answer");
        }
    }

    /// Adds what a client has recorded.
    pub fn add(&mut self, client: u64, text: &str) {
        let mut open = VecDeque::new();
        for line in text.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let nanoseconds = words[1].parse().expect("a time");
            let outcome = match words[0] {
                "sent" => {
                    open.push_back(self.entries.len());
                    self.entries.push(entry(client, nanoseconds, &words[2..]));
                    continue;
                }
                "acknowledged" => Outcome::Acknowledged,
                "refused" => Outcome::Refused,
                _ => Outcome::Unknown,
            };
            let count: usize = words[2].parse().expect("a count");
            self.counts.acked += if outcome == Outcome::Acknowledged { count } else { 0 };
            for index in open.drain(..count) {
                let entry = &mut self.entries[index];
                (entry.outcome, entry.answered_at) = (outcome, nanoseconds);
            }
        }
    }
}

impl Counts {
    /// Adds those of another store.
    pub fn add(&mut self, other: Counts) {
        self.acked += other.acked;
        self.recovered += other.recovered;
        self.lost += other.lost;
    }
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "acked={} recovered={} lost={}", self.acked, self.recovered, self.lost)
    }
}

/// Reads the words after the time of a point that was sent.
fn entry(client: u64, sent: Nanoseconds, words: &[&str]) -> Entry {
    let bits = u64::from_str_radix(words[3], 16).expect("bits");
    let point = Point {
        key: words[1].to_owned(),
        second: words[2].parse().expect("a second"),
        value: f64::from_bits(bits),
    };
    Entry {
        point,
        client,
        request: words[0].parse().ok(),
        sent,
        outcome: Outcome::Unanswered,
        answered_at: 0,
    }
}

fn demand(holds: bool, wrong: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(wrong()) }
}

/// The keys in their order; each must be there once, with its points in the order of time and none of them twice.
fn keys_of(found: &[Point]) -> Result<Vec<&str>, String> {
    let mut keys = Vec::new();
    for (at, point) in found.iter().enumerate() {
        match at.checked_sub(1).map(|before| &found[before]) {
            Some(before) if before.key == point.key => {
                demand(before.second < point.second, || format!("{point:?} comes after {before:?}"))?;
            }
            _ => keys.push(point.key.as_str()),
        }
    }
    let different: BTreeSet<&&str> = keys.iter().collect();
    demand(different.len() == keys.len(), || "a key is listed twice".to_owned())?;
    Ok(keys)
}

fn check_whole(entries: &[Entry], is_there: impl Fn(&Entry) -> bool) -> Result<(), String> {
    let mut requests: HashMap<u64, (usize, usize)> = HashMap::new();
    for entry in entries {
        let Some(request) = entry.request else { continue };
        let (all, there) = requests.entry(request).or_default();
        *all += 1;
        *there += usize::from(is_there(entry));
    }
    for (request, (all, there)) in requests {
        let is_whole = there == 0 || there == all;
        demand(is_whole, || format!("{there} of {all} points of the request {request} are there"))?;
    }
    Ok(())
}

/// Those unanswered points that came to the store came in order.
fn check_order(entries: &[Entry], order: Order, is_there: impl Fn(&Entry) -> bool) -> Result<(), String> {
    let mut missing: HashMap<(u64, &str), &Point> = HashMap::new();
    for entry in entries {
        if matches!(entry.outcome, Outcome::Refused | Outcome::Unknown) {
            continue;
        }
        let key = if order == Order::OfKey { entry.point.key.as_str() } else { "" };
        match missing.get(&(entry.client, key)) {
            Some(before) => demand(!is_there(entry), || {
                format!("{:?} is there, and {before:?} before it is not", entry.point)
            })?,
            None if !is_there(entry) => drop(missing.insert((entry.client, key), &entry.point)),
            None => {}
        }
    }
    Ok(())
}

/// Checks that `keys` are in the order of their first points, as far as it is determined: one was acknowledged before
/// the other was sent, or both are of one client only and no error was the answer.
fn check_key_order(entries: &[Entry], keys: &[&str]) -> Result<(), String> {
    let times = times_of_keys(entries);
    let (mut latest_sent, mut latest) = (0, "");
    let mut last_of_client: HashMap<u64, (usize, &str)> = HashMap::new();
    let wrong =
        |one: &str, other: &str| format!("{one} was first put after {other}, and is listed before it");
    for key in keys {
        let Times { sent, done, first, index, is_of_one_client } = &times[key];
        demand(*done >= latest_sent, || wrong(latest, key))?;
        if *sent > latest_sent {
            (latest_sent, latest) = (*sent, key);
        }
        if *is_of_one_client && matches!(first.outcome, Outcome::Acknowledged | Outcome::Unanswered) {
            let (before, other) = last_of_client.insert(first.client, (*index, key)).unwrap_or((0, ""));
            demand(before <= *index, || wrong(other, key))?;
        }
    }
    Ok(())
}

/// When a key was first put.
struct Times<'a> {
    /// When the first point was sent, at the earliest.
    sent: Nanoseconds,
    /// When one was acknowledged.
    done: Nanoseconds,
    /// The first entry, and its index.
    first: &'a Entry,
    index: usize,
    is_of_one_client: bool,
}

fn times_of_keys(entries: &[Entry]) -> HashMap<&str, Times<'_>> {
    let mut times: HashMap<&str, Times<'_>> = HashMap::new();
    for (index, entry) in entries.iter().enumerate().filter(|(_, entry)| entry.outcome != Outcome::Refused) {
        let done = if entry.outcome == Outcome::Acknowledged { entry.answered_at } else { Nanoseconds::MAX };
        let new = Times { sent: entry.sent, done, first: entry, index, is_of_one_client: true };
        let times = times.entry(&entry.point.key).or_insert(new);
        (times.sent, times.done) = (times.sent.min(entry.sent), times.done.min(done));
        times.is_of_one_client &= times.first.client == entry.client;
    }
    times
}

/// The time in a record for the moment `now`.
pub fn since_begin(now: Instant) -> Nanoseconds {
    static BEGIN: OnceLock<Instant> = OnceLock::new();
    now.saturating_duration_since(*BEGIN.get_or_init(Instant::now)).as_nanos() as Nanoseconds
}
