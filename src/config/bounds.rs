//! What settings may be, and what may describe a VM. [`Config::check`](super::Config::check) holds settings to it.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::limits;

pub use crate::limits::{
    CPUS_MAX, DESCRIPTORS_PER_VM, DISK_GIB_MAX, DISKS_PER_VM_MAX, ECHOED_CHARS_MAX, LISTENERS_MAX,
    RAM_MIB_MAX, STOP_GRACE, VMS_RUNNING_MAX as VMS_RUNNING_DEFAULT,
};

/// Timeouts of a connection.
pub const TIMEOUTS: RangeInclusive<Duration> = limits::TIMEOUT_MIN..=limits::TIMEOUT_MAX;
/// How long a token is valid.
pub const TOKEN_LIFETIME: RangeInclusive<Duration> = limits::TOKEN_LIFETIME_MIN..=limits::TOKEN_LIFETIME_MAX;
/// How long points are kept.
pub const RETENTION: RangeInclusive<Duration> = limits::RETENTION_MIN..=limits::RETENTION_MAX;
/// Both ends of the delay of a conversion.
pub const CONVERSION_DELAY: RangeInclusive<Duration> = Duration::ZERO..=limits::CONVERSION_DELAY_LIMIT;
/// The longest delay of a login.
pub const LOGIN_DELAY: RangeInclusive<Duration> = limits::LOGIN_DELAY_MIN..=limits::LOGIN_DELAY_LIMIT;
/// Failed logins before a delay.
pub const LOGIN_FAILURES: RangeInclusive<u64> = 1..=limits::LOGIN_FAILURES_LIMIT as u64;
/// VMs in the store, at most.
pub const VMS: RangeInclusive<u64> = 1..=limits::VMS_LIMIT;
/// Open connections, at most.
pub const CONNECTIONS: RangeInclusive<u64> = 1..=limits::CONNECTIONS_LIMIT as u64;
/// Open requests, at most.
pub const REQUESTS: RangeInclusive<u64> = 1..=limits::REQUESTS_LIMIT as u64;
/// Bytes buffered for all clients together, at most.
pub const BUFFERS_BYTES: RangeInclusive<u64> =
    limits::BUFFERS_BYTES_MIN as u64..=limits::BUFFERS_BYTES_LIMIT as u64;
/// Threads that hash passwords.
pub const AUTH_WORKERS: RangeInclusive<u64> = 1..=limits::AUTH_WORKERS_LIMIT as u64;
/// Waiting password jobs, at most.
pub const AUTH_QUEUE: RangeInclusive<u64> = 1..=limits::AUTH_QUEUE_LIMIT as u64;
/// Waiting jobs for the store, at most.
pub const STORE_QUEUE: RangeInclusive<u64> = 1..=limits::STORE_QUEUE_LIMIT as u64;
/// Connections to a database, at most.
pub const STORE_CONNECTIONS: RangeInclusive<u64> = 1..=limits::STORE_CONNECTIONS_LIMIT as u64;
/// Memory of a password hash, in KiB.
pub const ARGON2_MEMORY_KIB: RangeInclusive<u64> =
    limits::ARGON2_MEMORY_KIB_MIN as u64..=limits::ARGON2_MEMORY_KIB_MAX as u64;
/// Passes of a password hash.
pub const ARGON2_PASSES: RangeInclusive<u64> = 1..=limits::ARGON2_PASSES_MAX as u64;
/// Lanes of a password hash.
pub const ARGON2_LANES: RangeInclusive<u64> = 1..=limits::ARGON2_LANES_MAX as u64;
/// VMs that run at a time.
pub const VMS_RUNNING: RangeInclusive<u64> = 1..=limits::CONTAINERS_MAX as u64;
/// Memory of a VM that this host runs, in MiB.
pub const VM_RAM_MIB: RangeInclusive<u64> = limits::VM_RAM_MIB_MIN as u64..=limits::RAM_MIB_MAX as u64;
/// Processors of a VM that this host runs.
pub const VM_CPUS: RangeInclusive<u64> = 1..=limits::CPUS_MAX as u64;
/// The time for a VM to become ready.
pub const VM_READY: RangeInclusive<Duration> = limits::VM_READY_TIMEOUT_MIN..=limits::VM_READY_TIMEOUT_MAX;
/// The time for a VM to power off.
pub const VM_STOP: RangeInclusive<Duration> = limits::VM_STOP_TIMEOUT_MIN..=limits::VM_STOP_TIMEOUT_MAX;
/// The life of a VM, and its time without a connection.
pub const VM_LIFE: RangeInclusive<Duration> = limits::VM_LIFE_MIN..=limits::VM_LIFE_MAX;
/// Bytes of a password.
pub const PASSWORD_BYTES: RangeInclusive<usize> = limits::PASSWORD_BYTES_MIN..=limits::PASSWORD_BYTES_MAX;
