//! Connections: how many, how long, and what one may do at a time.

use std::time::Duration;

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
/// Bytes that all connections together may read or convert in one turn, and again that are written of what workers
/// have done, for the same reason.
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
/// Bytes that all connections together may hold for their clients, by default: what has come and is not run,
/// requests that are not answered, answers that are not taken.
pub const BUFFERS_BYTES_MAX: usize = 64 << 20;
/// Bytes from which on a client counts as one of those who hold some; smaller requests are not worth a look.
pub const HOLDING_BYTES_MIN: usize = 1 << 10;
/// Bytes that are kept free for a page of an answer when it is begun: as many as one takes that has the longest
/// rows, with its output grown for it.
pub const PAGE_BYTES_RESERVED: usize = 768 << 10;
/// Bytes that those who wait may go beyond the bound on all, one at a time, where it is held by clients that can't
/// be closed: a request of the most bytes, and its answer. Without it all would wait for each other.
pub const BUFFERS_BYTES_BEYOND: usize = 2 << 20;
/// How long a client that has not authenticated may take nothing of its answer while others wait for room for
/// theirs.
pub const STALL_WHILE_SCARCE: Duration = Duration::from_secs(1);
/// Clients that are looked at for that at a time, those that hold most first.
pub const STALLED_LOOKED_AT_MAX: usize = 64;
/// Bytes that have to be given back until the C library is told to give them back to the system.
pub const TRIM_BYTES_MIN: usize = 4 << 20;
/// How long it waits for that: there may be use for them again.
pub const TRIM_AFTER: Duration = Duration::from_secs(3);
/// Connections to the daemon's own socket, which are counted apart: an operator gets in however many clients there
/// are.
pub const OWN_SOCKET_CONNECTIONS: usize = 8;
/// How soon it is tried again to make place for a new connection where there was none to be made.
pub const FULL_RETRY: Duration = Duration::from_millis(100);
/// Idle connections that are found at once to be closed for others: a search looks at all there are.
pub const IDLE_FOUND_AT_ONCE: usize = ACCEPTS_PER_TURN_MAX;

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
