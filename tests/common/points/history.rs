//! What clients sent and were told, and the check of it against what is there in the end.
//!
//! A ledger is a file for each client, synced before points are sent and after their answers have come; what is
//! checked is what stands in it. Nobody kills the clients, so a list in memory would tell the same: syncing only
//! means that a machine whose power is cut in the middle has something to hold its store against, too.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use super::Point;
use crate::common::TempDir;

/// What a client was told of a point.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Told {
    /// Nothing, before the connection ended.
    Nothing,
    /// It is kept.
    Done,
    /// It is not.
    Refused,
    /// Nobody knows.
    Unknown,
}

/// A point in a ledger.
struct Entry {
    point: Point,
    client: u64,
    /// The request that is done as a whole or not at all, where it is of one.
    request: Option<u64>,
    sent: Nanoseconds,
    told: Told,
    /// When that was told.
    told_at: Nanoseconds,
}

/// Since the first time that somebody asked.
pub type Nanoseconds = u64;

/// What some clients sent to one store, and were told of it.
pub struct Ledger {
    folder: TempDir,
    entries: Vec<Entry>,
    /// The keys that were there at the last check, in their order.
    keys: Vec<String>,
    /// How often each thing was said; the empty text stands for success.
    pub said: BTreeMap<String, usize>,
    /// The longest that a batch took.
    pub worst: Duration,
    pub counts: Counts,
}

/// What is told of a ledger in the end.
#[derive(Clone, Copy, Default)]
pub struct Counts {
    /// Points of which a client was told that they are kept.
    pub acked: usize,
    /// Points that were there at the last check.
    pub recovered: usize,
    /// Points that were acknowledged and were not there.
    pub lost: usize,
}

/// In which order those points of a client came to the store of which it was told nothing, if any did.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// As they were sent.
    OfClient,
    /// As they were sent, for each key only.
    OfKey,
}

impl Ledger {
    pub fn new() -> Ledger {
        Ledger {
            folder: TempDir::new(),
            entries: Vec::new(),
            keys: Vec::new(),
            said: BTreeMap::new(),
            worst: Duration::ZERO,
            counts: Counts::default(),
        }
    }

    /// Holds against each other what clients were told and what there is, `found`: acknowledged points are
    /// there, whatever is there was sent and has its value's bits, and nothing is there twice; refused points
    /// are not there, requests for many points are there whole or not at all, keys are in the order in which
    /// they were first put. What is there now has to be there from now on.
    #[track_caller]
    pub fn check(&mut self, found: &[Point], order: Order) {
        self.judge(found, order, |_| true).unwrap_or_else(|wrong| panic!("{}: {wrong}", self.counts));
    }

    /// The same where of the points that were acknowledged only those are promised that were so `time` before
    /// `end`, or earlier.
    #[track_caller]
    pub fn check_promised_for(&mut self, found: &[Point], time: Duration, end: Instant) {
        let last = since_begin(end).saturating_sub(time.as_nanos() as Nanoseconds);
        let judged = self.judge(found, Order::OfKey, |entry| entry.told_at <= last);
        judged.unwrap_or_else(|wrong| panic!("{}: {wrong}", self.counts));
    }

    /// What [`Ledger::check`] finds wrong, if it does.
    pub fn find_out(&mut self, found: &[Point], order: Order) -> Result<(), String> {
        self.judge(found, order, |_| true)
    }

