//! Why a store operation failed.

use std::fmt;

use crate::ids::DiskId;

/// Why a store operation failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StoreError {
    /// The name is taken.
    AlreadyRegistered,
    /// The maximum number of VMs exists.
    VmLimitReached,
    /// The maximum number of keys exists; the point at this index has a new one.
    KeyLimitReached(usize),
    /// The VM has no disk of that id.
    UnknownDisk(DiskId),
    /// The login is stale: its VM was removed or has another password.
    NotCurrent,
    /// There is no VM of that name; only operator commands get this.
    UnknownVm,
    /// A server runs the VM: only that server changes and removes it.
    Managed,
    /// There is no access token of that id; only operator commands get this.
    UnknownAccessToken,
    /// The maximum number of access tokens exists.
    AccessTokenLimitReached,
    /// A lock was not released in time; nothing was done.
    Busy,
    /// The store cannot be reached or has failed; nothing was done. The text is for the log.
    Unavailable(String),
    /// The commit was sent but not confirmed. The text is for the log.
    OutcomeUnknown(String),
    /// The store cannot be opened or is not ours to use. The text is for the log.
    Refused(String),
}

impl StoreError {
    /// The error of work that was not tried after this error.
    pub(super) fn of_untried(self) -> StoreError {
        match self {
            StoreError::OutcomeUnknown(why) => StoreError::Unavailable(why),
            other => other,
        }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreError::AlreadyRegistered => f.write_str("a VM of that name is already registered"),
            StoreError::VmLimitReached => f.write_str("the store holds as many VMs as --vms-max allows"),
            StoreError::KeyLimitReached(at) => {
                write!(f, "the store holds as many keys of metrics as it may; point {at} has another")
            }
            StoreError::UnknownDisk(id) => write!(f, "the VM has no disk {}", id.0),
            StoreError::NotCurrent => f.write_str("the VM was removed or its password changed"),
            StoreError::UnknownVm => f.write_str("there is no VM of that name"),
            StoreError::Managed => f.write_str("the VM is managed by a server, which alone changes it"),
            StoreError::UnknownAccessToken => f.write_str("there is no access token of that id"),
            StoreError::AccessTokenLimitReached => {
                f.write_str("the store holds as many access tokens as it may")
            }
            StoreError::Busy => f.write_str("the store is locked"),
            StoreError::Unavailable(why) => write!(f, "the store is unavailable: {why}"),
            StoreError::OutcomeUnknown(why) => write!(f, "the store did not confirm a commit: {why}"),
            StoreError::Refused(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for StoreError {}
