//! Metrics: `put` and `get`.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::Client;
use super::connection::Deadline;
use super::error::{ClientError, PutManyError};
use super::reply::RawReply;
use crate::clock::unix_now;
use crate::limits;
use crate::model::{KeyError, MetricKey, MetricValue};

/// A value of a metric at a time.
#[derive(Clone, PartialEq, Debug)]
pub struct Point {
    /// The key: 1 to 200 bytes without white space or control characters.
    pub key: String,
    /// The value; finite.
    pub value: f64,
    /// Whole seconds since 1970; `None`: now.
    pub timestamp: Option<i64>,
}

/// Points by key: timestamps, in seconds since 1970 and in ascending order, and values.
pub type PointsByKey = BTreeMap<String, Vec<(i64, f64)>>;

/// What became of the points of a list.
#[derive(Default)]
struct Progress {
    stored: Vec<Range<usize>>,
    unknown: Vec<Range<usize>>,
    failed: Option<(Range<usize>, ClientError)>,
}

impl Client {
    /// Stores a value under `key`, at `timestamp` in seconds since 1970; `None`: now, by the clock of this host. A
    /// value of the same key and second is replaced.
    pub fn put(&mut self, key: &str, value: f64, timestamp: Option<i64>) -> Result<(), ClientError> {
        let timestamp = timestamp.unwrap_or_else(now);
        check_point(key, value, timestamp).map_err(ClientError::InvalidArgument)?;
        let data = json!({"key": key, "value": value, "timestamp": timestamp});
        self.call_command("put", data, |_| Ok(()))
    }

    /// Stores many points, in several requests of which some are in flight at a time. The points of a request are
    /// stored together or not at all. Stops at the first error, which says which points are stored. The timeout is
    /// for the call as a whole.
    pub fn put_many(&mut self, points: &[Point]) -> Result<(), PutManyError> {
        let (deadline, now) = (Deadline::after(self.timeout), now());
        for (index, point) in points.iter().enumerate() {
            let check = check_point(&point.key, point.value, point.timestamp.unwrap_or(now));
            check.map_err(|why| {
                let why = format!("point {index}: {why}");
                Progress::default().end(index..index + 1, ClientError::InvalidArgument(why))
            })?;
        }
        let ready = self.connection.check_ready();
        ready.map_err(|error| Progress::default().end(0..points.len(), error))?;
        let (mut progress, mut in_flight, mut next) = (Progress::default(), VecDeque::new(), 0);
        loop {
            while progress.failed.is_none()
                && next < points.len()
                && in_flight.len() < limits::CLIENT_PUTS_IN_FLIGHT
            {
                let range = next..next + fitting(&points[next..]);
                next = range.end;
                in_flight.push_back(range.clone());
                let sent = self
                    .put_request(&points[range.clone()], now)
                    .and_then(|request| self.send(&request, deadline));
                if let Err(error) = sent {
                    progress.unknown.extend(in_flight);
                    return Err(progress.end(range, error));
                }
            }
            let Some(range) = in_flight.pop_front() else { break };
            match self.receive(deadline, |reply| reply.expect_success("status", "\"success\"").map(|_| ())) {
                Ok(()) => append(&mut progress.stored, range),
                Err(error) if error.loses_step() => {
                    progress.unknown.push(range.clone());
                    progress.unknown.extend(in_flight);
                    return Err(progress.end(range, error));
                }
                Err(error) => progress.refused(range, error),
            }
        }
        match progress.failed.take() {
            None => Ok(()),
            Some((range, error)) => Err(progress.end(range, error)),
        }
    }

    /// The points of `key`, or of all keys for `*`; empty where there are none.
    pub fn get(&mut self, key: &str) -> Result<PointsByKey, ClientError> {
        self.get_between(key, None, None)
    }

    /// As [`Client::get`], the points from the second `from` to the second `to`, both inclusive.
    pub fn get_between(
        &mut self,
        key: &str,
        from: Option<i64>,
        to: Option<i64>,
    ) -> Result<PointsByKey, ClientError> {
        check_key(key).map_err(ClientError::InvalidArgument)?;
        let mut data = Map::from_iter([("key".to_owned(), Value::from(key))]);
        let bounds = [("from", from), ("to", to)].into_iter();
        data.extend(bounds.filter_map(|(name, bound)| Some((name.to_owned(), Value::from(bound?)))));
        self.call_command("get", Value::Object(data), read_points)
    }

    fn put_request(&self, points: &[Point], now: i64) -> Result<Value, ClientError> {
        let points: Vec<Value> = points
            .iter()
            .map(|Point { key, value, timestamp }| {
                json!({"key": key, "value": value, "timestamp": timestamp.unwrap_or(now)})
            })
            .collect();
        self.command_request("put", json!({"points": points}))
    }
}

impl Progress {
    /// The points of `range` are not stored because of `error`, unless the server does not know.
    fn refused(&mut self, range: Range<usize>, error: ClientError) {
        if matches!(&error, ClientError::Server { message } if message == OUTCOME_UNKNOWN) {
            append(&mut self.unknown, range.clone());
        }
        self.failed.get_or_insert((range, error));
    }

    /// The error after which nothing more is sent. The first one counts.
    fn end(self, failed: Range<usize>, error: ClientError) -> PutManyError {
        let (failed, error) = self.failed.unwrap_or((failed, error));
        let mut unknown = Vec::new();
        self.unknown.into_iter().for_each(|range| append(&mut unknown, range));
        PutManyError { stored: self.stored, unknown, failed, error }
    }
}

