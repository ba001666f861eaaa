//! Time: a monotonic instant for deadlines, wall-clock seconds for what is stored, and the seam
//! that lets a simulation own both.
//!
//! Below the reactor nothing reads a clock: `now` is always an argument.

use std::num::NonZeroU64;
use std::ops::{Add, Sub};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A moment on the monotonic clock, in nanoseconds since some moment before the process began.
///
/// Eight bytes, also as an `Option`: every connection keeps a few.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Instant(NonZeroU64);

/// Whole seconds since 1970-01-01 UTC.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct UnixSeconds(pub i64);

/// Where the reactor gets the time.
pub trait Clock {
    /// The monotonic time; never goes back.
    fn now(&mut self) -> Instant;
    /// The wall clock; may jump either way.
    fn unix_now(&mut self) -> UnixSeconds;
}

/// The operating system's clocks.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    origin: std::time::Instant,
}

impl Instant {
    /// The earliest instant there is.
    pub const ORIGIN: Instant = Instant(NonZeroU64::MIN);

    /// The time from `earlier` to `self`, zero if `earlier` is the later one.
    pub fn since(self, earlier: Instant) -> Duration {
        Duration::from_nanos(self.0.get().saturating_sub(earlier.0.get()))
    }
}

impl Add<Duration> for Instant {
    type Output = Instant;

    fn add(self, duration: Duration) -> Instant {
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
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
        let seconds = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
        UnixSeconds(self.0.saturating_add(seconds))
    }
}

impl SystemClock {
    /// A clock whose monotonic origin is this moment.
    pub fn new() -> SystemClock {
        SystemClock { origin: std::time::Instant::now() }
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
}

/// The wall clock now, for the host's own tools; a time before 1970 reads as 1970.
pub fn unix_now() -> UnixSeconds {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixSeconds(i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX))
}

/// The wall clock now in milliseconds, for the log; a time before 1970 reads as 1970.
pub fn unix_now_ms() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
}
