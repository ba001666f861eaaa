//! A simulated world: its time, its network, its workers and its clients.
//!
//! Time passes only while the server polls: a little in each iteration, and up to the next event when there is
//! nothing to do. The seed decides everything.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::client::Client;
use super::client_codec::Framing;
use super::connection::Connection;
use super::fake_workers::FakeWorkers;
use super::fault_config::FaultConfig;
use super::maintenance::Maintenance;
use super::plan;
use super::point_model::PointModel;
use super::random::Random;
use super::reference_model::ReferenceModel;
use super::trace::Trace;
use super::wall_clock::WallClock;
use vmherd::internals::clock::{Instant, UnixSeconds};
use vmherd::internals::ids::ConnId;
use vmherd::internals::limits;
use vmherd::internals::model::{NewVm, VmName, VmShape};
use vmherd::internals::store::{self, Location, StoreFactory, Write};

/// The world, as its parts share it.
pub(super) type Shared = Rc<RefCell<World>>;

/// The whole state of a simulation outside the server.
pub(super) struct World {
    pub(super) now: Instant,
    pub(super) wall_clock: WallClock,
    pub(super) random: Random,
    pub(super) config: FaultConfig,
    trace: Trace,
    pub(super) connections: Vec<Connection>,
    clients: Vec<Option<Client>>,
    /// When each client acts next.
    wakes: Vec<Option<Instant>>,
    pub(super) model: ReferenceModel,
    pub(super) point_model: PointModel,
    pub(super) workers: FakeWorkers,
    /// The store itself, without the write-behind buffer.
    pub(super) store: Arc<dyn StoreFactory>,
    pub(super) maintenance: Maintenance,
    pub(super) backlogs: [VecDeque<usize>; LISTENERS],
    /// The listener was found empty: the next client makes an event.
    pub(super) accept_refused: [bool; LISTENERS],
    pub(super) acceptable_due: [bool; LISTENERS],
    pub(super) is_listening: bool,
    /// When conversions are due, by their unique mark.
    pub(super) dues: HashMap<u64, Instant>,
    /// Bytes that the server has read since the last check.
    pub(super) bytes_read: usize,
    /// Ids of closed connections.
    pub(super) closed_ids: Vec<ConnId>,
    incidents: Vec<(Instant, Incident)>,
    /// When the server is to be stopped.
    pub(super) stop_at: Option<Instant>,
    /// When it was stopped.
    pub(super) stopped: Option<Instant>,
    /// Counts the operations of the server on its environment.
    pub(super) operations: u64,
    /// Counts polls.
    pub(super) polls: usize,
    pub(super) failure: Option<String>,
    /// No further event is scheduled.
    pub(super) nothing_is_scheduled: bool,
}

/// An event that no client causes.
#[derive(Clone, Copy, Debug)]
enum Incident {
    Break { client: usize },
    Remove { vm: usize },
    ChangePassword { vm: usize },
    ClockJump { seconds: i64 },
}

impl World {
    /// The world of the seed `number`.
    pub(super) fn new(number: u64, is_traced: bool) -> World {
        let start = Instant::ORIGIN + Duration::from_secs(1);
        let mut random = Random::new(number);
        let config = FaultConfig::new(&mut random);
        let store = store::open(&Location::Memory).expect("memory is always there");
        let mut model = ReferenceModel::default();
        let shared: Vec<usize> = (0..2).map(|at| model.add(format!("shared-{at}"), None)).collect();
        register(&store, &model, &shared, config.many_vms);
        let mut point_model = PointModel::default();
        if config.many_points {
            point_model.put_before(&store, start);
        }
        let plans: Vec<_> = (0..config.clients)
            .map(|number| {
                let mut random = random.fork();
                let framing = random.pick(&FRAMINGS);
                (framing, plan::plan(number, framing, &config, &mut random, &mut model))
            })
            .collect();
        let maintenance = Maintenance::new(&store, &config, random.fork(), start);
        let mut world = World {
            now: start,
            wall_clock: WallClock::new(start),
            trace: Trace::new(is_traced),
            connections: Vec::new(),
            clients: Vec::new(),
            wakes: Vec::new(),
            workers: FakeWorkers::new(&maintenance, random.fork()),
            store,
            maintenance,
            model,
            point_model,
            backlogs: Default::default(),
            accept_refused: [false; LISTENERS],
            acceptable_due: [false; LISTENERS],
            is_listening: true,
            dues: HashMap::new(),
            bytes_read: 0,
            closed_ids: Vec::new(),
            incidents: Vec::new(),
            stop_at: config.stop_after.map(|after| start + after),
            stopped: None,
            operations: 0,
            polls: 0,
            failure: None,
            nothing_is_scheduled: false,
            random,
            config,
        };
        for (number, (framing, plan)) in plans.into_iter().enumerate() {
            let listener = usize::from(world.random.chance(10));
            let corked_percent = world.random.pick(&[0, 50, 90, 100]);
            world.clients.push(Some(Client::new(number, listener, corked_percent, framing, plan)));
            let arrival = world.random.mostly_few(0, 5_000_000);
            world.wakes.push(Some(start + Duration::from_micros(arrival as u64)));
        }
        world.schedule_incidents();
        let config = format!("{:?}", world.config);
        world.log(|| config);
        world
    }

