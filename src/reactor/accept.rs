//! Taking new connections: how many, and what happens when there are enough.

use std::collections::{BinaryHeap, VecDeque};
use std::io;
use std::time::Duration;

use super::connection::{Connection, Phase, ReadOutcome};
use super::net::Net;
use super::{Reactor, Settings};
use crate::clock::{Clock, Instant};
use crate::dispatch::Now;
use crate::dispatch::timers::Timer;
use crate::ids::ConnId;
use crate::limits;
use crate::log_limiter::LogRateLimiter;
use crate::model::Peer;
use crate::worker::Jobs;

/// Which listeners have connections waiting, and whether to take them.
pub(super) struct Acceptor {
    listeners: Vec<Listening>,
    /// Places for clients of most listeners, and for those of listeners that have some of their own.
    places: [ConnectionSlots; 2],
    /// The system has no descriptors or memory. No event will tell when it has again.
    is_exhausted: bool,
    /// The timer that ends a pause is armed: there is one at most, however often accepting fails.
    retry_is_armed: bool,
    /// Where the next round begins, so that no listener starves another.
    next: usize,
    troubles: LogRateLimiter,
}

/// One listener.
struct Listening {
    /// Latched.
    is_acceptable: bool,
    /// Which of the places its clients have.
    places: usize,
}

/// Places for connections.
struct ConnectionSlots {
    most: usize,
    taken: usize,
    /// All are taken, and none could be had for others.
    is_full: bool,
    /// Connections in the order they came. Those that have spoken or are gone are dropped when met.
    silent: VecDeque<ConnId>,
    /// Connections that were idle when all were looked at last, and since when; the one that was so for longest
    /// comes last.
    idle: Vec<(Instant, ConnId)>,
}

impl ConnectionSlots {
    fn new(most: usize) -> ConnectionSlots {
        ConnectionSlots { most, taken: 0, is_full: false, silent: VecDeque::new(), idle: Vec::new() }
    }
}

