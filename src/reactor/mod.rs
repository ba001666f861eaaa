//! The loop: one thread that owns every connection and never blocks but in [`Net::poll`].
//!
//! Each turn has the same phases: poll latches readiness and does no work; accept takes a bounded number
//! of connections; collect hands results to sessions; run gives each runnable connection a bounded piece
//! of work, once; expire looks at who is overdue, which comes last so that nobody is blamed for what has
//! arrived and was not looked at.
//!
//! Invariants: a socket is registered once, for both directions, and paused by not being run; a
//! connection is in the run queue at most once, and is there whenever it could make progress; an idle
//! connection holds no buffer; a stale id finds nothing.

mod accept;
mod calls;
mod connection;
mod counters;
mod heartbeat;
#[cfg(test)]
pub(crate) mod inspect;
pub mod mio_net;
pub mod net;
mod table;
mod timers;

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use crate::app::presence::Admission;
use crate::app::{self, App};
use crate::clock::{Clock, UnixSeconds};
use crate::ids::{ConnId, Ticket};
use crate::limits;
use crate::model::Statistics;
use crate::session::{Ending, Rules, Step};
use crate::throttle::Throttle;
use crate::worker::{Completion, Jobs};
use accept::Acceptor;
use calls::{Calls, Now};
use connection::{Connection, Flushed, Overdue, Phase, Taken};
use heartbeat::Heartbeat;
use net::{Event, Net};
use table::Table;
use timers::{Timer, Timers};

/// What the reactor needs to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Open connections.
    pub connections_max: usize,
    /// Open requests of all connections.
    pub requests_max: usize,
    /// The user that runs the server: its unix-socket clients are operators where a listener has any.
    pub own_uid: u32,
    /// One for each listener of the net, in its order.
    pub listeners: Vec<ListenerSettings>,
}

/// What holds for the clients of one listener.
#[derive(Clone, Debug)]
pub struct ListenerSettings {
    /// Deadlines and sizes.
    pub rules: Rules,
    /// What its clients may do.
    pub admission: Admission,
}

/// The loop and all it owns.
pub struct Reactor<N: Net, J, C> {
    net: N,
    clock: C,
    settings: Settings,
    connections: Table<Connection<N::Socket>>,
    calls: Calls<J>,
    timers: Timers,
    acceptor: Acceptor,
    runnable: VecDeque<ConnId>,
    stopping: bool,
    heartbeat: Option<Heartbeat>,
    http_lines: Throttle,
    events: Vec<Event>,
    completions: Vec<Completion>,
    chunk: Box<[u8]>,
}

impl<N: Net, J: Jobs, C: Clock> Reactor<N, J, C> {
    /// A loop that has not turned yet.
    pub fn new(net: N, jobs: J, mut clock: C, app: App, settings: Settings) -> Reactor<N, J, C> {
        assert_eq!(net.listener_count(), settings.listeners.len());
        let started = clock.now();
        Reactor {
            acceptor: Acceptor::new(net.listener_count(), settings.connections_max),
            calls: Calls::new(app, jobs, settings.requests_max, started),
            net,
            clock,
            settings,
            connections: Table::new(),
            timers: Timers::default(),
            runnable: VecDeque::new(),
            stopping: false,
            heartbeat: None,
            http_lines: Throttle::default(),
            events: Vec::new(),
            completions: Vec::new(),
            chunk: vec![0; limits::READ_CHUNK_BYTES].into(),
        }
    }

    /// One turn of the loop: waits until there is something to do, and does a bounded amount of it.
    pub fn turn(&mut self) -> io::Result<()> {
        let timeout = self.timeout();
        let mut events = std::mem::take(&mut self.events);
        self.net.poll(timeout, &mut events)?;
        let now = Now { instant: self.clock.now(), unix: self.clock.unix_now() };
        for event in events.drain(..) {
            self.latch(event);
        }
        self.events = events;
        self.accept(now);
        self.collect(now);
        self.run_queue(now);
        self.calls.jobs.call_workers();
        self.expire(now);
        Ok(())
    }