    /// Adds a line to the trace.
    pub(super) fn log(&mut self, line: impl FnOnce() -> String) {
        self.trace.add(self.now, line);
    }

    /// Records a failed check. The first one is reported.
    pub(super) fn fail(&mut self, why: String) {
        self.log(|| format!("FAILED: {why}"));
        self.failure.get_or_insert(why);
    }

    /// Connects a client; returns the index of its connection.
    pub(super) fn connect(&mut self, client: usize, listener: usize) -> usize {
        let at = self.connections.len();
        let connection = Connection::new(client, FIRST_PORT + at as u16, &self.config);
        self.connections.push(connection);
        self.log(|| format!("client {client} connects as wire {at} to listener {listener}"));
        if self.is_listening {
            self.backlogs[listener].push_back(at);
            self.acceptable_due[listener] |= std::mem::take(&mut self.accept_refused[listener]);
        } else {
            self.connections[at].fail();
        }
        at
    }

    /// Wakes the client of a connection soon, after the server has acted on it.
    pub(super) fn notify(&mut self, connection: usize) {
        let client = self.connections[connection].client;
        let at = self.now + self.random.micros(0, 3_000);
        let wake = &mut self.wakes[client];
        *wake = Some(wake.map_or(at, |wake| wake.min(at)));
    }

    pub(super) fn client_of_port(&self, port: u64) -> Option<usize> {
        let at = usize::try_from(port).ok()?.checked_sub(usize::from(FIRST_PORT))?;
        self.connections.get(at).map(|connection| connection.client)
    }

    /// The client of that number, unless it is running.
    pub(super) fn client(&self, number: usize) -> Option<&Client> {
        self.clients[number].as_ref()
    }

    /// The open connection with this id.
    pub(super) fn open_connection(&self, id: ConnId) -> Option<&Connection> {
        self.connections.iter().find(|connection| connection.id == Some(id) && connection.closed.is_none())
    }

    pub(super) fn open_count(&self) -> usize {
        self.connections.iter().filter(|connection| connection.is_open_at_server()).count()
    }

    /// Runs everything that is due by now.
    pub(super) fn run_due(&mut self) {
        for _ in 0..ROUNDS_MAX {
            let now = self.now;
            self.connections.iter_mut().for_each(|connection| connection.advance(now));
            let World { workers, config, trace, .. } = self;
            workers.advance(now, config, trace);
            self.run_maintenance();
            if let Some(at) = self.incidents.iter().position(|(at, _)| *at <= now) {
                let (_, incident) = self.incidents.swap_remove(at);
                self.apply_incident(incident);
            }
            let mut due: Vec<usize> =
                (0..self.wakes.len()).filter(|at| self.wakes[*at].is_some_and(|wake| wake <= now)).collect();
            if due.is_empty() {
                break;
            }
            self.random.shuffle(&mut due);
            due.into_iter().for_each(|client| self.run_client(client));
        }
        self.check_times();
    }

    /// Runs the maintenance of points, if it is due, with puts interleaved.
    fn run_maintenance(&mut self) {
        let World { now, maintenance, workers, config, point_model, .. } = self;
        if !maintenance.is_due(*now) {
            return;
        }
        let interleaved = workers.begin_interleaved(config);
        let verification = maintenance.turn(*now, config, point_model);
        workers.end_interleaved(interleaved, *now, config);
        if let Err(why) = verification {
            self.fail(why);
        }
    }

    /// When the next event is due.
    pub(super) fn next(&self) -> Option<Instant> {
        let wakes = self.wakes.iter().flatten().copied();
        let connections = self.connections.iter().filter_map(Connection::next_due);
        let incidents = self.incidents.iter().map(|(at, _)| *at);
        let stop = self.stop_at.filter(|_| self.stopped.is_none());
        wakes
            .chain(connections)
            .chain(incidents)
            .chain(self.workers.next(self.config.threads))
            .chain(stop)
            .min()
    }

    /// A client that was accepted and has not finished, described.
    pub(super) fn unfinished_client(&self) -> Option<String> {
        let mut clients = self.clients.iter().flatten();
        let unfinished_client = clients.find(|client| {
            let was_in =
                client.connection.is_some_and(|connection| self.connections[connection].accepted.is_some());
            !client.is_done && (was_in || self.stopped.is_none())
        });
        unfinished_client.map(Client::describe)
    }

    pub(super) fn take_trace(&mut self) -> Vec<String> {
        std::mem::take(&mut self.trace).into_lines()
    }

    fn run_client(&mut self, at: usize) {
        let Some(mut client) = self.clients[at].take() else { return };
        self.wakes[at] = None;
        match client.run(self) {
            Ok(next) => self.wakes[at] = next.map(|next| next.max(self.now + TICK)),
            Err(why) => {
                client.is_done = true;
                self.fail(why);
            }
        }
        self.clients[at] = Some(client);
    }

