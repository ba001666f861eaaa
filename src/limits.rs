//! Every bound there is, with its reason. Those that a setting can change are its default.

use std::time::Duration;

// ── One request ──────────────────────────────────────────────────────────────────────────────────

/// Bytes of one request from a client that may do more than knock. A VM with 1024 disks takes 40 KiB.
pub const REQUEST_BYTES_MAX: usize = 1 << 20;
/// Bytes of one request on a listener that opens nothing to anonymous, until the client authenticates:
/// strangers must not make us hold much.
pub const REQUEST_BYTES_MAX_ANONYMOUS: usize = 64 << 10;
/// White space skipped before the first byte that chooses a connection's framing.
pub const SNIFF_WHITE_SPACE_BYTES_MAX: usize = 64;
/// Bytes of a request id without its quotes: a UUID with room, not a payload.
pub const REQUEST_ID_BYTES_MAX: usize = 256;
/// Characters of a bad value that an error repeats.
pub const ECHOED_CHARS_MAX: usize = 40;
/// Unknown fields that an error names; it counts the rest.
pub const UNKNOWN_FIELDS_NAMED_MAX: usize = 4;

// ── HTTP ─────────────────────────────────────────────────────────────────────────────────────────

/// Bytes of a request's head: what common servers take, and many times what browsers and curl send.
pub const HTTP_HEAD_BYTES_MAX: usize = 16 << 10;
/// Header lines of a request: browsers send some twenty, proxies add a dozen.
pub const HTTP_HEADERS_MAX: usize = 64;
/// Bytes of empty lines before a request: some clients send one behind a body. As many as may stand before
/// a connection's first request.
pub const HTTP_BLANK_BYTES_MAX: usize = SNIFF_WHITE_SPACE_BYTES_MAX;
/// Bytes of extensions of all chunks of a body: nobody sends any, and they are no payload.
pub const HTTP_CHUNK_EXTENSION_BYTES_MAX: usize = 1 << 10;
/// Bytes of the fields behind a chunked body: nothing in them is used.
pub const HTTP_TRAILER_BYTES_MAX: usize = 4 << 10;

// ── What a VM may be ─────────────────────────────────────────────────────────────────────────────

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

// ── Metrics ──────────────────────────────────────────────────────────────────────────────────────

/// Bytes of a metric's key.
pub const METRIC_KEY_BYTES_MAX: usize = 200;
/// Keys of metrics in a store: a thousand hosts with a hundred each. Who makes a key of something that is
/// different each time is told instead of filling the disk.
pub const METRIC_KEYS_MAX: u64 = 100_000;
/// Bytes of a line of metrics text, its end left out: many times the longest that means something.
pub const TEXT_LINE_BYTES_MAX: usize = 4096;
/// Points that one request may put: as many lines as fit into what is read of a connection at a time, or some
/// 200 KiB of JSON. Bounds how long the others wait that share its commit.
pub const POINTS_PER_REQUEST_MAX: usize = 4096;
/// Points in one page of a long answer, series that have none in it counted as one: some 60 KiB of text, or half a
/// MiB where keys are as long as may be.
pub const POINTS_PER_PAGE_MAX: usize = 2048;

/// Points that share one commit, about: what a request in the middle of them may have to wait for.
pub const POINTS_PER_COMMIT_MAX: usize = 16 << 10;

/// Points that wait to be written behind: some seconds of what a disk takes. Whoever puts more waits until there
/// is room.
pub const POINTS_BEHIND_MAX: usize = 256 << 10;
/// How long points wait at most before they are written behind; with what writing takes that is within the second
/// that is promised.
pub const POINTS_BEHIND_PAUSE: Duration = Duration::from_millis(500);
/// How long somebody who asks for points, or has no room for more, waits while others write them: less than a
/// request may wait for the store.
pub const POINTS_BEHIND_PATIENCE: Duration = Duration::from_secs(2);
/// How long to rest after points could not be written behind.
pub const POINTS_BEHIND_RETRY: Duration = Duration::from_millis(500);
/// How long the end of a server waits until what waits to be written behind is.
pub const POINTS_BEHIND_LAST: Duration = Duration::from_secs(5);
/// How often that is tried.
pub const POINTS_BEHIND_LAST_ATTEMPTS: usize = 8;

