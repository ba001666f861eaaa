//! Limits on SQLite and PostgreSQL.

use std::time::Duration;

use super::metrics::POINTS_PER_REQUEST_MAX;

/// Interval between attempts to open a store that was unavailable at startup: service starts within a second after the
/// store does.
pub const STORE_OPEN_PAUSE: Duration = Duration::from_millis(250);
/// How long writes must have been attempted without one success before `/healthz` reports the store unavailable: four
/// times the longest write, so that one unlucky write does not count.
pub const WRITE_HEALTH_WINDOW: Duration = Duration::from_secs(10);
/// Interval between log lines while that lasts.
pub const WRITE_HEALTH_LOG_INTERVAL: Duration = Duration::from_secs(60);

/// How long a SQLite connection waits for another process's lock. A write that follows another waiting write takes
/// twice as long, which is less than a write may take.
pub const SQLITE_BUSY_TIMEOUT: Duration = Duration::from_secs(1);
/// How often the tools of the operator retry a locked store, each attempt with the store's own wait: ten to twenty seconds in all,
/// as long as an operator waits for an answer.
pub const REGISTRY_ATTEMPTS: usize = 10;
/// Page cache of each SQLite connection, in KiB.
pub const SQLITE_CACHE_KIB: i64 = 1024;
/// Prepared statements cached per SQLite connection: more than exist.
pub const SQLITE_STATEMENTS_CACHED: usize = 64;
/// Bytes that SQLite's write-ahead log keeps after a burst of writes.
pub const SQLITE_WAL_BYTES_KEPT: i64 = 16 << 20;
/// How often an idle server checks that its SQLite path still leads to the open file, so that it stops acknowledging
/// writes a second after the file was replaced.
pub const SQLITE_FILE_CHECK_INTERVAL: Duration = Duration::from_millis(500);
/// Attempts to open a SQLite file that another process has locked: two processes that create the same file block each
/// other briefly.
pub const SQLITE_OPEN_ATTEMPTS: usize = 50;
/// Pause, and lock wait, of each such attempt.
pub const SQLITE_OPEN_PAUSE: Duration = Duration::from_millis(50);

