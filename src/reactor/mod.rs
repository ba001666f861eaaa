//! The event loop: one thread that owns every connection and blocks only in [`Net::poll`].
//!
//! Each tick has the same phases: poll latches readiness and does no work; accept takes a bounded number of
//! connections; collect passes completions to sessions; run gives each runnable connection a bounded piece of
//! work, once; expire handles due timers. Expire comes last so that no client is timed out for input that has
//! arrived but was not processed.
//!
//! Invariants: a socket is registered once, for both directions, and paused by not being run; a connection is
//! in the run queue at most once, and is there whenever it can make progress; an idle connection holds no
//! buffer; a stale id matches nothing.

mod accept;
mod buffer_budget;
mod closing;
mod completions;
mod connection;
mod connection_timers;
mod delivery;
#[cfg(feature = "internals")]
pub mod inspect;
pub mod local;
mod memory_pressure;
pub mod mio_net;
pub mod net;
mod running;
mod table;
mod watch;

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use crate::app::presence::ListenerPolicy;
use crate::app::{self, App};
use crate::clock::Clock;
use crate::dispatch::timers::{LoginRetry, Timer};
use crate::dispatch::{Dispatcher, JobLoad, Now};
use crate::ids::ConnId;
use crate::limits;
use crate::log_limiter::LogRateLimiter;
use crate::model::{AddressLists, OfflineReason, Statistics};
use crate::session::{Rules, Session};
use crate::worker::{Completion, Jobs};
use accept::Acceptor;
use buffer_budget::BufferBudget;
use connection::{Connection, Overdue, RunMemory};
use connection_timers::ConnectionTimers;
use delivery::Deliveries;
use net::{Event, Net};
use table::Table;

/// The settings of the reactor.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The limit of open connections, without those of listeners with reserved slots.
    pub connections_max: usize,
    /// The limit of open requests on all connections.
    pub requests_max: usize,
    /// The limit of bytes that all connections together hold.
    pub buffers_bytes_max: usize,
    /// Limits of one tick and of delayed work.
    pub bounds: Bounds,
    /// The addresses of clients that may connect.
    pub addresses: AddressLists,
    /// The user that runs the server: its clients on a unix socket are operators if the listener allows operators.
    pub own_uid: u32,
    /// One entry for each listener of the net, in the same order.
    pub listeners: Vec<ListenerSettings>,
}

/// Limits of one tick, and of delayed work on all connections. A server uses `limits`; a simulation uses lower
/// values to reach them.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Steps of all connections in one tick.
    pub steps_per_tick: usize,
    /// Bytes read and converted in one tick.
    pub bytes_per_tick: usize,
    /// Bytes of the texts of delayed requests.
    pub delayed_bytes: usize,
    /// Open requests of a closed connection that are cancelled at once; one with more is cancelled in a later tick.
    pub forgotten_at_once: usize,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds {
            steps_per_tick: limits::STEPS_PER_TICK_TOTAL_MAX,
            bytes_per_tick: limits::BYTES_PER_TICK_TOTAL_MAX,
            delayed_bytes: limits::DELAYED_BYTES_MAX,
            forgotten_at_once: limits::REQUESTS_DROPPED_AT_ONCE_MAX,
        }
    }
}

/// The settings of one listener.
#[derive(Clone, Debug)]
pub struct ListenerSettings {
    /// Deadlines and sizes.
    pub rules: Rules,
    /// The access policy of its clients.
    pub policy: ListenerPolicy,
    /// Whether its clients have reserved slots, which other clients cannot take.
    pub has_reserved_slots: bool,
}

/// The event loop and its state.
pub struct Reactor<N: Net, J, C> {
    net: N,
    clock: C,
    settings: Settings,
    connections: Table<Connection<N::Socket>>,
    connection_timers: ConnectionTimers,
    dispatcher: Dispatcher<J>,
    acceptor: Acceptor,
    budget: BufferBudget,
    /// Whether [`Timer::Scarcity`] is armed.
    scarcity_is_watched: bool,
    /// Whether [`Timer::Trim`] is armed.
    trim_is_armed: bool,
    memory_log_limiter: LogRateLimiter,
    runnable: VecDeque<ConnId>,
    /// The number of the next step, and of the request that it may begin.
    next_seq: u64,
    /// Closed connections whose open requests are cancelled one connection a tick.
    closing: VecDeque<(ConnId, Session, JobLoad)>,
    deliveries: Deliveries<N::Socket>,
    stopping: bool,
    http_line_log_limiter: LogRateLimiter,
    events: Vec<Event>,
    /// Completions that are not processed yet.
    completions: VecDeque<Completion>,
    /// Connections that the embedding program closes; the completions that came before are processed first.
    leaving: Vec<ConnId>,
    memory: RunMemory,
}

