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
mod buffer_budget;
mod connection;
#[cfg(feature = "internals")]
pub mod inspect;
mod memory_pressure;
pub mod mio_net;
pub mod net;
mod running;
mod table;

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use crate::app::presence::ListenerPolicy;
use crate::app::{self, App};
use crate::clock::Clock;
use crate::dispatch::timers::{Timer, Timers};
use crate::dispatch::watchdog::Watchdog;
use crate::dispatch::{Dispatcher, Now};
use crate::ids::{ConnId, RequestKey};
use crate::limits;
use crate::log_limiter::LogRateLimiter;
use crate::model::Statistics;
use crate::session::Rules;
use crate::worker::{Completion, Jobs};
use accept::Acceptor;
use buffer_budget::{BufferBudget, Charge};
use connection::{Connection, Overdue};
use net::{Event, Net};
use table::Table;

/// What the reactor needs to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Open connections, but for those of listeners with places of their own.
    pub connections_max: usize,
    /// Open requests of all connections.
    pub requests_max: usize,
    /// Bytes that all connections together may hold for their clients.
    pub buffers_bytes_max: usize,
    /// What is done in one turn, and what may wait.
    pub bounds: Bounds,
    /// The user that runs the server: its unix-socket clients are operators where a listener has any.
    pub own_uid: u32,
    /// One for each listener of the net, in its order.
    pub listeners: Vec<ListenerSettings>,
}

/// What the loop does in one turn at most, and what may wait on all connections. A server has the limits; a
/// simulation has less, to see what happens there.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Steps of all connections in one turn.
    pub steps_per_tick: usize,
    /// Bytes that are read and converted in one turn.
    pub bytes_per_tick: usize,
    /// Bytes of texts that are to be answered later.
    pub delayed_bytes: usize,
    /// Open requests that are forgotten at once with their connection.
    pub forgotten_at_once: usize,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds {
            steps_per_tick: limits::STEPS_PER_TURN_ALL_MAX,
            bytes_per_tick: limits::BYTES_PER_TURN_ALL_MAX,
            delayed_bytes: limits::DELAYED_BYTES_MAX,
            forgotten_at_once: limits::OPEN_FORGOTTEN_AT_ONCE_MAX,
        }
    }
}

/// What holds for the clients of one listener.
#[derive(Clone, Debug)]
pub struct ListenerSettings {
    /// Deadlines and sizes.
    pub rules: Rules,
    /// What its clients may do.
    pub policy: ListenerPolicy,
    /// Its clients have places of their own, so that others do not keep them out.
    pub has_reserved_slots: bool,
}

/// The loop and all it owns.
pub struct Reactor<N: Net, J, C> {
    net: N,
    clock: C,
    settings: Settings,
    connections: Table<Connection<N::Socket>>,
    dispatcher: Dispatcher<J>,
    timers: Timers,
    acceptor: Acceptor,
    budget: BufferBudget,
    /// A timer is armed that looks at who stalls while others wait for room.
    scarcity_is_watched: bool,
    /// A timer is armed that gives memory back to the system.
    trim_is_armed: bool,
    memory_log_limiter: LogRateLimiter,
    runnable: VecDeque<ConnId>,
    /// Closed, with so much left behind that it takes a while to forget.
    closing: VecDeque<(ConnId, Connection<N::Socket>)>,
    stopping: bool,
    watchdog: Option<Watchdog>,
    http_line_log_limiter: LogRateLimiter,
    events: Vec<Event>,
    /// What workers have done and nobody was told yet.
    completions: VecDeque<Completion>,
    chunk: Box<[u8]>,
}

impl<N: Net, J: Jobs, C: Clock> Reactor<N, J, C> {
    /// A loop that has not turned yet.
    pub fn new(net: N, jobs: J, mut clock: C, app: App, settings: Settings) -> Reactor<N, J, C> {
        assert_eq!(net.listener_count(), settings.listeners.len());
        let started = clock.now();
        Reactor {
            acceptor: Acceptor::new(&settings),
            dispatcher: Dispatcher::new(
                app,
                jobs,
                settings.requests_max,
                settings.bounds.delayed_bytes,
                started,
            ),
            budget: BufferBudget::new(settings.buffers_bytes_max),
            scarcity_is_watched: false,
            trim_is_armed: false,
            memory_log_limiter: LogRateLimiter::default(),
            net,
            clock,
            settings,
            connections: Table::new(),
            timers: Timers::default(),
            runnable: VecDeque::new(),
            closing: VecDeque::new(),
            stopping: false,
            watchdog: None,
            http_line_log_limiter: LogRateLimiter::default(),
            events: Vec::new(),
            completions: VecDeque::new(),
            chunk: vec![0; limits::READ_CHUNK_BYTES].into(),
        }
    }

