//! What settings may say.

use std::time::Duration;

use super::ARGON2_LANES_MAX;

/// The shortest timeout: a shorter one ends before the network answers.
pub const TIMEOUT_MIN: Duration = Duration::from_millis(10);
/// The longest timeout: whoever wants more wants none.
pub const TIMEOUT_MAX: Duration = Duration::from_secs(365 * 24 * 3600);
/// The shortest life of a token: they are kept in whole seconds.
pub const TOKEN_LIFETIME_MIN: Duration = Duration::from_secs(1);
/// The longest life of a token: ten years.
pub const TOKEN_LIFETIME_MAX: Duration = Duration::from_secs(3650 * 24 * 3600);
/// The shortest time that points are kept, by setting: they have whole seconds.
pub const RETENTION_MIN: Duration = Duration::from_secs(1);
/// The longest: a hundred years; whoever wants more wants them for good.
pub const RETENTION_MAX: Duration = Duration::from_secs(36_500 * 24 * 3600);
/// The port that the daemon listens on by default.
pub const PORT: u16 = 8888;
/// The shortest delay of a conversion, by default.
pub const CONVERSION_DELAY_MIN: Duration = Duration::from_secs(1);
/// The longest delay of a conversion, by default.
pub const CONVERSION_DELAY_MAX: Duration = Duration::from_secs(5);
/// The longest delay of a conversion, by setting: its memory is held for as long.
pub const CONVERSION_DELAY_LIMIT: Duration = Duration::from_secs(3600);
/// VMs in a store, at most, by setting: a thousand times what is tested.
pub const VMS_LIMIT: u64 = 1_000_000_000;
/// Open connections, at most, by setting: descriptors that Linux gives one process by default.
pub const CONNECTIONS_LIMIT: usize = 1 << 20;
/// Bytes that all connections may hold, at least, by setting: a request of the most bytes and its answer.
pub const BUFFERS_BYTES_MIN: usize = 2 << 20;
/// Bytes that all connections may hold, at most, by setting: whoever has more memory has other plans for it.
pub const BUFFERS_BYTES_LIMIT: usize = 1 << 40;
/// Jobs that wait to be hashed, at most, by setting: each may hold a password and a thousand disks.
pub const AUTH_QUEUE_LIMIT: usize = 1 << 16;
/// Jobs that wait for the store, at most, by setting.
pub const STORE_QUEUE_LIMIT: usize = 1 << 20;
/// Requests that may be open, at most, by setting.
pub const REQUESTS_LIMIT: usize = 1 << 24;
/// Failed logins before a delay, at most, by setting.
pub const LOGIN_FAILURES_LIMIT: u32 = 1000;
/// The longest delay of a login, at least, by setting.
pub const LOGIN_DELAY_MIN: Duration = Duration::from_millis(100);
/// The longest delay of a login, at most, by setting: a login that waits has to be answered in time.
pub const LOGIN_DELAY_LIMIT: Duration = Duration::from_secs(20);
/// argon2id: KiB of memory, at least, by setting: eight for each of the most lanes, or it can't run.
pub const ARGON2_MEMORY_KIB_MIN: u32 = 8 * ARGON2_LANES_MAX;
