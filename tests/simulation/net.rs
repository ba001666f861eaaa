//! The simulated network as the reactor sees it, and the clock, whose time passes here.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use super::connection::{Connection, Due};
use super::environment::Environment;
use super::network::LISTENERS;
use super::world::Shared;
use vmherd::internals::clock::{Clock, Instant, UnixSeconds};
use vmherd::internals::ids::ConnId;
use vmherd::internals::model::Peer;
use vmherd::internals::reactor::net::{Event, Net, Readable, Receipt, Received};

/// The network.
pub(super) struct FakeNet(pub(super) Shared);

/// The server's end of a connection.
pub(super) struct FakeSocket {
    world: Shared,
    connection: usize,
}

/// The world's time.
pub(super) struct FakeClock(pub(super) Shared);

impl Clock for FakeClock {
    fn now(&mut self) -> Instant {
        self.0.borrow().env.now
    }

    fn unix_now(&mut self) -> UnixSeconds {
        let env = &self.0.borrow().env;
        env.wall_clock.now(env.now)
    }
}

impl Net for FakeNet {
    type Socket = FakeSocket;

    fn poll(&mut self, timeout: Option<Duration>, events: &mut Vec<Event>) -> io::Result<()> {
        let world = &mut *self.0.borrow_mut();
        if timeout != Some(Duration::ZERO) && world.env.workers.has_forgotten_results() {
            world.env.fail("the reactor waits while there are results that it was woken for".to_owned());
        }
        // An iteration takes time.
        let pause = world.env.random.micros(1, 300);
        world.env.now = world.env.now + pause;
        let deadline = timeout.map(|timeout| world.env.now + timeout);
        while world.env.observations.polls < POLLS_MAX {
            world.env.observations.polls += 1;
            world.run_due();
            let env = &mut world.env;
            let must_stop = env.shutdown.is_due(env.now);
            if take_events(env, events) || must_stop || env.observations.failure.is_some() {
                return Ok(());
            }
            let now = env.now;
            let next = match (world.next_due(), deadline) {
                (_, Some(deadline)) if deadline <= now => return Ok(()),
                (Some(next), Some(deadline)) => next.min(deadline),
                (Some(next), None) => next,
                (None, Some(deadline)) => deadline,
                (None, None) => {
                    world.env.observations.nothing_is_scheduled = true;
                    return Ok(());
                }
            };
            if world.env.random.chance(1) {
                // Interrupted, or a spurious wake-up.
                return Ok(());
            }
            world.env.now = next.max(now);
        }
        world.env.fail("the clients act without an end".to_owned());
        Ok(())
    }

    fn listener_count(&self) -> usize {
        LISTENERS
    }

