//! The points that fake clients put, and which of them somebody who asks must, may and can't be told.
//!
//! Each key is one client's, and no point is put twice at the same second unless its client waits for each
//! answer in turn: so the order in which points are kept is known wherever it matters.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use serde_json::Value;

use super::judge::{CLOSED_LISTENER, Judge, Judgement, ensure};
use super::random::Random;
use super::reply::{Reply, Said};
use super::wall_clock::WallClock;
use crate::clock::Instant;
use crate::limits;
use crate::model;
use crate::store::{StoreFactory, Write};

/// All points that were ever put, in the order in which their clients sent them.
#[derive(Default)]
pub(super) struct Metrics {
    points: Vec<Sent>,
    /// The places of each key's points.
    keys: HashMap<String, Vec<usize>>,
    /// The same of each client's.
    clients: HashMap<usize, Vec<usize>>,
    /// When points were removed, and of before which second.
    removals: Vec<(u64, i64)>,
    /// Counts what has been asked and answered.
    moment: u64,
}

/// Points that one request puts, by their places.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Batch {
    pub(super) first: usize,
    pub(super) count: usize,
    /// The one of them that breaks a rule: none is to be kept.
    pub(super) bad: Option<usize>,
}

/// Which points somebody asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Range {
    /// `*`: of all keys.
    pub(super) key: String,
    pub(super) from: Option<i64>,
    pub(super) to: Option<i64>,
}

/// A point to be put.
pub(super) struct NewPoint {
    pub(super) key: String,
    /// None: whenever it comes.
    pub(super) second: Option<i64>,
    pub(super) value: f64,
}

/// Who puts or asks.
#[derive(Clone, Copy)]
pub(super) struct Asker {
    pub(super) client: usize,
    /// The request is answered after those that its client sent before, and before those that follow.
    pub(super) is_in_turn: bool,
}

/// A point that was sent.
struct Sent {
    point: NewPoint,
    /// Its value, as metrics text shows it.
    shown: String,
    asker: Asker,
    moment: u64,
    asked: Instant,
    outcome: Outcome,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Outcome {
    /// Nobody has been told.
    Open,
    Kept {
        moment: u64,
        at: Instant,
    },
    Refused,
}

/// What may be told of one second of a key.
#[derive(Default)]
struct Due<'a> {
    must_be_there: bool,
    points: Vec<&'a Sent>,
}

/// A point that somebody was told.
struct Told<'a> {
    key: &'a str,
    second: i64,
    value: ToldValue<'a>,
}

/// Its value, as it was told.
enum ToldValue<'a> {
    Text(&'a str),
    Number(f64),
}

impl Metrics {
    /// Somebody sends points.
    pub(super) fn put(&mut self, points: Vec<NewPoint>, is_bad: bool, asker: Asker, now: Instant) -> Batch {
        let moment = self.pass();
        let (first, count) = (self.points.len(), points.len());
        let outcome = if is_bad { Outcome::Refused } else { Outcome::Open };
        for point in points {
            let place = self.points.len();
            match self.keys.get_mut(&point.key) {
                Some(places) => places.push(place),
                None => drop(self.keys.insert(point.key.clone(), vec![place])),
            }
            self.clients.entry(asker.client).or_default().push(place);
            let shown = format!("{:?}", point.value);
            self.points.push(Sent { point, shown, asker, moment, asked: now, outcome });
        }
        Batch { first, count, bad: is_bad.then_some(count - 1) }
    }