impl<N: Net, J: Jobs, C: Clock> Reactor<N, J, C> {
    /// Creates the loop. `settings` has one entry for each listener of `net`; panics otherwise.
    pub fn new(net: N, jobs: J, mut clock: C, mut app: App, settings: Settings) -> Reactor<N, J, C> {
        assert_eq!(net.listener_count(), settings.listeners.len());
        let started = clock.now();
        app.presence_mut().reserve(settings.connections_max);
        Reactor {
            acceptor: Acceptor::new(&settings),
            dispatcher: Dispatcher::new(
                app,
                jobs,
                settings.requests_max,
                settings.bounds.delayed_bytes,
                started,
            ),
            connections: Table::with_capacity(settings.connections_max),
            connection_timers: ConnectionTimers::with_capacity(settings.connections_max),
            budget: BufferBudget::new(settings.buffers_bytes_max),
            scarcity_is_watched: false,
            trim_is_armed: false,
            memory_log_limiter: LogRateLimiter::default(),
            net,
            clock,
            settings,
            runnable: VecDeque::new(),
            next_seq: 0,
            closing: VecDeque::new(),
            deliveries: Deliveries::new(),
            stopping: false,
            http_line_log_limiter: LogRateLimiter::default(),
            events: Vec::new(),
            completions: VecDeque::new(),
            leaving: Vec::new(),
            memory: RunMemory::new(),
        }
    }

    /// Runs one tick: waits for events, for at most `wait_max`, if given, and does a bounded amount of work. Errors are
    /// those of [`Net::poll`].
    pub fn tick(&mut self, wait_max: Option<Duration>) -> io::Result<()> {
        let timeout = self.wait_time().into_iter().chain(wait_max).min();
        let mut events = std::mem::take(&mut self.events);
        self.net.poll(timeout, &mut events)?;
        let now = Now { instant: self.clock.now(), unix: self.clock.unix_now() };
        self.dispatcher.begin_tick(now, self.clock.wall_lead(now.unix));
        for event in events.drain(..) {
            self.latch(event);
        }
        self.events = events;
        self.accept(now);
        self.collect_completions(now);
        self.run_queue(now);
        self.expire(now);
        self.dispatcher.advance_containers(now);
        self.dispatcher.write_seen(now);
        self.dispatcher.publish_changes(now);
        // Timers submit jobs, too.
        self.dispatcher.notify_workers();
        self.dispatcher.end_tick(now);
        self.forget_closing();
        self.resume_waiting(now);
        if self.dispatcher.has_changes() {
            self.deliver_changes(now);
        }
        if self.stopping && self.dispatcher.has_watchers() {
            self.end_watches();
        }
        self.dispatcher.flush_events();
        let took = self.clock.now() - now.instant;
        let counters = self.dispatcher.counters_mut();
        counters.tick_max = counters.tick_max.max(took);
        Ok(())
    }

    /// Closes the listeners and begins to drain.
    pub fn begin_stop(&mut self, grace: Duration) {
        self.net.close_listeners();
        self.begin_drain(grace);
    }

    /// Applies other settings, also to open connections. The number of listeners must be the same. Connections and
    /// requests over a lowered limit continue.
    pub fn reload(&mut self, settings: Settings, app: app::Settings) {
        assert_eq!(self.settings.listeners.len(), settings.listeners.len());
        self.settings = settings;
        self.dispatcher.reload(self.settings.requests_max, app);
        self.budget.set_bytes_max(self.settings.buffers_bytes_max);
        self.acceptor.set_connections_max(self.settings.connections_max);
        for id in self.connections.ids() {
            if let Some(connection) = self.connections.get(id) {
                let policy = self.settings.listeners[usize::from(connection.listener)].policy;
                self.dispatcher.set_policy(id, policy);
            }
            self.arm(id);
        }
    }

    /// Calls `beat`, which must not block, every `interval` while the loop runs and no lane is stuck.
    pub fn set_watchdog(&mut self, interval: Duration, beat: Box<dyn FnMut() + Send>) {
        self.dispatcher.set_watchdog(interval, beat, self.clock.now());
    }

    /// The server's counters.
    pub fn statistics(&mut self) -> Statistics {
        let now = self.clock.now();
        self.dispatcher.statistics(now)
    }