    /// Accepts no more, begins no more requests, and ends once what is in flight is done; what is not
    /// done after `grace` is cut.
    pub fn begin_stop(&mut self, grace: Duration) {
        let now = self.clock.now();
        self.stopping = true;
        self.net.close_listeners();
        self.acceptor.close();
        self.timers.arm(now + grace, Timer::Stop);
        for id in self.connections.ids() {
            if let Some(connection) = self.connections.get_mut(id) {
                connection.session.begin_drain(&connection.input);
                self.enqueue(id);
            }
        }
    }

    /// Goes on with other settings, for connections that are open as well. There are as many listeners
    /// as before; where more connections or requests are open than may be, none is cut.
    pub fn reload(&mut self, settings: Settings, app: app::Settings) {
        assert_eq!(self.settings.listeners.len(), settings.listeners.len());
        self.settings = settings;
        self.calls.app.set_settings(app);
        self.calls.set_in_flight_max(self.settings.requests_max);
        self.acceptor.set_connections_max(self.settings.connections_max, self.connections.len());
        for id in self.connections.ids() {
            if let Some(connection) = self.connections.get(id) {
                let admission = self.settings.listeners[usize::from(connection.listener)].admission;
                self.calls.app.presence_mut().admit(id, admission);
            }
            self.arm(id);
        }
    }

    /// Calls `beat`, which must not block, every `interval` from now on, as long as the loop turns and
    /// no lane is stuck.
    pub fn set_heartbeat(&mut self, interval: Duration, beat: Box<dyn FnMut() + Send>) {
        let now = self.clock.now();
        self.heartbeat = Some(Heartbeat::new(interval, beat));
        self.timers.arm(now + interval, Timer::Heartbeat);
    }

    /// What the server has counted.
    pub fn statistics(&mut self) -> Statistics {
        let now = self.clock.now();
        self.calls.statistics(now)
    }

    /// Whether the loop was stopped and every connection has ended.
    pub fn is_finished(&self) -> bool {
        self.stopping && self.connections.len() == 0
    }

    fn timeout(&mut self) -> Option<Duration> {
        if !self.runnable.is_empty() || self.acceptor.is_ready() {
            return Some(Duration::ZERO);
        }
        let next = self.timers.next()?;
        Some(next.since(self.clock.now()))
    }

    fn latch(&mut self, event: Event) {
        match event {
            Event::Woken => {}
            Event::Acceptable(listener) => self.acceptor.latch(listener),
            Event::Ready { id, readable, writable, broken } => {
                let Some(connection) = self.connections.get_mut(id) else { return };
                if broken {
                    self.close(id);
                    return;
                }
                connection.readable |= readable;
                connection.writable |= writable;
                self.enqueue(id);
            }
        }
    }

    fn collect(&mut self, now: Now) {
        let mut completions = std::mem::take(&mut self.completions);
        self.calls.jobs.drain(&mut completions);
        for completion in completions.drain(..) {
            let Some(claimed) = self.calls.claim(completion.key, &mut self.timers, now) else { continue };
            let id = completion.key.ticket.conn;
            if let Some(connection) = self.connections.get_mut(id) {
                self.calls.resume(claimed, completion, connection, &mut self.timers, now);
                self.enqueue(id);
            }
        }
        self.completions = completions;
    }

