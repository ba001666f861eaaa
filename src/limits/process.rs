//! Limits on the process: shutdown, audit log, listeners, clock.

use std::time::Duration;

/// Grace period from the stop signal until the server has ended: one second less than the ten promised.
pub const STOP_GRACE: Duration = Duration::from_secs(9);
/// Part of a grace period that connections do not get: the workers, the last points, the threads of maintenance and the
/// callbacks need it, each for at most their own limit.
pub const STOP_RESERVE: Duration = Duration::from_millis(700);
/// Period over which the audit log counts the lines of each source.
pub const AUDIT_INTERVAL: Duration = Duration::from_secs(60);
/// Refusals logged per source and period: enough for a program that bans guessers, too few for a guesser to fill the
/// disk.
pub const AUDIT_REFUSED_MAX: u32 = 10;
/// Logins, registrations and changes logged per source and period: many VMs may share one address.
pub const AUDIT_ACCEPTED_MAX: u32 = 100;
/// Sources counted separately; the rest share one count. All suppressed counts are logged at once: some three
/// milliseconds of work.
pub const AUDIT_SOURCES_MAX: usize = 1024;
/// Listener names per daemon.
pub const LISTENERS_MAX: usize = 64;
/// Entries of `--allow`, and of `--deny`. Each new connection is compared with all of them, which takes some microseconds;
/// longer lists are a firewall's.
pub const ADDRESS_RULES_MAX: usize = 1024;
/// Bytes of a unix socket's path: `sun_path` without its terminating zero.
pub const UNIX_PATH_BYTES_MAX: usize = 107;

/// How long a thread waits for the reactor to apply settings or to return its counters: ticks are far shorter.
pub const CONTROL_WAIT: Duration = Duration::from_secs(2);

/// How far the wall clock may run ahead of the elapsed time before expiry stops following it: more than clock
/// adjustments take, and little of a token's lifetime.
pub const CLOCK_SLACK: Duration = Duration::from_secs(60);
/// Downtime after which a start assumes that the wall clock has jumped.
pub const CLOCK_DOWNTIME_MAX: Duration = Duration::from_secs(86_400);
/// How long such a start waits before it trusts the clock and removes expired data: an administrator may correct the
/// clock.
pub const CLOCK_TRUST_WAIT: Duration = Duration::from_secs(3600);
