//! What tests of metrics share: points, putting and getting them over text, clients that put points all the time, and
//! the history of their answers.

// Each test binary takes what it needs of this.
#![allow(dead_code, unreachable_pub, unused_imports)]

mod history;
mod writers;

use crate::common::Client;

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
    let answer = match client.try_line()?.as_str() {
        "ok" => Ok(()),
        "error" => Err(client.try_line()?),
        other => panic!("{other:?} is no answer to a put"),
    };
    assert_eq!(client.try_line()?, "", "an answer ends with an empty line");
    Some(answer)
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
    let answer = client.raw_line();
    let mut lines = Vec::new();
    loop {
        match client.raw_line() {
            line if line.is_empty() => break,
            line => lines.push(line),
        }
    }
    if answer != "ok" {
        assert_eq!((answer.as_str(), lines.len()), ("error", 1), "{lines:?}");
        return Err(lines.remove(0));
    }
    Ok(lines.iter().map(|line| read_point(line)).collect())
}

/// The same, which must work.
#[track_caller]
pub fn get(client: &mut Client, key: &str) -> Vec<Point> {
    try_get(client, key).unwrap_or_else(|error| panic!("get {key}: {error}"))
}

#[track_caller]
fn read_point(line: &str) -> Point {
    let words: Vec<&str> = line.split(' ').collect();
    let [key, value, second] = words[..] else { panic!("{line:?} is no point") };
    let (read, second) = (value.parse::<f64>(), second.parse());
    let (Ok(read), Ok(second)) = (read, second) else { panic!("{line:?} is no point") };
    assert_eq!(format!("{read:?}"), value, "it is not the shortest text");
    Point { key: key.to_owned(), second, value: read }
}

/// Numbers that are different in each run.
pub struct Random(u64);

impl Random {
    pub fn new() -> Random {
        use std::hash::{BuildHasher, Hasher};
        Random(std::collections::hash_map::RandomState::new().build_hasher().finish())
    }

    /// Any number (splitmix64).
    pub fn any(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ bits >> 31
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.any() % end
    }

    /// Any bits that are a finite number, and now and then values whose bits are easily lost.
    pub fn value(&mut self) -> f64 {
        if self.below(64) == 0 {
            return [-0.0, 0.0, f64::MAX, f64::MIN_POSITIVE, 5e-324, 10.0][self.below(6) as usize];
        }
        loop {
            let value = f64::from_bits(self.any());
            if value.is_finite() {
                return value;
            }
        }
    }

    /// Spins for up to some ten microseconds, so that what comes next does not always come right after an answer.
    pub fn spin(&mut self) {
        (0..self.below(1 << 14)).for_each(|_| std::hint::spin_loop());
    }
}

/// In July of 2017.
pub const FIRST_SECOND: i64 = 1_500_000_000;