/// Points that are removed in one step because they are old, and series that are looked at for it, at most: a few
/// milliseconds, for which others that write may have to wait.
pub const RETENTION_STEP: usize = 1024;
/// How many times as long as a step takes nothing is removed after it.
pub const RETENTION_REST: u32 = 3;
/// The shortest such rest.
pub const RETENTION_REST_MIN: Duration = Duration::from_millis(5);
/// The longest.
pub const RETENTION_REST_MAX: Duration = Duration::from_secs(1);
/// Between the end of one walk through all series and the next, at most: an old point stays for so much longer.
pub const RETENTION_PAUSE_MAX: Duration = Duration::from_secs(60);
/// The same at least, however short a time points are kept.
pub const RETENTION_PAUSE_MIN: Duration = Duration::from_secs(1);

// ── Tokens ───────────────────────────────────────────────────────────────────────────────────────

/// Random bytes of a token: 256 bits.
pub const TOKEN_BYTES: usize = 32;
/// How long a token is good for, by default.
pub const TOKEN_LIFETIME: Duration = Duration::from_secs(24 * 3600);
/// Tokens of one VM that count at a time; issuing one more ends the oldest. Bounds the table when a VM
/// authenticates in a loop.
pub const TOKENS_PER_VM_MAX: usize = 64;
/// Tokens that one connection remembers to end at logout: those that were issued on it and those that
/// authenticated it. One more that is issued ends the oldest at once, one more that is shown is refused.
pub const TOKENS_PER_CONNECTION_MAX: usize = 16;
/// Expired tokens swept with each token issued: more than come, so that none pile up.
pub const TOKENS_SWEPT_PER_ISSUE: usize = 4;

// ── Connections ──────────────────────────────────────────────────────────────────────────────────

/// Open connections, by default.
pub const CONNECTIONS_MAX: usize = 16_384;
/// Descriptors kept for what is not a connection: listeners, the log, epoll, the store's files, or four for
/// each connection to a PostgreSQL server, of which each thread has one and those that are stuck keep theirs.
pub const DESCRIPTORS_RESERVED: usize = 160;
/// Share of `--connections-max`, in percent, to fall to before a paused accept goes on.
pub const ACCEPT_RESUME_PERCENT: usize = 90;
/// Connections accepted in one turn, so that a burst of them does not starve those that are open.
pub const ACCEPTS_PER_TURN_MAX: usize = 64;
/// Connections that may wait in the kernel for their accept: a burst of five thousand fits with
/// the ones being accepted meanwhile; the system's own limit (net.core.somaxconn) may be lower.
pub const LISTEN_BACKLOG: i32 = 4096;
/// How long accepting rests when descriptors ran out and no connection closes meanwhile.
pub const ACCEPT_RETRY: Duration = Duration::from_millis(500);
/// Readiness events taken from the system at once.
pub const EVENTS_PER_TURN_MAX: usize = 1024;

/// Requests one connection may have decoded in one turn before others have theirs.
pub const STEPS_PER_TURN_MAX: usize = 128;
/// Bytes one connection may read in one turn before others have theirs.
pub const READ_BYTES_PER_TURN_MAX: usize = 64 << 10;
/// What all connections together may do in one turn, counted as for one: whoever has not had a turn has the
/// first of the next. Some two milliseconds, so that nothing else that the turn does waits for longer.
pub const STEPS_PER_TURN_ALL_MAX: usize = 512;
/// Bytes that all connections together may read or convert in one turn, for the same reason.
pub const BYTES_PER_TURN_ALL_MAX: usize = 256 << 10;
/// Timers that go off in one turn; the rest have the next.
pub const TIMERS_PER_TURN_MAX: usize = 1024;
/// Open requests that are forgotten at once with their connection; one that has more is laid aside, and one
/// such is taken apart in each turn.
pub const OPEN_FORGOTTEN_AT_ONCE_MAX: usize = 256;
/// Bytes asked of the system in one read.
pub const READ_CHUNK_BYTES: usize = 16 << 10;
/// Output queued at which a connection's input is left alone until it drains.
pub const OUTPUT_BYTES_PAUSE: usize = 64 << 10;
/// Rows (VMs and disks) in one page of a long answer: some 60 KiB of JSON, or 340 KiB of disks of a VM whose
/// name is as long as may be and has to be escaped all over. A VM with the most disks is a page of its own.
pub const PAGE_ROWS_MAX: usize = 1024;
/// Connections looked at for one page of a list of connections: bounds a turn even where few match.
pub const PAGE_PEERS_SCANNED_MAX: usize = 4096;

