//! Accepting connections within the connection limits.

use std::collections::{BinaryHeap, VecDeque};
use std::io;
use std::time::Duration;

use super::connection::{Connection, Phase, ReadOutcome, SlotPool};
use super::net::Net;
use super::{Reactor, Settings};
use crate::clock::{Clock, Instant};
use crate::dispatch::Now;
use crate::dispatch::timers::Timer;
use crate::ids::ConnId;
use crate::limits;
use crate::log_limiter::LogRateLimiter;
use crate::model::Peer;
use crate::session::Session;
use crate::worker::Jobs;

/// The readiness of the listeners, and the slots for their connections.
pub(super) struct Acceptor {
    listeners: Vec<Listening>,
    /// By [`SlotPool`].
    slots: [ConnectionSlots; 3],
    /// The system has no descriptors or memory. No event reports when it has some again.
    is_exhausted: bool,
    /// Whether [`Timer::Accept`] is armed; there is one at most, however often accepting fails.
    retry_is_armed: bool,
    /// The listener to try first, so that no listener starves another.
    next: usize,
    log_limiter: LogRateLimiter,
    refusal_log_limiter: LogRateLimiter,
}

/// One listener.
struct Listening {
    /// Latched by an event, cleared by `WouldBlock`.
    is_acceptable: bool,
    pool: SlotPool,
}

/// A bounded number of connections.
struct ConnectionSlots {
    max: usize,
    taken: usize,
    /// All slots are taken by connections that cannot be evicted; accepting is paused.
    is_full: bool,
    /// Connections that have sent nothing, oldest first. Others among them are dropped when found.
    silent: VecDeque<ConnId>,
    /// Connections that were idle at the last scan, and since when; the one that has been idle for longest is last.
    idle: Vec<(Instant, ConnId)>,
}

impl ConnectionSlots {
    fn new(max: usize) -> ConnectionSlots {
        ConnectionSlots { max, taken: 0, is_full: false, silent: VecDeque::new(), idle: Vec::new() }
    }
}

impl Acceptor {
    pub(super) fn new(settings: &Settings) -> Acceptor {
        let listeners = settings.listeners.iter().map(|listener| Listening {
            // A connection that arrived before the registration causes no event.
            is_acceptable: true,
            pool: if listener.has_reserved_slots { SlotPool::Reserved } else { SlotPool::Shared },
        });
        let slots = [settings.connections_max, limits::OWN_SOCKET_CONNECTIONS, limits::REFUSED_CONNECTIONS];
        Acceptor {
            listeners: listeners.collect(),
            slots: slots.map(ConnectionSlots::new),
            is_exhausted: false,
            retry_is_armed: false,
            next: 0,
            log_limiter: LogRateLimiter::default(),
            refusal_log_limiter: LogRateLimiter::default(),
        }
    }

    pub(super) fn latch(&mut self, listener: usize) {
        if let Some(listener) = self.listeners.get_mut(listener) {
            listener.is_acceptable = true;
        }
    }

    /// Whether to accept without waiting for an event.
    pub(super) fn is_ready(&self) -> bool {
        self.listeners.iter().any(|listener| self.may_accept(listener))
    }

    /// Forgets the listeners, which are closed.
    pub(super) fn close(&mut self) {
        self.listeners.clear();
    }

    /// Ends a pause when its timer is due.
    pub(super) fn retry(&mut self) {
        (self.is_exhausted, self.retry_is_armed) = (false, false);
        self.slots.iter_mut().for_each(|slots| slots.is_full = false);
    }

    /// Frees the slot of a closed connection, one of `pool`.
    pub(super) fn connection_closed(&mut self, pool: SlotPool) {
        // The close has freed a descriptor.
        self.is_exhausted = false;
        let slots = &mut self.slots[pool as usize];
        slots.taken -= 1;
        slots.end_pause();
    }

    /// Sets the number of shared slots.
    pub(super) fn set_connections_max(&mut self, connections_max: usize) {
        self.slots[SlotPool::Shared as usize].max = connections_max;
        self.slots[SlotPool::Shared as usize].end_pause();
    }

    fn may_accept(&self, listener: &Listening) -> bool {
        listener.is_acceptable && !self.is_exhausted && !self.slots[listener.pool as usize].is_full
    }

    /// The next listener with a waiting connection that may be accepted.
    fn next_listener(&mut self) -> Option<usize> {
        let count = self.listeners.len();
        let found = (0..count)
            .map(|step| (self.next + step) % count)
            .find(|index| self.may_accept(&self.listeners[*index]))?;
        self.next = (found + 1) % count;
        Some(found)
    }
}

