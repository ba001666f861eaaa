//! What an authorized VM may be for the whole server.

/// In which of the server's two sets a VM is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Membership {
    /// The VM may be changed by others.
    Authorized,
    /// The VM is connected, and therefore authorized as well.
    Connected,
}