/// VMs that may be authorized or connected at a time without having a password: as many as a store holds by
/// default. One more is told `busy`. Each takes some 150 bytes.
pub const AUTHORIZED_VMS_MAX: usize = 1 << 20;
/// VMs that are looked up at once for a page of those: bounds its memory where all have many disks.
pub const MEMBERS_PER_QUERY: usize = 16;

/// Requests with an id that one connection may have open, by default.
pub const REQUESTS_PER_CONNECTION: usize = 16_384;
/// Requests that all connections together may have open, by default.
pub const REQUESTS_MAX: usize = 1_048_576;

/// Bytes of the texts of all conversions that wait: a million of usual length, or some hundred of the longest.
pub const DELAYED_BYTES_MAX: usize = 256 << 20;
/// Delays of conversions told to the log in one second; the rest are counted.
pub const DELAYS_LOGGED_PER_SECOND_MAX: u32 = 100;

/// How long a client may connect and say nothing, by default: people open `nc` and then look for what
/// to paste.
pub const FIRST_REQUEST_TIMEOUT: Duration = Duration::from_secs(300);
/// From the first to the last byte of a request, by default.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Between the requests of somebody who has not authenticated, by default.
pub const IDLE_TIMEOUT_ANONYMOUS: Duration = Duration::from_secs(3600);
/// Between the requests of one connection of HTTP, by default: what browsers and proxies expect.
pub const IDLE_TIMEOUT_HTTP: Duration = Duration::from_secs(75);
/// Without progress in sending what is due, by default.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long input is discarded after a last error, so that the client can read the error before the
/// reset that closing with unread input causes.
pub const LINGER_TIMEOUT: Duration = Duration::from_secs(2);
/// How much input is discarded then.
pub const LINGER_BYTES_MAX: usize = 64 << 20;
/// Lines that look like HTTP on a connection that is not are logged this often at most, in seconds.
pub const HTTP_LINE_LOG_INTERVAL_S: u64 = 60;
/// Troubles that clients can cause or meet many times a second are logged this often at most, in seconds:
/// too many connections, a store that fails.
pub const TROUBLE_LOG_INTERVAL_S: u64 = 1;
/// Jobs that one connection may have waiting or running; its further requests wait in its input. A
/// sixteenth of the read and write queues, so that one client can't fill them.
pub const JOBS_PER_CONNECTION_MAX: u32 = 256;

/// Bytes that the system takes of us for a client beyond what it has sent: with megabytes, which it takes otherwise,
/// somebody who reads steadily but slowly would not be seen to for longer than he may stall.
pub const UNSENT_BYTES_MAX: u32 = 64 << 10;

/// TCP keep-alive: silence before the first probe.
pub const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
/// TCP keep-alive: between probes.
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
/// TCP keep-alive: probes unanswered before the peer counts as dead.
pub const KEEPALIVE_PROBES: u32 = 4;

// ── Work that blocks ─────────────────────────────────────────────────────────────────────────────

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
/// Threads that read, per core.
pub const READ_WORKERS_PER_CORE: usize = 1;
/// Reads that one thread takes at once, at most: what locks and calls cost is shared, and none of their results
/// waits for long.
pub const READS_AT_ONCE_MAX: usize = 16;
/// Writes that share one commit, at most.
pub const WRITES_PER_COMMIT_MAX: usize = 256;
/// How long a request may wait for the store. What is not answered by then is answered for it: `busy` if
/// still queued, else a read `store unavailable` and a write `outcome unknown`.
pub const STORE_DEADLINE: Duration = Duration::from_millis(2500);
/// What a further job of a request has of that at least, however long those before took.
pub const STORE_DEADLINE_MIN: Duration = Duration::from_millis(250);
/// A hash that is not done by then is answered for: `busy`.
pub const AUTH_DEADLINE: Duration = Duration::from_secs(30);
/// Workers stuck in a dead store that a lane replaces, per thread it has.
pub const REPLACEMENTS_PER_WORKER: usize = 2;
/// After so long without work a worker ends, and an auth worker gives its memory back.
pub const WORKER_IDLE: Duration = Duration::from_secs(30);
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
/// Bytes of a new password hash.
pub const PASSWORD_HASH_BYTES: usize = 32;
/// Bytes of a new password hash's salt: what PHC recommends.
pub const PASSWORD_SALT_BYTES: usize = 16;

