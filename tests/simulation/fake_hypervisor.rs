//! The hypervisor of a simulated embedding program. It creates and destroys guests, now or later or never, fails, and its
//! guests end by themselves. It checks that it is used as its interface says, and that no guest is destroyed which a
//! client has and wants to keep.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU16;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::fault_config::FaultConfig;
use super::random::Random;
use super::verification::{Verification, ensure};
use vmherd::internals::clock::Instant;
use vmherd::internals::embed::{
    ContainerOrder, Embedding, EndReporter, HandlerFailure, Hypervisor, HypervisorCall, HypervisorHandle,
    Responder, RunningContainer,
};
use vmherd::internals::ids::{ContainerId, ServerId};
use vmherd::internals::model::{Container, HypervisorError, VmShape};
use vmherd::internals::work::{WorkError, WorkResult};
use vmherd::internals::worker::{Completion, JobKey};

/// The hypervisor, and what it has done.
#[derive(Clone)]
pub(super) struct FakeHypervisor {
    state: Arc<Mutex<HypervisorState>>,
    /// Set when the reactor is to look for ends.
    is_woken: Arc<AtomicBool>,
}

struct HypervisorState {
    random: Random,
    config: FaultConfig,
    now: Instant,
    guests: BTreeMap<ContainerId, Guest>,
    /// The guests that their clients have and want to keep.
    kept: BTreeSet<ContainerId>,
    ends: Option<EndReporter>,
    later: Vec<Later>,
    completions: Vec<Completion>,
    created: u16,
    verification: Verification,
}

/// A guest, from its order on.
#[derive(Clone, Debug)]
pub(super) struct Guest {
    pub(super) user_name: String,
    pub(super) password: String,
    pub(super) token_sha256: [u8; 32],
    pub(super) listen_port: u16,
    pub(super) phase: Phase,
    /// It is being destroyed.
    pub(super) is_leaving: bool,
    /// It has ended by itself.
    pub(super) has_ended: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    Creating,
    Running,
    /// Destroyed, or never created.
    Gone,
}

/// What it does later. Without a time: never.
struct Later {
    at: Option<Instant>,
    act: Act,
}

enum Act {
    Create(ContainerId, Responder<Result<Container, HypervisorError>>, Way),
    Destroy(ContainerId, Responder<Result<(), HypervisorError>>, Way),
    End(ContainerId),
}

/// How an operation ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    Succeeds,
    Fails,
    /// It fails, and may succeed later.
    HasNoRoom,
    /// The responder is dropped.
    Drops,
    Panics,
}

impl FakeHypervisor {
    pub(super) fn new(config: &FaultConfig, random: Random) -> FakeHypervisor {
        let state = HypervisorState {
            random,
            config: config.clone(),
            now: Instant::ORIGIN,
            guests: BTreeMap::new(),
            kept: BTreeSet::new(),
            ends: None,
            later: Vec::new(),
            completions: Vec::new(),
            created: 0,
            verification: Ok(()),
        };
        FakeHypervisor { state: Arc::new(Mutex::new(state)), is_woken: Arc::default() }
    }

    /// Gives itself to the server, and starts.
    pub(super) fn embed(&self, embedding: &mut Embedding, server: ServerId) {
        let max = self.lock().config.containers_max;
        if max.is_none() {
            return;
        }
        let is_woken = Arc::clone(&self.is_woken);
        let wake = move || is_woken.store(true, Ordering::Relaxed);
        let handle = Arc::new(HypervisorHandle::new(Box::new(self.clone()), wake));
        embedding.running = handle.start().expect("it starts");
        (embedding.hypervisor, embedding.server) = (Some(handle), Some(server));
        embedding.containers_max = max;
    }

    /// Adds a guest that has survived a restart.
    pub(super) fn add_survivor(&self, id: ContainerId, token_sha256: [u8; 32]) {
        let guest = Guest {
            user_name: String::new(),
            password: String::new(),
            token_sha256,
            listen_port: 1,
            phase: Phase::Running,
            is_leaving: false,
            has_ended: false,
        };
        self.lock().guests.insert(id, guest);
    }

    /// A client has the guest, and only a client may have it destroyed.
    pub(super) fn keep(&self, id: ContainerId) {
        self.lock().kept.insert(id);
    }

    /// A client has asked for its end.
    pub(super) fn release(&self, id: ContainerId) {
        self.lock().kept.remove(&id);
    }

    /// The guest with this id.
    pub(super) fn guest(&self, id: ContainerId) -> Option<Guest> {
        self.lock().guests.get(&id).cloned()
    }

    /// All guests.
    pub(super) fn guests(&self) -> Vec<(ContainerId, Guest)> {
        self.lock().guests.iter().map(|(id, guest)| (*id, guest.clone())).collect()
    }

