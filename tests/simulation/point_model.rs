//! The points that fake clients put, and which of them a reply must, may and cannot have.
//!
//! Each key belongs to one client, whose puts are done in the order in which it sends them: so the order in which points
//! are stored is known where it matters.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::codec::PointLine;
use super::random::Random;
use super::response::Outcome;
use super::verification::{Verification, ensure};
use super::wall_clock::WallClock;
use vmherd::internals::clock::Instant;
use vmherd::internals::limits;
use vmherd::internals::model;
use vmherd::internals::store::{StoreFactory, Write};

/// All points that were ever put, in the order in which their clients sent them.
#[derive(Default)]
pub(super) struct PointModel {
    points: Vec<SentPoint>,
    /// The indexes of each key's points.
    keys: HashMap<String, Vec<usize>>,
    /// The indexes of each client's points.
    clients: HashMap<usize, Vec<usize>>,
    /// When points were removed, by logical time, and before which second.
    removals: Vec<(u64, i64)>,
    /// Counts the requests and replies about points.
    logical_time: u64,
}

/// The points of one put: a range of indexes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Batch {
    pub(super) first: usize,
    pub(super) count: usize,
    /// The index in it of a point that breaks a rule: none is to be stored.
    pub(super) bad: Option<usize>,
}

/// The points that a client asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct PointQuery {
    /// `*`: of all keys.
    pub(super) key: String,
    pub(super) from: Option<i64>,
    pub(super) to: Option<i64>,
}

/// A point to be put.
pub(super) struct NewPoint {
    pub(super) key: String,
    /// `None`: the server uses its own clock.
    pub(super) second: Option<i64>,
    pub(super) value: f64,
}

/// The client of a request, and its order.
#[derive(Clone, Copy)]
pub(super) struct Requester {
    pub(super) client: usize,
    /// The request is answered after the earlier ones of its client, and before the later ones.
    pub(super) is_in_turn: bool,
}

/// A point that was sent.
struct SentPoint {
    point: NewPoint,
    /// Its value, as metrics text shows it.
    shown: String,
    requester: Requester,
    logical_time: u64,
    asked: Instant,
    state: PointState,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum PointState {
    /// No client has the outcome yet.
    Pending,
    Stored {
        logical_time: u64,
        at: Instant,
    },
    Rejected,
}

/// The points that a reply may have for one second of a key.
#[derive(Default)]
struct Candidates<'a> {
    must_be_there: bool,
    points: Vec<&'a SentPoint>,
}

/// A point that was reported to a client.
#[derive(Clone, Copy)]
pub(super) struct ReportedPoint<'a> {
    pub(super) key: &'a str,
    pub(super) second: i64,
    pub(super) value: ReportedValue<'a>,
}

/// Its value as it was reported.
#[derive(Clone, Copy)]
pub(super) enum ReportedValue<'a> {
    Text(&'a str),
    Number(f64),
}

impl PointModel {
    /// A client sends points.
    pub(super) fn put(
        &mut self,
        points: Vec<NewPoint>,
        is_bad: bool,
        requester: Requester,
        now: Instant,
    ) -> Batch {
        let logical_time = self.pass();
        let (first, count) = (self.points.len(), points.len());
        let state = if is_bad { PointState::Rejected } else { PointState::Pending };
        for point in points {
            let index = self.points.len();
            match self.keys.get_mut(&point.key) {
                Some(indexes) => indexes.push(index),
                None => drop(self.keys.insert(point.key.clone(), vec![index])),
            }
            self.clients.entry(requester.client).or_default().push(index);
            let shown = format!("{:?}", point.value);
            self.points.push(SentPoint { point, shown, requester, logical_time, asked: now, state });
        }
        Batch { first, count, bad: is_bad.then_some(count - 1) }
    }

    /// Puts points into the store before anything else happens, enough for several pages.
    pub(super) fn put_before(&mut self, store: &Arc<dyn StoreFactory>, now: Instant) {
        let count = limits::POINTS_PER_PAGE_MAX + 200;
        let point = |at: usize| (format!("old.{}", at % 3), at as i64, at as f64);
        let reported =
            (0..count).map(point).map(|(key, second, value)| NewPoint { key, second: Some(second), value });
        let batch =
            self.put(reported.collect(), false, Requester { client: usize::MAX, is_in_turn: false }, now);
        let kept = (0..count).map(point).map(|(key, second, value)| model::NewPoint {
            key: model::MetricKey::from_store(&key),
            point: model::Point {
                timestamp: second,
                value: model::MetricValue::new(value).expect("a finite number"),
            },
        });
        let (points, keys_max) = (Arc::new(kept.collect()), limits::METRIC_KEYS_MAX);
        let write = Write::Put { login: None, points, keys_max, is_atomic: true };
        let written = store.connect().expect("memory is always there").write(&[&write]);
        assert!(written.iter().all(Result::is_ok), "an empty store takes points");
        self.on_response(batch, &Outcome::Success, now);
    }

