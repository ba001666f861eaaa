//! Limits on points, their keys, and their retention.

use std::ops::RangeInclusive;
use std::time::Duration;

/// Bytes of a metric key.
pub const METRIC_KEY_BYTES_MAX: usize = 200;
/// Metric keys in a store: a thousand hosts with a hundred each. A client that generates keys gets an error before it
/// fills the disk.
pub const METRIC_KEYS_MAX: u64 = 100_000;
/// Bytes of a line of metrics text without its line ending: many times the longest valid line.
pub const TEXT_LINE_BYTES_MAX: usize = 4096;
/// Valid timestamps in Unix seconds: the years 1 to 9999, which all programs that read the tables can represent. A
/// current timestamp in milliseconds lies above the range.
pub const POINT_TIMESTAMPS: RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;
/// Points per put request: as many lines as fit into one read of a connection, or some 200 KiB of JSON. Bounds the wait
/// of other writes in the same commit.
pub const POINTS_PER_REQUEST_MAX: usize = 4096;
/// Points per page of a long answer, a series without points counted as one: some 60 KiB of text, or half a MiB with
/// keys of maximum length.
pub const POINTS_PER_PAGE_MAX: usize = 2048;

/// Approximate number of points per commit: bounds the wait of a request in the middle of them.
pub const POINTS_PER_COMMIT_MAX: usize = 16 << 10;

/// Points that may wait for write-behind: a few seconds of disk writes. Further puts wait for room.
pub const WRITE_BEHIND_POINTS_MAX: usize = 256 << 10;
/// How long points wait at most before write-behind; together with the write it stays within the promised second.
pub const WRITE_BEHIND_PAUSE: Duration = Duration::from_millis(500);
/// How long a read of points, or a put without room, waits for write-behind: less than
/// [`STORE_DEADLINE`](super::work::STORE_DEADLINE).
pub const WRITE_BEHIND_LOCK_TIMEOUT: Duration = Duration::from_secs(2);
/// Pause after a failed write-behind.
pub const WRITE_BEHIND_RETRY: Duration = Duration::from_millis(500);
/// Minimum time that shutdown waits for write-behind when requests used up the whole grace period. Other threads need
/// part of the extra time of a stop, too.
pub const WRITE_BEHIND_STOP_MIN: Duration = Duration::from_millis(100);

/// Points removed, and series examined, per retention step: a few milliseconds during which other writes may wait.
pub const RETENTION_STEP: usize = 1024;
/// Pause after a retention step, as a multiple of the step's duration.
pub const RETENTION_STEP_PAUSE_FACTOR: u32 = 3;
/// Minimum of that pause.
pub const RETENTION_STEP_PAUSE_MIN: Duration = Duration::from_millis(5);
/// Maximum of that pause.
pub const RETENTION_STEP_PAUSE_MAX: Duration = Duration::from_secs(1);
/// Maximum pause between two passes over all series: expired points stay that much longer.
pub const RETENTION_PASS_PAUSE_MAX: Duration = Duration::from_secs(60);
/// Minimum of that pause, for short retention times.
pub const RETENTION_PASS_PAUSE_MIN: Duration = Duration::from_secs(1);
