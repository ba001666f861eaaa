//! Runs the real reactor in simulated worlds and checks what must hold in all of them.
//!
//! A thousand worlds by default, `VMHERD_SIM_SEEDS` of them if that is set; `VMHERD_SIM_SEED` runs one and
//! prints its trace. The clients check their replies, the world checks deadlines; the rest is here: bounds on what the
//! reactor holds, progress, and that nothing is left in the end.

use std::cell::RefCell;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::connection::Eviction;
use super::container_oracle::{check_quiet, note_kept, server};
use super::delays::{CONVERSION_DELAY, check_due, note_delay};
use super::environment::Environment;
use super::fake_jobs::FakeJobs;
use super::final_store;
use super::holdings;
use super::net::{FakeClock, FakeNet};
use super::network::SLACK;
use super::server_settings::settings;
use super::verification::Verification;
use super::world::{Shared, World};
use vmherd::internals::app::login_limiter::LoginLimits;
use vmherd::internals::app::{self, App};
use vmherd::internals::ids::ConnId;
use vmherd::internals::limits;
use vmherd::internals::model::LogAddresses;
use vmherd::internals::reactor::Reactor;
use vmherd::internals::reactor::inspect::{Holdings, TraceEvent};

type FakeReactor = Reactor<FakeNet, FakeJobs, FakeClock>;

/// One world and the server in it.
struct Simulation {
    world: Shared,
    reactor: FakeReactor,
    ticks: usize,
    /// Consecutive ticks without a pause in which nothing was done.
    idle_ticks: usize,
    operations: u64,
}

/// The result of one world.
struct RunResult {
    result: Result<(), String>,
    trace: Vec<String>,
    ticks: usize,
}

/// Runs the world `number` to its end.
fn simulate(number: u64, is_traced: bool) -> RunResult {
    let world = Rc::new(RefCell::new(World::new(number, is_traced)));
    let shared = Rc::clone(&world);
    let ran = catch_unwind(AssertUnwindSafe(|| {
        let mut simulation = Simulation::new(shared);
        let result = simulation.run();
        (result, simulation.ticks)
    }));
    let (result, ticks) = match ran {
        Ok((result, ticks)) => (result, ticks),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            (Err(format!("panic: {}", text.unwrap_or_default())), 0)
        }
    };
    let trace = match world.try_borrow_mut() {
        Ok(mut world) => std::mem::take(&mut world.env.observations.trace).into_lines(),
        Err(_) => vec!["the trace was lost in the panic".to_owned()],
    };
    RunResult { result, trace, ticks }
}

impl Simulation {
    fn new(world: Shared) -> Simulation {
        let config = world.borrow().env.config.clone();
        let random = world.borrow_mut().env.random.fork();
        let app_settings = app::Settings {
            // A greedy client keeps the workers busy with conversions.
            metrics_points: false,
            inline_bytes_max: if config.has_greedy_client { 0 } else { config.inline_bytes_max },
            vms_max: 1000,
            token_lifetime: limits::TOKEN_LIFETIME,
            logins: LoginLimits {
                failures: Some(limits::LOGIN_FAILURES),
                delay_max: Some(limits::LOGIN_DELAY_MAX),
            },
            log_addresses: LogAddresses::Full,
            conversion_delay: CONVERSION_DELAY,
        };
        let mut embedding = world.borrow().env.workers.handlers.embedding(&config);
        world.borrow().env.workers.hypervisor.embed(&mut embedding, server());
        let settings = settings(&config, &embedding.handlers.commands);
        let app = App::new(app_settings, embedding, Box::new(random), Arc::default());
        let [net, jobs, clock] = [0; 3].map(|_| Rc::clone(&world));
        let mut reactor = Reactor::new(FakeNet(net), FakeJobs(jobs), FakeClock(clock), app, settings);
        reactor.start_trace();
        Simulation { world, reactor, ticks: 0, idle_ticks: 0, operations: 0 }
    }

