//! Dates in the output of the tools.

use crate::sys::process::utc;

/// A time in seconds since 1970 as UTC, in RFC 3339 format.
pub fn rfc3339(seconds: i64) -> String {
    let [year, month, day, hour, minute, second] = utc(seconds);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}