/// Appends `range`, which may continue the last one.
fn append(ranges: &mut Vec<Range<usize>>, range: Range<usize>) {
    match ranges.last_mut() {
        Some(last) if last.end == range.start => last.end = range.end,
        _ => ranges.push(range),
    }
}

/// How many of the first points are for one request.
fn fitting(points: &[Point]) -> usize {
    let mut bytes = 0;
    let fitting = points.iter().take(limits::CLIENT_POINTS_PER_REQUEST).take_while(|point| {
        bytes += point.key.len() + POINT_BYTES;
        bytes <= limits::CLIENT_POINTS_BYTES
    });
    fitting.count()
}

fn check_point(key: &str, value: f64, timestamp: i64) -> Result<(), String> {
    check_key(key)?;
    if MetricValue::new(value).is_none() {
        return Err(format!("the value {value} is not a finite number"));
    }
    let allowed = limits::POINT_TIMESTAMPS;
    match allowed.contains(&timestamp) {
        true => Ok(()),
        false => {
            Err(format!("the timestamp {timestamp} is not in the years 1 to 9999, in seconds since 1970"))
        }
    }
}

fn check_key(key: &str) -> Result<(), String> {
    MetricKey::parse(key).map(|_| ()).map_err(|_| format!("a key has {}", KeyError::ALLOWED))
}

/// Reads series from the data of a reply. Each value is parsed from its text, and so is exact.
fn read_points(reply: &RawReply<'_>) -> Result<PointsByKey, ClientError> {
    let series: BTreeMap<String, Vec<(i64, &RawValue)>> = reply.data()?.parse_as()?;
    let read = |(timestamp, value): (i64, &RawValue)| {
        let value = value.get().parse().ok().and_then(MetricValue::new);
        value.map(|value| (timestamp, value.get()))
    };
    let read_series = |(key, points): (String, Vec<_>)| {
        let mut points = points.into_iter().map(read).collect::<Option<Vec<_>>>()?;
        points.sort_by_key(|&(timestamp, _)| timestamp);
        Some((key, points))
    };
    let points = series.into_iter().map(read_series).collect::<Option<_>>();
    points.ok_or_else(|| ClientError::bad_reply("a value is not a finite number"))
}

/// Whole seconds since 1970.
fn now() -> i64 {
    unix_now().0
}

/// Bytes of a point in a request beside its key, at most.
const POINT_BYTES: usize = 80;

/// The server's message for a write that may have happened.
const OUTCOME_UNKNOWN: &str = "outcome unknown";

const _: () = assert!(limits::METRIC_KEY_BYTES_MAX + POINT_BYTES <= limits::CLIENT_POINTS_BYTES);
// JSON escapes characters of keys with a second byte.
const _: () = assert!(2 * limits::CLIENT_POINTS_BYTES < limits::REQUEST_BYTES_MAX);

#[cfg(test)]
mod tests {
    use super::*;

    fn point(key: String) -> Point {
        Point { key, value: f64::MIN_POSITIVE, timestamp: Some(*limits::POINT_TIMESTAMPS.start()) }
    }

    #[test]
    fn requests_of_many_points_are_bounded() {
        let usual = vec![point("palm.cpu".into()); 5000];
        assert_eq!(fitting(&usual), limits::CLIENT_POINTS_PER_REQUEST);
        assert_eq!(fitting(&usual[..7]), 7);
        let longest = vec![point("\"".repeat(limits::METRIC_KEY_BYTES_MAX)); 5000];
        let count = fitting(&longest);
        assert!((1..limits::CLIENT_POINTS_PER_REQUEST).contains(&count), "{count}");
        let text =
            json!({"key": longest[0].key, "value": -longest[0].value, "timestamp": longest[0].timestamp});
        assert!(text.to_string().len() < 2 * limits::METRIC_KEY_BYTES_MAX + POINT_BYTES);
    }

    #[test]
    fn points_are_checked_before_they_are_sent() {
        check_point("palm.cpu", 0.5, 0).expect("a point");
        for (key, value, timestamp) in [
            ("", 0.5, 0),
            ("a b", 0.5, 0),
            ("a\n", 0.5, 0),
            ("a", f64::NAN, 0),
            ("a", f64::INFINITY, 0),
            ("a", 0.5, i64::MAX),
        ] {
            check_point(key, value, timestamp).expect_err(key);
        }
    }

    #[test]
    fn replies_are_read_exactly_and_sorted() {
        let read = |data: &str| {
            let line = format!("{{\"data\":{data}}}");
            read_points(&RawReply::parse(&line)?)
        };
        let points = read(r#"{"a":[[2,0.30000000000000004],[1,-1e-7]],"b":[]}"#).unwrap();
        assert_eq!(points["a"], [(1, -1e-7), (2, 0.1 + 0.2)]);
        assert!(points["b"].is_empty());
        for wrong in ["[]", r#"{"a":1}"#, r#"{"a":[[1]]}"#, r#"{"a":[[1,"x"]]}"#, r#"{"a":[[1,1e999]]}"#] {
            assert!(matches!(read(wrong), Err(ClientError::BadReply(_))), "{wrong}");
        }
    }
}