/// How long a SQLite connection waits for another process's lock: twice, for a write that comes while
/// another waits, is less than a write may take.
pub const SQLITE_BUSY: Duration = Duration::from_secs(1);
/// How often `vmherd vm` asks for a lock that somebody else holds, each time as long as the store waits: ten
/// or twenty seconds, as long as an operator waits for an answer.
pub const VM_COMMAND_ATTEMPTS: usize = 10;
/// KiB of page cache of each SQLite connection.
pub const SQLITE_CACHE_KIB: i64 = 1024;
/// Prepared statements that each SQLite connection keeps: more than there are.
pub const SQLITE_STATEMENTS_CACHED: usize = 64;
/// Bytes that SQLite's log keeps after a burst of writes has made it longer.
pub const SQLITE_LOG_BYTES_KEPT: i64 = 16 << 20;
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
/// How long bringing a PostgreSQL database up to date may take, waiting for another daemon that does it
/// included.
pub const POSTGRES_MIGRATION: Duration = Duration::from_secs(60);

// ── The process ──────────────────────────────────────────────────────────────────────────────────

/// From the signal to stop until what is not finished is cut: a second under the ten promised.
pub const STOP_GRACE: Duration = Duration::from_secs(9);
/// Log lines that wait for the log thread; more are dropped and counted.
pub const LOG_QUEUE: usize = 4096;
/// Bytes of one log line; the rest is cut.
pub const LOG_LINE_BYTES_MAX: usize = 8 << 10;
/// Bytes of log lines written at once, so that a burst of lines is not a burst of system calls.
pub const LOG_BATCH_BYTES: usize = 64 << 10;
/// How long the end of the process waits for the last log lines to be written: whoever reads them may
/// have stopped to.
pub const LOG_FLUSH_WAIT: Duration = Duration::from_millis(500);
/// How long a stop may take beyond its grace before the process ends without it.
pub const STOP_OVERRUN: Duration = Duration::from_millis(500);
/// Names of listeners that a daemon may have.
pub const LISTENERS_MAX: usize = 64;
/// Bytes of a unix socket's path: what the system's address has room for, less the final zero.
pub const UNIX_PATH_BYTES_MAX: usize = 107;

/// Bytes of a settings file, and of a file with a store's URL: a thousand times what all settings take.
pub const SETTINGS_FILE_BYTES_MAX: u64 = 1 << 20;
/// How long reading the settings again waits until the reactor has taken them: it takes turns of far less.
pub const RELOAD_WAIT: Duration = Duration::from_secs(2);
/// How long the service manager may take for each message but a sign of life.
pub const NOTIFY_WAIT: Duration = Duration::from_secs(1);
/// How long `vmherd stats` waits for the daemon to take its request, and for each part of the answer.
pub const STATS_WAIT: Duration = Duration::from_secs(5);
/// Bytes of the answer that `vmherd stats` reads: some hundred counters have a few thousand.
pub const STATS_BYTES_MAX: u64 = 1 << 20;
/// Listeners that are taken from whoever started the process: as many as there may be of all kinds.
pub const INHERITED_MAX: usize = LISTENERS_MAX - 1;

// ── What settings may say ────────────────────────────────────────────────────────────────────────

