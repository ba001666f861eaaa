//! What a VM may be, and how many tokens it has.

use std::time::Duration;

// ── What a VM may be ────────────────────────────────────────────────────────────────────────────────

/// Bytes of a VM's name.
pub const VM_NAME_BYTES_MAX: usize = 128;
/// MiB of memory: one PiB.
pub const RAM_MIB_MAX: u32 = 1 << 30;
/// Processors.
pub const CPUS_MAX: u16 = u16::MAX;
/// GiB of a disk.
pub const DISK_GIB_MAX: u64 = 1 << 50;
/// Disks of a VM.
pub const DISKS_PER_VM_MAX: usize = 1024;
/// Bytes of a password: fewer are guessed.
pub const PASSWORD_BYTES_MIN: usize = 8;
/// Bytes of a password: more only cost hashing.
pub const PASSWORD_BYTES_MAX: usize = 1024;
/// VMs in a store, by default.
pub const VMS_MAX: u64 = 1_000_000;

// ── Tokens ──────────────────────────────────────────────────────────────────────────────────────────

/// Random bytes of a token: 256 bits.
pub const TOKEN_BYTES: usize = 32;
/// How long a token is good for, by default.
pub const TOKEN_LIFETIME: Duration = Duration::from_secs(24 * 3600);
/// Tokens of one VM that count at a time; issuing one more ends the oldest. Bounds the table when a VM
/// authenticates in a loop.
pub const TOKENS_PER_VM_MAX: usize = 64;
/// Tokens that one connection remembers to end at logout: those that were issued on it and those that
/// authenticated it. One more that is issued ends the oldest at once; where one more is shown, the oldest is forgotten.
pub const TOKENS_PER_CONNECTION_MAX: usize = 16;
/// Expired tokens swept with each token issued: more than come, so that none pile up.
pub const TOKENS_SWEPT_PER_ISSUE: usize = 4;
/// Seconds between the lines of the log that tell how many expired tokens went.
pub const TOKENS_SWEPT_LOG_INTERVAL_S: u64 = 60;
