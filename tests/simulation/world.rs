//! A simulated world: the environment, the clients in it, and events that no client causes.
//!
//! Time passes only while the server polls: a little in each iteration, and up to the next event when there is
//! nothing to do. The seed decides everything.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::client::Client;
use super::clients::Clients;
use super::container_oracle::add_survivors;
use super::environment::{Environment, Knowledge, Observations, Shutdown};
use super::fake_handlers::FakeHandlers;
use super::fake_hypervisor::FakeHypervisor;
use super::fake_tasks::fake_hash;
use super::fake_workers::FakeWorkers;
use super::fault_config::FaultConfig;
use super::framing::Framing;
use super::maintenance::Maintenance;
use super::network::Network;
#[cfg(feature = "sealed")]
use super::network::SEALED_LISTENER;
use super::plan;
use super::point_model::PointModel;
use super::random::Random;
use super::reference_model::ReferenceModel;
use super::wall_clock::WallClock;
use super::watch_oracle::WatchLog;
use vmherd::internals::clock::{Instant, UnixSeconds};
use vmherd::internals::model::{Login, NewVm, VmName, VmShape};
use vmherd::internals::store::{self, Location, StoreFactory, Write};

/// The world, as its parts share it.
pub(super) type Shared = Rc<RefCell<World>>;

/// The whole state of a simulation outside the server.
pub(super) struct World {
    pub(super) env: Environment,
    pub(super) clients: Clients,
    incidents: Vec<(Instant, Incident)>,
}

/// An event that no client causes.
#[derive(Clone, Copy, Debug)]
enum Incident {
    Break { client: usize },
    Remove { vm: usize },
    ChangePassword { vm: usize },
    EndLogins { vm: usize },
    ClockJump { seconds: i64 },
}

impl World {
    /// The world of the seed `number`.
    pub(super) fn new(number: u64, is_traced: bool) -> World {
        let start = Instant::ORIGIN + Duration::from_secs(1);
        let mut random = Random::new(number);
        let mut config = FaultConfig::new(&mut random);
        // A stream of its own: worlds without clients that watch stay as they are.
        let mut of_watchers = Random::new(!number);
        let has_watchers = of_watchers.chance(35) && config.make_room_for_watchers();
        let store = store::open(&Location::Memory).expect("memory is always there");
        let mut model = ReferenceModel::default();
        let shared: Vec<usize> = (0..2).map(|at| model.add(format!("shared-{at}"), None)).collect();
        register(&store, &model, &shared, config.many_vms);
        let mut points = PointModel::default();
        if config.many_points {
            points.put_before(&store, start);
        }
        let plans: Vec<_> = (0..config.clients)
            .map(|number| {
                let mut random = random.fork();
                let framing = choose_framing(number, &config, &mut random);
                (framing, plan::plan(number, framing, &config, &mut random, &mut model))
            })
            .collect();
        let maintenance = Maintenance::new(&store, &config, random.fork(), start);
        let handlers = FakeHandlers::new(&config, random.fork());
        let hypervisor = FakeHypervisor::new(&config, random.fork());
        add_survivors(&store, &hypervisor, &config, &mut model, &mut random);
        let workers = FakeWorkers::new(&maintenance, handlers, hypervisor, random.fork());
        let mut clients = Clients::default();
        for (number, (framing, plan)) in plans.into_iter().enumerate() {
            let listener = match framing {
                #[cfg(feature = "sealed")]
                Framing::Sealed => SEALED_LISTENER,
                _ => usize::from(random.chance(10)),
            };
            let corked_percent = random.pick(&[0, 50, 90, 100]);
            let latest = if config.many_sealed { 10_000 } else { 5_000_000 };
            let arrival = Duration::from_micros(random.mostly_few(0, latest) as u64);
            clients.add(Client::new(number, listener, corked_percent, framing, plan), start + arrival);
        }
        if has_watchers {
            clients.add_watchers(of_watchers.between(1, 3), of_watchers, start);
        }
        let incidents = incidents(&mut random, &config, &model, start);
        let mut env = Environment {
            now: start,
            start,
            wall_clock: WallClock::new(start),
            network: Network::new(),
            workers,
            store,
            maintenance,
            knowledge: Knowledge {
                model,
                points,
                conversions_due: HashMap::new(),
                watch: WatchLog::default(),
                #[cfg(feature = "sealed")]
                recordings: Vec::new(),
            },
            shutdown: Shutdown {
                scheduled: config.stop_after.map(|after| start + after),
                stopped: None,
                is_over: false,
            },
            observations: Observations::new(is_traced),
            random,
            config,
        };
        let config = format!("{:?}", env.config);
        env.log(|| config);
        World { env, clients, incidents }
    }

    /// Wakes the client of a connection soon, after the server has acted on it.
    pub(super) fn notify(&mut self, connection: usize) {
        let env = &mut self.env;
        let at = env.now + env.random.micros(0, 3_000);
        self.clients.wake(env.network.connections[connection].client, at);
    }

    /// Runs everything that is due by now.
    pub(super) fn run_due(&mut self) {
        for _ in 0..ROUNDS_MAX {
            let Environment { now, network, workers, config, observations, .. } = &mut self.env;
            let now = *now;
            network.advance(now);
            workers.advance(now, config, &mut observations.trace);
            self.run_maintenance();
            self.env.note_handlers();
            if let Some(at) = self.incidents.iter().position(|(at, _)| *at <= now) {
                let (_, incident) = self.incidents.swap_remove(at);
                self.apply_incident(incident);
            }
            let mut due = self.clients.due(now);
            if due.is_empty() {
                break;
            }
            self.env.random.shuffle(&mut due);
            due.into_iter().for_each(|client| self.clients.run(client, &mut self.env));
        }
        let env = &self.env;
        let verification = self.clients.check_deadlines(env);
        let verification = verification.and_then(|()| match env.shutdown.is_over {
            true => Ok(()),
            false => env.network.check_deadlines(env.now),
        });
        let verification = verification.and_then(|()| env.workers.check_fairness());
        if let Err(why) = verification.and_then(|()| env.workers.hypervisor.check()) {
            self.env.fail(why);
        }
    }

