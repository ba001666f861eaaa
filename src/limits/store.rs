//! SQLite and PostgreSQL.

use std::time::Duration;

use super::POINTS_PER_REQUEST_MAX;

/// How long a daemon whose store was not there when it was started rests between its attempts to open it: service is
/// there within a second after the store is.
pub const STORE_OPEN_PAUSE: Duration = Duration::from_millis(250);
/// So long no write has come through, and some were tried, when `/healthz` says that the store is unavailable: four
/// times as long as one may take, so that one that was unlucky is no trouble where others are well.
pub const WRITING_WINDOW: Duration = Duration::from_secs(10);
/// How often the log says that it is still so.
pub const WRITING_LOG_INTERVAL: Duration = Duration::from_secs(60);

/// How long a SQLite connection waits for another process's lock: twice, for a write that comes while
/// another waits, is less than a write may take.
pub const SQLITE_BUSY: Duration = Duration::from_secs(1);
/// How often `vmherd vm` asks for a lock that somebody else holds, each time as long as the store waits: ten
/// or twenty seconds, as long as an operator waits for an answer.
pub const REGISTRY_ATTEMPTS: usize = 10;
/// KiB of page cache of each SQLite connection.
pub const SQLITE_CACHE_KIB: i64 = 1024;
/// Prepared statements that each SQLite connection keeps: more than there are.
pub const SQLITE_STATEMENTS_CACHED: usize = 64;
/// Bytes that SQLite's log keeps after a burst of writes has made it longer.
pub const SQLITE_LOG_BYTES_KEPT: i64 = 16 << 20;
/// How often a server looks whether the path of its SQLite file still leads there, where it writes nothing: so that
/// a second after it does not, nothing more is acknowledged.
pub const SQLITE_LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// How often opening a SQLite file is tried while another process holds it: two that make the same new
/// file at once get in each other's way for moments.
pub const SQLITE_OPEN_ATTEMPTS: usize = 50;
/// How long it rests, and waits for locks, each time.
pub const SQLITE_OPEN_PAUSE: Duration = Duration::from_millis(50);

/// Write workers, where the store is PostgreSQL: a commit that waits for the disk or for somebody's lock
/// leaves three to go on, and a database has few connections to give.
pub const POSTGRES_WRITERS: usize = 4;
/// How long connecting to one host of a PostgreSQL database may take, log-in included, where its URL sets no
/// other time: several round trips around the world. Less than the second after which the system tries again
/// where a packet was lost: a network that works again is noticed sooner by those who begin anew, and three
/// hosts get their turn within a job's deadline.
pub const POSTGRES_CONNECT: Duration = Duration::from_millis(750);
/// How often connecting is tried where nobody answers: one lost packet is no lost server. Several hosts are
/// each other's second attempt.
pub const POSTGRES_CONNECT_ATTEMPTS: usize = 2;
/// Attempts to connect to one host of a PostgreSQL database that run at once, each on a thread. Those that
/// a silent host holds stay until it says something or is gone, so they are few; attempts of a healthy one
/// take milliseconds, so more workers than that can wait for their turn.
pub const POSTGRES_ATTEMPTS_PER_HOST: usize = 8;
/// How long PostgreSQL may work at one statement.
pub const POSTGRES_STATEMENT: Duration = Duration::from_secs(5);
/// Points that one statement writes to PostgreSQL: some 100 ms of work, far less than it may take, and as many as
/// four requests have at most.
pub const POSTGRES_POINTS_PER_STATEMENT: usize = 4 * POINTS_PER_REQUEST_MAX;
/// How long PostgreSQL is to wait for somebody's lock: ends before the deadline of the job that waits.
pub const POSTGRES_LOCK: Duration = Duration::from_secs(2);
/// How long a worker waits for it at a time, and tries again what lost against others. Then it does what
/// else there is: those who need a lock that somebody holds keep nobody else waiting for longer than this.
pub const POSTGRES_LOCK_ATTEMPT: Duration = Duration::from_millis(150);
/// How long after a commit a connection is taken to be there still, so that a commit may be the first that is
/// sent on it: one that ended meanwhile leaves open what was done. Commits that follow each other less closely
/// than this need no round trips saved.
pub const POSTGRES_WARM: Duration = Duration::from_millis(20);
/// How long PostgreSQL keeps the locks of a transaction whose client says nothing (it was stopped, or its
/// network is gone). Ours never pause inside of one.
pub const POSTGRES_IDLE_IN_TRANSACTION: Duration = Duration::from_secs(5);
/// How long what was sent to PostgreSQL may stay unacknowledged until the connection counts as dead.
pub const POSTGRES_UNACKNOWLEDGED: Duration = Duration::from_secs(3);
/// TCP keep-alive of connections to PostgreSQL: silence before the first probe. A server that vanished
/// while it worked for us is noticed by probes only.
pub const POSTGRES_KEEPALIVE_IDLE: Duration = Duration::from_secs(5);
/// TCP keep-alive of connections to PostgreSQL: between probes.
pub const POSTGRES_KEEPALIVE_INTERVAL: Duration = Duration::from_secs(1);
/// TCP keep-alive of connections to PostgreSQL: probes unanswered before the server counts as dead.
pub const POSTGRES_KEEPALIVE_PROBES: u32 = 3;
/// The pause after the first failed attempt to connect to PostgreSQL, counted from its beginning; doubles
/// with each that follows. Whoever needs a connection meanwhile is told at once that there is none.
pub const POSTGRES_RECONNECT_FIRST: Duration = Duration::from_millis(25);
/// The longest such pause: service is back within a second after the database is.
pub const POSTGRES_RECONNECT_MAX: Duration = Duration::from_millis(500);
/// How often work is tried on a new connection where the one it was begun on was lost: once finds out
/// that the server was restarted, more would be waiting for it.
pub const POSTGRES_RECONNECTS_PER_JOB: u32 = 1;
/// How long a transaction that lost against others is tried again: ends before the job's deadline.
pub const POSTGRES_CONFLICT_TIME: Duration = Duration::from_millis(1500);
/// The longest pause before the first such retry; doubles with each that follows, and is drawn at random
/// so that those that met once do not meet again.
pub const POSTGRES_CONFLICT_PAUSE_FIRST: Duration = Duration::from_millis(2);
/// The longest such pause.
pub const POSTGRES_CONFLICT_PAUSE_MAX: Duration = Duration::from_millis(50);
/// How long a connection that rests may take to answer, where a new one was not made in time: a database that has
/// none to give answers there at once, one that is gone does not.
pub const POSTGRES_ANSWER: Duration = Duration::from_millis(200);
/// How long the database is not asked for one more connection after it had none to give; doubles with each time that
/// follows. Those that there are take turns meanwhile.
pub const POSTGRES_FULL_PAUSE_FIRST: Duration = Duration::from_secs(1);
/// The longest such pause: a limit that was raised is noticed within it.
pub const POSTGRES_FULL_PAUSE_MAX: Duration = Duration::from_secs(30);
/// How often two connections are looked at, in turn, for whether they share one of the server's sessions: somebody
/// else may have taken it from a pooler in between.
pub const POSTGRES_POOLER_PROBES: usize = 5;
/// Connections to PostgreSQL, at most, by setting: more than there are threads.
pub const STORE_CONNECTIONS_LIMIT: usize = 1000;
/// How long bringing a PostgreSQL database up to date may take, waiting for another daemon that does it
/// included.
pub const POSTGRES_MIGRATION: Duration = Duration::from_secs(60);
