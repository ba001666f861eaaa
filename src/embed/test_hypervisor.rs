//! A hypervisor without containers, for tests.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU16;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::hypervisor::{ContainerOrder, EndReporter, Hypervisor, RunningContainer};
use super::responder::Responder;
use crate::ids::ContainerId;
use crate::limits;
use crate::model::{Container, HypervisorError, VmShape};

/// A hypervisor for tests of programs that embed a server: it only notes which containers there would be.
///
/// It answers at once, unless it is told to [`hold`](TestHypervisor::hold) its answers or to
/// [`fail`](TestHypervisor::fail). Clones are handles to the same one: give one to the server, and keep another.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use serde_json::json;
/// use vmherd::{Config, Server, TestHypervisor};
///
/// # let directory = std::env::temp_dir().join(format!("vmherd-hypervisor-{}", std::process::id()));
/// # let config = Config::default().state_dir(&directory).store("memory:".parse()?);
/// # let config = config.listen("tcp://127.0.0.1:0".parse()?);
/// let hypervisor = TestHypervisor::default();
/// let server = Server::builder(config).hypervisor(hypervisor.clone()).containers_max(5).bind()?;
/// let running = server.start()?;
/// let reply = running.client()?.call(&json!({"verb": "CREATE", "parameters": {}}))?;
/// assert_eq!(reply["success"], true);
/// assert_eq!(hypervisor.containers().len(), 1);
/// # running.stop(std::time::Duration::ZERO)?;
/// # std::fs::remove_dir_all(directory)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct TestHypervisor(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// The containers, and the hashes of their tokens.
    containers: BTreeMap<ContainerId, [u8; 32]>,
    last_order: Option<ContainerOrder>,
    /// The reason why operations fail.
    failure: Option<HypervisorError>,
    is_holding: bool,
    held: Vec<Held>,
    created: u16,
    stops: u32,
    create_time_max: Option<Duration>,
    survives: bool,
    enrolls: bool,
    /// Of the server's last run.
    ends: Option<EndReporter>,
}

/// A call that is not answered yet.
enum Held {
    Create(ContainerId, [u8; 32], Responder<Result<Container, HypervisorError>>),
    Destroy(ContainerId, Responder<Result<(), HypervisorError>>),
}

impl TestHypervisor {
    /// Holds the answers of all operations until [`TestHypervisor::release`].
    pub fn hold(&self) {
        self.lock().is_holding = true;
    }

    /// Answers the operations that are held, and all others at once from now on.
    pub fn release(&self) {
        let mut state = self.lock();
        state.is_holding = false;
        let held = std::mem::take(&mut state.held);
        drop(state);
        held.into_iter().for_each(|call| self.answer(call));
    }

    /// Has all operations and starts fail from now on, also operations that are held.
    pub fn fail(&self, reason: &str) {
        self.lock().failure = Some(HypervisorError::new(reason));
    }

    /// Has all operations succeed again.
    pub fn succeed(&self) {
        self.lock().failure = None;
    }

    /// Gives each creation this time, instead of two minutes.
    pub fn create_within(&self, time_max: Duration) {
        self.lock().create_time_max = Some(time_max);
    }

    /// Has a stop leave the containers running, for the next start.
    pub fn survive(&self) {
        self.lock().survives = true;
    }

    /// Wants an enrollment token in each order.
    pub fn enroll(&self) {
        self.lock().enrolls = true;
    }

    /// The last order.
    pub fn last_order(&self) -> Option<ContainerOrder> {
        self.lock().last_order.clone()
    }

    /// Has a container end by itself, and reports it.
    pub fn end(&self, container: ContainerId) {
        let mut state = self.lock();
        let ends = state.ends.clone().filter(|_| state.containers.remove(&container).is_some());
        drop(state);
        if let Some(ends) = ends {
            ends.ended(container, "the test ends it");
        }
    }

    /// The number of operations that are held.
    pub fn held(&self) -> usize {
        self.lock().held.len()
    }

    /// The containers that were created, and neither destroyed nor ended by a stop.
    pub fn containers(&self) -> BTreeSet<ContainerId> {
        self.lock().containers.keys().copied().collect()
    }

    /// How often it was stopped.
    pub fn stops(&self) -> u32 {
        self.lock().stops
    }

    fn take(&self, call: Held) {
        let mut state = self.lock();
        match state.is_holding {
            true => state.held.push(call),
            false => {
                drop(state);
                self.answer(call);
            }
        }
    }

    fn answer(&self, call: Held) {
        let mut state = self.lock();
        let result = state.failure.clone().map_or(Ok(()), Err);
        match call {
            Held::Create(id, token_sha256, responder) => {
                let container = result.map(|()| state.create(id, token_sha256));
                drop(state);
                responder.respond(container);
            }
            Held::Destroy(id, responder) => {
                let destroyed = result.map(|()| {
                    state.containers.remove(&id);
                });
                drop(state);
                responder.respond(destroyed);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn create(&mut self, id: ContainerId, token_sha256: [u8; 32]) -> Container {
        self.containers.insert(id, token_sha256);
        self.created = self.created.wrapping_add(1);
        let listen_port = NonZeroU16::new(self.created).unwrap_or(NonZeroU16::MAX);
        let shape = VmShape { ram_mib: 128, cpus: 1 };
        Container { listen_port, iso_sha256: [0x15; 32], shape, disk_sizes_gib: vec![8] }
    }
}

impl Hypervisor for TestHypervisor {
    fn start(&self, ends: EndReporter) -> Result<Vec<RunningContainer>, HypervisorError> {
        let mut state = self.lock();
        state.failure.clone().map_or(Ok(()), Err)?;
        state.ends = Some(ends);
        let running = state.containers.iter();
        Ok(running.map(|(&id, &token_sha256)| RunningContainer { id, token_sha256 }).collect())
    }

    fn create_time_max(&self) -> Duration {
        self.lock().create_time_max.unwrap_or(limits::CREATE_DEADLINE)
    }

    fn wants_enrollment(&self) -> bool {
        self.lock().enrolls
    }

    fn create(&self, order: ContainerOrder, responder: Responder<Result<Container, HypervisorError>>) {
        let (id, token_sha256) = (order.id, order.token_sha256);
        self.lock().last_order = Some(order);
        responder.endpoint_shell_opened();
        self.take(Held::Create(id, token_sha256, responder));
    }

    fn destroy(&self, container: ContainerId, responder: Responder<Result<(), HypervisorError>>) {
        self.take(Held::Destroy(container, responder));
    }

    fn stop(&self, _time_max: Duration) {
        let mut state = self.lock();
        if !state.survives {
            state.containers.clear();
        }
        state.stops += 1;
        let held = std::mem::take(&mut state.held);
        drop(state);
        // Their server no longer waits.
        drop(held);
    }

    fn survivors(&self) -> Vec<ContainerId> {
        self.lock().containers.keys().copied().collect()
    }
}
