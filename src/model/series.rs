//! Metrics: series of values in time.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use crate::ids::SeriesId;
use crate::limits;

/// The name of a series: 1 to 200 bytes without white space or control characters.
#[derive(Clone)]
pub struct MetricKey(KeyText);

/// Most keys are short, and nothing is allocated for them.
#[derive(Clone)]
enum KeyText {
    /// The length, and the text.
    Short(u8, [u8; SHORT_KEY_BYTES_MAX]),
    Long(Arc<str>),
}

/// Why a text is not a valid key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeyError {
    /// The text is empty or too long; its length in bytes.
    Length(usize),
    /// White space or a control character.
    Character(char),
}

/// A finite 64-bit float. Equality is bitwise: 0 and -0 differ.
#[derive(Clone, Copy)]
pub struct MetricValue(f64);

/// A value at a point in time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Point {
    /// Unix time in seconds; negative before 1970.
    pub timestamp: i64,
    /// The value.
    pub value: MetricValue,
}

/// A point to store.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewPoint {
    /// The key of its series.
    pub key: MetricKey,
    /// The point; replaces the point of the series with the same timestamp.
    pub point: Point,
}

/// Selects points.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PointFilter {
    /// Only this series; `None` selects all.
    pub key: Option<MetricKey>,
    /// Only series whose keys begin with this text.
    pub prefix: Option<MetricKey>,
    /// First timestamp, inclusive.
    pub from: Option<i64>,
    /// Last timestamp, inclusive.
    pub to: Option<i64>,
    /// Only the latest of the points of each series.
    pub is_latest: bool,
}

/// Points of one series, in ascending order of time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Series {
    /// The id in the store.
    pub id: SeriesId,
    /// The key.
    pub key: MetricKey,
    /// Points of the series.
    pub points: Vec<Point>,
}

impl NewPoint {
    /// Size in bytes, including the key.
    pub fn held_bytes(&self) -> usize {
        let of_key = match &self.key.0 {
            KeyText::Short(..) => 0,
            KeyText::Long(text) => text.len() + KEY_OVERHEAD_BYTES,
        };
        size_of::<NewPoint>() + of_key
    }
}

impl MetricKey {
    /// Reads a key.
    pub fn parse(text: &str) -> Result<MetricKey, KeyError> {
        if text.is_empty() || text.len() > limits::METRIC_KEY_BYTES_MAX {
            return Err(KeyError::Length(text.len()));
        }
        // Fast path: nearly all keys are ASCII.
        if text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Ok(MetricKey::from_store(text));
        }
        match text.chars().find(|c| c.is_whitespace() || c.is_control()) {
            Some(character) => Err(KeyError::Character(character)),
            None => Ok(MetricKey::from_store(text)),
        }
    }

    /// A key that comes from the store.
    pub fn from_store(text: &str) -> MetricKey {
        let mut short = [0; SHORT_KEY_BYTES_MAX];
        MetricKey(match short.get_mut(..text.len()) {
            Some(bytes) => {
                bytes.copy_from_slice(text.as_bytes());
                KeyText::Short(text.len() as u8, short)
            }
            None => KeyText::Long(text.into()),
        })
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        // It was made from a text.
        str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    /// The bytes of the text.
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            KeyText::Short(length, bytes) => &bytes[..usize::from(*length)],
            KeyText::Long(text) => text.as_bytes(),
        }
    }
}

impl KeyError {
    /// The rule, for error messages.
    pub const ALLOWED: &str = "1 to 200 bytes without white space or control characters";
}

impl MetricValue {
    /// A value, if `number` is finite.
    pub fn new(number: f64) -> Option<MetricValue> {
        number.is_finite().then_some(MetricValue(number))
    }

    /// The number.
    pub fn get(self) -> f64 {
        self.0
    }
}

impl PointFilter {
    /// The text that the keys begin with.
    pub fn prefix(&self) -> &str {
        self.prefix.as_ref().map_or("", MetricKey::as_str)
    }

    /// First and last timestamp, inclusive.
    pub fn time_range(&self) -> (i64, i64) {
        (self.from.unwrap_or(i64::MIN), self.to.unwrap_or(i64::MAX))
    }
}

impl PartialEq for MetricValue {
    fn eq(&self, other: &MetricValue) -> bool {
        self.0.to_bits() == other.0.to_bits()
    }
}

impl Eq for MetricValue {}

impl PartialEq for MetricKey {
    fn eq(&self, other: &MetricKey) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for MetricKey {}

impl PartialOrd for MetricKey {
    fn partial_cmp(&self, other: &MetricKey) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for MetricKey {
    fn cmp(&self, other: &MetricKey) -> Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl Hash for MetricKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(self.as_bytes());
    }
}

impl fmt::Debug for MetricKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MetricKey").field(&self.as_str()).finish()
    }
}

impl fmt::Display for MetricKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The shortest text that parses to the same value, always with a point or an exponent.
impl fmt::Display for MetricValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Debug for MetricValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// The longest key without memory of its own.
const SHORT_KEY_BYTES_MAX: usize = 22;
const _: () = assert!(size_of::<MetricKey>() == 24);

/// The reference counts of an `Arc`.
const KEY_OVERHEAD_BYTES: usize = 16;

const _: () = assert!(limits::METRIC_KEY_BYTES_MAX == 200, "KeyError::ALLOWED says 200");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_bounded_and_have_neither_white_space_nor_control_characters() {
        let longest = "k".repeat(limits::METRIC_KEY_BYTES_MAX);
        let (short, long) = ("x".repeat(SHORT_KEY_BYTES_MAX), "x".repeat(SHORT_KEY_BYTES_MAX + 1));
        let keys = ["a", "palm.cpu", "*", "ключ", "\"{}\\", "-", &short, &long, &longest];
        let parsed = keys.map(|good| MetricKey::parse(good).expect(good));
        for (good, key) in keys.into_iter().zip(&parsed) {
            assert_eq!(key.as_str(), good);
            for (other, other_key) in keys.into_iter().zip(&parsed) {
                assert_eq!(key.cmp(other_key), good.cmp(other), "{good} {other}");
                assert_eq!(key == other_key, good == other, "{good} {other}");
            }
        }
        let longer = "k".repeat(limits::METRIC_KEY_BYTES_MAX + 1);
        for (bad, error) in [
            ("", KeyError::Length(0)),
            (longer.as_str(), KeyError::Length(limits::METRIC_KEY_BYTES_MAX + 1)),
            ("a b", KeyError::Character(' ')),
            ("a\u{a0}b", KeyError::Character('\u{a0}')),
            ("a\u{85}", KeyError::Character('\u{85}')),
            ("\0", KeyError::Character('\0')),
        ] {
            assert_eq!(MetricKey::parse(bad), Err(error), "{bad:?}");
        }
    }

    #[test]
    fn values_are_finite_and_displayed_as_the_shortest_round_trip_text() {
        for (number, text) in [
            (10.0, "10.0"),
            (0.1 + 0.2, "0.30000000000000004"),
            (-0.0, "-0.0"),
            (4_200_000.0, "4200000.0"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e16"),
            (1e-5, "1e-5"),
            (f64::MAX, "1.7976931348623157e308"),
            (5e-324, "5e-324"),
        ] {
            let value = MetricValue::new(number).expect(text);
            assert_eq!(value.to_string(), text);
            let read: f64 = text.parse().expect(text);
            assert_eq!(MetricValue::new(read), Some(value), "{text}");
        }
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(MetricValue::new(bad), None);
        }
        assert_ne!(MetricValue::new(0.0), MetricValue::new(-0.0));
    }
}