    /// Whether the loop was stopped, has no open connection, and the store knows when VMs were last seen.
    pub fn is_finished(&self) -> bool {
        self.stopping && self.connections.len() == 0 && self.dispatcher.has_written_seen()
    }

    /// The longest time that the next tick waits for events; `None`: until one comes.
    pub fn wait_time(&mut self) -> Option<Duration> {
        let has_more = !self.runnable.is_empty() || !self.completions.is_empty() || !self.closing.is_empty();
        if has_more
            || self.acceptor.is_ready()
            || self.dispatcher.has_due_containers()
            || self.dispatcher.has_changes()
        {
            return Some(Duration::ZERO);
        }
        let connection = self.connection_timers.next();
        let next = connection.into_iter().chain(self.dispatcher.timers().next()).min()?;
        Some(next.since(self.clock.now()))
    }

    /// Closes all connections. The net is for another reactor.
    pub fn into_net(self) -> N {
        self.net
    }

    fn latch(&mut self, event: Event) {
        match event {
            Event::Woken => {}
            Event::Acceptable(listener) => self.acceptor.latch(listener),
            Event::Ready { id, readable, writable, broken } => {
                let Some(connection) = self.connections.get_mut(id) else { return };
                if broken {
                    connection.note_end(OfflineReason::Reset);
                    self.close(id);
                    return;
                }
                connection.readable = connection.readable.max(readable);
                connection.writable |= writable;
                self.enqueue(id);
            }
        }
    }

    fn expire(&mut self, now: Now) {
        for _ in 0..limits::TIMERS_PER_TICK_MAX {
            if let Some(index) = self.connection_timers.pop_due(now.instant) {
                self.connections.id_at(index).into_iter().for_each(|id| self.expire_connection(id, now));
                continue;
            }
            let Some(timer) = self.dispatcher.timers_mut().pop_due(now.instant) else { return };
            match timer {
                Timer::Job(key) if key.request_key.conn == ConnId::INTERNAL => {
                    self.dispatcher.expire_internal(key, now);
                }
                Timer::Container(container) => self.dispatcher.retry_container(container, now),
                Timer::Reconcile => self.dispatcher.reconcile(now),
                Timer::Delivery => self.check_deliveries(),
                Timer::Job(key) => {
                    self.with_client(key.request_key.conn, now, |dispatcher, client| {
                        dispatcher.expire_job(key, client);
                    });
                    self.apply_effects(now);
                }
                Timer::Login(LoginRetry { request_key, .. }) => {
                    self.with_client(request_key.conn, now, |dispatcher, client| {
                        dispatcher.retry_login(request_key, client);
                    });
                }
                Timer::LoginReport => self.dispatcher.report_logins(),
                Timer::Accept => self.acceptor.retry(),
                Timer::Audit => self.dispatcher.end_audit_minute(),
                // The end of this tick does it.
                Timer::Seen | Timer::Watch => {}
                Timer::Scarcity => self.close_stalled(now),
                Timer::Trim => self.trim(),
                Timer::Watchdog => self.dispatcher.beat(now),
                Timer::Stop => {
                    let ids = self.connections.ids();
                    if !ids.is_empty() {
                        log::warn!("the grace period is over: closed {} connections", ids.len());
                    }
                    self.close_last(ids, now);
                    self.dispatcher.give_up_seen();
                }
            }
        }
    }

    fn expire_connection(&mut self, id: ConnId, now: Now) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        let rules = &self.settings.listeners[usize::from(connection.listener)].rules;
        if connection.is_queued && !connection.is_long_overdue(rules, now.instant) {
            // Its input is not processed yet; its run arms the timer again.
            return;
        }
        match connection.overdue(rules, now.instant) {
            Some(Overdue::Input) => {
                connection.note_end(OfflineReason::Timeout);
                self.dispatcher.counters_mut().connections_timed_out += 1;
                self.enqueue(id);
            }
            Some(Overdue::Output) => {
                connection.note_end(OfflineReason::Timeout);
                self.dispatcher.counters_mut().connections_stalled += 1;
                self.close(id);
            }
            Some(Overdue::Linger) => self.close(id),
            None if !connection.has_stalled(Duration::ZERO, now.instant)
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

    /// Arms the timer of the connection for its deadline. A timer that is armed for an earlier time stays: when it
    /// is due, it is armed again.
    fn arm(&mut self, id: ConnId) {
        let Some(connection) = self.connections.get(id) else { return };
        let rules = &self.settings.listeners[usize::from(connection.listener)].rules;
        let Some(deadline) = connection.deadline(rules) else { return };
        self.connection_timers.arm(id.index, deadline);
    }
}
