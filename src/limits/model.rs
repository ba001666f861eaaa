//! Limits on VMs and their tokens.

use std::time::Duration;

// ── VMs ─────────────────────────────────────────────────────────────────────────────────────────────

/// Bytes of a VM's name.
pub const VM_NAME_BYTES_MAX: usize = 128;
/// Memory of a VM, in MiB: one PiB.
pub const RAM_MIB_MAX: u32 = 1 << 30;
/// CPUs of a VM.
pub const CPUS_MAX: u16 = u16::MAX;
/// Size of a disk, in GiB.
pub const DISK_GIB_MAX: u64 = 1 << 50;
/// Disks per VM.
pub const DISKS_PER_VM_MAX: usize = 1024;
/// Minimum bytes of a password: shorter ones can be guessed.
pub const PASSWORD_BYTES_MIN: usize = 8;
/// Maximum bytes of a password: longer ones only add hashing cost.
pub const PASSWORD_BYTES_MAX: usize = 1024;
/// VMs in a store, by default.
pub const VMS_MAX: u64 = 1_000_000;

// ── Tokens ──────────────────────────────────────────────────────────────────────────────────────────

/// Random bytes of a token: 256 bits.
pub const TOKEN_BYTES: usize = 32;
/// Lifetime of a token, by default.
pub const TOKEN_LIFETIME: Duration = Duration::from_secs(24 * 3600);
/// When the token of a managed VM expires: never, which is the end of the year 9999, in seconds since 1970. The VM's end removes it.
pub const TOKEN_EXPIRY_OF_MANAGED: i64 = 253_402_300_799;
/// Valid tokens per VM; issuing one more revokes the oldest. Bounds the table when a VM authenticates in a loop.
pub const TOKENS_PER_VM_MAX: usize = 64;
/// Tokens that a connection remembers in order to revoke them at logout: those issued on it and those that
/// authenticated it. Issuing one more revokes the oldest; presenting one more forgets the oldest.
pub const TOKENS_PER_CONNECTION_MAX: usize = 16;
/// Expired tokens deleted with each token issued: more than one, so that none pile up.
pub const TOKENS_SWEPT_PER_ISSUE: usize = 4;
/// Minimum interval, in seconds, between log lines about deleted expired tokens.
pub const TOKENS_SWEPT_LOG_INTERVAL_S: u64 = 60;
/// Random bytes of an access token, of which clients know the length.
pub const ACCESS_TOKEN_BYTES: usize = 93;
/// Characters of an access token: its bytes in base64 without padding.
pub const ACCESS_TOKEN_CHARS: usize = (ACCESS_TOKEN_BYTES * 4).div_ceil(3);
/// Access tokens in a store. An operator hands out each of them, so more are a mistake of a script; each addition counts
/// them, and a list of all fits into memory.
pub const ACCESS_TOKENS_MAX: usize = 10_000;

// ── When VMs were last seen ─────────────────────────────────────────────────────────────────────────

/// How often the store learns when a VM was last seen, while it is: an operator looks for VMs that are silent for
/// minutes.
pub const SEEN_INTERVAL: Duration = Duration::from_secs(60);
/// Pause between two such writes that are not full: sessions that end by the hundred share a commit.
pub const SEEN_PAUSE: Duration = Duration::from_secs(1);
/// Pause after such a write has failed.
pub const SEEN_RETRY: Duration = Duration::from_secs(10);
/// VMs in such a write: some milliseconds of work.
pub const SEEN_BATCH_MAX: usize = 1000;
/// VMs that wait for such a write, or have had one in the last minute, 100 bytes each: as many as a store has by default. More are not recorded.
pub const SEEN_VMS_MAX: usize = 1_000_000;