    fn run(&mut self) -> Result<(), String> {
        while !self.reactor.is_finished() {
            self.tick()?;
            let (nothing_is_scheduled, must_stop, is_stopped) = {
                let env = &self.world.borrow().env;
                let is_stopped = env.shutdown.stopped.is_some();
                // The hypervisor's threads may all be stuck, and its guests be destroyed never.
                let must_stop = env.shutdown.is_due(env.now)
                    || !is_stopped && env.config.containers_max.is_some() && env.now > env.start + LONGEST;
                (env.observations.nothing_is_scheduled, must_stop, is_stopped)
            };
            if nothing_is_scheduled {
                self.check_nothing_is_left()?;
            }
            if must_stop || nothing_is_scheduled && !is_stopped {
                self.stop();
            } else if nothing_is_scheduled {
                return Err("stopped, and it waits forever".to_owned());
            }
        }
        self.check_end()
    }

    fn tick(&mut self) -> Result<(), String> {
        self.ticks += 1;
        let before = self.world.borrow().env.now;
        let is_waiting = self.reactor.holdings().runnable == 0;
        self.reactor.tick(None).map_err(|error| error.to_string())?;
        self.reactor.check_invariants()?;
        self.check_events()?;
        let holdings = self.reactor.holdings();
        if holdings.completions > 0 || holdings.closing > 0 {
            self.world.borrow_mut().env.workers.delivery.counts.is_uncertain = true;
        }
        let env = &mut self.world.borrow_mut().env;
        if let Some(failure) = &env.observations.failure {
            return Err(failure.clone());
        }
        let has_waited = is_waiting && env.now.since(before) > Duration::from_millis(1);
        let did_something = env.observations.operations > self.operations || has_waited;
        self.operations = env.observations.operations;
        self.idle_ticks = if did_something { 0 } else { self.idle_ticks + 1 };
        if self.idle_ticks > IDLE_TICKS_MAX {
            return Err(format!("it runs and does nothing: {:?}", self.reactor.holdings()));
        }
        if self.ticks > TICKS_MAX {
            return Err("it never comes to an end".to_owned());
        }
        if let Some(stopped) = env.shutdown.stopped
            && env.now > stopped + env.config.grace + SLACK
        {
            return Err("stopping takes longer than its grace".to_owned());
        }
        let held = self.reactor.connection_holdings();
        holdings::check(&held, self.reactor.holdings(), env)?;
        note_kept(env, &held);
        Ok(())
    }

    /// What was done in this tick: no more than the bounds allow, and delayed answers when they are due.
    fn check_events(&mut self) -> Result<(), String> {
        let events = self.reactor.take_trace();
        let world = &mut *self.world.borrow_mut();
        let bounds = world.env.config.bounds;
        let bytes_read = std::mem::take(&mut world.env.observations.bytes_read);
        if bytes_read > bounds.bytes_per_tick + limits::READ_BYTES_PER_TICK_MAX + FIRST_READS_BYTES_MAX {
            return Err(format!("{bytes_read} bytes are read in one tick"));
        }
        let mut steps: HashMap<ConnId, usize> = HashMap::new();
        for event in events {
            match event {
                TraceEvent::Begun(conn) => {
                    *steps.entry(conn).or_default() += 1;
                    let connection = world.env.network.open_connection(conn);
                    if connection.is_some_and(|connection| connection.closed_by_handler.is_some()) {
                        return Err(format!("{conn} begins a request after a handler has closed it"));
                    }
                }
                TraceEvent::Refused(conn, count) => *steps.entry(conn).or_default() += count as usize,
                TraceEvent::Delayed(data, due) => note_delay(&mut world.env, &data, due)?,
                TraceEvent::Evicted(conn) => record_eviction(world, conn, Eviction::ForSlot)?,
                TraceEvent::RefusedForMemory(conn) => record_eviction(world, conn, Eviction::ForMemory)?,
                TraceEvent::Due(conn, data) => {
                    *steps.entry(conn).or_default() += 1;
                    check_due(&world.env, conn, &data)?;
                }
            }
        }
        let (most, all) = (steps.values().max().copied().unwrap_or(0), steps.values().sum::<usize>());
        if most > limits::STEPS_PER_TICK_MAX + STEPS_AT_ONCE_MAX {
            return Err(format!("a connection has {most} steps in one tick"));
        }
        // The connection that runs last may exceed the bound of a tick.
        if all - most > bounds.steps_per_tick {
            return Err(format!("one tick has {all} steps, {most} of them on one connection"));
        }
        Ok(())
    }