    /// One turn of the loop: waits until there is something to do, and does a bounded amount of it.
    pub fn tick(&mut self) -> io::Result<()> {
        let timeout = self.timeout();
        let mut events = std::mem::take(&mut self.events);
        self.net.poll(timeout, &mut events)?;
        let now = Now { instant: self.clock.now(), unix: self.clock.unix_now() };
        self.dispatcher.date.update(now.unix);
        self.dispatcher.app.set_clock_lead(self.clock.wall_lead(now.unix));
        for event in events.drain(..) {
            self.latch(event);
        }
        self.events = events;
        self.accept(now);
        self.collect_completions(now);
        self.run_queue(now);
        self.dispatcher.jobs.notify_workers();
        self.expire(now);
        if self.dispatcher.app.audit_mut().takes_minute() {
            self.timers.arm(now.instant + limits::AUDIT_INTERVAL, Timer::Audit);
        }
        if self.dispatcher.app.logins_mut().takes_report() {
            self.timers.arm(now.instant + limits::LOGIN_LOG_INTERVAL, Timer::LoginReport);
        }
        self.forget_closing();
        self.resume_waiting(now);
        let took = self.clock.now() - now.instant;
        self.dispatcher.counters.tick_max = self.dispatcher.counters.tick_max.max(took);
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
        let times = Now { instant: now, unix: self.clock.unix_now() };
        for request_key in self.dispatcher.begin_stop() {
            if let Some(connection) = self.connections.get_mut(request_key.conn) {
                self.dispatcher.refuse_login(request_key, &mut connection.client(), &mut self.timers, times);
            }
        }
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
        self.dispatcher.app.set_settings(app);
        self.dispatcher.set_in_flight_max(self.settings.requests_max);
        self.budget.set_bytes_max(self.settings.buffers_bytes_max);
        self.acceptor.set_connections_max(self.settings.connections_max);
        for id in self.connections.ids() {
            if let Some(connection) = self.connections.get(id) {
                let policy = self.settings.listeners[usize::from(connection.listener)].policy;
                self.dispatcher.app.presence_mut().set_policy(id, policy);
            }
            self.arm(id);
        }
    }

    /// Calls `beat`, which must not block, every `interval` from now on, as long as the loop turns and
    /// no lane is stuck.
    pub fn set_watchdog(&mut self, interval: Duration, beat: Box<dyn FnMut() + Send>) {
        let now = self.clock.now();
        self.watchdog = Some(Watchdog::new(interval, beat));
        self.timers.arm(now + interval, Timer::Watchdog);
    }

    /// What the server has counted.
    pub fn statistics(&mut self) -> Statistics {
        let now = self.clock.now();
        self.dispatcher.statistics(now)
    }

    /// Whether the loop was stopped and every connection has ended.
    pub fn is_finished(&self) -> bool {
        self.stopping && self.connections.len() == 0
    }

