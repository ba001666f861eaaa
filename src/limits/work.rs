//! Work that blocks: queues, threads, deadlines, password hashes.

use std::time::Duration;

use super::JOBS_PER_CONNECTION_MAX;

/// Logins and registrations waiting for a hash, by default: an ordinary burst passes, a storm is told
/// `busy` at once. At 20 ms each on two threads the last waits 2.6 s.
pub const AUTH_QUEUE: usize = 256;
/// Reads waiting for the store, by default.
pub const READ_QUEUE: usize = 4096;
/// Writes waiting for the store, by default.
pub const WRITE_QUEUE: usize = 4096;
/// Threads that hash, at most, by default; fewer on fewer cores.
pub const AUTH_WORKERS_MAX: usize = 4;
/// Threads that hash, at most, by setting.
pub const AUTH_WORKERS_LIMIT: usize = 64;
/// Bytes of a message that is read, and of a text that is converted, on the reactor's thread. The most tangled takes
/// a millisecond; a longer one is left to a worker, so that other clients do not wait for it.
pub const INLINE_BYTES_MAX: usize = 64 << 10;
/// Messages and texts of more bytes that wait for a worker: each has a MiB at most.
pub const COMPUTE_QUEUE: usize = 256;
/// Threads that read and convert them, at most; fewer on fewer cores.
pub const COMPUTE_WORKERS_MAX: usize = 2;
/// A message or text that is not read or converted by then is answered for: `busy`.
pub const COMPUTE_DEADLINE: Duration = Duration::from_secs(10);
/// Threads that read, per core.
pub const READ_WORKERS_PER_CORE: usize = 1;
/// Reads that one thread takes at once, at most: what locks and calls cost is shared, and none of their results
/// waits for long.
pub const READS_AT_ONCE_MAX: usize = 16;
/// What the jobs of a lane that wait may weigh, in points to be kept: some two seconds of what a disk takes, so that
/// what waits is done before its deadline.
pub const WORK_WAITING_MAX: usize = 512 << 10;
/// What the jobs of all connections may weigh until a connection that has some waiting is read no further: half a
/// second of what a disk takes, which the jobs of all others may have to wait for.
pub const WORK_WAITING_SHARED: usize = 64 << 10;
/// What the jobs of one connection may weigh until it is read no further: two puts of the most points, one that is
/// written and one that waits.
pub const WORK_PER_CONNECTION_MAX: usize = 8 << 10;
/// What the jobs of one connection may weigh in any case: as many light ones as it may have.
pub const WORK_PER_CONNECTION_FREE: usize = JOBS_PER_CONNECTION_MAX as usize;
/// Bytes that weigh as much as a point.
pub const WORK_UNIT_BYTES: usize = 256;
/// Writes that share one commit, at most.
pub const WRITES_PER_COMMIT_MAX: usize = 256;
/// How long a request may wait for the store. What is not answered by then is answered for it: `busy` if
/// still queued, else a read `store unavailable` and a write `outcome unknown`.
pub const STORE_DEADLINE: Duration = Duration::from_millis(2500);
/// How long a page of a list may wait for its turn, whatever comes before it: all lists get on together, and one that
/// is cut in the middle has to begin anew.
pub const PAGE_WAIT_MAX: Duration = Duration::from_secs(60);
/// What a further job of a request has of that at least, however long those before took.
pub const STORE_DEADLINE_MIN: Duration = Duration::from_millis(250);
/// A hash that is not done by then is answered for: `busy`.
pub const AUTH_DEADLINE: Duration = Duration::from_secs(30);
/// Workers stuck in a dead store that a lane replaces, per thread it has.
pub const REPLACEMENTS_PER_WORKER: usize = 2;
/// After so long without work a worker ends, and an auth worker gives its memory back.
pub const WORKER_IDLE: Duration = Duration::from_secs(30);
/// How long the end of a server waits for its workers even where the grace is over: those that have nothing to do
/// end at once. Less than a stop may take beyond its grace.
pub const WORKERS_LAST: Duration = Duration::from_millis(250);
/// Failed logins by password after which the next attempt is delayed, by default.
pub const LOGIN_FAILURES: u32 = 5;
/// The longest delay of an attempt to log in by password, by default: one guess in that time.
pub const LOGIN_DELAY_MAX: Duration = Duration::from_secs(6);
/// After so many further failures the delay has doubled up to the longest.
pub const LOGIN_DELAY_DOUBLINGS: u32 = 6;
/// In this time one failure is forgotten: more than the longest delay, so that waiting gains no guesses.
pub const LOGIN_FAILURE_FORGOTTEN: Duration = Duration::from_secs(60);
/// For so long a source that has failed to log in as a VM is known for it.
pub const LOGIN_FAILURE_KNOWN: Duration = Duration::from_secs(3600);
/// Sources, VMs, and pairs of both that failures are counted for: some five megabytes where all are used.
pub const LOGIN_FAILURES_TRACKED_MAX: usize = 16_384;
/// Attempts of one source that wait at a time; one more is told `busy`.
pub const LOGINS_WAITING_PER_SOURCE_MAX: usize = 8;
/// Where logins wait for a worker, one in so many is of a source that has failed for its VM lately, however many others
/// there are: such a source takes a quarter of the workers at most, and still gets on.
pub const LATER_EVERY: usize = 4;
/// The log is told of failed logins this often.
pub const LOGIN_LOG_INTERVAL: Duration = Duration::from_secs(60);
/// How much a hashing thread steps back before the reactor (nice value).
pub const AUTH_NICENESS: i32 = 10;
/// A worker thread's stack.
pub const WORKER_STACK_BYTES: usize = 512 << 10;

/// argon2id: KiB of memory, by default (OWASP's first choice for servers).
pub const ARGON2_MEMORY_KIB: u32 = 19_456;
/// argon2id: passes, by default.
pub const ARGON2_PASSES: u32 = 2;
/// argon2id: lanes, by default.
pub const ARGON2_LANES: u32 = 1;
/// A stored hash that wants more KiB is refused: it would be a way to exhaust us.
pub const ARGON2_MEMORY_KIB_MAX: u32 = 64 << 10;
/// A stored hash that wants more passes is refused.
pub const ARGON2_PASSES_MAX: u32 = 10;
/// A stored hash that wants more lanes is refused.
pub const ARGON2_LANES_MAX: u32 = 4;
/// Bytes that a hashing thread reserves at least (touched only as far as a hash needs them). The C
/// library maps allocations above 32 MiB on their own always, and so unmaps them when freed; smaller ones
/// may come from its heap after a while, which keeps what is freed.
pub const ARGON2_RESERVED_BYTES_MIN: usize = 33 << 20;
/// Costs of stored password hashes that a failed login takes a hash of each of: more than a store gets by changes of
/// the settings, and at the default cost a quarter of a second.
pub const PASSWORD_COSTS_MAX: usize = 8;
/// Different starts of stored password hashes that are read, at most: some may be of hashes that are refused.
pub const PASSWORD_HASH_STARTS_MAX: usize = 64;
/// Bytes of a new password hash.
pub const PASSWORD_HASH_BYTES: usize = 32;
/// Bytes of a new password hash's salt: what PHC recommends.
pub const PASSWORD_SALT_BYTES: usize = 16;
