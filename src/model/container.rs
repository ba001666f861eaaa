//! Containers: guests that clients create and destroy with verbs.

use std::fmt;
use std::num::NonZeroU16;

use super::secret::Secret;
use super::vm::VmShape;
use crate::ids::ContainerId;
use crate::limits;

/// A container as its hypervisor describes it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Container {
    /// The port of this host on which the container listens for its client.
    pub listen_port: NonZeroU16,
    /// The SHA-256 of the image that it was started from.
    pub iso_sha256: [u8; 32],
    /// Its memory and processors.
    pub shape: VmShape,
    /// The sizes of its disks in GiB, at least 1 each.
    pub disk_sizes_gib: Vec<u64>,
}

/// What proves that a client has created a container.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ContainerCredentials {
    /// The container.
    pub id: ContainerId,
    /// Its token, which only its client knows.
    pub token: Secret,
}

/// A new container, as its client gets it. The secrets appear nowhere else.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewContainer {
    /// What its client needs to destroy it.
    pub credentials: ContainerCredentials,
    /// The user that may log in.
    pub user_name: Box<str>,
    /// That user's password.
    pub password: Secret,
    /// The container.
    pub container: Container,
}

/// Why an operation of a hypervisor has failed, for the log. The client gets `internal error` only, or `unavailable`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HypervisorError {
    reason: Box<str>,
    is_unavailable: bool,
}

impl HypervisorError {
    /// An error with this reason, of which 1024 characters are kept. It must not hold a secret.
    pub fn new(reason: &str) -> HypervisorError {
        let reason = reason.chars().take(limits::PANIC_MESSAGE_CHARS_MAX).collect::<String>().into();
        HypervisorError { reason, is_unavailable: false }
    }

    /// As [`HypervisorError::new`]; the operation has changed nothing, and may succeed later.
    pub fn unavailable(reason: &str) -> HypervisorError {
        HypervisorError { is_unavailable: true, ..HypervisorError::new(reason) }
    }

    /// Whether the operation may succeed later.
    pub fn is_unavailable(&self) -> bool {
        self.is_unavailable
    }
}

impl fmt::Display for HypervisorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for HypervisorError {}
