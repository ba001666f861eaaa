//! Times: the clocks, durations and points in time as arguments, and their display.

use std::thread;
use std::time::{Duration, Instant};

use crate::sys::process::{unix_now_ms, utc};

/// The time of the monotonic clock.
pub fn now() -> Instant {
    Instant::now()
}

/// Whole seconds since 1970.
pub fn unix_now() -> i64 {
    i64::try_from(unix_now_ms() / 1000).unwrap_or(i64::MAX)
}

/// Waits for `pause`, or until `end` if that is earlier.
pub fn pause(pause: Duration, end: Instant) {
    let until = (now() + pause).min(end);
    while let Some(rest) = until.checked_duration_since(now()).filter(|rest| !rest.is_zero()) {
        thread::park_timeout(rest);
    }
}

/// A duration as `90`, `90s`, `1.5s`, `10m`, `1h` or `2d`.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|character: char| !(character.is_ascii_digit() || character == '.'));
    let (number, unit) = text.split_at(digits.unwrap_or(text.len()));
    let scale = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, seconds)| *seconds);
    let seconds = number.parse::<f64>().ok().zip(scale).map(|(number, scale)| number * scale);
    let duration = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    duration
        .filter(|duration| *duration <= DURATION_MAX)
        .ok_or_else(|| "a duration is a number and a unit: 90s, 10m, 1h, 2d".into())
}

/// A point in time: seconds since 1970, `now`, or a duration before now: `-1h`.
pub fn parse_time(text: &str) -> Result<i64, String> {
    if text == "now" {
        return Ok(unix_now());
    }
    if let Ok(seconds) = text.parse() {
        return Ok(seconds);
    }
    let error = || "a time is seconds since 1970, now, or a duration before now: -1h".to_owned();
    let before = text.strip_prefix('-').ok_or_else(error)?;
    let duration = parse_duration(before).map_err(|_| error())?;
    Ok(unix_now() - i64::try_from(duration.as_secs()).unwrap_or(i64::MAX))
}

/// `seconds` since 1970 as a date and a time in UTC: `2017-08-04 16:30:47Z`.
pub fn display_time(seconds: i64) -> String {
    let [year, month, day, hour, minute, second] = utc(seconds);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}Z")
}

const UNITS: [(&str, f64); 5] = [("", 1.0), ("s", 1.0), ("m", 60.0), ("h", 3600.0), ("d", 86_400.0)];
/// A hundred years: sums with the clock stay in range.
const DURATION_MAX: Duration = Duration::from_secs(100 * 366 * 86_400);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        for (text, seconds) in [("90", 90.0), ("90s", 90.0), ("0.5s", 0.5), ("10m", 600.0), ("1.5h", 5400.0)]
        {
            assert_eq!(parse_duration(text), Ok(Duration::from_secs_f64(seconds)), "{text}");
        }
        for text in ["", "s", "1w", "-1s", "1e3", "1..2s", "99999999d"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn times_are_absolute_or_before_now() {
        assert_eq!(parse_time("1501864247"), Ok(1_501_864_247));
        assert_eq!(parse_time("-5"), Ok(-5));
        let hour_ago = parse_time("-1h").unwrap();
        assert!((unix_now() - 3600 - hour_ago).abs() <= 1);
        for text in ["", "-", "1h", "yesterday", "--1h"] {
            assert!(parse_time(text).is_err(), "{text}");
        }
    }

    #[test]
    fn dates_are_those_of_the_gregorian_calendar() {
        for (seconds, expected) in [
            (0, "1970-01-01 00:00:00Z"),
            (-1, "1969-12-31 23:59:59Z"),
            (951_782_400, "2000-02-29 00:00:00Z"),
            (1_501_864_247, "2017-08-04 16:30:47Z"),
            (253_402_300_799, "9999-12-31 23:59:59Z"),
            (-62_135_596_800, "0001-01-01 00:00:00Z"),
        ] {
            assert_eq!(display_time(seconds), expected);
        }
    }
}
