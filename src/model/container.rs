//! Containers: guests that clients create and destroy with verbs.

use std::fmt;
use std::num::NonZeroU16;

use super::secret::Secret;
use crate::ids::ContainerId;
use crate::limits;

/// A container as its hypervisor describes it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Container {
    /// The port of this host on which the container listens for its client.
    pub listen_port: NonZeroU16,
    /// The SHA-256 of the ISO image that it was started from.
    pub iso_sha256: [u8; 32],
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

/// Why an operation of a hypervisor has failed, for the log. The client gets `internal error` only.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HypervisorError(Box<str>);

impl HypervisorError {
    /// An error with this reason, of which 1024 characters are kept. It must not hold a secret.
    pub fn new(reason: &str) -> HypervisorError {
        HypervisorError(reason.chars().take(limits::PANIC_MESSAGE_CHARS_MAX).collect::<String>().into())
    }
}

impl fmt::Display for HypervisorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for HypervisorError {}