    /// When the next event is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let env = &self.env;
        let incidents = self.incidents.iter().map(|(at, _)| *at).min();
        let workers = env.workers.next(env.config.threads);
        let others = [self.clients.next_wake(), env.network.next_due(), env.shutdown.next_due()];
        others.into_iter().chain([incidents, workers]).flatten().min()
    }

    /// Describes a client that was accepted and has not finished.
    pub(super) fn unfinished_client(&self) -> Option<String> {
        self.clients.unfinished(&self.env)
    }

    /// Runs the maintenance of points, if it is due, with puts interleaved.
    fn run_maintenance(&mut self) {
        let Environment { now, maintenance, workers, config, knowledge, .. } = &mut self.env;
        if !maintenance.is_due(*now) {
            return;
        }
        let interleaved = workers.begin_interleaved(config);
        let verification = maintenance.run(*now, config, &mut knowledge.points);
        workers.end_interleaved(interleaved, *now, config);
        if let Err(why) = verification {
            self.env.fail(why);
        }
    }

    fn apply_incident(&mut self, incident: Incident) {
        self.env.log(|| format!("{incident:?}"));
        match incident {
            Incident::Break { client } => {
                if let Some(connection) = self.clients.get(client).and_then(|client| client.connection) {
                    self.env.network.connections[connection].fail();
                    self.notify(connection);
                }
            }
            Incident::Remove { vm } => self.write_as_operator(vm, |login| Write::Remove(login.name)),
            Incident::ChangePassword { vm } => self.write_as_operator(vm, |login| Write::ChangePassword {
                name: login.name,
                password_hash: fake_hash("another password"),
            }),
            Incident::EndLogins { vm } => self.write_as_operator(vm, |login| Write::EndLogins { login }),
            Incident::ClockJump { seconds } => self.env.wall_clock.set(self.env.now, seconds),
        }
    }

    fn write_as_operator(&mut self, vm: usize, write: impl FnOnce(Login) -> Write) {
        let model = &mut self.env.knowledge.model;
        model.change_by_operator(vm);
        let name = VmName::from_store(&model.vms[vm].name);
        let mut store = self.env.store.connect().expect("memory is always there");
        if let Some(known) = store.registry().credentials(&name).expect("memory can be read") {
            let _ = store.write(&[&write(known.login)]);
        }
    }
}

/// Draws the events that no client causes, and when they happen.
fn incidents(
    random: &mut Random,
    config: &FaultConfig,
    model: &ReferenceModel,
    start: Instant,
) -> Vec<(Instant, Incident)> {
    let mut incidents = Vec::new();
    for client in 0..config.clients {
        if random.chance(config.broken_percent) {
            incidents.push(Incident::Break { client });
        }
    }
    if config.operator_acts {
        for _ in 0..random.between(1, 4) {
            let vm = random.between(0, model.vms.len() - 1);
            incidents.push(random.pick(&[
                Incident::Remove { vm },
                Incident::ChangePassword { vm },
                Incident::EndLogins { vm },
            ]));
        }
    }
    if config.clock_jumps {
        // A day back, an hour forward, and jumps around the lifetime of tokens.
        for _ in 0..random.between(1, 3) {
            let seconds = random.pick(&[-86_400, 3_600, -10, 86_380, 86_400]);
            incidents.push(Incident::ClockJump { seconds });
        }
    }
    let mut after = || Duration::from_micros(random.mostly_few(0, 20_000_000) as u64);
    incidents.into_iter().map(|incident| (start + after(), incident)).collect()
}

/// Fills the store with the VMs that exist from the start.
fn register(store: &Arc<dyn StoreFactory>, model: &ReferenceModel, shared: &[usize], is_big: bool) {
    let shared = shared.iter().map(|vm| &model.vms[*vm]).map(|vm| {
        let ram = *vm.possible_rams.first().expect("a VM begins with some memory");
        (vm.name.clone(), ram, 2, Some(fake_hash(&vm.password)))
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
                management: None,
            },
            vms_max: u64::MAX,
            now: UnixSeconds(0),
        })
        .collect();
    let written = store.connect().expect("memory is always there").write(&writes.iter().collect::<Vec<_>>());
    assert!(written.iter().all(Result::is_ok), "an empty store takes new VMs");
}

/// Draws the framing of a client.
fn choose_framing(number: usize, config: &FaultConfig, random: &mut Random) -> Framing {
    let framing = random.pick(&FRAMINGS);
    match config.is_greedy(number) {
        true => Framing::RawJson,
        #[cfg(feature = "sealed")]
        false if random.chance(if config.many_sealed { 80 } else { 15 }) => Framing::Sealed,
        false => framing,
    }
}

/// A framing is as likely as the number of its entries.
#[cfg(feature = "websocket")]
const FRAMINGS: [Framing; 5] =
    [Framing::RawJson, Framing::RawJson, Framing::Text, Framing::Http, Framing::WebSocket];
#[cfg(all(feature = "http", not(feature = "websocket")))]
const FRAMINGS: [Framing; 3] = [Framing::RawJson, Framing::Text, Framing::Http];
#[cfg(not(feature = "http"))]
const FRAMINGS: [Framing; 2] = [Framing::RawJson, Framing::Text];
/// Most rounds at one time; further ones wait for the next iteration.
const ROUNDS_MAX: usize = 64;
