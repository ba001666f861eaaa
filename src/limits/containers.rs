//! Limits on containers and their credentials.

/// Random bytes of a container's token.
pub const CONTAINER_TOKEN_BYTES: usize = 191;
/// Characters of a container's token: its bytes in base64 without padding.
pub const CONTAINER_TOKEN_CHARS: usize = (CONTAINER_TOKEN_BYTES * 4).div_ceil(3);
