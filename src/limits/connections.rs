//! Limits on connections: how many, how long they last, and how much one may do at a time.

use std::time::Duration;

/// Open connections, by default.
pub const CONNECTIONS_MAX: usize = 16_384;
/// File descriptors reserved for listeners, the log, epoll, and the store: its files, or four per PostgreSQL
/// connection. Each thread has one such connection, and threads that hang keep theirs. And for [`UNDELIVERED_SOCKETS_MAX`]
/// and [`REFUSED_CONNECTIONS`].
pub const DESCRIPTORS_RESERVED: usize = 160 + UNDELIVERED_SOCKETS_MAX + REFUSED_CONNECTIONS;
/// Sockets of closed connections that are kept since their clients may still receive a new container: each for a round
/// trip. If there are more, the oldest is given up, with its container.
pub const UNDELIVERED_SOCKETS_MAX: usize = 32;
/// Open connections of refused addresses, which are read as far as it takes to answer clients of HTTP. They are counted
/// separately, so that they take no place of others; one more is closed at once, unread.
pub const REFUSED_CONNECTIONS: usize = 32;
/// Percentage of `--connections-max` below which a paused accept resumes.
pub const ACCEPT_RESUME_PERCENT: usize = 90;
/// Connections accepted per tick, so that a burst does not starve open connections.
pub const ACCEPTS_PER_TICK_MAX: usize = 64;
/// Backlog of `listen`: holds a burst of five thousand, less those accepted meanwhile. The system's limit
/// (net.core.somaxconn) may be lower.
pub const LISTEN_BACKLOG: i32 = 4096;
/// How long accepting pauses after the process ran out of descriptors, unless a connection closes earlier.
pub const ACCEPT_RETRY: Duration = Duration::from_millis(500);
/// Readiness events fetched per poll.
pub const EVENTS_PER_TICK_MAX: usize = 1024;

/// Requests decoded per connection and tick, so that other connections get their share.
pub const STEPS_PER_TICK_MAX: usize = 128;
/// Bytes read per connection and tick, so that other connections get their share.
pub const READ_BYTES_PER_TICK_MAX: usize = 64 << 10;
/// Steps of all connections in one tick, counted as for one connection. A connection that was not served comes first in
/// the next tick. Bounds the tick to about two milliseconds.
pub const STEPS_PER_TICK_TOTAL_MAX: usize = 512;
/// Bytes that all connections together may read or convert in one tick, and as many again written from worker results.
/// Bounds the tick like [`STEPS_PER_TICK_TOTAL_MAX`].
pub const BYTES_PER_TICK_TOTAL_MAX: usize = 256 << 10;
/// Timers that fire in one tick; the rest fire in the next.
pub const TIMERS_PER_TICK_MAX: usize = 1024;
/// Open requests that are dropped at once with their connection. A connection with more is set aside, and each tick
/// frees one such connection.
pub const REQUESTS_DROPPED_AT_ONCE_MAX: usize = 256;
/// Bytes requested from the system in one read.
pub const READ_CHUNK_BYTES: usize = 16 << 10;
/// Queued output bytes at which reading from the connection pauses until the output drains.
pub const OUTPUT_BYTES_PAUSE: usize = 64 << 10;
/// Bytes that all connections together may buffer, by default: unprocessed input, unanswered requests, unsent answers.
pub const BUFFERS_BYTES_MAX: usize = 64 << 20;
/// Bytes from which on a connection counts as holding memory; smaller requests are negligible.
pub const HOLDING_BYTES_MIN: usize = 1 << 10;
/// Bytes reserved when a page begins: a page of the longest rows, with room for its output buffer to grow.
pub const PAGE_BYTES_RESERVED: usize = 768 << 10;
/// Bytes that waiting requests may exceed the buffer limit by, one at a time, when the connections that hold the memory
/// can't be closed: the largest request and its answer. Prevents a deadlock in which all wait for each other.
pub const BUFFERS_OVERCOMMIT_BYTES: usize = 2 << 20;
/// How long an unauthenticated client may accept no output while others wait for buffer space.
pub const STALL_TIMEOUT_UNDER_PRESSURE: Duration = Duration::from_secs(1);
/// How long the request of an unauthenticated client may wait for buffer space before it is answered with `busy`:
/// authenticated clients may hold the space for as long as they send requests. As long as a request may take to arrive.
pub const ANONYMOUS_MEMORY_WAIT_MAX: Duration = Duration::from_secs(10);
/// Connections examined for stalled output at a time, largest holders first.
pub const STALL_CANDIDATES_MAX: usize = 64;
/// Freed bytes after which the C library is asked to return memory to the system.
pub const TRIM_BYTES_MIN: usize = 4 << 20;
/// Delay before that, since the memory may be needed again.
pub const TRIM_AFTER: Duration = Duration::from_secs(3);
/// Connections to the daemon's own socket. They are counted separately, so that an operator can always connect.
pub const OWN_SOCKET_CONNECTIONS: usize = 8;
/// Interval between attempts to make room for a new connection when no connection could be closed.
pub const EVICTION_RETRY: Duration = Duration::from_millis(100);
/// Idle connections collected per search for connections to close: each search scans all of them.
pub const IDLE_SCAN_RESULTS_MAX: usize = ACCEPTS_PER_TICK_MAX;

