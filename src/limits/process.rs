//! The process: its end, its log, its settings.

use std::time::Duration;

/// From the signal to stop until what is not finished is cut: a second under the ten promised.
pub const STOP_GRACE: Duration = Duration::from_secs(9);
/// How long the lines of the audit log are counted for each source before it has as many again.
pub const AUDIT_INTERVAL: Duration = Duration::from_secs(60);
/// Refusals of one source that the audit log shows in that time: enough for a program that bans guessers to see
/// one, and so few that a guesser can't fill a disk with what it is refused.
pub const AUDIT_REFUSED_MAX: u32 = 10;
/// Logins, registrations and changes of one source that it shows in that time: a herd may come by one address.
pub const AUDIT_ACCEPTED_MAX: u32 = 100;
/// Sources that are counted apart at a time; those beyond share one count. What was held back is logged at once:
/// some three milliseconds of work for so many.
pub const AUDIT_SOURCES_MAX: usize = 1024;
/// Names of listeners that a daemon may have.
pub const LISTENERS_MAX: usize = 64;
/// Bytes of a unix socket's path: what the system's address has room for, less the final zero.
pub const UNIX_PATH_BYTES_MAX: usize = 107;

/// How long reading the settings again waits until the reactor has taken them: it takes turns of far less.
pub const RELOAD_WAIT: Duration = Duration::from_secs(2);

/// How far the wall clock may run ahead of the time that has passed since the start before what expires stops to go by
/// it: more than clocks are put right by, and little of any token's life.
pub const CLOCK_SLACK: Duration = Duration::from_secs(60);
/// How long nothing may have run until a start takes the wall clock for one that has jumped.
pub const CLOCK_REST_MAX: Duration = Duration::from_secs(86_400);
/// How long such a start waits before it trusts that clock, and removes what is old by it: somebody may put it right.
pub const CLOCK_TRUST_WAIT: Duration = Duration::from_secs(3600);
