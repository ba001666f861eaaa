//! One request: its bytes, its fields, its head in HTTP.

// ── One request ─────────────────────────────────────────────────────────────────────────────────────

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

// ── HTTP ────────────────────────────────────────────────────────────────────────────────────────────

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
