//! The interface of hypervisors, which run the containers of clients.

use std::sync::Arc;
use std::time::Duration;

use super::responder::Responder;
use crate::ids::ContainerId;
use crate::model::{Container, HypervisorError, Secret};

/// Creates and destroys containers, for the verbs `CREATE` and `DESTROY`.
///
/// The server calls [`Hypervisor::create`] and [`Hypervisor::destroy`] on its handler threads. They should return soon
/// and answer through the responder when the operation has ended, from any thread: a guest may boot for minutes. Every
/// call must be answered in the end. An operation that ends after its deadline still counts: the server destroys the
/// container that it has created, since its client knows nothing of it.
///
/// [`TestHypervisor`](crate::TestHypervisor) is one for tests.
pub trait Hypervisor: Send + Sync {
    /// Creates a container, and answers with it when its client can log in. After an error there is no such container.
    /// The client waits for at most two minutes, or
    /// as long as [`create_deadline`](crate::ServerBuilder::create_deadline) says.
    fn create(&self, order: ContainerOrder, responder: Responder<Result<Container, HypervisorError>>);

    /// Destroys a container that was created. After an error it still exists, and the call may come again; it never
    /// comes while the one before is not answered. The client waits for at most 30 seconds.
    fn destroy(&self, container: ContainerId, responder: Responder<Result<(), HypervisorError>>);

    /// Ends all containers, those that are being created as well, within `time_max`. Called once when the server stops,
    /// and once at each restart, on a thread of its own; the server waits no longer than `time_max`. No call begins
    /// after this, except those of a server that was restarted; one that has not returned by then may still run.
    fn stop(&self, time_max: Duration);
}

/// A program that keeps its hypervisor gives the server an `Arc` of it.
impl<H: Hypervisor + ?Sized> Hypervisor for Arc<H> {
    fn create(&self, order: ContainerOrder, responder: Responder<Result<Container, HypervisorError>>) {
        (**self).create(order, responder);
    }

    fn destroy(&self, container: ContainerId, responder: Responder<Result<(), HypervisorError>>) {
        (**self).destroy(container, responder);
    }

    fn stop(&self, time_max: Duration) {
        (**self).stop(time_max);
    }
}

/// The container that a client has asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ContainerOrder {
    /// Its id: a random UUID, never used before.
    pub id: ContainerId,
    /// The user that may log in: `user_` and five digits.
    pub user_name: Box<str>,
    /// That user's password: 120 letters and digits. Only the client gets it as well.
    pub password: Secret,
}
