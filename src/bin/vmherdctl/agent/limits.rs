//! Every limit of the agent, with its reason.

use std::ops::RangeInclusive;
use std::time::Duration;

/// Time between two samples.
pub const INTERVAL: Duration = Duration::from_secs(10);
/// Its range: timestamps are whole seconds; a VM that reports less often than hourly is not watched.
pub const INTERVALS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3600);

/// Bytes of the backlog: a week of samples of a VM with one disk and one interface, every ten seconds.
pub const BACKLOG_BYTES: u64 = 16 << 20;
/// Their range: from some hours to what any disk has room for.
pub const BACKLOG_BYTES_RANGE: RangeInclusive<u64> = 1 << 20..=1 << 30;
/// The part of the backlog that makes room when it is full: its file is rewritten once in so many samples, not for each.
pub const BACKLOG_BYTES_DROPPED: u64 = 8;
/// Samples that wait in memory while the backlog's file can't be written: ten minutes.
pub const SAMPLES_IN_MEMORY_MAX: usize = 60;

/// Mounts in a sample: far more than VMs have. The server has 100 000 keys for all.
pub const MOUNTS_MAX: usize = 16;
/// Interfaces in a sample.
pub const INTERFACES_MAX: usize = 16;
/// Values of a sample: processor, memory, load, a value for each mount and two for each interface.
pub const VALUES_MAX: usize = 3 + MOUNTS_MAX + 2 * INTERFACES_MAX;
/// Bytes of a key, as the server has it.
pub const KEY_BYTES_MAX: usize = 200;
/// Bytes of a record of the backlog: a sample of the largest size, with its length, checksum and timestamp.
pub const RECORD_BYTES_MAX: usize = 12 + 8 + VALUES_MAX * (1 + KEY_BYTES_MAX + 8);

/// Bytes of a point in a request besides its key.
pub const POINT_BYTES: usize = 80;
/// Bytes of a request with points, of which some 350 fit: small enough for the memory of both ends. Characters of a key may
/// be escaped, so each counts twice.
pub const BATCH_BYTES: usize = 48 << 10;

/// Time for connecting. The system repeats what is lost after one and after three seconds.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Time for a login by password: when many VMs log in at once, the server lets them wait for up to 30 s.
pub const LOGIN_TIMEOUT: Duration = Duration::from_secs(35);
/// Time for any other request: several times the server's own deadline of requests to its store.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause before the first attempt to connect again. With its jitter it spreads the agents of a restarted server.
pub const RECONNECT_PAUSE_MIN: Duration = Duration::from_millis(200);
/// The longest pause between two attempts: all agents are back within five seconds of a restart, two of which are for
/// connecting and the token.
pub const RECONNECT_PAUSE_MAX: Duration = Duration::from_secs(3);
/// Pauses after the server refused the credentials. A person must help, and each password costs the server a hash.
pub const REFUSED_PAUSE_MIN: Duration = Duration::from_secs(5);
/// The longest of these.
pub const REFUSED_PAUSE_MAX: Duration = Duration::from_secs(60);
/// The age at which a token is replaced, at least; each agent draws one up to twice as long. A token is valid for a day, so
/// an agent has a valid one whenever the server restarts, and the server need not hash the passwords of all at once.
pub const TOKEN_AGE_MAX: Duration = Duration::from_secs(6 * 3600);
/// Time between two attempts to replace a token: a wrong password delays the logins of others.
pub const TOKEN_RETRY: Duration = Duration::from_secs(3600);
/// Time between two looks at an idle connection: a restarted server is noticed that much later.
pub const IDLE_CHECK: Duration = Duration::from_millis(500);
/// Attempts to put points at an internal error of the server, which may come from the points themselves.
pub const INTERNAL_ERRORS_MAX: u32 = 5;
/// Time between two log lines about refused points: a limit that is reached refuses some of each sample.
pub const REFUSALS_LOGGED: Duration = Duration::from_secs(60);
/// How long the end waits until waiting samples are sent. They stay in the backlog otherwise.
pub const STOP_FLUSH: Duration = Duration::from_secs(2);

/// Bytes of a file with a token or a password: many times the longest.
pub const SECRET_FILE_BYTES_MAX: u64 = 4096;
/// Bytes of a log line; the rest is cut.
pub const LOG_LINE_BYTES_MAX: usize = 8 << 10;

const _: () = assert!(VALUES_MAX * (2 * KEY_BYTES_MAX + POINT_BYTES) <= BATCH_BYTES);
const _: () = assert!(RECORD_BYTES_MAX as u64 * BACKLOG_BYTES_DROPPED < *BACKLOG_BYTES_RANGE.start());
const _: () = assert!(KEY_BYTES_MAX <= u8::MAX as usize);
