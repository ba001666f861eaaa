//! Containers: guests that clients create and destroy with verbs.

use super::secret::Secret;
use crate::ids::ContainerId;

/// What proves that a client has created a container.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ContainerCredentials {
    /// The container.
    pub id: ContainerId,
    /// Its token, which only its client knows.
    pub token: Secret,
}
