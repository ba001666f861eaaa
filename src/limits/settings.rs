//! Bounds on settings.

use std::time::Duration;

use super::work::ARGON2_LANES_MAX;

/// Minimum timeout: a shorter one expires before the network answers.
pub const TIMEOUT_MIN: Duration = Duration::from_millis(10);
/// Maximum timeout: a longer one amounts to none.
pub const TIMEOUT_MAX: Duration = Duration::from_secs(365 * 24 * 3600);
/// Minimum token lifetime: expiry is stored in whole seconds.
pub const TOKEN_LIFETIME_MIN: Duration = Duration::from_secs(1);
/// Maximum token lifetime: ten years.
pub const TOKEN_LIFETIME_MAX: Duration = Duration::from_secs(3650 * 24 * 3600);
/// Minimum retention: timestamps are whole seconds.
pub const RETENTION_MIN: Duration = Duration::from_secs(1);
/// Maximum retention: a hundred years; a longer one amounts to unlimited.
pub const RETENTION_MAX: Duration = Duration::from_secs(36_500 * 24 * 3600);
/// Default port.
pub const PORT: u16 = 8888;
/// Minimum delay of a conversion, by default.
pub const CONVERSION_DELAY_MIN: Duration = Duration::from_secs(1);
/// Maximum delay of a conversion, by default.
pub const CONVERSION_DELAY_MAX: Duration = Duration::from_secs(5);
/// Upper bound for the delay of a conversion: its memory is held until then.
pub const CONVERSION_DELAY_LIMIT: Duration = Duration::from_secs(3600);
/// Upper bound for VMs in a store: a thousand times what is tested.
pub const VMS_LIMIT: u64 = 1_000_000_000;
/// Upper bound for open connections: the descriptors that Linux gives one process by default.
pub const CONNECTIONS_LIMIT: usize = 1 << 20;
/// Lower bound for the bytes that all connections may buffer: the largest request and its answer.
pub const BUFFERS_BYTES_MIN: usize = 2 << 20;
/// Upper bound for the bytes that all connections may buffer: more is unlikely to be intended.
pub const BUFFERS_BYTES_LIMIT: usize = 1 << 40;
/// Upper bound for queued hash jobs: each may hold a password and a thousand disks.
pub const AUTH_QUEUE_LIMIT: usize = 1 << 16;
/// Upper bound for jobs queued for the store.
pub const STORE_QUEUE_LIMIT: usize = 1 << 20;
/// Upper bound for open requests.
pub const REQUESTS_LIMIT: usize = 1 << 24;
/// Upper bound for the failed logins before a delay.
pub const LOGIN_FAILURES_LIMIT: u32 = 1000;
/// Lower bound for the maximum login delay.
pub const LOGIN_DELAY_MIN: Duration = Duration::from_millis(100);
/// Upper bound for the maximum login delay: a delayed login must be answered in time.
pub const LOGIN_DELAY_LIMIT: Duration = Duration::from_secs(20);
/// Lower bound for argon2id memory, in KiB: argon2 requires eight for each lane.
pub const ARGON2_MEMORY_KIB_MIN: u32 = 8 * ARGON2_LANES_MAX;