    /// A client got the outcome of its points.
    pub(super) fn on_response(&mut self, batch: Batch, outcome: &Outcome, now: Instant) {
        let logical_time = self.pass();
        for sent in &mut self.points[batch.first..batch.first + batch.count] {
            match outcome {
                Outcome::Success => sent.state = PointState::Stored { logical_time, at: now },
                // They may be there, or not.
                Outcome::Unknown => {}
                _ => sent.state = PointState::Rejected,
            }
        }
    }

    /// Points before the second `before` are removed from now on, unless that fails.
    pub(super) fn remove(&mut self, before: i64) {
        let logical_time = self.pass();
        self.removals.push((logical_time, before));
    }

    /// Keys for which a client has ever put a point.
    pub(super) fn keys_ever(&self) -> u64 {
        self.keys.len() as u64
    }

    /// Counts a request or a reply; returns its logical time.
    pub(super) fn pass(&mut self) -> u64 {
        self.logical_time += 1;
        self.logical_time
    }

    /// The logical time now.
    pub(super) fn logical_time(&self) -> u64 {
        self.logical_time
    }

    /// Points that were ever sent.
    pub(super) fn count(&self) -> usize {
        self.points.len()
    }

    /// The key and the second of the point that `client` has put last, if it has a second.
    pub(super) fn last_of(&self, client: usize) -> Option<(String, i64)> {
        let last = self.of_client(client).next().map(|sent| &sent.point)?;
        Some((last.key.clone(), last.second?))
    }

    /// The second of any point that `client` has put.
    pub(super) fn second_of(&self, client: usize, random: &mut Random) -> Option<i64> {
        let latest = self.of_client(client).take(LATEST);
        let seconds: Vec<i64> = latest.filter_map(|sent| sent.point.second).collect();
        (!seconds.is_empty()).then(|| random.pick(&seconds))
    }

    /// The points of `client`, the latest first.
    fn of_client(&self, client: usize) -> impl Iterator<Item = &SentPoint> {
        let indexes = self.clients.get(&client).into_iter().flatten().rev();
        indexes.map(|index| &self.points[*index])
    }

