//! The user of the process, and its clocks.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Whether this process runs as root.
pub fn is_root() -> bool {
    // SAFETY: has no arguments and always succeeds.
    unsafe { libc::geteuid() == 0 }
}

/// Milliseconds since 1970; zero before.
pub fn unix_now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_millis().try_into().unwrap_or(u64::MAX)
}

/// The system's monotonic clock, which the service manager also uses.
pub fn monotonic_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` has the type that the call writes. On failure it stays zero.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    Duration::new(time.tv_sec.try_into().unwrap_or(0), time.tv_nsec.try_into().unwrap_or(0))
}

/// Year, month, day, hour, minute and second of the Gregorian calendar, in UTC, `seconds` after 1970, or before it.
pub fn utc(seconds: i64) -> [i64; 6] {
    // SAFETY: the structure consists of numbers and a pointer that is not followed, for which zeros are valid.
    let mut parts: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: both references are valid during the call, which reads the first and writes the second.
    unsafe { libc::gmtime_r(&seconds, &mut parts) };
    let [year, month, day, hour, minute, second] =
        [parts.tm_year, parts.tm_mon, parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec]
            .map(i64::from);
    [year + 1900, month + 1, day, hour, minute, second]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn monotonic_clock_matches_uptime() {
        let uptime = fs::read_to_string("/proc/uptime").unwrap();
        let uptime: f64 = uptime.split_whitespace().next().unwrap().parse().unwrap();
        let (one, other) = (monotonic_time(), monotonic_time());
        assert!(one <= other && other.as_secs_f64() < uptime + 60.0, "{other:?} after {uptime} s");
    }
}