/// Rows (VMs and disks) per page of a long answer: some 60 KiB of JSON, or 340 KiB of disks if the VM's name has
/// maximum length and needs escaping throughout. A VM with the maximum number of disks is a page of its own.
pub const PAGE_ROWS_MAX: usize = 1024;
/// Rows of a page of VMs for an operator, whose entries are longer: at most half a page for the VMs, and half for the
/// addresses.
pub const OBSERVED_ROWS_MAX: usize = PAGE_ROWS_MAX / 2;
/// VMs of the table of the web page for browsers without JavaScript: some screens, which load at once.
pub const VM_TABLE_ROWS_MAX: usize = 200;
/// Bytes of the web page's files, as they are sent: a second on a slow line.
pub const PAGE_ASSETS_BYTES_MAX: usize = 80 << 10;
/// Addresses that an operator sees of a VM: more connections of one VM are a mistake of its program.
pub const OBSERVED_ADDRESSES_MAX: usize = 16;
/// Connections scanned for one page of a list of connections: bounds a tick when few match.
pub const PAGE_PEERS_SCANNED_MAX: usize = 4096;

/// VMs without a password that may be authorized or connected at a time: as many as a store holds by default. The next
/// one is answered `busy`. Each takes some 200 bytes.
pub const AUTHORIZED_VMS_MAX: usize = 1 << 20;
/// VMs looked up per query while a page is made: bounds memory when all have many disks.
pub const VMS_PER_QUERY: usize = 16;

/// Open requests with an id per connection, by default.
pub const REQUESTS_PER_CONNECTION: usize = 16_384;
/// Open requests of all connections together, by default.
pub const REQUESTS_MAX: usize = 1_048_576;

/// Bytes of text in all delayed conversions: a million of typical length, or a few hundred of the longest.
pub const DELAYED_BYTES_MAX: usize = 256 << 20;
/// Delayed conversions logged per second; the rest are counted.
pub const DELAYS_LOGGED_PER_SECOND_MAX: u32 = 100;

/// How long a client may stay silent after it connects, by default: people open `nc` and then look for text to paste.
pub const FIRST_REQUEST_TIMEOUT: Duration = Duration::from_secs(300);
/// Time from the first to the last byte of a request, by default.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Time between requests of an unauthenticated client, by default.
pub const IDLE_TIMEOUT_ANONYMOUS: Duration = Duration::from_secs(3600);
/// Time between requests of an HTTP connection, by default: what browsers and proxies expect.
pub const IDLE_TIMEOUT_HTTP: Duration = Duration::from_secs(75);
/// Time without progress while output is pending, by default.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long input is discarded after a final error, so that the client can read the error before closing with unread
/// input resets the connection.
pub const LINGER_TIMEOUT: Duration = Duration::from_secs(2);
/// Bytes of input discarded in that time.
pub const LINGER_BYTES_MAX: u32 = 64 << 20;
/// Minimum interval, in seconds, between log lines about HTTP sent to a connection of another protocol.
pub const HTTP_LINE_LOG_INTERVAL_S: u64 = 60;
/// Minimum interval, in seconds, between log lines about refused addresses, which may try again as often as they like.
pub const REFUSAL_LOG_INTERVAL_S: u64 = 60;
/// Minimum interval, in seconds, between log lines about errors that clients can cause or meet many times a second: too
/// many connections, a failing store.
pub const ERROR_LOG_INTERVAL_S: u64 = 1;
/// Jobs that one connection may have queued or running; its further requests wait in its input. A sixteenth of the read
/// and write queues, so that one client can't fill them.
pub const JOBS_PER_CONNECTION_MAX: u16 = 256;
/// Open writes without an id on one connection: as many as it may have jobs for. The reply to each waits for those before
/// it, in some 100 bytes.
pub const ORDERED_WRITES_MAX: usize = JOBS_PER_CONNECTION_MAX as usize;

/// Bytes in each direction of the pipe between the server and a client of the same process: as many as output pauses at.
pub const LOCAL_PIPE_BYTES: usize = 64 << 10;
/// How long such a client waits for the server, by default: only a server that hangs takes as long.
pub const LOCAL_CLIENT_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of one reply to such a client: some hundred thousand VMs.
pub const LOCAL_REPLY_BYTES_MAX: usize = 64 << 20;

/// Bytes that the kernel accepts for a socket beyond what it has sent. With the default of megabytes, a client that
/// reads slowly but steadily would show no progress for longer than the write timeout.
pub const UNSENT_BYTES_MAX: u32 = 64 << 10;

/// TCP keep-alive: idle time before the first probe.
pub const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
/// TCP keep-alive: interval between probes.
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
/// TCP keep-alive: unanswered probes before the peer counts as dead.
pub const KEEPALIVE_PROBES: u32 = 4;