    /// Calls the hypervisor as a thread of the pool does.
    pub(super) fn call(&self, key: JobKey, call: HypervisorCall, now: Instant) {
        self.lock().now = now;
        let hypervisor = self.clone();
        let panic =
            call.run(move |report| hypervisor.complete(key, Ok(WorkResult::Container(Box::new(report)))));
        if let Some(message) = panic {
            self.complete(key, Err(WorkError::Handler(HandlerFailure::Panicked(message))));
        }
    }

    /// Does what is due by `now`.
    pub(super) fn advance(&self, now: Instant) {
        loop {
            let later = {
                let mut state = self.lock();
                state.now = now;
                let at = state.later.iter().position(|later| later.at.is_some_and(|at| at <= now));
                at.map(|at| state.later.swap_remove(at))
            };
            match later {
                Some(Later { act, .. }) => self.act(act),
                None => return,
            }
        }
    }

    /// When something is due next.
    pub(super) fn next(&self) -> Option<Instant> {
        self.lock().later.iter().filter_map(|later| later.at).min()
    }

    /// Whether there are results.
    pub(super) fn has_completions(&self) -> bool {
        !self.lock().completions.is_empty()
    }

    /// Takes the results since the last call.
    pub(super) fn take_completions(&self) -> Vec<Completion> {
        std::mem::take(&mut self.lock().completions)
    }

    /// Whether the reactor is to look for ends; true once.
    pub(super) fn take_wake(&self) -> bool {
        self.is_woken.swap(false, Ordering::Relaxed)
    }

    /// Whether a guest has ended by itself.
    pub(super) fn has_ends(&self) -> bool {
        self.lock().guests.values().any(|guest| guest.has_ended)
    }

    /// Whether it was used as its interface says.
    pub(super) fn check(&self) -> Verification {
        self.lock().verification.clone()
    }

    /// Ends the program: calls that are not answered never will be.
    pub(super) fn end(&self) {
        let later = std::mem::take(&mut self.lock().later);
        drop(later);
    }

    /// Does it, now or later or never. Nothing is locked meanwhile, as the server calls back.
    fn act_in_time(&self, latest: Duration, act: Act) {
        let at = self.lock().draw_time(latest);
        match at {
            Some(None) => self.act(act),
            Some(Some(at)) => self.lock().later.push(Later { at: Some(at), act }),
            None => self.lock().later.push(Later { at: None, act }),
        }
    }

    fn act(&self, act: Act) {
        match act {
            Act::Create(id, responder, way) => {
                let container = self.lock().end_creation(id, way);
                match way {
                    Way::Drops => drop(responder),
                    Way::Panics => resume_unwind(Box::new("a simulated panic")),
                    _ => responder.respond(container),
                }
                let end = self.lock().draw_end(id, way);
                match end {
                    Some(Later { at: None, act }) => self.act(act),
                    later => self.lock().later.extend(later),
                }
            }
            Act::Destroy(id, responder, way) => {
                let result = self.lock().end_destruction(id, way);
                match way {
                    Way::Drops => drop(responder),
                    Way::Panics => resume_unwind(Box::new("a simulated panic")),
                    _ => responder.respond(result),
                }
            }
            Act::End(id) => {
                let ends = self.lock().end_guest(id);
                if let Some(ends) = ends {
                    ends.ended(id, "a simulated end");
                }
            }
        }
    }

    fn complete(&self, key: JobKey, result: Result<WorkResult, WorkError>) {
        self.lock().completions.push(Completion { key, result });
    }

    fn lock(&self) -> MutexGuard<'_, HypervisorState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HypervisorState {
    /// When an operation ends: at once, or at a later time; `None`: never.
    fn draw_time(&mut self, latest: Duration) -> Option<Option<Instant>> {
        let HypervisorState { random, config, now, .. } = self;
        if random.chance(config.guests_hang_percent) {
            return None;
        }
        let longest = random.pick(&[10_000, 1_000_000, 2 * latest.as_micros() as usize]);
        let is_later = random.chance(config.handlers_later_percent);
        Some(is_later.then(|| *now + random.micros(0, longest)))
    }

    fn draw_way(&mut self) -> Way {
        let HypervisorState { random, config, .. } = self;
        if !random.chance(config.guests_failed_percent) {
            return Way::Succeeds;
        }
        random.pick(&[Way::Fails, Way::HasNoRoom, Way::Drops, Way::Panics])
    }

    fn begin_creation(&mut self, order: &ContainerOrder) -> Verification {
        let open = self.guests.values().filter(|guest| guest.phase != Phase::Gone).count();
        let max = self.config.containers_max.ok_or("a guest is created without a hypervisor")?;
        ensure(open < max as usize, "there are more guests than the maximum")?;
        self.created += 1;
        let guest = Guest {
            user_name: order.user_name.to_string(),
            password: order.password.expose().to_owned(),
            token_sha256: order.token_sha256,
            listen_port: self.created,
            phase: Phase::Creating,
            is_leaving: false,
            has_ended: false,
        };
        ensure(self.guests.insert(order.id, guest).is_none(), "an id is used twice")
    }

