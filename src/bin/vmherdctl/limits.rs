//! Limits of the program, with their reasons.

use std::time::Duration;

/// The time for a connection and for each reply: a login may be delayed by 6 s.
pub const TIMEOUT: Duration = Duration::from_secs(10);
/// How long the service manager may take to accept a message.
pub const NOTIFY_WAIT: Duration = Duration::from_secs(1);
/// The time for CREATE, in which a VM boots, and for DESTROY, unless `--timeout` is given: what the server allows for
/// it, and a little.
pub const CONTAINER_TIMEOUT: Duration = Duration::from_secs(125);
/// The time for each of many points: a server that synchronizes a disk for each request stores some 10 000 a second.
pub const PUT_TIME_PER_POINT: Duration = Duration::from_micros(200);
/// The time that `wait` and `create --wait` wait unless `--within` is given: a VM boots in a minute.
pub const WAIT: Duration = Duration::from_secs(300);
/// The pause between two looks of `wait`.
pub const WAIT_INTERVAL: Duration = Duration::from_millis(250);
/// The time for the greeting of an SSH server, after which the next attempt begins.
pub const GREETING_TIMEOUT: Duration = Duration::from_secs(5);
/// The time between two looks of `top`, unless `--interval` is given.
pub const TOP_INTERVAL: Duration = Duration::from_secs(2);
/// The least of these times: `top` is no load for the server.
pub const TOP_INTERVAL_LEAST: Duration = Duration::from_millis(100);
/// The longest pause before `top` asks a lost server again, unless its interval is longer.
pub const TOP_PAUSE_MAX: Duration = Duration::from_secs(30);
/// The time for each reply in `top`, unless `--timeout` is given: keys wait for it.
pub const TOP_TIMEOUT: Duration = Duration::from_secs(3);
/// The time for the rest of a key's sequence after Esc, for connections over a network.
pub const TOP_ESCAPE_WAIT: Duration = Duration::from_millis(50);
/// Bytes of keys that `top` reads at once; the rest waits.
pub const TOP_KEYS_BYTES: usize = 256;
/// A command is slow, and says so on a terminal, after this time.
pub const PROGRESS_AFTER: Duration = Duration::from_secs(1);
/// Bytes of a file with a password or a token: more than either has, and a line break.
pub const SECRET_FILE_BYTES_MAX: u64 = 4096;
/// Bytes of requests and points on standard input: 16 requests of the largest size.
pub const INPUT_BYTES_MAX: u64 = 16 << 20;
/// The length of a password, in bytes; the server's rule.
pub const PASSWORD_BYTES: std::ops::RangeInclusive<usize> = 8..=1024;
/// Created VMs whose credentials are kept; a server has at most this many.
pub const CREDENTIALS_MAX: usize = 65_536;
/// Lines of the console that are kept.
pub const HISTORY_LINES_MAX: usize = 1000;
/// Bytes of the file of these lines that are read: a longer one is not written by this program.
pub const HISTORY_BYTES_MAX: u64 = 16 << 20;
/// Disks that the console asks for: as many as a VM may have.
pub const DISKS_MAX: u64 = 1024;
/// Names of VMs for completion: more do not help a person who types.
pub const COMPLETED_NAMES_MAX: usize = 10_000;