impl Acceptor {
    pub(super) fn new(settings: &Settings) -> Acceptor {
        let listeners = settings.listeners.iter().map(|listener| Listening {
            // Worth a try: what came before the registration made no event of its own.
            is_acceptable: true,
            places: usize::from(listener.has_reserved_slots),
        });
        Acceptor {
            listeners: listeners.collect(),
            places: [settings.connections_max, limits::OWN_SOCKET_CONNECTIONS].map(ConnectionSlots::new),
            is_exhausted: false,
            retry_is_armed: false,
            next: 0,
            troubles: LogRateLimiter::default(),
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

    /// The listeners are gone.
    pub(super) fn close(&mut self) {
        self.listeners.clear();
    }

    /// Some time has passed since descriptors ran out, or no place could be had.
    pub(super) fn retry(&mut self) {
        (self.is_exhausted, self.retry_is_armed) = (false, false);
        self.places.iter_mut().for_each(|places| places.is_full = false);
    }

    /// A connection of `listener` was closed.
    pub(super) fn connection_closed(&mut self, listener: usize) {
        // A descriptor is free, whatever was missing.
        self.is_exhausted = false;
        let Some(listener) = self.listeners.get(listener) else { return };
        let places = &mut self.places[listener.places];
        places.taken -= 1;
        places.end_pause();
    }

    /// From now on so many connections may be open, where they have no places of their own.
    pub(super) fn set_connections_max(&mut self, connections_max: usize) {
        self.places[0].most = connections_max;
        self.places[0].end_pause();
    }

    fn may_accept(&self, listener: &Listening) -> bool {
        listener.is_acceptable && !self.is_exhausted && !self.places[listener.places].is_full
    }

    /// The next listener that has a connection waiting that may be taken.
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
    /// Goes on once enough are free that it does not stop at once again.
    fn end_pause(&mut self) {
        if self.taken * 100 <= self.most * limits::ACCEPT_RESUME_PERCENT {
            self.is_full = false;
        }
    }
}

impl<N: Net, J: Jobs, C: Clock> Reactor<N, J, C> {
    /// Accepts a bounded number of connections.
    pub(super) fn accept(&mut self, now: Now) {
        for _ in 0..limits::ACCEPTS_PER_TURN_MAX {
            let Some(listener) = self.acceptor.next_listener() else { return };
            let at = self.acceptor.listeners[listener].places;
            let is_full = self.acceptor.places[at].taken >= self.acceptor.places[at].most;
            let dispensable = if is_full { self.evictable(at) } else { None };
            if is_full && dispensable.is_none() {
                self.pause_full(at, now);
                continue;
            }
            match self.net.accept(listener) {
                Ok((socket, peer)) => {
                    // Only now is it certain that there is somebody to make room for.
                    if let Some(id) = dispensable {
                        self.dispatcher.counters.connections_evicted += 1;
                        #[cfg(feature = "internals")]
                        self.dispatcher.trace(crate::dispatch::trace::TraceEvent::Evicted(id));
                        self.close(id);
                    }
                    self.open(socket, peer, listener);
                }
                Err(error) => self.accept_failed(listener, &error, now),
            }
        }
    }

    fn pause_full(&mut self, at: usize, now: Now) {
        let places = &mut self.acceptor.places[at];
        places.is_full = true;
        let taken = places.taken;
        // Without a connection's end there may be one to dispense with later.
        self.retry_accept(limits::FULL_RETRY, now);
        if self.acceptor.troubles.allow(limits::TROUBLE_LOG_INTERVAL_S, now.unix).is_some() {
            let limit =
                if at == 0 { "--connections-max allows" } else { "the daemon's own socket has places for" };
            log::warn!("{taken} connections are open, as many as {limit}: accepting is paused");
        }
    }

    fn retry_accept(&mut self, after: Duration, now: Now) {
        if !std::mem::replace(&mut self.acceptor.retry_is_armed, true) {
            self.timers.arm(now.instant + after, Timer::Accept);
        }
    }

    fn open(&mut self, socket: N::Socket, peer: Peer, listener: usize) {
        let id = self.connections.insert_with(|_| Connection::new(socket, listener as u16));
        self.dispatcher.counters.connections_accepted += 1;
        self.dispatcher.counters.connections_open += 1;
        let policy = self.settings.listeners[listener].policy;
        self.dispatcher.app.presence_mut().open(id, peer, policy, self.settings.own_uid);
        let at = self.acceptor.listeners[listener].places;
        self.acceptor.places[at].taken += 1;
        let Some(connection) = self.connections.get_mut(id) else { return };
        if let Err(error) = self.net.register(&mut connection.socket, id) {
            log::warn!("a connection could not be registered: {error}");
            self.dispatcher.counters.accept_errors += 1;
            self.close(id);
            return;
        }
        self.acceptor.places[at].silent.push_back(id);
        self.forget_spoken(at);
        self.enqueue(id);
    }

    fn accept_failed(&mut self, listener: usize, error: &io::Error, now: Now) {
        match error.kind() {
            io::ErrorKind::WouldBlock => self.acceptor.listeners[listener].is_acceptable = false,
            // The client is gone before it was taken: the next one may not be.
            io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted => {}
            _ => {
                self.dispatcher.counters.accept_errors += 1;
                self.acceptor.is_exhausted = true;
                self.retry_accept(limits::ACCEPT_RETRY, now);
                if self.acceptor.troubles.allow(limits::TROUBLE_LOG_INTERVAL_S, now.unix).is_some() {
                    log::warn!("accepting connections failed, trying again soon: {error}");
                }
            }
        }
    }

    /// The connection that may be closed for another: the oldest that never sent a byte, or else the one that
    /// has been idle for longest of those whose clients are not known.
    fn evictable(&mut self, at: usize) -> Option<ConnId> {
        self.oldest_silent(at).or_else(|| self.longest_idle(at))
    }

    /// The oldest connection that never sent a byte.
    fn oldest_silent(&mut self, at: usize) -> Option<ConnId> {
        while let Some(&id) = self.acceptor.places[at].silent.front() {
            if self.connections.get(id).is_some_and(|connection| !connection.received_any)
                && !self.has_news(id)
            {
                return Some(id);
            }
            self.acceptor.places[at].silent.pop_front();
        }
        None
    }

    /// The connection that has been idle for longest. All are looked at where none is known that is still
    /// idle, and some noted for later.
    fn longest_idle(&mut self, at: usize) -> Option<ConnId> {
        for has_looked in [false, true] {
            while let Some((since, id)) = self.acceptor.places[at].idle.pop() {
                if self.idle_since(id) == Some(since) && !self.has_news(id) {
                    self.acceptor.places[at].idle.push((since, id));
                    return Some(id);
                }
            }
            if !has_looked {
                self.find_idle(at);
            }
        }
        None
    }

    fn find_idle(&mut self, at: usize) {
        // The one that was idle for least of those found is on top.
        let mut found = BinaryHeap::new();
        for id in self.connections.ids() {
            let is_here = self.connections.get(id).is_some_and(|connection| {
                let listener = self.acceptor.listeners.get(usize::from(connection.listener));
                listener.is_some_and(|listener| listener.places == at)
            });
            if let Some(since) = self.idle_since(id).filter(|_| is_here) {
                found.push((since, id));
                if found.len() > limits::IDLE_FOUND_AT_ONCE {
                    found.pop();
                }
            }
        }
        let mut idle = found.into_sorted_vec();
        idle.reverse();
        self.acceptor.places[at].idle = idle;
    }

    /// Since when the connection has had nothing to say and nothing to be told, if its client is not known.
    fn idle_since(&self, id: ConnId) -> Option<Instant> {
        let connection = self.connections.get(id)?;
        let is_looked_at = matches!(connection.phase, Phase::Open) && !connection.is_queued;
        let is_idle = is_looked_at && connection.output.is_empty();
        let since = connection.session.idle_since().filter(|_| is_idle)?;
        (!self.dispatcher.app.presence().is_trusted(id)).then_some(since)
    }

    /// Whether the client has sent something, even if no event has told. It is looked at later.
    fn has_news(&mut self, id: ConnId) -> bool {
        let Some(connection) = self.connections.get_mut(id) else { return false };
        let taken = loop {
            match connection.read(&mut self.net, &mut self.chunk) {
                // Interrupted.
                ReadOutcome::Bytes(0) => {}
                taken => break taken,
            }
        };
        let has_news = matches!(taken, ReadOutcome::Bytes(_));
        if has_news {
            self.enqueue(id);
        }
        has_news
    }

    /// Keeps the list of silent connections no longer than twice the connections there are.
    fn forget_spoken(&mut self, at: usize) {
        let silent = &mut self.acceptor.places[at].silent;
        if silent.len() <= 2 * self.connections.len() + 64 {
            return;
        }
        let connections = &self.connections;
        silent.retain(|id| connections.get(*id).is_some_and(|connection| !connection.received_any));
    }
}