impl ConnectionSlots {
    /// Ends the pause once enough slots are free that it does not start again at once.
    fn end_pause(&mut self) {
        if self.taken * 100 <= self.max * limits::ACCEPT_RESUME_PERCENT {
            self.is_full = false;
        }
    }
}

impl<N: Net, J: Jobs, C: Clock> Reactor<N, J, C> {
    /// Accepts a bounded number of connections.
    pub(super) fn accept(&mut self, now: Now) {
        for _ in 0..limits::ACCEPTS_PER_TICK_MAX {
            let Some(listener) = self.acceptor.next_listener() else { return };
            let pool = self.acceptor.listeners[listener].pool;
            let is_full = self.acceptor.slots[pool as usize].taken >= self.acceptor.slots[pool as usize].max;
            let evicted = if is_full { self.evictable(pool) } else { None };
            if is_full && evicted.is_none() {
                self.pause_full(pool, now);
                continue;
            }
            match self.net.accept(listener) {
                Ok((socket, peer)) if !self.settings.addresses.admit(peer) => {
                    self.refuse(socket, peer, listener, now);
                }
                Ok((socket, peer)) => {
                    // Evict only after `accept` has returned a connection.
                    if let Some(id) = evicted {
                        self.dispatcher.counters_mut().connections_evicted += 1;
                        #[cfg(feature = "internals")]
                        self.dispatcher.trace(crate::dispatch::trace::TraceEvent::Evicted(id));
                        self.close(id);
                    }
                    self.open(socket, peer, listener, now);
                }
                Err(error) => self.accept_failed(listener, &error, now),
            }
        }
    }

    fn pause_full(&mut self, pool: SlotPool, now: Now) {
        let slots = &mut self.acceptor.slots[pool as usize];
        slots.is_full = true;
        let taken = slots.taken;
        // Try again later, since a connection may become evictable without a close.
        self.retry_accept(limits::EVICTION_RETRY, now);
        if self.acceptor.log_limiter.allow(limits::ERROR_LOG_INTERVAL_S, now.unix).is_some() {
            let limit = if pool == SlotPool::Shared {
                "--connections-max allows"
            } else {
                "the daemon's own socket has slots for"
            };
            log::warn!("{taken} connections are open, as many as {limit}: accepting is paused");
        }
    }

    fn retry_accept(&mut self, after: Duration, now: Now) {
        if !std::mem::replace(&mut self.acceptor.retry_is_armed, true) {
            self.dispatcher.timers_mut().arm(now.instant + after, Timer::Accept);
        }
    }

    fn open(&mut self, socket: N::Socket, peer: Peer, listener: usize, now: Now) {
        let pool = self.acceptor.listeners[listener].pool;
        let session = Session::new(&self.settings.listeners[listener].rules);
        let id = self.connections.insert(Connection::new(socket, listener as u8, pool, session));
        let policy = self.settings.listeners[listener].policy;
        self.dispatcher.opened(id, peer, policy, self.settings.own_uid);
        if self.register(id, pool) {
            self.acceptor.slots[pool as usize].silent.push_back(id);
            self.forget_spoken(pool);
            self.admit(id, now);
        }
    }

    /// Takes a slot for a new connection and registers it; returns whether it is open.
    fn register(&mut self, id: ConnId, pool: SlotPool) -> bool {
        self.acceptor.slots[pool as usize].taken += 1;
        let Some(connection) = self.connections.get_mut(id) else { return false };
        if let Err(error) = self.net.register(&mut connection.socket, id) {
            log::warn!("registering a connection failed: {error}");
            self.dispatcher.counters_mut().accept_errors += 1;
            self.close(id);
            return false;
        }
        true
    }

    /// Refuses a client because of its address: it is present in no list, and no code of the embedding program is called.
    /// If a slot is free, the connection is read as far as it takes to answer a client of HTTP.
    fn refuse(&mut self, socket: N::Socket, peer: Peer, listener: usize, now: Now) {
        self.dispatcher.counters_mut().addresses_refused += 1;
        let log_limiter = &mut self.acceptor.refusal_log_limiter;
        if let Some(suppressed) = log_limiter.allow(limits::REFUSAL_LOG_INTERVAL_S, now.unix) {
            let (count, source) = (1 + suppressed, self.dispatcher.logged_source(peer));
            log::warn!(
                "refused {count} connections because of --allow or --deny, the last one from {source}"
            );
        }
        let slots = &self.acceptor.slots[SlotPool::Refused as usize];
        if slots.taken < slots.max {
            let (pool, session) = (SlotPool::Refused, Session::refused());
            let id = self.connections.insert(Connection::new(socket, listener as u8, pool, session));
            if self.register(id, pool) {
                self.enqueue(id);
            }
        }
    }

