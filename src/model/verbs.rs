//! The names of the server's verbs, and the messages of their replies.

/// Creates a container.
pub const CREATE: &str = "CREATE";
/// Destroys a container.
pub const DESTROY: &str = "DESTROY";
/// Returns the server's status.
pub const STAT: &str = "STAT";

/// The request succeeded.
pub const OK: &str = "OK";
/// The credentials are wrong or missing.
pub const BAD_AUTHENTICATION: &str = "Bad authentication";
/// The request is malformed, or its verb unknown.
pub const BAD_REQUEST: &str = "Bad request";
/// The server refuses the request.
pub const REFUSED_REQUEST: &str = "Refused request";
/// The server can't do it now; nothing was done.
pub const UNAVAILABLE: &str = "Unavailable";
/// The server has failed.
pub const INTERNAL_ERROR: &str = "Internal error";
