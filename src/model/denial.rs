//! Reasons to reject a message before its content is read.

/// Why a message was rejected because of its HTTP headers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Denial {
    /// `Host` names another server.
    ForeignHost,
    /// A web page of another origin sent it.
    ForeignOrigin,
    /// `Authorization` is not a usable bearer token.
    BadAuthorization,
}

impl Denial {
    /// The name in the audit log.
    pub fn as_str(self) -> &'static str {
        match self {
            Denial::ForeignHost => "foreign-host",
            Denial::ForeignOrigin => "foreign-origin",
            Denial::BadAuthorization => "bad-authorization",
        }
    }
}