    /// Lets the connection run, or leaves it to the gate.
    fn admit(&mut self, id: ConnId, now: Now) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        if self.dispatcher.begin_admission(&mut connection.client(id, now)) {
            connection.phase = Phase::Gated;
            self.apply_effects(now);
        } else {
            self.enqueue(id);
        }
    }

    fn accept_failed(&mut self, listener: usize, error: &io::Error, now: Now) {
        match error.kind() {
            io::ErrorKind::WouldBlock => self.acceptor.listeners[listener].is_acceptable = false,
            // This client has disconnected; others may be waiting.
            io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted => {}
            _ => {
                self.dispatcher.counters_mut().accept_errors += 1;
                self.acceptor.is_exhausted = true;
                self.retry_accept(limits::ACCEPT_RETRY, now);
                if self.acceptor.log_limiter.allow(limits::ERROR_LOG_INTERVAL_S, now.unix).is_some() {
                    log::warn!("accepting connections failed, trying again soon: {error}");
                }
            }
        }
    }

    /// The connection to close for a new one: the oldest that never sent a byte, or else the anonymous one that has
    /// been idle for longest.
    fn evictable(&mut self, pool: SlotPool) -> Option<ConnId> {
        self.oldest_silent(pool).or_else(|| self.longest_idle(pool))
    }

    /// The oldest connection that never sent a byte.
    fn oldest_silent(&mut self, pool: SlotPool) -> Option<ConnId> {
        while let Some(&id) = self.acceptor.slots[pool as usize].silent.front() {
            if self.connections.get(id).is_some_and(|connection| !connection.received_any)
                && !self.has_new_input(id)
            {
                return Some(id);
            }
            self.acceptor.slots[pool as usize].silent.pop_front();
        }
        None
    }

    /// The anonymous connection that has been idle for longest. Scans all connections if no candidate of the last
    /// scan is still idle.
    fn longest_idle(&mut self, pool: SlotPool) -> Option<ConnId> {
        for has_looked in [false, true] {
            while let Some((since, id)) = self.acceptor.slots[pool as usize].idle.pop() {
                if self.idle_since(id) == Some(since) && !self.has_new_input(id) {
                    self.acceptor.slots[pool as usize].idle.push((since, id));
                    return Some(id);
                }
            }
            if !has_looked {
                self.find_idle(pool);
            }
        }
        None
    }

    fn find_idle(&mut self, pool: SlotPool) {
        // The heap keeps the longest idle connections; the top is the most recently active of them.
        let mut found = BinaryHeap::new();
        for id in self.connections.ids() {
            let is_here = self.connections.get(id).is_some_and(|connection| connection.pool == pool);
            if let Some(since) = self.idle_since(id).filter(|_| is_here) {
                found.push((since, id));
                if found.len() > limits::IDLE_SCAN_RESULTS_MAX {
                    found.pop();
                }
            }
        }
        let mut idle = found.into_sorted_vec();
        idle.reverse();
        self.acceptor.slots[pool as usize].idle = idle;
    }

    /// Since when the connection has been idle, in both directions, if its client is anonymous.
    fn idle_since(&self, id: ConnId) -> Option<Instant> {
        let connection = self.connections.get(id)?;
        let is_quiet = matches!(connection.phase, Phase::Open) && !connection.is_queued;
        let is_idle = is_quiet && connection.output.is_empty();
        let since = connection.session.idle_since().filter(|_| is_idle)?;
        (!self.dispatcher.is_trusted(id)).then_some(since)
    }

    /// Whether the client has sent something that no event has reported yet. The input is processed later.
    fn has_new_input(&mut self, id: ConnId) -> bool {
        let Some(connection) = self.connections.get_mut(id) else { return false };
        let taken = loop {
            match connection.read(&mut self.net, &mut self.memory) {
                // The read was interrupted.
                ReadOutcome::Bytes(0) => {}
                taken => break taken,
            }
        };
        let has_new_input = matches!(taken, ReadOutcome::Bytes(_));
        if has_new_input {
            self.enqueue(id);
        }
        has_new_input
    }

    /// Drops the first ones in the list of silent connections that are not, and bounds it to about twice the number of
    /// connections.
    fn forget_spoken(&mut self, pool: SlotPool) {
        let silent = &mut self.acceptor.slots[pool as usize].silent;
        let connections = &self.connections;
        let is_silent = |id: ConnId| connections.get(id).is_some_and(|connection| !connection.received_any);
        while silent.front().is_some_and(|id| !is_silent(*id)) {
            silent.pop_front();
        }
        if silent.len() > 2 * connections.len() + 64 {
            silent.retain(|id| is_silent(*id));
        }
    }
}