/// The shortest timeout: a shorter one ends before the network answers.
pub const TIMEOUT_MIN: Duration = Duration::from_millis(10);
/// The longest timeout: whoever wants more wants none.
pub const TIMEOUT_MAX: Duration = Duration::from_secs(365 * 24 * 3600);
/// The shortest life of a token: they are kept in whole seconds.
pub const TOKEN_LIFETIME_MIN: Duration = Duration::from_secs(1);
/// The longest life of a token: ten years.
pub const TOKEN_LIFETIME_MAX: Duration = Duration::from_secs(3650 * 24 * 3600);
/// The shortest time that points are kept, by setting: they have whole seconds.
pub const RETENTION_MIN: Duration = Duration::from_secs(1);
/// The longest: a hundred years; whoever wants more wants them for good.
pub const RETENTION_MAX: Duration = Duration::from_secs(36_500 * 24 * 3600);
/// The longest delay of a conversion, by setting: its memory is held for as long.
pub const CONVERSION_DELAY_LIMIT: Duration = Duration::from_secs(3600);
/// VMs in a store, at most, by setting: a thousand times what is tested.
pub const VMS_LIMIT: u64 = 1_000_000_000;
/// Open connections, at most, by setting: descriptors that Linux gives one process by default.
pub const CONNECTIONS_LIMIT: usize = 1 << 20;
/// Jobs that wait to be hashed, at most, by setting: each may hold a password and a thousand disks.
pub const AUTH_QUEUE_LIMIT: usize = 1 << 16;
/// Jobs that wait for the store, at most, by setting.
pub const STORE_QUEUE_LIMIT: usize = 1 << 20;
/// Requests that may be open, at most, by setting.
pub const REQUESTS_LIMIT: usize = 1 << 24;
/// argon2id: KiB of memory, at least, by setting: eight for each of the most lanes, or it can't run.
pub const ARGON2_MEMORY_KIB_MIN: u32 = 8 * ARGON2_LANES_MAX;

const _: () = assert!(REQUEST_BYTES_MAX_ANONYMOUS <= REQUEST_BYTES_MAX);
const _: () = assert!(TOKENS_PER_CONNECTION_MAX < TOKENS_PER_VM_MAX);
const _: () = assert!(REQUESTS_PER_CONNECTION <= REQUESTS_MAX);
const _: () = assert!(16 * JOBS_PER_CONNECTION_MAX as usize <= READ_QUEUE);
const _: () = assert!(16 * JOBS_PER_CONNECTION_MAX as usize <= WRITE_QUEUE);
const _: () = assert!(PASSWORD_BYTES_MAX < REQUEST_BYTES_MAX_ANONYMOUS);
const _: () = assert!(ARGON2_MEMORY_KIB <= ARGON2_MEMORY_KIB_MAX && ARGON2_PASSES <= ARGON2_PASSES_MAX);
const _: () = assert!(ARGON2_LANES <= ARGON2_LANES_MAX);
const _: () = assert!(STOP_GRACE.as_secs() < 10, "a stop takes ten seconds at most");
const _: () =
    assert!(STOP_GRACE.as_millis() + STOP_OVERRUN.as_millis() + LOG_FLUSH_WAIT.as_millis() <= 10_000);
const _: () = assert!(LOG_LINE_BYTES_MAX <= LOG_BATCH_BYTES);
const _: () = assert!(READ_CHUNK_BYTES <= READ_BYTES_PER_TURN_MAX);
const _: () = assert!(VMS_MAX <= AUTHORIZED_VMS_MAX as u64);
const _: () = assert!(PAGE_ROWS_MAX > DISKS_PER_VM_MAX / 4);
const _: () = assert!(2 * SQLITE_BUSY.as_millis() < STORE_DEADLINE.as_millis());
const _: () =
    assert!(POSTGRES_LOCK.as_millis() + 2 * POSTGRES_LOCK_ATTEMPT.as_millis() < STORE_DEADLINE.as_millis());
const _: () = assert!(POSTGRES_CONFLICT_TIME.as_millis() < STORE_DEADLINE.as_millis());
const _: () = assert!(3 * POSTGRES_CONNECT.as_millis() < STORE_DEADLINE.as_millis());
const _: () = assert!(POSTGRES_CONNECT_ATTEMPTS < 3);
const _: () = assert!(POSTGRES_RECONNECT_MAX.as_millis() < 1000, "back within a second");
