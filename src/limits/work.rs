//! Limits on blocking work: queues, threads, deadlines, password hashes.

use std::time::Duration;

use super::connections::JOBS_PER_CONNECTION_MAX;

/// Logins and registrations queued for a hash, by default: accepts an ordinary burst, answers `busy` in a storm. At 20
/// ms each on two threads the last one waits 2.6 s.
pub const AUTH_QUEUE: usize = 256;
/// Reads queued for the store, by default.
pub const READ_QUEUE: usize = 4096;
/// Writes queued for the store, by default.
pub const WRITE_QUEUE: usize = 4096;
/// Maximum hashing threads, by default; fewer on fewer cores.
pub const AUTH_WORKERS_MAX: usize = 4;
/// Upper bound for hashing threads, by setting.
pub const AUTH_WORKERS_LIMIT: usize = 64;
/// Bytes of a message that is decoded, or a text that is converted, on the reactor's thread. The most deeply nested
/// takes a millisecond; a worker takes longer ones, so that other clients do not wait.
pub const INLINE_BYTES_MAX: usize = 64 << 10;
/// Longer messages and texts queued for a worker: each has at most a MiB.
pub const COMPUTE_QUEUE: usize = 256;
/// Maximum threads that decode and convert them; fewer on fewer cores.
pub const COMPUTE_WORKERS_MAX: usize = 2;
/// Deadline to decode or convert; after it the answer is `busy`.
pub const COMPUTE_DEADLINE: Duration = Duration::from_secs(10);
/// Read threads per core.
pub const READ_WORKERS_PER_CORE: usize = 1;
/// Reads in one batch: they share the cost of locks and calls, and no result waits for long.
pub const READS_PER_BATCH_MAX: usize = 16;
/// Points that a store in memory writes on the reactor's thread in a tick; workers do the rest. Points of known series
/// take half a millisecond, those of new ones with the longest keys some four.
pub const AT_ONCE_PER_TICK_MAX: usize = 4 << 10;
/// What a page costs of it: a quarter of a tick's share, since reading and writing it takes up to half a millisecond.
pub const AT_ONCE_PAGE_COST: usize = AT_ONCE_PER_TICK_MAX / 4;
/// Weight of the queued jobs of a lane, in points to store: about two seconds of disk writes, so that queued jobs meet
/// their deadline.
pub const QUEUED_WEIGHT_MAX: usize = 512 << 10;
/// Weight of the jobs of all connections above which a connection with queued jobs is not read: half a second of disk
/// writes, which the jobs of other connections may wait for.
pub const IN_FLIGHT_WEIGHT_SHARED: usize = 64 << 10;
/// Weight of the jobs of one connection above which it is not read: two puts of maximum size, one running and one
/// queued.
pub const WEIGHT_PER_CONNECTION_MAX: usize = 8 << 10;
/// Weight that the jobs of one connection may always have: the maximum number of light jobs.
pub const WEIGHT_PER_CONNECTION_MIN: usize = JOBS_PER_CONNECTION_MAX as usize;
/// Bytes that weigh as much as one point.
pub const BYTES_PER_WEIGHT_UNIT: usize = 256;
/// Writes per commit.
pub const WRITES_PER_COMMIT_MAX: usize = 256;
/// How long a request may wait for the store. After it the answer is `busy` if the job is still queued, else `store
/// unavailable` for a read and `outcome unknown` for a write.
pub const STORE_DEADLINE: Duration = Duration::from_millis(2500);
/// How long a page of a list may be queued, regardless of earlier jobs: all lists progress together, and a list that is
/// cut off has to start over.
pub const PAGE_WAIT_MAX: Duration = Duration::from_secs(60);
/// Minimum time that each further job of a request gets, however long earlier jobs took.
pub const STORE_DEADLINE_MIN: Duration = Duration::from_millis(250);
/// Deadline of a hash; after it the answer is `busy`.
pub const AUTH_DEADLINE: Duration = Duration::from_secs(30);
/// Replacements, per thread of a lane, for workers that hang in a dead store.
pub const REPLACEMENTS_PER_WORKER: usize = 2;
/// Idle time after which a worker ends, and an auth worker releases its memory.
pub const WORKER_IDLE: Duration = Duration::from_secs(30);
/// How long shutdown waits for workers after the grace period: idle ones end at once. Less than a stop may take beyond
/// its grace period.
pub const WORKER_SHUTDOWN_WAIT: Duration = Duration::from_millis(250);
/// Failed password logins after which the next attempt is delayed, by default.
pub const LOGIN_FAILURES: u32 = 5;
/// Maximum delay of a password login, by default: one guess per delay.
pub const LOGIN_DELAY_MAX: Duration = Duration::from_secs(6);
/// Further failures after which the delay has doubled up to its maximum.
pub const LOGIN_DELAY_DOUBLINGS: u32 = 6;
/// Time after which one failure is forgotten: more than the maximum delay, so that waiting gains no guesses.
pub const LOGIN_FAILURE_FORGOTTEN: Duration = Duration::from_secs(60);
/// How long a source's failed login as a VM is remembered.
pub const LOGIN_FAILURE_KNOWN: Duration = Duration::from_secs(3600);
/// Sources, VMs, and pairs of both tracked for failed logins: some five megabytes when full.
pub const LOGIN_FAILURES_TRACKED_MAX: usize = 16_384;
/// Delayed login attempts per source; one more is answered `busy`.
pub const LOGINS_WAITING_PER_SOURCE_MAX: usize = 8;
/// One in this many queued logins is taken from sources that recently failed for their VM, however many others there
/// are: such sources use at most a quarter of the workers, and still progress.
pub const LOW_PRIORITY_INTERVAL: usize = 4;
/// Minimum interval between log lines about failed logins.
pub const LOGIN_LOG_INTERVAL: Duration = Duration::from_secs(60);
/// Nice value of hashing threads, so that the reactor runs first.
pub const AUTH_NICENESS: i32 = 10;
/// Stack size of a worker thread.
pub const WORKER_STACK_BYTES: usize = 512 << 10;