    /// Puts points into the store before anything else happens, enough for several pages.
    pub(super) fn put_before(&mut self, store: &Arc<dyn StoreFactory>, now: Instant) {
        let count = limits::POINTS_PER_PAGE_MAX + 200;
        let point = |at: usize| (format!("old.{}", at % 3), at as i64, at as f64);
        let told =
            (0..count).map(point).map(|(key, second, value)| NewPoint { key, second: Some(second), value });
        let batch = self.put(told.collect(), false, Asker { client: usize::MAX, is_in_turn: false }, now);
        let kept = (0..count).map(point).map(|(key, second, value)| model::NewPoint {
            key: model::MetricKey::from_store(&key),
            point: model::Point {
                timestamp: second,
                value: model::MetricValue::new(value).expect("a finite number"),
            },
        });
        let (points, keys_max) = (Arc::new(kept.collect()), limits::METRIC_KEYS_MAX);
        let write = Write::Put { login: None, points, keys_max, is_atomic: true };
        let written = store.connect().expect("memory is always there").write(&[write]);
        assert!(written.iter().all(Result::is_ok), "an empty store takes points");
        self.learn(batch, &Said::Success, now);
    }

    /// Somebody was told what has come of points.
    pub(super) fn learn(&mut self, batch: Batch, said: &Said, now: Instant) {
        let moment = self.pass();
        for sent in &mut self.points[batch.first..batch.first + batch.count] {
            match said {
                Said::Success => sent.outcome = Outcome::Kept { moment, at: now },
                // They may be there, or not.
                Said::OutcomeUnknown => {}
                _ => sent.outcome = Outcome::Refused,
            }
        }
    }

    /// Points of before the second `before` are removed from now on, as far as that works.
    pub(super) fn remove(&mut self, before: i64) {
        let moment = self.pass();
        self.removals.push((moment, before));
    }

    /// Keys of which anybody has ever put a point.
    pub(super) fn keys_ever(&self) -> u64 {
        self.keys.len() as u64
    }

    /// Counts a request or an answer; which one it is.
    pub(super) fn pass(&mut self) -> u64 {
        self.moment += 1;
        self.moment
    }

    /// Now, as requests and answers are counted.
    pub(super) fn moment(&self) -> u64 {
        self.moment
    }

    /// Points that were ever sent.
    pub(super) fn count(&self) -> usize {
        self.points.len()
    }

    /// The key and the second of the point that `client` has put last in its turn, if it has a second.
    pub(super) fn last_of(&self, client: usize) -> Option<(String, i64)> {
        let mut sent = self.of_client(client).filter(|sent| sent.asker.is_in_turn);
        let last = sent.next().map(|sent| &sent.point)?;
        Some((last.key.clone(), last.second?))
    }

    /// The second of any point that `client` has put.
    pub(super) fn second_of(&self, client: usize, random: &mut Random) -> Option<i64> {
        let latest = self.of_client(client).take(LATEST);
        let seconds: Vec<i64> = latest.filter_map(|sent| sent.point.second).collect();
        (!seconds.is_empty()).then(|| random.pick(&seconds))
    }

    /// The points of `client`, the latest first.
    fn of_client(&self, client: usize) -> impl Iterator<Item = &Sent> {
        let places = self.clients.get(&client).into_iter().flatten().rev();
        places.map(|place| &self.points[*place])
    }