/// Write workers for PostgreSQL: while one commit waits for the disk or a lock, three continue; databases have few
/// connections to spare.
pub const POSTGRES_WRITERS: usize = 4;
/// Timeout for connecting to one PostgreSQL host, log-in included, unless the URL sets one: several round trips around
/// the world. Less than the second after which the kernel retransmits a lost packet: a new attempt notices a recovered
/// network sooner, and three hosts fit into a job's deadline.
pub const POSTGRES_CONNECT_TIMEOUT: Duration = Duration::from_millis(750);
/// Connection attempts when no host answers, since one lost packet does not mean a lost server. With several hosts,
/// each is the second attempt of another.
pub const POSTGRES_CONNECT_ATTEMPTS: usize = 2;
/// Concurrent connection attempts per PostgreSQL host, each on a thread. A silent host holds its threads until it
/// answers or the connection fails, so they are few. A healthy host answers in milliseconds, so that more workers can
/// take turns.
pub const POSTGRES_ATTEMPTS_PER_HOST: usize = 8;
/// Server-side timeout of a PostgreSQL statement.
pub const POSTGRES_STATEMENT_TIMEOUT: Duration = Duration::from_secs(5);
/// Points per PostgreSQL statement: some 100 ms of work, far below the statement timeout; at most four requests' worth.
pub const POSTGRES_POINTS_PER_STATEMENT: usize = 4 * POINTS_PER_REQUEST_MAX;
/// How long PostgreSQL waits for a lock in all: ends before the deadline of the waiting job.
pub const POSTGRES_LOCK_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a worker waits for a lock, or retries a conflict, at a time before it does other work: a held lock delays
/// unrelated jobs no longer than this.
pub const POSTGRES_LOCK_ATTEMPT: Duration = Duration::from_millis(150);
/// How long after a commit a connection counts as alive, so that a commit may be the first message sent on it. If it
/// ended meanwhile, the outcome is unknown. Commits further apart do not need to save a round trip.
pub const POSTGRES_RECENTLY_USED: Duration = Duration::from_millis(20);
/// How long PostgreSQL keeps the locks of a transaction whose client is silent because it was stopped or its network
/// failed. Our transactions never pause.
pub const POSTGRES_IDLE_IN_TRANSACTION_TIMEOUT: Duration = Duration::from_secs(5);
/// How long data sent to PostgreSQL may stay unacknowledged before the connection counts as dead.
pub const POSTGRES_TCP_USER_TIMEOUT: Duration = Duration::from_secs(3);
/// TCP keep-alive of PostgreSQL connections: idle time before the first probe. Only probes detect a server that
/// vanished while it executed a statement.
pub const POSTGRES_KEEPALIVE_IDLE: Duration = Duration::from_secs(5);
/// TCP keep-alive of PostgreSQL connections: interval between probes.
pub const POSTGRES_KEEPALIVE_INTERVAL: Duration = Duration::from_secs(1);
/// TCP keep-alive of PostgreSQL connections: unanswered probes before the server counts as dead.
pub const POSTGRES_KEEPALIVE_PROBES: u32 = 3;
/// Back-off after the first failed connection to PostgreSQL, from its start; doubles with each further failure. Jobs
/// that need a connection meanwhile fail at once.
pub const POSTGRES_RECONNECT_BACKOFF_FIRST: Duration = Duration::from_millis(25);
/// Maximum back-off: service is back within a second after the database is.
pub const POSTGRES_RECONNECT_BACKOFF_MAX: Duration = Duration::from_millis(500);
/// Retries of a job on a new connection after its connection was lost: one covers a restarted server; more would only
/// prolong the wait.
pub const POSTGRES_RECONNECTS_PER_JOB: u32 = 1;
/// How long a transaction with serialization conflicts is retried: ends before the job's deadline.
pub const POSTGRES_CONFLICT_RETRY_TIME: Duration = Duration::from_millis(1500);
/// Upper bound of the pause before the first such retry; doubles with each retry. The pause is random so that the same
/// transactions do not conflict again.
pub const POSTGRES_CONFLICT_PAUSE_FIRST: Duration = Duration::from_millis(2);
/// Maximum of that upper bound.
pub const POSTGRES_CONFLICT_PAUSE_MAX: Duration = Duration::from_millis(50);
/// How long an idle connection may take to answer when a new one could not be made in time. A database that has no free
/// connections answers at once; a dead one does not.
pub const POSTGRES_PROBE_TIMEOUT: Duration = Duration::from_millis(200);
/// Back-off after the database refused one more connection; doubles with each refusal. Jobs share the existing
/// connections meanwhile.
pub const POSTGRES_REFUSED_BACKOFF_FIRST: Duration = Duration::from_secs(1);
/// Maximum of that back-off: a raised connection limit is noticed within it.
pub const POSTGRES_REFUSED_BACKOFF_MAX: Duration = Duration::from_secs(30);
/// How often two connections are probed, in turn, for sharing one server session: a pooler may have given the session
/// to another client in between.
pub const POSTGRES_POOLER_PROBES: usize = 5;
/// Upper bound for PostgreSQL connections: more than there are threads.
pub const STORE_CONNECTIONS_LIMIT: usize = 1000;
/// Timeout for migrating a PostgreSQL database, including the wait for another daemon that migrates it.
pub const POSTGRES_MIGRATION_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a store keeps the changes that daemons watch. A daemon reads them once a second; one that could not reach
/// the store for longer has its clients list again.
pub const CHANGES_KEPT: Duration = Duration::from_secs(600);
/// A position in PostgreSQL older than this may miss changes: less than they are kept, since the removal of old ones and
/// the reading look at the clock at different moments.
pub const CHANGES_POSITION_AGE_MAX: Duration = Duration::from_secs(540);
/// Changes in one read: a few milliseconds of work, and more than daemons make in a second.
pub const CHANGES_READ_MAX: usize = 1024;
/// Old changes that a tool removes from an SQLite file with each change that it adds: more than one, so that none pile up.
pub const SQLITE_CHANGES_PRUNED: usize = 16;
/// How often a daemon removes old changes from PostgreSQL, if it makes changes.
pub const POSTGRES_CHANGES_PRUNE_INTERVAL: Duration = Duration::from_secs(1);
/// Old changes in one removal: some milliseconds, and more than are made in that time.
pub const POSTGRES_CHANGES_PRUNED: usize = 2000;
