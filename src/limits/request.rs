//! Limits on one request: its size, its fields, its HTTP head.

// ── One request ─────────────────────────────────────────────────────────────────────────────────────

/// Bytes of a request of an authenticated client, or on a listener with anonymous access. A VM with 1024 disks takes 40
/// KiB.
pub const REQUEST_BYTES_MAX: usize = 1 << 20;
/// Bytes of a request before authentication on a listener without anonymous access: unknown clients must not use much
/// memory.
pub const REQUEST_BYTES_MAX_ANONYMOUS: usize = 64 << 10;
/// White space skipped before the first byte that determines a connection's framing.
pub const SNIFF_WHITE_SPACE_BYTES_MAX: usize = 64;
/// Bytes of a request id without its quotes: a UUID with room to spare, not a payload.
pub const REQUEST_ID_BYTES_MAX: usize = 256;
/// Characters of an invalid value that an error message repeats.
pub const ECHOED_CHARS_MAX: usize = 40;
/// Unknown fields that an error message names; it counts the rest.
pub const UNKNOWN_FIELDS_NAMED_MAX: usize = 4;

// ── HTTP ────────────────────────────────────────────────────────────────────────────────────────────

/// Bytes of a request's head: what common servers accept, and many times what browsers and curl send.
pub const HTTP_HEAD_BYTES_MAX: usize = 16 << 10;
/// Heads that a listener remembers: its clients are a few programs, each with a few paths. All are compared with one that
/// is new, a few hundred instructions.
pub const HTTP_KNOWN_HEADS_MAX: usize = 32;
/// Bytes of a head that is remembered: programs send 100 to 300.
pub const HTTP_KNOWN_HEAD_BYTES_MAX: usize = 512;
/// Header lines of a request: browsers send about twenty, proxies add a dozen.
pub const HTTP_HEADERS_MAX: usize = 64;
/// Bytes of blank lines before a request: some clients send one after a body. As many as before a connection's first
/// request.
pub const HTTP_BLANK_BYTES_MAX: usize = SNIFF_WHITE_SPACE_BYTES_MAX;
/// Bytes of all chunk extensions of a body: no common client sends any, and they carry no payload.
pub const HTTP_CHUNK_EXTENSION_BYTES_MAX: usize = 1 << 10;
/// Bytes of the trailer of a chunked body, which is ignored.
pub const HTTP_TRAILER_BYTES_MAX: usize = 4 << 10;