    /// Whether `told` is what may be told to `asker`, who asked for `range` at `moment` and is told `now`.
    fn check(
        &self,
        range: &Range,
        (asker, moment): (Asker, u64),
        told: &[Told<'_>],
        (clock, now): (&WallClock, Instant),
    ) -> Judgement {
        let mut seen = BTreeSet::new();
        for of_key in told.chunk_by(|one, next| one.key == next.key) {
            let key = &of_key[0].key;
            ensure(range.key == "*" || range.key == *key, "points of another key")?;
            ensure(seen.insert(*key), "a key comes twice")?;
            ensure(
                of_key.is_sorted_by(|one, next| one.second < next.second),
                "points out of order, or twice",
            )?;
            self.check_key(key, range, (asker, moment), of_key, (clock, now))?;
        }
        match range.key.as_str() {
            "*" => {
                let mut missing = self.keys.keys().filter(|key| !seen.contains(key.as_str()));
                missing.try_for_each(|key| self.check_key(key, range, (asker, moment), &[], (clock, now)))
            }
            key if !seen.contains(key) => self.check_key(key, range, (asker, moment), &[], (clock, now)),
            _ => Ok(()),
        }
    }

    fn check_key(
        &self,
        key: &str,
        range: &Range,
        (asker, moment): (Asker, u64),
        told: &[Told<'_>],
        (clock, now): (&WallClock, Instant),
    ) -> Judgement {
        let Some(places) = self.keys.get(key) else {
            return ensure(told.is_empty(), "a key that nobody has put");
        };
        let mut due: BTreeMap<i64, Due<'_>> = BTreeMap::new();
        for sent in places.iter().map(|place| &self.points[*place]) {
            let is_settled = match sent.follows(asker, moment) {
                // It was sent after this was asked, and waits for it.
                Some(true) => continue,
                Some(false) => true,
                None => matches!(sent.outcome, Outcome::Kept { moment: kept, .. } if kept < moment),
            };
            let is_kept = matches!(sent.outcome, Outcome::Kept { .. });
            if sent.outcome == Outcome::Refused {
                continue;
            }
            let must_be_there = is_settled && is_kept;
            let Some(second) = sent.point.second else {
                return sent.check_undated(told, must_be_there, clock, now);
            };
            if range.from.is_some_and(|from| second < from) || range.to.is_some_and(|to| second > to) {
                continue;
            }
            let due = due.entry(second).or_default();
            if must_be_there {
                // It has taken the place of whatever was there before, unless it was too old for that.
                due.must_be_there = !self.may_be_removed(sent, second);
                due.points.clear();
            }
            due.points.push(sent);
        }
        for told in told {
            let due =
                due.remove(&told.second).ok_or("a point that nobody has put, or not now, or not here")?;
            ensure(due.points.iter().any(|sent| sent.has(&told.value)), "a point with another value")?;
        }
        let missing = due.iter().find(|(_, due)| due.must_be_there);
        missing.map_or(Ok(()), |(second, _)| Err(format!("a point of {key} is missing: {second}")))
    }

    fn may_be_removed(&self, sent: &Sent, second: i64) -> bool {
        self.removals.iter().any(|(moment, before)| *moment > sent.moment && second < *before)
    }

    /// Whether keys come in the order in which they were first put, as far as that can be told: one that was
    /// removed comes again as a new one.
    fn check_order(&self, told: &[Told<'_>]) -> Judgement {
        if !self.removals.is_empty() {
            return Ok(());
        }
        let mut first_sent_last = 0;
        for of_key in told.chunk_by(|one, next| one.key == next.key) {
            let Some(places) = self.keys.get(of_key[0].key) else { continue };
            let sent = || places.iter().map(|place| &self.points[*place]);
            let first_kept = sent().filter_map(Sent::kept).min();
            ensure(first_kept.is_none_or(|kept| kept > first_sent_last), "keys out of order")?;
            let possible = sent().filter(|sent| sent.outcome != Outcome::Refused);
            first_sent_last = first_sent_last.max(possible.map(|sent| sent.moment).min().unwrap_or(0));
        }
        Ok(())
    }

    /// Whether a store holds what it must and may in the end: lines as somebody is told them who asks for all.
    pub(super) fn check_store(&self, lines: &str, clock: &WallClock, now: Instant) -> Judgement {
        let told = read_lines(lines)?;
        let range = Range { key: "*".to_owned(), from: None, to: None };
        let nobody = Asker { client: usize::MAX, is_in_turn: false };
        self.check_order(&told)?;
        self.check(&range, (nobody, u64::MAX), &told, (clock, now))
    }
}

impl Sent {
    /// Whether its turn comes after that of what `asker` asked at `moment`; nothing where neither waits.
    fn follows(&self, asker: Asker, moment: u64) -> Option<bool> {
        let waits = self.asker.client == asker.client && self.asker.is_in_turn && asker.is_in_turn;
        waits.then_some(self.moment > moment)
    }

    fn has(&self, value: &ToldValue<'_>) -> bool {
        match value {
            ToldValue::Text(text) => self.shown == *text,
            ToldValue::Number(number) => self.point.value == *number,
        }
    }

    fn kept(&self) -> Option<u64> {
        match self.outcome {
            Outcome::Kept { moment, .. } => Some(moment),
            _ => None,
        }
    }

    /// The only point of its key, which has the second at which it came.
    fn check_undated(
        &self,
        told: &[Told<'_>],
        must_be_there: bool,
        clock: &WallClock,
        now: Instant,
    ) -> Judgement {
        let until = match self.outcome {
            Outcome::Kept { at, .. } => at,
            _ => now,
        };
        let shown = clock.range(self.asked, until);
        let is_right = |told: &Told<'_>| {
            let is_in_time = (shown.start().0..=shown.end().0).contains(&told.second);
            is_in_time && self.has(&told.value)
        };
        match told {
            [] => ensure(!must_be_there, "a point without a time is missing"),
            [only] => ensure(is_right(only), "a point without a time has got a wrong one, or value"),
            _ => Err("a point without a time comes twice".to_owned()),
        }
    }
}

impl Judge<'_> {
    /// Whether `reply` may be what is said to somebody who has put points.
    pub(super) fn check_put(&self, batch: Batch, reply: &Reply) -> Judgement {
        if let Some(bad) = batch.bad {
            let is_told = reply.message().contains(&format!("points[{bad}]"));
            return ensure(is_told && reply.said != Said::Success, "a bad point is let pass");
        }
        if reply.said == Said::Other && reply.message().starts_with("key limit reached") {
            return ensure(self.metrics.keys_ever() > self.weather.keys_max, "refused for too many keys");
        }
        ensure(reply.said == Said::Success, "not put")?;
        match &reply.data {
            Value::String(lines) => ensure(lines.is_empty(), "points for one who puts"),
            data => ensure(
                reply.message() == "ok" && *data == serde_json::json!({}),
                "another reply than to a put",
            ),
        }
    }

    /// Whether `reply` may be what is said to somebody who has asked for points.
    pub(super) fn check_get(&self, range: &Range, reply: &Reply) -> Judgement {
        ensure(reply.said == Said::Success, "no points")?;
        let told = match &reply.data {
            Value::String(lines) => read_lines(lines)?,
            data => read_series(data)?,
        };
        if reply.data.is_string() {
            // Objects that were read have lost the order of their fields.
            self.metrics.check_order(&told)?;
        }
        let asker = Asker { client: self.client, is_in_turn: self.is_in_turn };
        self.metrics.check(range, (asker, self.moment), &told, (self.wall_clock, self.now))
    }

    /// Whether points are only for those who have authenticated.
    pub(super) fn closes_metrics(&self) -> bool {
        self.listener == CLOSED_LISTENER
    }
}

/// Points among which one is picked.
const LATEST: usize = 50;

/// Points in lines.
fn read_lines(lines: &str) -> Result<Vec<Told<'_>>, String> {
    let read = |line: &'_ str| -> Option<(usize, i64)> {
        let mut words = line.split(' ');
        let (key, _, second) = (words.next()?, words.next()?, words.next()?);
        words.next().is_none().then_some((key.len(), second.parse().ok()?))
    };
    let told = lines.lines().map(|line| {
        let (key, second) = read(line).ok_or_else(|| format!("no point: {line}"))?;
        let value = line[key + 1..].split(' ').next().unwrap_or_default();
        Ok(Told { key: &line[..key], second, value: ToldValue::Text(value) })
    });
    told.collect()
}

/// Points in the data of a reply.
fn read_series(data: &Value) -> Result<Vec<Told<'_>>, String> {
    let mut told = Vec::new();
    for (key, points) in data.as_object().ok_or("no series")? {
        let points = points.as_array().filter(|points| !points.is_empty()).ok_or("a key without points")?;
        for point in points {
            let pair = point.as_array().filter(|pair| pair.len() == 2).ok_or("no pair")?;
            let second = pair[0].as_i64().ok_or("a second that is none")?;
            let value = pair[1].as_f64().filter(|_| pair[1].is_f64()).ok_or("a value that is no float")?;
            told.push(Told { key, second, value: ToldValue::Number(value) });
        }
    }
    Ok(told)
}
