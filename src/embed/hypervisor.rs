//! The interface of hypervisors, which run the containers of clients.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::responder::Responder;
use crate::ids::ContainerId;
use crate::limits;
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
    /// Begins a run of the server: called once before any other call, and once again at each restart, after
    /// [`Hypervisor::stop`]. Returns the containers that already run; an error ends the server. Containers that end by
    /// themselves are reported through `ends`. The server does not start before it returns.
    fn start(&self, ends: EndReporter) -> Result<Vec<RunningContainer>, HypervisorError> {
        drop(ends);
        Ok(Vec::new())
    }

    /// The time that [`Hypervisor::create`] has, from the arrival of the request; two minutes, unless the hypervisor says
    /// otherwise. After it the client gets `outcome unknown`, and the container is destroyed when it is created. The VM of the
    /// container is added to the store within the same time.
    fn create_time_max(&self) -> Duration {
        limits::CREATE_DEADLINE
    }

    /// Whether the orders have an [`enrollment`](ContainerOrder::enrollment) token. Not, unless the hypervisor says so.
    fn wants_enrollment(&self) -> bool {
        false
    }

    /// Creates a container, and answers with it when its client can log in. After an error there is no such container.
    fn create(&self, order: ContainerOrder, responder: Responder<Result<Container, HypervisorError>>);

    /// Destroys a container that was created, or returned by [`Hypervisor::start`]; one that has ended by itself, too.
    /// After an error it still exists, and the call may come again; it never comes while the one before is not answered.
    /// The client waits for at most 30 seconds.
    fn destroy(&self, container: ContainerId, responder: Responder<Result<(), HypervisorError>>);

    /// Ends all containers, those that are being created as well, within `time_max`. Called once when the server stops,
    /// and once at each restart, on a thread of its own; the server waits no longer than `time_max`. No call begins
    /// after this, except those of a server that was restarted; one that has not returned by then may still run.
    fn stop(&self, time_max: Duration);

    /// The containers that [`Hypervisor::stop`] has left running, for the next [`Hypervisor::start`]; none, unless the
    /// hypervisor says otherwise. Called after it, on the same thread. The VMs of all others leave the registry.
    fn survivors(&self) -> Vec<ContainerId> {
        Vec::new()
    }
}

/// A program that keeps its hypervisor gives the server an `Arc` of it.
impl<H: Hypervisor + ?Sized> Hypervisor for Arc<H> {
    fn start(&self, ends: EndReporter) -> Result<Vec<RunningContainer>, HypervisorError> {
        (**self).start(ends)
    }

    fn create_time_max(&self) -> Duration {
        (**self).create_time_max()
    }

    fn wants_enrollment(&self) -> bool {
        (**self).wants_enrollment()
    }

    fn create(&self, order: ContainerOrder, responder: Responder<Result<Container, HypervisorError>>) {
        (**self).create(order, responder);
    }

    fn destroy(&self, container: ContainerId, responder: Responder<Result<(), HypervisorError>>) {
        (**self).destroy(container, responder);
    }

    fn stop(&self, time_max: Duration) {
        (**self).stop(time_max);
    }

    fn survivors(&self) -> Vec<ContainerId> {
        (**self).survivors()
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
    /// The SHA-256 of the token with which the client may destroy it.
    pub token_sha256: [u8; 32],
    /// With this token a client authenticates as the VM of the container, as long as that lives. Set if
    /// [`Hypervisor::wants_enrollment`].
    pub enrollment: Option<Secret>,
}

/// A container that runs when a server starts: it has survived the run before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RunningContainer {
    /// Its id. The server destroys it if its VM is not in the registry: its client has never got it.
    pub id: ContainerId,
    /// The hash from its order.
    pub token_sha256: [u8; 32],
}

/// Reports containers that end by themselves, from any thread. Clones report to the same server.
#[derive(Clone)]
pub struct EndReporter(Arc<ReportEnd>);

/// Takes the end of a container, with its reason.
type ReportEnd = dyn Fn(ContainerId, &str) + Send + Sync;

impl EndReporter {
    /// A reporter that passes each end to `report`.
    #[doc(hidden)]
    pub fn new(report: impl Fn(ContainerId, &str) + Send + Sync + 'static) -> EndReporter {
        EndReporter(Arc::new(report))
    }

    /// Reports that a container has ended: that it was created, or returned by [`Hypervisor::start`], and nothing has
    /// asked for its end. The reason is for the log. The server calls [`Hypervisor::destroy`] for it.
    pub fn ended(&self, container: ContainerId, reason: &str) {
        (self.0)(container, reason);
    }
}

impl fmt::Debug for EndReporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EndReporter")
    }
}