    /// No event is scheduled: every client has finished, and nothing is left of them.
    fn check_nothing_is_left(&self) -> Result<(), String> {
        if let Some(unfinished_client) = self.world.borrow().unfinished_client() {
            return Err(format!("waits forever: {unfinished_client}"));
        }
        match self.reactor.holdings() {
            holdings if holdings == Holdings::default() => check_quiet(&self.world.borrow().env),
            holdings => Err(format!("something is left: {holdings:?}")),
        }
    }

    fn stop(&mut self) {
        let grace = {
            let env = &mut self.world.borrow_mut().env;
            env.log(|| "the server is stopped".to_owned());
            env.shutdown.stopped = Some(env.now);
            env.config.grace
        };
        self.reactor.begin_stop(grace);
    }

    /// Checks the end, after the last tick.
    fn check_end(&mut self) -> Result<(), String> {
        while self.reactor.holdings().closing > 0 {
            self.tick()?;
        }
        let holdings = self.reactor.holdings();
        // The server may still be busy with containers.
        let has_hypervisor = self.world.borrow().env.config.containers_max.is_some();
        let in_flight = if has_hypervisor { 0 } else { holdings.in_flight };
        let left = [holdings.connections, in_flight, holdings.present, holdings.authenticated];
        if left != [0; 4] || holdings.delayed != (0, 0) {
            return Err(format!("something is left: {holdings:?}"));
        }
        self.world.borrow_mut().env.shutdown.is_over = true;
        self.drain_clients();
        self.check_counters()?;
        self.world.borrow().env.knowledge.watch.check()?;
        let world = &mut *self.world.borrow_mut();
        let Environment { maintenance, config, network, workers, observations, .. } = &mut world.env;
        maintenance.end(config)?;
        workers.handlers.check(|port| network.client_of_port(port))?;
        workers.handlers.end();
        workers.hypervisor.check()?;
        workers.hypervisor.end();
        if let Some(failure) = &observations.failure {
            return Err(failure.clone());
        }
        for (index, connection) in network.connections.iter().enumerate() {
            let is_kept = connection.has_receipts() && connection.closings == 0;
            if connection.closings != usize::from(connection.accepted.is_some()) && !is_kept {
                return Err(format!("connection {index} was closed {} times", connection.closings));
            }
        }
        if let Some(unfinished_client) = world.unfinished_client() {
            return Err(format!("it has not seen the end: {unfinished_client}"));
        }
        final_store::check(&world.env)
    }

    /// The server has counted each failure of a handler, and each result that came too late.
    fn check_counters(&mut self) -> Verification {
        let statistics = self.reactor.statistics();
        let mut delivered = self.world.borrow().env.workers.delivery.counts;
        // A container that ends before its client has it is an internal error as well.
        delivered.is_uncertain |= self.world.borrow().env.workers.hypervisor.has_ends();
        self.world.borrow_mut().env.log(|| format!("{delivered:?}"));
        if !delivered.is_uncertain && statistics.runtime_errors != delivered.failures {
            let (errors, failures) = (statistics.runtime_errors, delivered.failures);
            return Err(format!("{failures} failures of handlers are counted as {errors}"));
        }
        let counted = statistics.counters.iter().find(|(name, _)| name == "results_late");
        match counted {
            Some((_, late)) if delivered.is_uncertain || *late == delivered.late => Ok(()),
            counted => Err(format!("{} late results are counted as {counted:?}", delivered.late)),
        }
    }

    /// Lets the clients read what was sent to them.
    fn drain_clients(&self) {
        let world = &mut *self.world.borrow_mut();
        for _ in 0..ROUNDS_AFTER_MAX {
            if world.unfinished_client().is_none() || world.env.observations.failure.is_some() {
                return;
            }
            let Some(next) = world.next_due() else { return };
            world.env.now = next.max(world.env.now);
            world.run_due();
        }
    }
}

