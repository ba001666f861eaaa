//! The simulated network as the reactor sees it, and the clock, whose time passes here.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use super::connection::Due;
use super::world::{LISTENERS, Shared, World};
use vmherd::internals::clock::{Clock, Instant, UnixSeconds};
use vmherd::internals::ids::ConnId;
use vmherd::internals::model::Peer;
use vmherd::internals::reactor::net::{Event, Net, Readable, Received};

/// The network.
pub(super) struct FakeNet(pub(super) Shared);

/// The server's end of a wire.
pub(super) struct FakeSocket {
    world: Shared,
    connection: usize,
}

/// The world's time.
pub(super) struct FakeClock(pub(super) Shared);

impl Clock for FakeClock {
    fn now(&mut self) -> Instant {
        self.0.borrow().now
    }

    fn unix_now(&mut self) -> UnixSeconds {
        let world = self.0.borrow();
        world.wall_clock.now(world.now)
    }
}

impl Net for FakeNet {
    type Socket = FakeSocket;

    fn poll(&mut self, timeout: Option<Duration>, events: &mut Vec<Event>) -> io::Result<()> {
        let mut world = self.0.borrow_mut();
        // A turn takes time.
        let pause = world.random.micros(1, 300);
        world.now = world.now + pause;
        let deadline = timeout.map(|timeout| world.now + timeout);
        while world.polls < MOMENTS_MAX {
            world.polls += 1;
            world.run_due();
            let must_stop = world.stop_at.is_some_and(|at| at <= world.now) && world.stopped.is_none();
            if take_events(&mut world, events) || must_stop || world.failure.is_some() {
                return Ok(());
            }
            let next = match (world.next(), deadline) {
                (_, Some(deadline)) if deadline <= world.now => return Ok(()),
                (Some(next), Some(deadline)) => next.min(deadline),
                (Some(next), None) => next,
                (None, Some(deadline)) => deadline,
                (None, None) => {
                    world.nothing_is_scheduled = true;
                    return Ok(());
                }
            };
            if world.random.chance(1) {
                // Interrupted, or woken for nothing.
                return Ok(());
            }
            world.now = next.max(world.now);
        }
        world.fail("clients act and act, and come to no end".to_owned());
        Ok(())
    }

    fn listener_count(&self) -> usize {
        LISTENERS
    }