    fn timeout(&mut self) -> Option<Duration> {
        let has_more = !self.runnable.is_empty() || !self.completions.is_empty() || !self.closing.is_empty();
        if has_more || self.acceptor.is_ready() {
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
                connection.readable = connection.readable.max(readable);
                connection.writable |= writable;
                self.enqueue(id);
            }
        }
    }

    fn collect_completions(&mut self, now: Now) {
        self.dispatcher.jobs.drain(&mut self.completions);
        let mut bytes = 0;
        while bytes < limits::BYTES_PER_TURN_ALL_MAX
            && let Some(completion) = self.completions.pop_front()
        {
            let Some(claimed) = self.dispatcher.claim(completion.key, &mut self.timers, now) else {
                continue;
            };
            let id = completion.key.request_key.conn;
            if let Some(connection) = self.connections.get_mut(id) {
                let before = connection.output.len();
                self.dispatcher.resume(claimed, completion, &mut connection.client(), &mut self.timers, now);
                bytes += connection.output.len().saturating_sub(before);
                self.enqueue(id);
            }
            self.withdraw_checks(now);
        }
    }

    /// Has those password checks wait that are not begun, and may not be any more for now.
    fn withdraw_checks(&mut self, now: Now) {
        for request_key in self.dispatcher.take_withdrawn() {
            if let Some(connection) = self.connections.get_mut(request_key.conn) {
                self.dispatcher.withdraw(request_key, &mut connection.client(), &mut self.timers, now);
                self.enqueue(request_key.conn);
            }
        }
    }

    fn expire(&mut self, now: Now) {
        for _ in 0..limits::TIMERS_PER_TURN_MAX {
            let Some((_, timer)) = self.timers.pop_due(now.instant) else { return };
            match timer {
                Timer::Connection(id) => self.expire_connection(id, now),
                Timer::Job(key) => {
                    if let Some(connection) = self.connections.get_mut(key.request_key.conn) {
                        self.dispatcher.expire(key, &mut connection.client(), &mut self.timers, now);
                        self.enqueue(key.request_key.conn);
                    }
                }
                Timer::Login(order) => {
                    let id = order.request_key.conn;
                    if let Some(connection) = self.connections.get_mut(id) {
                        self.dispatcher.retry_login(
                            order.request_key,
                            &mut connection.client(),
                            &mut self.timers,
                            now,
                        );
                        self.enqueue(id);
                    }
                }
                Timer::LoginReport => self.dispatcher.app.logins_mut().report(),
                Timer::Accept => self.acceptor.retry(),
                Timer::Audit => self.dispatcher.app.audit_mut().end_minute(),
                Timer::Scarcity => self.close_stalled(now),
                Timer::Trim => self.trim(),
                Timer::Watchdog => {
                    if let Some(watchdog) = &mut self.watchdog {
                        let next = watchdog.beat(&self.dispatcher.jobs, now.instant);
                        self.timers.arm(next, Timer::Watchdog);
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
        if connection.is_queued && !connection.is_long_overdue(rules, now.instant) {
            // What it has sent was not looked at yet; its run arms it again.
            return;
        }
        match connection.overdue(rules, now.instant) {
            Some(Overdue::Input) => {
                self.dispatcher.counters.connections_timed_out += 1;
                self.enqueue(id);
            }
            Some(Overdue::Output) => {
                self.dispatcher.counters.connections_stalled += 1;
                self.close(id);
            }
            Some(Overdue::Linger) => self.close(id),
            None if connection.stalled_since.is_none()
                && connection.session.next_due().is_some_and(|due| due <= now.instant) =>
            {
                self.enqueue(id);
            }
            None => self.arm(id),
        }
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
        let Some(mut connection) = self.connections.remove(id) else { return };
        self.budget.change(id, connection.charge, Charge::default());
        self.budget.end_overcommit(id);
        connection.input.clear();
        connection.output.clear();
        if let Some(armed) = connection.armed {
            self.timers.disarm(armed, Timer::Connection(id));
        }
        let (requests, bytes) = connection.session.delayed();
        self.dispatcher.forget_delayed(requests, bytes);
        self.dispatcher.app.presence_mut().close(id);
        self.dispatcher.counters.connections_open -= 1;
        self.acceptor.connection_closed(usize::from(connection.listener));
        match connection.session.open_count() {
            few if few <= self.settings.bounds.forgotten_at_once => self.forget(id, connection),
            _ => self.closing.push_back((id, connection)),
        }
    }

    fn forget_closing(&mut self) {
        if let Some((id, connection)) = self.closing.pop_front() {
            self.forget(id, connection);
        }
    }

    /// Cancels what a closed connection has waited for.
    fn forget(&mut self, id: ConnId, connection: Connection<N::Socket>) {
        if connection.load.jobs > 0 {
            for seq in connection.session.open_seqs() {
                self.dispatcher.cancel(RequestKey { conn: id, seq }, &mut self.timers);
            }
        }
    }
}
