//! Calls of a hypervisor, as work for a thread, and their results.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::client::ClientKey;
use super::container_ends::ContainerEnds;
use super::hypervisor::{ContainerOrder, EndReporter, Hypervisor, RunningContainer};
use super::responder::{HandlerFailure, Responder};
use crate::clock::{Clock, SystemClock};
use crate::ids::ContainerId;
use crate::limits;
use crate::model::{Container, HypervisorError};

/// A hypervisor, and the calls of it that run.
pub struct HypervisorHandle {
    hypervisor: Box<dyn Hypervisor>,
    calls: Mutex<Calls>,
    returned: Condvar,
    ends: Arc<ContainerEnds>,
}

#[derive(Default)]
struct Calls {
    /// How often the hypervisor was stopped: a call that was made before the last stop does not begin any more.
    stops: u32,
    /// Calls that have not returned.
    running: usize,
    /// The hypervisor was started, and not stopped since.
    is_started: bool,
}

/// A call, as work for a thread.
#[derive(Clone)]
pub struct HypervisorCall {
    handle: Arc<HypervisorHandle>,
    stops: u32,
    client: Option<ClientKey>,
    operation: Operation,
}

#[derive(Clone)]
enum Operation {
    Create(Box<ContainerOrder>),
    Destroy(ContainerId),
}

/// What becomes of a container.
#[derive(Debug)]
pub struct ContainerReport {
    /// The container.
    pub id: ContainerId,
    /// The client that asked for the operation; `None` if it is not known, because the container has survived a restart.
    pub client: Option<ClientKey>,
    /// What has happened.
    pub change: ContainerChange,
}

/// What has happened to a container. An error is for the log.
#[derive(Debug)]
pub enum ContainerChange {
    /// Its creation makes progress: a shell was opened in it. The result is still to come.
    ShellOpened,
    /// The result of its creation.
    Created(Result<Container, ContainerError>),
    /// The result of its destruction.
    Destroyed(Result<(), ContainerError>),
}

/// Why an operation has failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ContainerError {
    /// The reason, for the log.
    pub reason: String,
    /// Whether the hypervisor has no room now: the client may try again.
    pub is_unavailable: bool,
}

impl HypervisorHandle {
    /// A handle to `hypervisor`. `wake`, which must not block, is called when a container has ended by itself.
    pub fn new(hypervisor: Box<dyn Hypervisor>, wake: impl Fn() + Send + Sync + 'static) -> HypervisorHandle {
        let ends = Arc::new(ContainerEnds::new(wake));
        HypervisorHandle { hypervisor, calls: Mutex::default(), returned: Condvar::new(), ends }
    }

    /// Begins a run of the server; returns the containers that already run.
    pub fn start(&self) -> Result<Vec<RunningContainer>, HypervisorError> {
        let ends = Arc::clone(&self.ends);
        let running = self.hypervisor.start(EndReporter::new(move |id, reason| ends.report(id, reason)))?;
        self.lock().is_started = true;
        Ok(running)
    }

    /// Takes the containers that have ended by themselves, with the reasons.
    pub fn take_ends(&self) -> BTreeMap<ContainerId, String> {
        self.ends.take()
    }

    /// Has a later call of [`HypervisorHandle::take_ends`] return this end.
    pub fn keep_end(&self, container: ContainerId, reason: String) {
        self.ends.keep(container, reason);
    }

    /// Whether orders have an enrollment token.
    pub fn wants_enrollment(&self) -> bool {
        self.hypervisor.wants_enrollment()
    }

    /// The containers that the last stop has left running.
    pub fn survivors(&self) -> Vec<ContainerId> {
        self.hypervisor.survivors()
    }

    /// A call that creates a container for `client`.
    pub fn create(self: &Arc<Self>, order: ContainerOrder, client: ClientKey) -> HypervisorCall {
        self.call(Operation::Create(Box::new(order)), Some(client))
    }

    /// A call that destroys a container for `client`, if that is known.
    pub fn destroy(self: &Arc<Self>, container: ContainerId, client: Option<ClientKey>) -> HypervisorCall {
        self.call(Operation::Destroy(container), client)
    }

