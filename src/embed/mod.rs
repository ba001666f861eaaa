//! What an embedding program gives to a server, and what it receives from it: handlers of requests, a hypervisor, clients
//! and events.

mod client;
mod container_ends;
mod event;
mod event_queue;
mod gate;
mod handler;
mod hypervisor;
mod hypervisor_call;
mod key_pair;
mod responder;
mod test_hypervisor;

pub use client::{Client, ClientFactory, ClientId, ClientKey, Disconnector};
pub use event::{Event, EventDetail, EventKind, EventKinds, QueuedEvent};
pub use event_queue::EventQueue;
pub use gate::{Gate, GateCall};
pub use handler::{HandlerCall, HandlerRequest, Handlers, RequestHandler};
pub use hypervisor::{ContainerOrder, EndReporter, Hypervisor, RunningContainer};
pub use hypervisor_call::{ContainerChange, ContainerReport, HypervisorCall, HypervisorHandle};
pub use key_pair::{DecryptError, KeyPair};
pub use responder::{HandlerFailure, Responder, panic_message};
pub use test_hypervisor::TestHypervisor;

use std::sync::Arc;

use crate::ids::ServerId;

/// All that the embedding program gives to one run of a server.
#[derive(Clone, Default)]
pub struct Embedding {
    /// The handlers of its commands and verbs.
    pub handlers: Handlers,
    /// Makes the clients that it sees.
    pub clients: ClientFactory,
    /// The events for its callbacks.
    pub events: Arc<EventQueue>,
    /// Admits connections; `None` admits all.
    pub gate: Option<Gate>,
    /// Its own counters.
    pub counters: Vec<ProgramCounter>,
    /// Runs containers.
    pub hypervisor: Option<Arc<HypervisorHandle>>,
    /// The id that the rows of their VMs have. Present if there is a hypervisor, or was one in an earlier run.
    pub server: Option<ServerId>,
    /// The containers that run at the start.
    pub running: Vec<RunningContainer>,
    /// The maximum number of containers, if there is one.
    pub containers_max: Option<u32>,
}

/// A counter of the embedding program, which the statistics of the server show as well.
#[derive(Clone)]
pub struct ProgramCounter {
    name: &'static str,
    value: Arc<dyn Fn() -> u64 + Send + Sync>,
}

impl ProgramCounter {
    /// The counter `name`, with the function that reads it.
    pub fn new(name: &'static str, value: impl Fn() -> u64 + Send + Sync + 'static) -> ProgramCounter {
        ProgramCounter { name, value: Arc::new(value) }
    }

    /// Its name and value.
    pub fn read(&self) -> (&'static str, u64) {
        (self.name, (self.value)())
    }
}