    fn end_creation(&mut self, id: ContainerId, way: Way) -> Result<Container, HypervisorError> {
        let Some(guest) = self.guests.get_mut(&id) else { return Err(HypervisorError::new("unknown")) };
        guest.phase = if way == Way::Succeeds { Phase::Running } else { Phase::Gone };
        outcome(way)?;
        Ok(Container {
            listen_port: NonZeroU16::new(guest.listen_port).unwrap_or(NonZeroU16::MAX),
            iso_sha256: [0xab; 32],
            shape: VmShape { ram_mib: 128, cpus: 1 },
            disk_sizes_gib: vec![1],
        })
    }

    fn begin_destruction(&mut self, id: ContainerId) -> Verification {
        let is_kept = self.kept.contains(&id);
        let guest = self.guests.get_mut(&id).ok_or("an unknown guest is destroyed")?;
        ensure(guest.phase == Phase::Running, "a guest is destroyed that does not run")?;
        ensure(!guest.is_leaving, "a guest is destroyed twice at the same time")?;
        ensure(guest.has_ended || !is_kept, "a guest is destroyed that its client has")?;
        guest.is_leaving = true;
        Ok(())
    }

    fn end_destruction(&mut self, id: ContainerId, way: Way) -> Result<(), HypervisorError> {
        let Some(guest) = self.guests.get_mut(&id) else { return Err(HypervisorError::new("unknown")) };
        guest.is_leaving = false;
        outcome(way)?;
        guest.phase = Phase::Gone;
        Ok(())
    }

    /// When a new guest ends by itself, if it does. Without a time: at once.
    fn draw_end(&mut self, id: ContainerId, way: Way) -> Option<Later> {
        let HypervisorState { random, config, now, .. } = self;
        if way != Way::Succeeds || !random.chance(config.guests_end_percent) {
            return None;
        }
        let is_later = random.chance(70);
        let longest = random.pick(&[10_000, 1_000_000, 30_000_000]);
        Some(Later { at: is_later.then(|| *now + random.micros(0, longest)), act: Act::End(id) })
    }

    /// Ends a guest; returns what is told, if nothing has asked for its end.
    fn end_guest(&mut self, id: ContainerId) -> Option<EndReporter> {
        let guest = self.guests.get_mut(&id)?;
        if guest.phase != Phase::Running || guest.is_leaving || guest.has_ended {
            return None;
        }
        guest.has_ended = true;
        self.ends.clone()
    }

    fn note(&mut self, verification: Verification) {
        let first = std::mem::replace(&mut self.verification, Ok(()));
        self.verification = first.and(verification);
    }
}

fn outcome(way: Way) -> Result<(), HypervisorError> {
    match way {
        Way::Succeeds => Ok(()),
        Way::HasNoRoom => Err(HypervisorError::unavailable("a simulated lack of room")),
        Way::Fails | Way::Drops | Way::Panics => Err(HypervisorError::new("a simulated failure")),
    }
}

impl Hypervisor for FakeHypervisor {
    fn start(&self, ends: EndReporter) -> Result<Vec<RunningContainer>, HypervisorError> {
        let mut state = self.lock();
        state.ends = Some(ends);
        let running = state.guests.iter();
        Ok(running.map(|(&id, guest)| RunningContainer { id, token_sha256: guest.token_sha256 }).collect())
    }

    fn create_time_max(&self) -> Duration {
        self.lock().config.create_time_max
    }

    fn create(&self, order: ContainerOrder, responder: Responder<Result<Container, HypervisorError>>) {
        let (way, latest) = {
            let mut state = self.lock();
            let verification = state.begin_creation(&order);
            state.note(verification);
            (state.draw_way(), state.config.create_time_max)
        };
        if self.lock().random.chance(50) {
            responder.endpoint_shell_opened();
        }
        match way {
            Way::Panics => self.act(Act::Create(order.id, responder, way)),
            way => self.act_in_time(latest, Act::Create(order.id, responder, way)),
        }
    }

    fn destroy(&self, container: ContainerId, responder: Responder<Result<(), HypervisorError>>) {
        let way = {
            let mut state = self.lock();
            let verification = state.begin_destruction(container);
            state.note(verification);
            state.draw_way()
        };
        match way {
            Way::Panics => self.act(Act::Destroy(container, responder, way)),
            way => self.act_in_time(DESTROY_TIME, Act::Destroy(container, responder, way)),
        }
    }

    fn stop(&self, _time_max: Duration) {}
}

/// Some destructions take twice as long.
const DESTROY_TIME: Duration = Duration::from_secs(30);
