//! What a message is refused for before it is known what it says.

/// Why a message was refused by its envelope alone: for where it comes from, not for what it asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Denial {
    /// It names a host that this server is not.
    ForeignHost,
    /// A page of another origin sent it.
    ForeignOrigin,
    /// It says who it is from in a way that is not understood.
    BadAuthorization,
}

impl Denial {
    /// The word for it in the audit log.
    pub fn as_str(self) -> &'static str {
        match self {
            Denial::ForeignHost => "foreign-host",
            Denial::ForeignOrigin => "foreign-origin",
            Denial::BadAuthorization => "bad-authorization",
        }
    }
}