    fn check_times(&mut self) {
        let late = self.clients.iter().flatten().find_map(|client| {
            client.check_deadlines(self).err().map(|why| format!("{why}; {}", client.describe()))
        });
        let overdue = self.connections.iter().enumerate().find_map(|(at, connection)| {
            if connection.closed.is_some() || connection.broken || connection.client_has_reset() {
                return None;
            }
            let lingers =
                connection.shut_down.is_some_and(|at| self.now > at + limits::LINGER_TIMEOUT + SLACK);
            let stalls =
                connection.stalled_since.is_some_and(|at| self.now > at + limits::WRITE_TIMEOUT + SLACK);
            (lingers || stalls).then(|| format!("wire {at} is kept too long, lingers: {lingers}"))
        });
        if let Some(why) = late.or(overdue) {
            self.fail(why);
        }
    }

    fn apply_incident(&mut self, incident: Incident) {
        self.log(|| format!("{incident:?}"));
        match incident {
            Incident::Break { client } => {
                let connection = self.clients[client].as_ref().and_then(|client| client.connection);
                if let Some(connection) = connection {
                    self.connections[connection].fail();
                    self.notify(connection);
                }
            }
            Incident::Remove { vm } => self.write_as_operator(vm, Write::Remove),
            Incident::ChangePassword { vm } => self.write_as_operator(vm, |name| Write::ChangePassword {
                name,
                password_hash: super::fake_workers::fake_hash("another password"),
            }),
            Incident::ClockJump { seconds } => self.wall_clock.set(self.now, seconds),
        }
    }

    fn write_as_operator(&mut self, vm: usize, write: impl FnOnce(VmName) -> Write) {
        self.model.change_by_operator(vm);
        let name = VmName::from_store(&self.model.vms[vm].name);
        let mut store = self.store.connect().expect("memory is always there");
        let _ = store.write(&[write(name)]);
    }

    fn schedule_incidents(&mut self) {
        let World { random, config, model, .. } = self;
        let mut incidents = Vec::new();
        for client in 0..config.clients {
            if random.chance(config.broken_percent) {
                incidents.push(Incident::Break { client });
            }
        }
        if config.operator_acts {
            for _ in 0..random.between(1, 4) {
                let vm = random.between(0, model.vms.len() - 1);
                incidents.push(random.pick(&[Incident::Remove { vm }, Incident::ChangePassword { vm }]));
            }
        }
        if config.clock_jumps {
            // A day back, an hour forward, what tokens outlive and what they don't.
            for _ in 0..random.between(1, 3) {
                let seconds = random.pick(&[-86_400, 3_600, -10, 86_380, 86_400]);
                incidents.push(Incident::ClockJump { seconds });
            }
        }
        for incident in incidents {
            let after = random.mostly_few(0, 20_000_000);
            self.incidents.push((self.now + Duration::from_micros(after as u64), incident));
        }
    }
}

/// Fills the store with the VMs that exist from the start.
fn register(store: &Arc<dyn StoreFactory>, model: &ReferenceModel, shared: &[usize], is_big: bool) {
    let shared = shared.iter().map(|vm| &model.vms[*vm]).map(|vm| {
        let ram = *vm.possible_rams.first().expect("a VM begins with some memory");
        (vm.name.clone(), ram, 2, Some(super::fake_workers::fake_hash(&vm.password)))
    });
    let old = (0..if is_big { 40 } else { 1 })
        .map(|at| (format!("old-{at}"), 1, if is_big { 30 } else { 1 }, None));
    let writes: Vec<Write> = shared
        .chain(old)
        .map(|(name, ram_mib, disks, password_hash)| Write::Register {
            vm: NewVm {
                name: VmName::from_store(&name),
                shape: VmShape { ram_mib, cpus: 1 },
                disk_sizes_gib: vec![1; disks],
                password_hash,
            },
            vms_max: u64::MAX,
            now: UnixSeconds(0),
        })
        .collect();
    let written = store.connect().expect("memory is always there").write(&writes);
    assert!(written.iter().all(Result::is_ok), "an empty store takes new VMs");
}

pub(super) const LISTENERS: usize = 2;
/// A framing is as likely as the number of its entries.
#[cfg(feature = "websocket")]
const FRAMINGS: [Framing; 5] =
    [Framing::RawJson, Framing::RawJson, Framing::Text, Framing::Http, Framing::WebSocket];
#[cfg(all(feature = "http", not(feature = "websocket")))]
const FRAMINGS: [Framing; 3] = [Framing::RawJson, Framing::Text, Framing::Http];
#[cfg(not(feature = "http"))]
const FRAMINGS: [Framing; 2] = [Framing::RawJson, Framing::Text];
const FIRST_PORT: u16 = 10_000;
/// Most rounds at one time; further ones wait for the next iteration.
const ROUNDS_MAX: usize = 64;
/// No client runs twice at the same time.
const TICK: Duration = Duration::from_micros(1);
/// How far deadlines may be exceeded, since iterations take time.
const SLACK: Duration = Duration::from_secs(1);
