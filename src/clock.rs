//! Time: monotonic instants for deadlines, wall-clock seconds for stored data, and the trait that lets a simulation
//! control both.
//!
//! Below the reactor nothing reads a clock: `now` is always an argument.

use std::io::Write;
use std::num::NonZeroU64;
use std::ops::{Add, Sub};
use std::sync::LazyLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::limits;
use crate::sys::process::time_since_boot;

/// A moment on the monotonic clock, in nanoseconds since an origin before the process began.
///
/// Eight bytes, even as an `Option`: every connection has several.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Instant(NonZeroU64);

/// Whole seconds since 1970-01-01 UTC.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct UnixSeconds(pub i64);

/// The line of HTTP's `Date` header (RFC 9110, 5.6.7), formatted once per second for all responses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HttpDate {
    at: UnixSeconds,
    text: [u8; HTTP_DATE_BYTES],
}

/// The reactor's source of time.
pub trait Clock {
    /// The monotonic time; never goes back.
    fn now(&mut self) -> Instant;
    /// The wall clock; may jump either way.
    fn unix_now(&mut self) -> UnixSeconds;
    /// How far `wall`, a reading of the wall clock, is ahead of the time that can have passed. Expiry uses the wall
    /// clock minus this lead, so that a clock that is wrong for a minute does not expire tokens and points for good.
    fn wall_lead(&mut self, _wall: UnixSeconds) -> Duration {
        Duration::ZERO
    }
}

/// The operating system's clocks.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    origin: std::time::Instant,
    /// Time since boot at the creation of this clock.
    boot: Duration,
    /// Reading of the wall clock at the same moment.
    wall: UnixSeconds,
    /// The expected reading; used instead of `wall` for [`limits::CLOCK_TRUST_WAIT`].
    expected: UnixSeconds,
}

impl Instant {
    /// The earliest instant.
    pub const ORIGIN: Instant = Instant(NonZeroU64::MIN);

    /// The time from `earlier` to `self`, zero if `earlier` is the later one.
    pub fn since(self, earlier: Instant) -> Duration {
        Duration::from_nanos(self.0.get().saturating_sub(earlier.0.get()))
    }

    /// The instant that was this long before, or the origin.
    pub fn before(self, duration: Duration) -> Instant {
        Instant::ORIGIN + self.since(Instant::ORIGIN).saturating_sub(duration)
    }
}

impl Default for Instant {
    fn default() -> Instant {
        Instant::ORIGIN
    }
}

impl Add<Duration> for Instant {
    type Output = Instant;

    fn add(self, duration: Duration) -> Instant {
        let whole = duration.as_secs().saturating_mul(NANOSECONDS_PER_SECOND);
        let nanoseconds = whole.saturating_add(duration.subsec_nanos().into());
        Instant(self.0.saturating_add(nanoseconds))
    }
}

impl Sub<Instant> for Instant {
    type Output = Duration;

    fn sub(self, earlier: Instant) -> Duration {
        self.since(earlier)
    }
}

impl Add<Duration> for UnixSeconds {
    type Output = UnixSeconds;

    fn add(self, duration: Duration) -> UnixSeconds {
        UnixSeconds(self.0.saturating_add_unsigned(duration.as_secs()))
    }
}

impl HttpDate {
    /// The date at `now`.
    pub fn new(now: UnixSeconds) -> HttpDate {
        // The format has four digits for the year.
        let seconds = u64::try_from(now.0).unwrap_or(0).min(LAST_SECOND_OF_9999);
        let (days, second) = (seconds / SECONDS_PER_DAY, seconds % SECONDS_PER_DAY);
        let (year, month, day) = civil_date(days);
        let (weekday, month) = (WEEKDAYS[(days % 7) as usize], MONTHS[month as usize - 1]);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        let mut text = [0; HTTP_DATE_BYTES];
        write!(
            &mut text[..],
            "Date: {weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT\r\n"
        )
        .expect("each field has a fixed width");
        HttpDate { at: now, text }
    }

    /// Updates the date to `now`.
    pub fn update(&mut self, now: UnixSeconds) {
        if self.at != now {
            *self = HttpDate::new(now);
        }
    }

    /// The header's value.
    pub fn value(&self) -> &[u8] {
        &self.text["Date: ".len()..HTTP_DATE_BYTES - "\r\n".len()]
    }

    /// The header, with its name and line end.
    pub fn line(&self) -> &[u8] {
        &self.text
    }
}

impl Sub<Duration> for UnixSeconds {
    type Output = UnixSeconds;

    fn sub(self, duration: Duration) -> UnixSeconds {
        UnixSeconds(self.0.saturating_sub_unsigned(duration.as_secs()))
    }
}

impl SystemClock {
    /// A clock whose monotonic origin is now.
    pub fn new() -> SystemClock {
        SystemClock::resuming_after(None)
    }

    /// As [`SystemClock::new`], after a previous run that ended at `seen`. If the wall clock is far ahead of that,
    /// either the computer was off for long or the clock is wrong, so it is trusted only after a while.
    pub fn resuming_after(seen: Option<UnixSeconds>) -> SystemClock {
        let wall = unix_now();
        let expected = seen.filter(|seen| wall > *seen + limits::CLOCK_DOWNTIME_MAX).unwrap_or(wall);
        SystemClock { origin: std::time::Instant::now(), boot: time_since_boot(), wall, expected }
    }

