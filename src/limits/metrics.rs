//! Points, their keys, and their retention.

use std::ops::RangeInclusive;
use std::time::Duration;

/// Bytes of a metric's key.
pub const METRIC_KEY_BYTES_MAX: usize = 200;
/// Keys of metrics in a store: a thousand hosts with a hundred each. Who makes a key of something that is
/// different each time is told instead of filling the disk.
pub const METRIC_KEYS_MAX: u64 = 100_000;
/// Bytes of a line of metrics text, its end left out: many times the longest that means something.
pub const TEXT_LINE_BYTES_MAX: usize = 4096;
/// Seconds since 1970 that a point may be of: the years 1 to 9999, which every program can tell that reads the tables.
/// A time of today in milliseconds is later.
pub const POINT_SECONDS: RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;
/// Points that one request may put: as many lines as fit into what is read of a connection at a time, or some
/// 200 KiB of JSON. Bounds how long the others wait that share its commit.
pub const POINTS_PER_REQUEST_MAX: usize = 4096;
/// Points in one page of a long answer, series that have none in it counted as one: some 60 KiB of text, or half a
/// MiB where keys are as long as may be.
pub const POINTS_PER_PAGE_MAX: usize = 2048;

/// Points that share one commit, about: what a request in the middle of them may have to wait for.
pub const POINTS_PER_COMMIT_MAX: usize = 16 << 10;

/// Points that wait to be written behind: some seconds of what a disk takes. Whoever puts more waits until there
/// is room.
pub const POINTS_BEHIND_MAX: usize = 256 << 10;
/// How long points wait at most before they are written behind; with what writing takes that is within the second
/// that is promised.
pub const POINTS_BEHIND_PAUSE: Duration = Duration::from_millis(500);
/// How long somebody who asks for points, or has no room for more, waits while others write them: less than a
/// request may wait for the store.
pub const POINTS_BEHIND_PATIENCE: Duration = Duration::from_secs(2);
/// How long to rest after points could not be written behind.
pub const POINTS_BEHIND_RETRY: Duration = Duration::from_millis(500);
/// How long the end of a server waits at least until what waits to be written behind is, where requests have taken
/// the whole grace: a part of what a stop may take beyond it, of which other threads need one, too.
pub const POINTS_BEHIND_LAST_MIN: Duration = Duration::from_millis(100);

/// Points that are removed in one step because they are old, and series that are looked at for it, at most: a few
/// milliseconds, for which others that write may have to wait.
pub const RETENTION_STEP: usize = 1024;
/// How many times as long as a step takes nothing is removed after it.
pub const RETENTION_REST: u32 = 3;
/// The shortest such rest.
pub const RETENTION_REST_MIN: Duration = Duration::from_millis(5);
/// The longest.
pub const RETENTION_REST_MAX: Duration = Duration::from_secs(1);
/// Between the end of one walk through all series and the next, at most: an old point stays for so much longer.
pub const RETENTION_PAUSE_MAX: Duration = Duration::from_secs(60);
/// The same at least, however short a time points are kept.
pub const RETENTION_PAUSE_MIN: Duration = Duration::from_secs(1);