/// A client is evicted, for its slot or its memory: never one that is authenticated.
fn record_eviction(world: &mut World, conn: ConnId, why: Eviction) -> Result<(), String> {
    let env = &mut world.env;
    env.log(|| format!("connection {conn} is evicted: {why:?}"));
    let is_full = match why {
        Eviction::ForSlot => env.config.connections_max < env.config.clients,
        Eviction::ForMemory => env.config.clients_hoard,
    };
    let mut connections = env.network.connections.iter_mut();
    let connection = connections
        .find(|connection| connection.id == Some(conn))
        .ok_or("an unknown connection is evicted")?;
    connection.evicted_for = Some(why);
    let client = connection.client;
    if !is_full {
        return Err(format!("{conn} is evicted without need: {why:?}"));
    }
    world.clients.get(client).map_or(Ok(()), |client| client.check_eviction(why, &world.env))
}
/// Messages refused in one step, before the output is full.
const STEPS_AT_ONCE_MAX: usize = 1000;
/// Bytes of first reads of new connections, which are not counted in the bound.
const FIRST_READS_BYTES_MAX: usize = 16 * limits::READ_CHUNK_BYTES;
/// Consecutive ticks that may do nothing: spurious events and timers.
const IDLE_TICKS_MAX: usize = 20;
/// Clients with small windows need some 45 000 for long lists.
const TICKS_MAX: usize = 100_000;
/// How long a world with containers lasts.
const LONGEST: Duration = Duration::from_secs(6 * 3600);
const ROUNDS_AFTER_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    /// The variable that selects one world, which is traced.
    const ONE: &str = "VMHERD_SIM_SEED";
    /// The variable with the number of worlds.
    const MANY: &str = "VMHERD_SIM_SEEDS";
    const WORLDS: u64 = 1000;
    /// The last lines of a failed world's trace that are shown.
    const LINES_SHOWN: usize = 300;

    fn number_in(variable: &str) -> Option<u64> {
        let text = std::env::var(variable).ok()?;
        Some(text.parse().unwrap_or_else(|_| panic!("{variable} has to be a number, not {text:?}")))
    }

    fn show(number: u64, run_result: &RunResult, lines_max: usize) {
        let hidden = run_result.trace.len().saturating_sub(lines_max);
        println!("world {number}, {hidden} earlier lines left out:");
        run_result.trace[hidden..].iter().for_each(|line| println!("{line}"));
        println!("world {number}: {:?} after {} ticks", run_result.result, run_result.ticks);
    }

    #[test]
    fn the_reactor_keeps_its_invariants_for_every_seed() {
        if let Some(number) = number_in(ONE) {
            let run_result = simulate(number, true);
            show(number, &run_result, usize::MAX);
            assert_eq!(run_result.result, Ok(()), "world {number}");
            return;
        }
        let count = number_in(MANY).unwrap_or(WORLDS);
        let failed = run_all(count);
        if let Some((first, why)) = failed.first() {
            show(*first, &simulate(*first, true), LINES_SHOWN);
            failed.iter().for_each(|(number, why)| println!("world {number}: {why}"));
            panic!(
                "{} of {count} worlds failed; the first: {why}\nsee all of it: {ONE}={first} cargo test --test simulation seeds -- --nocapture",
                failed.len()
            );
        }
    }

    /// The worlds that failed, in order.
    fn run_all(count: u64) -> Vec<(u64, String)> {
        let (next, failed, ticks) = (AtomicU64::new(0), Mutex::new(Vec::new()), AtomicU64::new(0));
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= count {
                            return;
                        }
                        let run_result = simulate(number, false);
                        ticks.fetch_add(run_result.ticks as u64, Ordering::Relaxed);
                        if let Err(why) = run_result.result {
                            failed.lock().unwrap_or_else(PoisonError::into_inner).push((number, why));
                        }
                    }
                });
            }
        });
        println!("{count} worlds, {} ticks", ticks.into_inner());
        let mut failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
        failed.sort();
        failed
    }

    #[test]
    fn the_same_seed_gives_the_same_run() {
        for number in 0..20 {
            let (one, other) = (simulate(number, true), simulate(number, true));
            assert!(one.trace.len() > 5, "world {number} is empty");
            assert_eq!(one.ticks, other.ticks, "world {number}");
            let differs = one.trace.iter().zip(&other.trace).position(|(one, other)| one != other);
            assert_eq!(differs.map(|at| &one.trace[at]), None, "world {number}");
        }
    }
}