    fn accept(&mut self, listener: usize) -> io::Result<(FakeSocket, Peer)> {
        let mut world = self.0.borrow_mut();
        world.operations += 1;
        if world.backlogs[listener].is_empty() {
            world.accept_refused[listener] = true;
            return Err(io::ErrorKind::WouldBlock.into());
        }
        if world.open_count() >= world.config.descriptors_max {
            world.log(|| "no descriptors".to_owned());
            return Err(io::Error::from_raw_os_error(libc_emfile()));
        }
        let connection = world.backlogs[listener].pop_front().expect("not empty");
        let aborted_percent = world.config.aborted_percent;
        if world.random.chance(aborted_percent) {
            world.connections[connection].fail();
            world.notify(connection);
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        if world.stopped.is_some() {
            world.fail("a connection is accepted after the stop".to_owned());
        }
        let now = world.now;
        world.connections[connection].accepted = Some(now);
        world.log(|| format!("wire {connection} is accepted"));
        let peer = Peer::Tcp([127, 0, 0, 1].into(), world.connections[connection].port);
        drop(world);
        Ok((FakeSocket { world: Rc::clone(&self.0), connection }, peer))
    }

    fn register(&mut self, socket: &mut FakeSocket, id: ConnId) -> io::Result<()> {
        let mut world = self.0.borrow_mut();
        let (connection, refused_percent) = (socket.connection, world.config.aborted_percent / 4);
        world.log(|| format!("wire {connection} is connection {id}"));
        if world.random.chance(refused_percent) {
            world.connections[connection].fail();
            world.notify(connection);
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        if world.connections[connection].id.replace(id).is_some() {
            world.fail(format!("wire {connection} is registered twice"));
        }
        Ok(())
    }

    fn read(&mut self, socket: &mut FakeSocket, bytes: &mut [u8]) -> io::Result<Received> {
        let mut world = self.0.borrow_mut();
        world.operations += 1;
        let World { connections, config, random, .. } = &mut *world;
        let read = connections[socket.connection].read(bytes, config, random);
        world.bytes_read += read.as_ref().map_or(0, |received| received.count);
        world.log(|| format!("wire {} is read: {read:?}", socket.connection));
        read
    }

    fn write(&mut self, socket: &mut FakeSocket, bytes: &[u8]) -> io::Result<usize> {
        let mut world = self.0.borrow_mut();
        world.operations += 1;
        let now = world.now;
        let World { connections, config, random, .. } = &mut *world;
        let connection = &mut connections[socket.connection];
        let is_shut_down = connection.shut_down.is_some();
        let written = connection.write(bytes, config, random, now);
        if is_shut_down {
            world.fail(format!("wire {} is written to after its end", socket.connection));
        }
        world.log(|| format!("wire {} is written: {written:?} of {}", socket.connection, bytes.len()));
        world.notify(socket.connection);
        written
    }

    fn shutdown_write(&mut self, socket: &mut FakeSocket) -> io::Result<()> {
        let mut world = self.0.borrow_mut();
        world.operations += 1;
        world.log(|| format!("wire {} is shut down", socket.connection));
        let now = world.now;
        let connection = &mut world.connections[socket.connection];
        if connection.broken || connection.client_has_reset() {
            return Err(io::ErrorKind::NotConnected.into());
        }
        connection.shut_down.get_or_insert(now);
        world.notify(socket.connection);
        Ok(())
    }

    fn close_listeners(&mut self) {
        let mut world = self.0.borrow_mut();
        world.is_listening = false;
        for connection in world.backlogs.iter_mut().flat_map(std::mem::take).collect::<Vec<_>>() {
            world.connections[connection].fail();
            world.notify(connection);
        }
    }
}

impl Drop for FakeSocket {
    fn drop(&mut self) {
        // After a panic the world may be anybody's.
        let Ok(mut world) = self.world.try_borrow_mut() else { return };
        world.operations += 1;
        let now = world.now;
        let connection = &mut world.connections[self.connection];
        connection.close(now);
        let id = connection.id;
        world.closed_ids.extend(id);
        world.log(|| format!("wire {} is closed", self.connection));
        world.notify(self.connection);
    }
}

/// Appends the events that are due, in any order, some of them late or for nothing; whether there are any.
fn take_events(world: &mut World, events: &mut Vec<Event>) -> bool {
    let before = events.len();
    let late_event_percent = world.config.late_event_percent;
    take_due(world, late_event_percent, events);
    if world.workers.take_wake() {
        events.push(Event::Woken);
    }
    if events.len() == before {
        take_due(world, 0, events);
    }
    let has_any = events.len() > before;
    if has_any {
        add_noise(world, events);
    }
    world.random.shuffle(&mut events[before..]);
    if has_any {
        let shown = format!("events: {:?}", &events[before..]);
        world.log(|| shown);
    }
    has_any
}

fn take_due(world: &mut World, late_event_percent: usize, events: &mut Vec<Event>) {
    for listener in 0..LISTENERS {
        if world.acceptable_due[listener] && !world.random.chance(late_event_percent) {
            world.acceptable_due[listener] = false;
            events.push(Event::Acceptable(listener));
        }
    }
    for at in 0..world.connections.len() {
        if !world.connections[at].has_due() || world.random.chance(late_event_percent) {
            continue;
        }
        let Some(id) = world.connections[at].id else { continue };
        let Due { readable, writable, broken } = world.connections[at].take_due();
        if broken {
            // Some systems tell it, some only let the next attempt fail.
            let reported = world.random.chance(50);
            events.push(Event::Ready {
                id,
                readable: Readable::UntilRefused,
                writable: true,
                broken: reported,
            });
        } else if readable != Readable::No && writable && world.random.chance(50) {
            events.push(Event::Ready { id, readable, writable: false, broken: false });
            events.push(Event::Ready { id, readable: Readable::No, writable: true, broken: false });
        } else {
            events.push(Event::Ready { id, readable, writable, broken: false });
        }
    }
}

/// Events that mean nothing: for connections that are closed, and for others.
fn add_noise(world: &mut World, events: &mut Vec<Event>) {
    let World { random, config, closed_ids, connections, .. } = world;
    if random.chance(config.stale_percent) && !closed_ids.is_empty() {
        let id = random.pick(closed_ids);
        let readable = Readable::UntilRefused;
        events.push(Event::Ready { id, readable, writable: true, broken: random.chance(70) });
    }
    if random.chance(config.spurious_percent) {
        let open: Vec<ConnId> = connections
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
        events.push(random.pick(&[Event::Woken, Event::Acceptable(0), Event::Acceptable(1)]));
    }
}

/// Moments at which somebody looks around; no world that comes to an end has as many.
const MOMENTS_MAX: usize = 100_000;
/// Linux' number for "too many open files".
fn libc_emfile() -> i32 {
    24
}
