//! Limits of the client library.

/// Bytes of a reply, by default: the list of a million VMs, the most that a store has by default, takes less than 400
/// bytes a VM.
pub const CLIENT_REPLY_BYTES_MAX: usize = 400 << 20;
/// Bytes that a client reads at once.
pub const CLIENT_READ_BYTES: usize = 64 << 10;
/// Points of one request of many: a quarter of what a server takes, so that it stores some while it reads others.
pub const CLIENT_POINTS_PER_REQUEST: usize = super::metrics::POINTS_PER_REQUEST_MAX / 4;
/// Bytes after which a request of many points ends: the points of a request, with keys of usual length.
pub const CLIENT_POINTS_BYTES: usize = 128 << 10;
/// Requests of points that wait for their replies: as many points as one connection may have in flight at a server.
/// Their replies fit into the buffer of a socket, so neither end waits for the other to read.
pub const CLIENT_PUTS_IN_FLIGHT: usize = super::work::WEIGHT_PER_CONNECTION_MAX / CLIENT_POINTS_PER_REQUEST;
/// Characters of a server's message that an error shows.
pub const CLIENT_MESSAGE_CHARS_MAX: usize = 1024;