/// argon2id: memory in KiB, by default (OWASP's first choice for servers).
pub const ARGON2_MEMORY_KIB: u32 = 19_456;
/// argon2id: passes, by default.
pub const ARGON2_PASSES: u32 = 2;
/// argon2id: lanes, by default.
pub const ARGON2_LANES: u32 = 1;
/// Maximum KiB of a stored hash; one that needs more is refused, since it could exhaust memory.
pub const ARGON2_MEMORY_KIB_MAX: u32 = 64 << 10;
/// Maximum passes of a stored hash; one that needs more is refused.
pub const ARGON2_PASSES_MAX: u32 = 10;
/// Maximum lanes of a stored hash; one that needs more is refused.
pub const ARGON2_LANES_MAX: u32 = 4;
/// Minimum bytes that a hashing thread reserves; only the part that a hash uses is touched. The C library always maps
/// allocations above 32 MiB separately and unmaps them when freed; smaller ones may come from its heap, which keeps
/// freed memory.
pub const ARGON2_RESERVED_BYTES_MIN: usize = 33 << 20;
/// Distinct costs of stored password hashes; a failed login runs one hash of each. More than changes of the settings
/// produce; a quarter of a second at the default cost.
pub const PASSWORD_COSTS_MAX: usize = 8;
/// Distinct prefixes of stored password hashes that are read: some may belong to refused hashes.
pub const PASSWORD_HASH_PREFIXES_MAX: usize = 64;
/// Bytes of a new password hash.
pub const PASSWORD_HASH_BYTES: usize = 32;
/// Bytes of a new password hash's salt, as PHC recommends.
pub const PASSWORD_SALT_BYTES: usize = 16;
/// Tokens of recent requests whose owners are remembered, which saves updates a look-up: half a megabyte.
pub const TOKEN_OWNERS_MAX: usize = 4096;
