//! What tests of metrics share: points, putting and getting them over text, clients that put points all the time, and
//! the history of their answers.

// Each test binary takes what it needs of this.
#![allow(dead_code, unreachable_pub, unused_imports)]

mod history;
mod writers;

use crate::common::Client;
use crate::common::codec::{PointLine, TextReply};

pub use history::{Counts, Order, Outcome, PointHistory};
pub use writers::PointWriters;

/// A point.
#[derive(Clone, PartialEq, Debug)]
pub struct Point {
    pub key: String,
    pub second: i64,
    pub value: f64,
}

/// The line that puts a point.
pub fn put_line(Point { key, second, value }: &Point) -> String {
    format!("put {key} {value:?} {second}\n")
}

/// The request of JSON that puts `points`, whole or not at all.
pub fn put_request(points: &[Point]) -> String {
    request_of(&points.iter().map(object).collect::<Vec<_>>())
}

fn request_of(objects: &[String]) -> String {
    format!(r#"{{"command": "put", "data": {{"points": [{}]}}}}"#, objects.join(", "))
}

fn object(Point { key, second, value }: &Point) -> String {
    format!(r#"{{"key": "{key}", "value": {value:?}, "timestamp": {second}}}"#)
}

/// The answer to one `put`, with the error if it failed; none if there is no whole answer.
pub fn try_answer(client: &mut Client) -> Option<Result<(), String>> {
    let reply = client.try_text_reply()?;
    Some(match TextReply::parse(&reply) {
        Ok(TextReply::Points(points)) if points.is_empty() => Ok(()),
        Ok(TextReply::Error(error)) => Err(error.to_owned()),
        _ => panic!("{reply:?} is not an answer to a put"),
    })
}

/// Puts `points` in one packet; what was answered to each.
#[track_caller]
pub fn put(client: &mut Client, points: &[Point]) -> Vec<Result<(), String>> {
    client.send(&points.iter().map(put_line).collect::<String>());
    points.iter().map(|_| try_answer(client).expect("an answer")).collect()
}

/// Puts `points`, which must work.
#[track_caller]
pub fn put_all(client: &mut Client, points: &[Point]) {
    for (point, answer) in points.iter().zip(put(client, points)) {
        assert_eq!(answer, Ok(()), "{point:?}");
    }
}

/// The points of `key`, or of all keys for `*`, in the order of the reply, or the error.
#[track_caller]
pub fn try_get(client: &mut Client, key: &str) -> Result<Vec<Point>, String> {
    client.send(&format!("get {key}\n"));
    let reply = client.text_reply();
    match TextReply::parse(reply.trim_end_matches("\n")) {
        Ok(TextReply::Points(points)) => Ok(points.iter().map(read_point).collect()),
        Ok(TextReply::Error(error)) => Err(error.to_owned()),
        Err(error) => panic!("{error}: {reply:?}"),
    }
}

/// The same, which must work.
#[track_caller]
pub fn get(client: &mut Client, key: &str) -> Vec<Point> {
    try_get(client, key).unwrap_or_else(|error| panic!("get {key}: {error}"))
}

#[track_caller]
fn read_point(line: &PointLine<'_>) -> Point {
    let value: f64 = line.value.parse().unwrap_or_else(|_| panic!("{line:?} has no value"));
    assert_eq!(format!("{value:?}"), line.value, "it is not the shortest text");
    Point { key: line.key.to_owned(), second: line.timestamp, value }
}

/// In July of 2017.
pub const FIRST_SECOND: i64 = 1_500_000_000;