    /// Whether `reported` is a possible reply `now` to `query`, which `requester` sent at `logical_time`.
    pub(super) fn check(
        &self,
        query: &PointQuery,
        (requester, logical_time): (Requester, u64),
        reported: &[ReportedPoint<'_>],
        (clock, now): (&WallClock, Instant),
    ) -> Verification {
        let mut seen: BTreeMap<&str, Vec<ReportedPoint<'_>>> = BTreeMap::new();
        // A key that is removed between two pages returns as a new one, at the end.
        let may_return = !self.removals.is_empty();
        for of_key in reported.chunk_by(|one, next| one.key == next.key && one.second < next.second) {
            let key = of_key[0].key;
            ensure(query.key == "*" || query.key == key, "points of another key")?;
            let earlier = seen.entry(key).or_default();
            ensure(
                earlier.is_empty() || may_return,
                "a key or a point is there twice, or points out of order",
            )?;
            earlier.retain(|point| of_key.iter().all(|later| later.second != point.second));
            earlier.extend(of_key);
        }
        for (key, of_key) in &seen {
            self.check_key(key, query, (requester, logical_time), of_key, (clock, now))?;
        }
        match query.key.as_str() {
            "*" => {
                let mut missing = self.keys.keys().filter(|key| !seen.contains_key(key.as_str()));
                missing.try_for_each(|key| {
                    self.check_key(key, query, (requester, logical_time), &[], (clock, now))
                })
            }
            key if !seen.contains_key(key) => {
                self.check_key(key, query, (requester, logical_time), &[], (clock, now))
            }
            _ => Ok(()),
        }
    }

    fn check_key(
        &self,
        key: &str,
        query: &PointQuery,
        (requester, logical_time): (Requester, u64),
        reported: &[ReportedPoint<'_>],
        (clock, now): (&WallClock, Instant),
    ) -> Verification {
        let Some(indexes) = self.keys.get(key) else {
            return ensure(reported.is_empty(), "a key that no client has put");
        };
        let mut due: BTreeMap<i64, Candidates<'_>> = BTreeMap::new();
        for sent in indexes.iter().map(|index| &self.points[*index]) {
            let is_settled = match sent.follows(requester, logical_time) {
                // It was sent after the query, and runs after it.
                Some(true) => continue,
                Some(false) => true,
                None => {
                    matches!(sent.state, PointState::Stored { logical_time: kept, .. } if kept < logical_time)
                }
            };
            let is_kept = matches!(sent.state, PointState::Stored { .. });
            if sent.state == PointState::Rejected {
                continue;
            }
            let must_be_there = is_settled && is_kept;
            let Some(second) = sent.point.second else {
                return sent.check_undated(reported, must_be_there, clock, now);
            };
            if query.from.is_some_and(|from| second < from) || query.to.is_some_and(|to| second > to) {
                continue;
            }
            let due = due.entry(second).or_default();
            if must_be_there {
                // It has replaced the earlier points, unless a removal has taken it.
                due.must_be_there = !self.may_be_removed(sent, second);
                due.points.clear();
            }
            due.points.push(sent);
        }
        for reported in reported {
            let due = due
                .remove(&reported.second)
                .ok_or("a point that no client has put, or not before, or not in this range")?;
            ensure(due.points.iter().any(|sent| sent.has(&reported.value)), "a point with another value")?;
        }
        let missing = due.iter().find(|(_, due)| due.must_be_there);
        missing.map_or(Ok(()), |(second, _)| Err(format!("a point of {key} is missing: {second}")))
    }

    fn may_be_removed(&self, sent: &SentPoint, second: i64) -> bool {
        self.removals
            .iter()
            .any(|(logical_time, before)| *logical_time > sent.logical_time && second < *before)
    }

    /// Whether keys are in the order in which they were first put, where that is known: a removed key returns as a
    /// new one.
    pub(super) fn check_order(&self, reported: &[ReportedPoint<'_>]) -> Verification {
        if !self.removals.is_empty() {
            return Ok(());
        }
        let mut first_sent_last = 0;
        for of_key in reported.chunk_by(|one, next| one.key == next.key) {
            let Some(indexes) = self.keys.get(of_key[0].key) else { continue };
            let sent = || indexes.iter().map(|index| &self.points[*index]);
            let first_kept = sent().filter_map(SentPoint::kept).min();
            ensure(first_kept.is_none_or(|kept| kept > first_sent_last), "keys out of order")?;
            let possible = sent().filter(|sent| sent.state != PointState::Rejected);
            first_sent_last = first_sent_last.max(possible.map(|sent| sent.logical_time).min().unwrap_or(0));
        }
        Ok(())
    }

    /// Whether a store with all the points `reported` holds in the end what it must and may.
    pub(super) fn check_store(
        &self,
        reported: &[ReportedPoint<'_>],
        clock: &WallClock,
        now: Instant,
    ) -> Verification {
        let query = PointQuery { key: "*".to_owned(), from: None, to: None };
        let no_client = Requester { client: usize::MAX, is_in_turn: false };
        self.check_order(reported)?;
        self.check(&query, (no_client, u64::MAX), reported, (clock, now))
    }
}

impl<'a> From<PointLine<'a>> for ReportedPoint<'a> {
    fn from(line: PointLine<'a>) -> ReportedPoint<'a> {
        ReportedPoint { key: line.key, second: line.timestamp, value: ReportedValue::Text(line.value) }
    }
}

impl SentPoint {
    /// Whether it runs after the request that `requester` sent at `logical_time`, which waits for the puts before it;
    /// `None` if they are concurrent.
    fn follows(&self, requester: Requester, logical_time: u64) -> Option<bool> {
        let are_in_turn = self.requester.is_in_turn && requester.is_in_turn;
        match self.logical_time > logical_time {
            _ if self.requester.client != requester.client => None,
            true => are_in_turn.then_some(true),
            false => Some(false),
        }
    }

    fn has(&self, value: &ReportedValue<'_>) -> bool {
        match value {
            ReportedValue::Text(text) => self.shown == *text,
            ReportedValue::Number(number) => self.point.value == *number,
        }
    }

    fn kept(&self) -> Option<u64> {
        match self.state {
            PointState::Stored { logical_time, .. } => Some(logical_time),
            _ => None,
        }
    }

    /// Checks the only point of its key, whose second is the one of the server's clock.
    fn check_undated(
        &self,
        reported: &[ReportedPoint<'_>],
        must_be_there: bool,
        clock: &WallClock,
        now: Instant,
    ) -> Verification {
        let until = match self.state {
            PointState::Stored { at, .. } => at,
            _ => now,
        };
        let shown = clock.range(self.asked, until);
        let is_right = |reported: &ReportedPoint<'_>| {
            let is_in_time = (shown.start().0..=shown.end().0).contains(&reported.second);
            is_in_time && self.has(&reported.value)
        };
        match reported {
            [] => ensure(!must_be_there, "a point without a time is missing"),
            [only] => ensure(is_right(only), "a point without a time has a wrong time or value"),
            _ => Err("a point without a time is there twice".to_owned()),
        }
    }
}

/// Points among which one is picked.
const LATEST: usize = 50;