    fn judge(
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
                None if entry.told == Told::Done && is_promised(entry) => lost.push(&entry.point),
                None => {}
                Some(bits) if bits != entry.point.value.to_bits() || entry.told == Told::Refused => {
                    wrong.push((&entry.point, entry.told, f64::from_bits(bits)));
                }
                Some(_) => known += 1,
            }
        }
        self.counts.recovered = found.len();
        self.counts.lost += lost.len();
        demand(lost.is_empty(), || format!("gone are, among others, {:?}", &lost[..lost.len().min(5)]))?;
        demand(wrong.is_empty(), || format!("they were refused, or are not what was sent: {wrong:?}"))?;
        demand(known == found.len(), || format!("{} points that nobody sent", found.len() - known))?;
        check_whole(&self.entries, is_there)?;
        check_order(&self.entries, order, is_there)?;
        let has_kept_order = keys.iter().zip(&self.keys).all(|(now, before)| now == before);
        demand(has_kept_order, || format!("keys were {:?} and are {keys:?}", self.keys))?;
        check_key_order(&self.entries, &keys)?;
        self.keys = keys.into_iter().map(str::to_owned).collect();
        let now = since_begin(Instant::now());
        for entry in self.entries.iter_mut().filter(|entry| entry.told != Told::Done && is_there(entry)) {
            (entry.told, entry.told_at) = (Told::Done, now);
        }
        Ok(())
    }

    /// Where clients have their ledgers.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Nobody was told anything but success and `allowed`.
    #[track_caller]
    pub fn check_answers(&self, allowed: &[&str]) {
        for text in self.said.keys() {
            assert!(text.is_empty() || allowed.contains(&text.as_str()), "clients were told {text:?}");
        }
    }

    /// Adds what a client wrote.
    pub fn add(&mut self, client: u64, text: &str) {
        let mut open = VecDeque::new();
        for line in text.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let nanoseconds = words[1].parse().expect("a time");
            let told = match words[0] {
                "sent" => {
                    open.push_back(self.entries.len());
                    self.entries.push(entry(client, nanoseconds, &words[2..]));
                    continue;
                }
                "done" => Told::Done,
                "refused" => Told::Refused,
                _ => Told::Unknown,
            };
            let count: usize = words[2].parse().expect("a count");
            self.counts.acked += if told == Told::Done { count } else { 0 };
            for at in open.drain(..count) {
                (self.entries[at].told, self.entries[at].told_at) = (told, nanoseconds);
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

/// What stands behind the time of a point that was sent.
fn entry(client: u64, sent: Nanoseconds, words: &[&str]) -> Entry {
    let bits = u64::from_str_radix(words[3], 16).expect("bits");
    let point = Point {
        key: words[1].to_owned(),
        second: words[2].parse().expect("a second"),
        value: f64::from_bits(bits),
    };
    Entry { point, client, request: words[0].parse().ok(), sent, told: Told::Nothing, told_at: 0 }
}

fn demand(holds: bool, wrong: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(wrong()) }
}

/// The keys in their order; each is there once, its points in the order of time, none of them twice.
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
    demand(different.len() == keys.len(), || "a key is told twice".to_owned())?;
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

/// What came to the store of what was not answered came in order.
fn check_order(entries: &[Entry], order: Order, is_there: impl Fn(&Entry) -> bool) -> Result<(), String> {
    let mut missing: HashMap<(u64, &str), &Point> = HashMap::new();
    for entry in entries {
        if matches!(entry.told, Told::Refused | Told::Unknown) {
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

/// `keys` come in the order of their first points, as far as it is determined: one was acknowledged before the
/// other was sent, or both are of one client only, which was not told of a failure.
fn check_key_order(entries: &[Entry], keys: &[&str]) -> Result<(), String> {
    let times = times_of_keys(entries);
    let (mut latest_sent, mut latest) = (0, "");
    let mut last_of_client: HashMap<u64, (usize, &str)> = HashMap::new();
    let wrong = |one: &str, other: &str| format!("{one} was first put after {other}, and is told before it");
    for key in keys {
        let Times { sent, done, first, place, is_of_one_client } = &times[key];
        demand(*done >= latest_sent, || wrong(latest, key))?;
        if *sent > latest_sent {
            (latest_sent, latest) = (*sent, key);
        }
        if *is_of_one_client && matches!(first.told, Told::Done | Told::Nothing) {
            let (before, other) = last_of_client.insert(first.client, (*place, key)).unwrap_or((0, ""));
            demand(before <= *place, || wrong(other, key))?;
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
    /// The first point in a ledger, and its place.
    first: &'a Entry,
    place: usize,
    is_of_one_client: bool,
}

fn times_of_keys(entries: &[Entry]) -> HashMap<&str, Times<'_>> {
    let mut times: HashMap<&str, Times<'_>> = HashMap::new();
    for (place, entry) in entries.iter().enumerate().filter(|(_, entry)| entry.told != Told::Refused) {
        let done = if entry.told == Told::Done { entry.told_at } else { Nanoseconds::MAX };
        let new = Times { sent: entry.sent, done, first: entry, place, is_of_one_client: true };
        let times = times.entry(&entry.point.key).or_insert(new);
        (times.sent, times.done) = (times.sent.min(entry.sent), times.done.min(done));
        times.is_of_one_client &= times.first.client == entry.client;
    }
    times
}

/// What stands in a ledger for the moment `now`.
pub fn since_begin(now: Instant) -> Nanoseconds {
    static BEGIN: OnceLock<Instant> = OnceLock::new();
    now.saturating_duration_since(*BEGIN.get_or_init(Instant::now)).as_nanos() as Nanoseconds
}