    /// The wall clock without its lead; expiry uses this time.
    pub fn trusted_unix_now(&mut self) -> UnixSeconds {
        let wall = self.unix_now();
        wall - self.wall_lead(wall)
    }

    /// The lead of `wall`, at `passed` after the creation of this clock.
    fn wall_lead_at(&self, wall: UnixSeconds, passed: Duration) -> Duration {
        let begun = if passed >= limits::CLOCK_TRUST_WAIT { self.wall } else { self.expected };
        let latest = begun + passed + limits::CLOCK_SLACK;
        Duration::from_secs(u64::try_from(wall.0.saturating_sub(latest.0)).unwrap_or(0))
    }
}

impl Default for SystemClock {
    fn default() -> SystemClock {
        SystemClock::new()
    }
}

impl Clock for SystemClock {
    fn now(&mut self) -> Instant {
        Instant::ORIGIN + self.origin.elapsed()
    }

    fn unix_now(&mut self) -> UnixSeconds {
        unix_now()
    }

    fn wall_lead(&mut self, wall: UnixSeconds) -> Duration {
        self.wall_lead_at(wall, time_since_boot().saturating_sub(self.boot))
    }
}

/// The monotonic time, for code that waits outside the reactor.
pub fn monotonic_now() -> Instant {
    static ORIGIN: LazyLock<std::time::Instant> = LazyLock::new(std::time::Instant::now);
    Instant::ORIGIN + ORIGIN.elapsed()
}

/// The wall clock now, for the host's own tools; a time before 1970 reads as 1970.
pub fn unix_now() -> UnixSeconds {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixSeconds(i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX))
}

/// Year, month and day of the Gregorian calendar, `days` after 1970-01-01. After Howard Hinnant's
/// `civil_from_days`: years begin in March there, so that the leap day is the last.
fn civil_date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

const HTTP_DATE_BYTES: usize = 37;
const NANOSECONDS_PER_SECOND: u64 = 1_000_000_000;
const SECONDS_PER_DAY: u64 = 86_400;
const LAST_SECOND_OF_9999: u64 = 253_402_300_799;
/// Starting with the weekday of 1970-01-01.
const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_dates_are_formatted() {
        let cases = [
            (i64::MIN, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_827_696, "Tue, 29 Feb 2000 12:34:56 GMT"),
            (1_767_225_599, "Wed, 31 Dec 2025 23:59:59 GMT"),
            (253_402_300_799, "Fri, 31 Dec 9999 23:59:59 GMT"),
            (i64::MAX, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ];
        let mut updated = HttpDate::new(UnixSeconds(1));
        for (seconds, text) in cases {
            let date = HttpDate::new(UnixSeconds(seconds));
            assert_eq!(String::from_utf8_lossy(date.line()), format!("Date: {text}\r\n"));
            updated.update(UnixSeconds(seconds));
            assert_eq!(updated, date);
        }
    }

    const DAY: Duration = Duration::from_secs(86_400);

    fn clock(wall: i64, expected: i64) -> SystemClock {
        SystemClock { wall: UnixSeconds(wall), expected: UnixSeconds(expected), ..SystemClock::new() }
    }

    #[test]
    fn forward_jump_is_a_lead_and_backward_is_not() {
        let (clock, begun) = (clock(1_000_000, 1_000_000), UnixSeconds(1_000_000));
        for passed in [Duration::ZERO, DAY, 400 * DAY] {
            assert_eq!(clock.wall_lead_at(begun + passed, passed), Duration::ZERO);
            assert_eq!(clock.wall_lead_at(begun + passed + limits::CLOCK_SLACK, passed), Duration::ZERO);
            assert_eq!(clock.wall_lead_at(begun + passed + limits::CLOCK_SLACK + DAY, passed), DAY);
            assert_eq!(clock.wall_lead_at(UnixSeconds(0), passed), Duration::ZERO);
        }
    }

    #[test]
    fn clock_far_ahead_at_start_is_trusted_later() {
        let wall = UnixSeconds(1_000_000) + 400 * DAY;
        let clock = clock(wall.0, 1_000_000);
        let almost = limits::CLOCK_TRUST_WAIT - Duration::from_secs(1);
        assert_eq!(clock.wall_lead_at(wall, Duration::ZERO), 400 * DAY - limits::CLOCK_SLACK);
        assert_eq!(clock.wall_lead_at(wall + almost, almost), 400 * DAY - limits::CLOCK_SLACK);
        let wait = limits::CLOCK_TRUST_WAIT;
        assert_eq!(clock.wall_lead_at(wall + wait, wait), Duration::ZERO);
    }

    #[test]
    fn short_downtime_is_not_a_lead() {
        let now = unix_now();
        for seen in [None, Some(now), Some(now - limits::CLOCK_DOWNTIME_MAX / 2), Some(now + DAY)] {
            assert_eq!(SystemClock::resuming_after(seen).wall_lead(now), Duration::ZERO, "{seen:?}");
        }
        assert!(
            SystemClock::resuming_after(Some(now - 2 * limits::CLOCK_DOWNTIME_MAX)).wall_lead(now)
                > limits::CLOCK_DOWNTIME_MAX
        );
    }
}