    fn expire(&mut self, now: Now) {
        while let Some((_, timer)) = self.timers.pop_due(now.instant) {
            match timer {
                Timer::Connection(id) => self.expire_connection(id, now),
                Timer::Job(key) => {
                    if let Some(connection) = self.connections.get_mut(key.ticket.conn) {
                        self.calls.give_up(key, connection);
                        self.enqueue(key.ticket.conn);
                    }
                }
                Timer::Accept => self.acceptor.retry(),
                Timer::Heartbeat => {
                    if let Some(heartbeat) = &mut self.heartbeat {
                        let next = heartbeat.beat(&self.calls.jobs, now.instant);
                        self.timers.arm(next, Timer::Heartbeat);
                    }
                }
                Timer::Stop => {
                    let ids = self.connections.ids();
                    if !ids.is_empty() {
                        log::warn!("stopping has taken too long: cut {} connections", ids.len());
                    }
                    ids.into_iter().for_each(|id| self.close(id));
                }
            }
        }
    }

    fn expire_connection(&mut self, id: ConnId, now: Now) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        connection.armed = None;
        let rules = &self.settings.listeners[usize::from(connection.listener)].rules;
        match connection.overdue(rules, now.instant) {
            Some(Overdue::Input) => {
                self.calls.counters.connections_timed_out += 1;
                self.enqueue(id);
            }
            Some(Overdue::Output) => {
                self.calls.counters.connections_stalled += 1;
                self.close(id);
            }
            Some(Overdue::Linger) => self.close(id),
            None => self.arm(id),
        }
    }

    /// Runs those that are queued now; those that want to go on stand at the back for the next turn.
    fn run_queue(&mut self, now: Now) {
        for _ in 0..self.runnable.len() {
            let Some(id) = self.runnable.pop_front() else { return };
            let Some(connection) = self.connections.get_mut(id) else { continue };
            connection.is_queued = false;
            // Its clocks must not begin before its bytes came, which may be later than the turn did.
            let now = Now { instant: self.clock.now(), ..now };
            let ran = match connection.phase {
                Phase::Open => self.run(id, now),
                Phase::Lingering { .. } => self.discard(id),
            };
            if let Some(connection) = self.connections.get_mut(id) {
                self.calls.counters.requests_refused += u64::from(connection.session.take_refused());
            }
            match ran {
                Ran::Waits => self.arm(id),
                Ran::WantsMore => {
                    self.arm(id);
                    self.enqueue(id);
                }
                Ran::Over => self.close(id),
            }
        }
        if self.runnable.is_empty() {
            self.runnable.shrink_to(limits::EVENTS_PER_TURN_MAX);
        }
    }

    /// Gives a connection a bounded piece of work.
    fn run(&mut self, id: ConnId, now: Now) -> Ran {
        let Some(connection) = self.connections.get_mut(id) else { return Ran::Waits };
        let rules = &self.settings.listeners[usize::from(connection.listener)].rules;
        let (mut steps, mut bytes) = (0, 0);
        loop {
            if steps >= limits::STEPS_PER_TURN_MAX || bytes >= limits::READ_BYTES_PER_TURN_MAX {
                return match connection.flush(&mut self.net, now.instant) {
                    Flushed::Broken => Ran::Over,
                    Flushed::All | Flushed::Some => Ran::WantsMore,
                };
            }
            if connection.jobs >= limits::JOBS_PER_CONNECTION_MAX {
                return match connection.flush(&mut self.net, now.instant) {
                    Flushed::Broken => Ran::Over,
                    // Each completion runs the connection again.
                    Flushed::All | Flushed::Some => Ran::Waits,
                };
            }
            let Connection { session, input, output, .. } = &mut *connection;
            match session.next(input, output, rules, now.instant) {
                Step::Call(slot, request) => {
                    steps += 1;
                    let ticket = Ticket { conn: id, slot };
                    self.calls.begin(ticket, *request, connection, &mut self.timers, now);
                }
                Step::NextPage(slot, list, cursor) => {
                    steps += 1;
                    let ticket = Ticket { conn: id, slot };
                    self.calls.begin_page(ticket, list, cursor, connection, &mut self.timers, now);
                }
                Step::NeedInput => {
                    if connection.flush(&mut self.net, now.instant) == Flushed::Broken {
                        return Ran::Over;
                    }
                    if !connection.readable {
                        return Ran::Waits;
                    }
                    match connection.read(&mut self.net, &mut self.chunk) {
                        Taken::Bytes(count) => bytes += count.max(1),
                        Taken::Nothing => {}
                        Taken::End => connection.session.end_input(),
                        Taken::Broken => return Ran::Over,
                    }
                }
                Step::Blocked => {
                    let had_output = !connection.output.is_empty();
                    match connection.flush(&mut self.net, now.instant) {
                        Flushed::Broken => return Ran::Over,
                        Flushed::Some => return Ran::Waits,
                        Flushed::All if !had_output => return Ran::Waits,
                        Flushed::All => steps += 1,
                    }
                }
                Step::Finished(ending) => {
                    match connection.flush(&mut self.net, now.instant) {
                        Flushed::Broken => return Ran::Over,
                        Flushed::Some => return Ran::Waits,
                        Flushed::All => {}
                    }
                    let is_over = connection.end(&mut self.net, ending, now.instant);
                    if ending == Ending::HttpLine {
                        log_http_line(&mut self.http_lines, now.unix);
                    }
                    return if is_over { Ran::Over } else { Ran::WantsMore };
                }
            }
        }
    }

    /// Reads and forgets a bounded amount from a client that has had our last words.
    fn discard(&mut self, id: ConnId) -> Ran {
        let Some(connection) = self.connections.get_mut(id) else { return Ran::Waits };
        let mut bytes = 0;
        while bytes < limits::READ_BYTES_PER_TURN_MAX {
            if !connection.readable {
                return Ran::Waits;
            }
            let count = match connection.read(&mut self.net, &mut self.chunk) {
                Taken::Bytes(count) => count.max(1),
                Taken::Nothing => 0,
                Taken::End | Taken::Broken => return Ran::Over,
            };
            bytes += count;
            match &mut connection.phase {
                Phase::Lingering { bytes_left, .. } if *bytes_left > count => *bytes_left -= count,
                _ => return Ran::Over,
            }
        }
        Ran::WantsMore
    }

    fn enqueue(&mut self, id: ConnId) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        if !connection.is_queued {
            connection.is_queued = true;
            self.runnable.push_back(id);
        }
    }

    /// Makes sure that the connection is looked at by its deadline. One that moved later is left where
    /// it is: looked at too early, it is armed again.
    fn arm(&mut self, id: ConnId) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        let rules = &self.settings.listeners[usize::from(connection.listener)].rules;
        let Some(deadline) = connection.deadline(rules) else { return };
        match connection.armed {
            Some(armed) if armed <= deadline => return,
            Some(armed) => self.timers.disarm(armed, Timer::Connection(id)),
            None => {}
        }
        connection.armed = Some(deadline);
        self.timers.arm(deadline, Timer::Connection(id));
    }

    fn close(&mut self, id: ConnId) {
        let Some(connection) = self.connections.remove(id) else { return };
        if let Some(armed) = connection.armed {
            self.timers.disarm(armed, Timer::Connection(id));
        }
        for slot in connection.session.open_slots() {
            self.calls.cancel(Ticket { conn: id, slot }, &mut self.timers);
        }
        self.calls.app.presence_mut().close(id);
        self.calls.counters.connections_open -= 1;
        self.acceptor.connection_closed(self.connections.len());
    }
}

/// How a connection's piece of work has ended.
enum Ran {
    /// Something has to happen first.
    Waits,
    /// It could go on at once, but others have their turn.
    WantsMore,
    /// The connection is to be closed.
    Over,
}

fn log_http_line(http_lines: &mut Throttle, now: UnixSeconds) {
    if let Some(held_back) = http_lines.pass(limits::HTTP_LINE_LOG_INTERVAL_S, now) {
        log::warn!(
            "closed {} connections of raw JSON that sent a line of HTTP: is a browser or proxy made to talk \
             to us?",
            1 + held_back
        );
    }
}