    /// Prevents all calls that were made before, and ends all containers within `time_max`. Calls that run get a part of
    /// that to return. Does nothing to a hypervisor that is not started.
    pub fn stop(&self, time_max: Duration) {
        let mut clock = SystemClock::new();
        let begun = clock.now();
        let mut calls = self.lock();
        calls.stops += 1;
        let wait = time_max / limits::HYPERVISOR_CALLS_SHARE;
        let waited = self.returned.wait_timeout_while(calls, wait, |calls| calls.running > 0);
        let is_started = {
            let (mut calls, _) = waited.unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut calls.is_started)
        };
        if is_started {
            self.hypervisor.stop(time_max.saturating_sub(clock.now() - begun));
        }
    }

    fn call(self: &Arc<Self>, operation: Operation, client: Option<ClientKey>) -> HypervisorCall {
        HypervisorCall { handle: Arc::clone(self), stops: self.lock().stops, client, operation }
    }

    /// Begins a call that was made after this many stops; returns whether it may.
    fn begin(&self, stops: u32) -> bool {
        let mut calls = self.lock();
        let may_begin = calls.stops == stops;
        calls.running += usize::from(may_begin);
        may_begin
    }

    fn end(&self) {
        self.lock().running -= 1;
        self.returned.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for HypervisorHandle {
    /// Ends the containers of a server that was started but never served.
    fn drop(&mut self) {
        self.stop(limits::HYPERVISOR_STOP_MIN);
    }
}

impl HypervisorCall {
    /// The time that it has.
    pub fn deadline(&self) -> Duration {
        match self.operation {
            Operation::Create(_) => self.handle.hypervisor.create_time_max(),
            Operation::Destroy(_) => limits::DESTROY_DEADLINE,
        }
    }

    /// Calls the hypervisor on this thread. Its reports go to `report`; returns the message of a panic after the result.
    pub fn run(self, report: impl Fn(ContainerReport) + Send + Sync + 'static) -> Option<String> {
        let HypervisorCall { handle, stops, client, operation } = self;
        let is_stopped = !handle.begin(stops);
        let hypervisor = &*handle.hypervisor;
        let panic = match operation {
            Operation::Create(order) => {
                let id = order.id;
                let report =
                    Arc::new(move |change| report(ContainerReport { id, client: client.clone(), change }));
                let shell = Arc::clone(&report);
                let responder =
                    Responder::new(move |result| report(ContainerChange::Created(flatten(result))))
                        .with_report(move || shell(ContainerChange::ShellOpened));
                match is_stopped {
                    true => return stopped(responder),
                    false => responder.run(|responder| hypervisor.create(*order, responder)),
                }
            }
            Operation::Destroy(id) => {
                let responder = Responder::new(move |result| {
                    let change = ContainerChange::Destroyed(flatten(result));
                    report(ContainerReport { id, client, change });
                });
                match is_stopped {
                    true => return stopped(responder),
                    false => responder.run(|responder| hypervisor.destroy(id, responder)),
                }
            }
        };
        handle.end();
        panic
    }
}

impl ContainerChange {
    /// Whether it is the result of the operation.
    pub fn is_final(&self) -> bool {
        !matches!(self, ContainerChange::ShellOpened)
    }

    /// Why the operation has failed.
    pub fn error(&self) -> Option<&str> {
        match self {
            ContainerChange::Created(Err(error)) | ContainerChange::Destroyed(Err(error)) => {
                Some(&error.reason)
            }
            _ => None,
        }
    }
}

impl fmt::Debug for HypervisorCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, id) = match &self.operation {
            Operation::Create(order) => ("Create", order.id),
            Operation::Destroy(id) => ("Destroy", *id),
        };
        f.debug_tuple(name).field(&id).finish()
    }
}

fn stopped<T>(responder: Responder<Result<T, HypervisorError>>) -> Option<String> {
    responder.respond(Err(HypervisorError::new("the server stops")));
    None
}

/// The result, or why there is none.
fn flatten<T>(result: Result<Result<T, HypervisorError>, HandlerFailure>) -> Result<T, ContainerError> {
    let error = |reason| ContainerError { reason, is_unavailable: false };
    match result {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(failed)) => Err(ContainerError {
            reason: format!("the hypervisor: {failed}"),
            is_unavailable: failed.is_unavailable(),
        }),
        Err(HandlerFailure::Panicked(message)) => Err(error(format!("the hypervisor panicked: {message}"))),
        Err(_) => Err(error("the hypervisor dropped the responder".to_owned())),
    }
}

impl From<&str> for ContainerError {
    fn from(reason: &str) -> ContainerError {
        ContainerError { reason: reason.to_owned(), is_unavailable: false }
    }
}