    fn accept(&mut self, listener: usize) -> io::Result<(FakeSocket, Peer)> {
        let world = &mut *self.0.borrow_mut();
        let env = &mut world.env;
        env.observations.operations += 1;
        if env.network.listeners[listener].backlog.is_empty() {
            env.network.listeners[listener].was_empty = true;
            return Err(io::ErrorKind::WouldBlock.into());
        }
        if env.network.open_count() >= env.config.descriptors_max {
            env.log(|| "no descriptors".to_owned());
            return Err(io::Error::from_raw_os_error(EMFILE));
        }
        let connection = env.network.listeners[listener].backlog.pop_front().expect("not empty");
        if env.random.chance(env.config.aborted_percent) {
            env.network.connections[connection].fail();
            world.notify(connection);
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        if env.shutdown.stopped.is_some() {
            env.fail("a connection is accepted after the stop".to_owned());
        }
        env.network.connections[connection].accepted = Some(env.now);
        env.log(|| format!("connection {connection} is accepted"));
        let peer = peer_of(&env.network.connections[connection]);
        Ok((FakeSocket { world: Rc::clone(&self.0), connection }, peer))
    }

    fn register(&mut self, socket: &mut FakeSocket, id: ConnId) -> io::Result<()> {
        let world = &mut *self.0.borrow_mut();
        let (connection, env) = (socket.connection, &mut world.env);
        env.log(|| format!("connection {connection} has the id {id}"));
        if env.random.chance(env.config.aborted_percent / 4) {
            env.network.connections[connection].fail();
            world.notify(connection);
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        if env.network.connections[connection].id.replace(id).is_some() {
            env.fail(format!("connection {connection} is registered twice"));
        }
        Ok(())
    }

    fn read(&mut self, socket: &mut FakeSocket, bytes: &mut [u8]) -> io::Result<Received> {
        let env = &mut self.0.borrow_mut().env;
        let Environment { network, config, random, observations, .. } = &mut *env;
        let read = network.connections[socket.connection].read(bytes, config, random);
        observations.operations += 1;
        observations.bytes_read += read.as_ref().map_or(0, |received| received.count);
        env.log(|| format!("connection {} is read: {read:?}", socket.connection));
        read
    }

    fn write(&mut self, socket: &mut FakeSocket, bytes: &[u8]) -> io::Result<usize> {
        let world = &mut *self.0.borrow_mut();
        let Environment { now, network, config, random, observations, .. } = &mut world.env;
        observations.operations += 1;
        let connection = &mut network.connections[socket.connection];
        let is_shut_down = connection.shut_down.is_some();
        let written = connection.write(bytes, config, random, *now);
        if is_shut_down {
            world.env.fail(format!("connection {} is written to after its end", socket.connection));
        }
        world
            .env
            .log(|| format!("connection {} is written: {written:?} of {}", socket.connection, bytes.len()));
        world.notify(socket.connection);
        written
    }

    fn shutdown_write(&mut self, socket: &mut FakeSocket) -> io::Result<()> {
        let world = &mut *self.0.borrow_mut();
        let env = &mut world.env;
        env.observations.operations += 1;
        env.log(|| format!("connection {} is shut down", socket.connection));
        let connection = &mut env.network.connections[socket.connection];
        if connection.broken || connection.client_has_reset() {
            return Err(io::ErrorKind::NotConnected.into());
        }
        connection.shut_down.get_or_insert(env.now);
        world.notify(socket.connection);
        Ok(())
    }

    fn receipt(&self, socket: &FakeSocket) -> Receipt {
        let env = &mut self.0.borrow_mut().env;
        env.observations.operations += 1;
        let Environment { now, network, config, random, workers, .. } = &mut *env;
        let connection = &mut network.connections[socket.connection];
        let receipt = connection.receipt(config.deaf_percent, random, *now);
        // The server may have closed the connection, and keep its socket.
        workers.delivery.counts.is_uncertain = true;
        env.log(|| format!("connection {}: {receipt:?}", socket.connection));
        receipt
    }

    fn close_listeners(&mut self) {
        let world = &mut *self.0.borrow_mut();
        for connection in world.env.network.close_listeners() {
            world.notify(connection);
        }
    }
}

impl Drop for FakeSocket {
    fn drop(&mut self) {
        // During a panic the world may be borrowed.
        let Ok(mut world) = self.world.try_borrow_mut() else { return };
        let env = &mut world.env;
        env.observations.operations += 1;
        let connection = &mut env.network.connections[self.connection];
        connection.close(env.now);
        env.network.closed_ids.extend(connection.id);
        env.log(|| format!("connection {} is closed", self.connection));
        world.notify(self.connection);
    }
}

/// The client of a connection, as the server sees it.
pub(super) fn peer_of(connection: &Connection) -> Peer {
    Peer::Tcp(connection.address.into(), connection.port)
}

/// Appends the events that are due, in any order, some of them late, and spurious ones; whether there are any.
fn take_events(env: &mut Environment, events: &mut Vec<Event>) -> bool {
    let before = events.len();
    let late_event_percent = env.config.late_event_percent;
    take_due(env, late_event_percent, events);
    if env.workers.take_wake() {
        events.push(Event::Woken);
    }
    if events.len() == before {
        take_due(env, 0, events);
    }
    let has_any = events.len() > before;
    if has_any {
        add_noise(env, events);
    }
    env.random.shuffle(&mut events[before..]);
    if has_any {
        let shown = format!("events: {:?}", &events[before..]);
        env.log(|| shown);
    }
    has_any
}

fn take_due(env: &mut Environment, late_event_percent: usize, events: &mut Vec<Event>) {
    for listener in 0..LISTENERS {
        if env.network.listeners[listener].event_is_due && !env.random.chance(late_event_percent) {
            env.network.listeners[listener].event_is_due = false;
            events.push(Event::Acceptable(listener));
        }
    }
    for at in 0..env.network.connections.len() {
        if !env.network.connections[at].has_due() || env.random.chance(late_event_percent) {
            continue;
        }
        let Some(id) = env.network.connections[at].id else { continue };
        let Due { readable, writable, broken } = env.network.connections[at].take_due();
        if broken {
            // Some systems report it, some only let the next operation fail.
            let reported = env.random.chance(50);
            events.push(Event::Ready {
                id,
                readable: Readable::UntilRefused,
                writable: true,
                broken: reported,
            });
        } else if readable != Readable::No && writable && env.random.chance(50) {
            events.push(Event::Ready { id, readable, writable: false, broken: false });
            events.push(Event::Ready { id, readable: Readable::No, writable: true, broken: false });
        } else {
            events.push(Event::Ready { id, readable, writable, broken: false });
        }
    }
}

/// Adds spurious events, of closed connections and of others.
fn add_noise(env: &mut Environment, events: &mut Vec<Event>) {
    let Environment { random, config, network, .. } = env;
    if random.chance(config.stale_percent) && !network.closed_ids.is_empty() {
        let id = random.pick(&network.closed_ids);
        let readable = Readable::UntilRefused;
        events.push(Event::Ready { id, readable, writable: true, broken: random.chance(70) });
    }
    if random.chance(config.spurious_percent) {
        let open: Vec<ConnId> = network
            .connections
            .iter()
            .filter(|connection| connection.is_open_at_server())
            .filter_map(|connection| connection.id)
            .collect();
        if !open.is_empty() {
            let readable = random.pick(&[Readable::No, Readable::UntilDrained, Readable::UntilRefused]);
            let (id, writable) = (random.pick(&open), random.chance(50));
            events.push(Event::Ready { id, readable, writable, broken: false });
        }
    }
    if random.chance(config.spurious_percent) {
        let listener = random.between(0, LISTENERS - 1);
        events.push(random.pick(&[Event::Woken, Event::Acceptable(listener)]));
    }
}

/// Polls after which a world is considered endless.
const POLLS_MAX: usize = 100_000;
/// Linux's number for "too many open files".
const EMFILE: i32 = 24;
