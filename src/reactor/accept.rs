//! Taking new connections: how many, and what happens when there are enough.

use std::collections::VecDeque;
use std::io;

use super::Reactor;
use super::calls::Now;
use super::connection::{Connection, Taken};
use super::net::Net;
use super::timers::Timer;
use crate::clock::Clock;
use crate::ids::ConnId;
use crate::limits;
use crate::model::Peer;
use crate::throttle::Throttle;
use crate::worker::Jobs;

/// Which listeners have connections waiting, and whether to take them.
pub(super) struct Acceptor {
    /// Latched, one for each listener.
    acceptable: Vec<bool>,
    pause: Option<Pause>,
    /// The timer that ends a pause is armed: there is one at most, however often accepting fails.
    retry_is_armed: bool,
    connections_max: usize,
    /// Where the next round begins, so that no listener starves another.
    next: usize,
    /// Connections in the order they came. Those that have spoken or are gone are dropped when met.
    silent: VecDeque<ConnId>,
    troubles: Throttle,
}

/// Why nothing is accepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Pause {
    /// There are as many connections as may be, and all have spoken.
    Full,
    /// The system has no descriptors or memory. No event will tell when it has again.
    Exhausted,
}

impl Acceptor {
    pub(super) fn new(listeners: usize, connections_max: usize) -> Acceptor {
        // Worth a try: what came before the registration made no event of its own.
        let acceptable = vec![true; listeners];
        Acceptor {
            acceptable,
            pause: None,
            retry_is_armed: false,
            connections_max,
            next: 0,
            silent: VecDeque::new(),
            troubles: Throttle::default(),
        }
    }

    pub(super) fn latch(&mut self, listener: usize) {
        if let Some(acceptable) = self.acceptable.get_mut(listener) {
            *acceptable = true;
        }
    }

    /// Whether to accept without waiting for an event.
    pub(super) fn is_ready(&self) -> bool {
        self.pause.is_none() && self.acceptable.contains(&true)
    }

    /// The listeners are gone.
    pub(super) fn close(&mut self) {
        self.acceptable.clear();
    }

    /// Some time has passed since descriptors ran out.
    pub(super) fn retry(&mut self) {
        self.retry_is_armed = false;
        self.pause = self.pause.filter(|pause| *pause != Pause::Exhausted);
    }

    /// A connection was closed and `open` are left.
    pub(super) fn connection_closed(&mut self, open: usize) {
        match self.pause {
            Some(Pause::Full) if open * 100 > self.connections_max * limits::ACCEPT_RESUME_PERCENT => {}
            _ => self.pause = None,
        }
    }

    /// From now on so many connections may be open; `open` are.
    pub(super) fn set_connections_max(&mut self, connections_max: usize, open: usize) {
        self.connections_max = connections_max;
        self.connection_closed(open);
    }

    /// The next listener that has a connection waiting.
    fn next_listener(&mut self) -> Option<usize> {
        let count = self.acceptable.len();
        let found =
            (0..count).map(|step| (self.next + step) % count).find(|index| self.acceptable[*index])?;
        self.next = (found + 1) % count;
        Some(found)
    }
}

impl<N: Net, J: Jobs, C: Clock> Reactor<N, J, C> {
    /// Accepts a bounded number of connections.
    pub(super) fn accept(&mut self, now: Now) {
        for _ in 0..limits::ACCEPTS_PER_TURN_MAX {
            if self.acceptor.pause.is_some() {
                return;
            }
            let Some(listener) = self.acceptor.next_listener() else { return };
            let is_full = self.connections.len() >= self.settings.connections_max;
            let silent = if is_full { self.oldest_silent() } else { None };
            if is_full && silent.is_none() {
                return self.pause_full(now);
            }
            match self.net.accept(listener) {
                Ok((socket, peer)) => {
                    // Only now is it certain that there is somebody to make room for.
                    if let Some(id) = silent {
                        self.calls.counters.connections_evicted += 1;
                        self.close(id);
                    }
                    self.open(socket, peer, listener);
                }
                Err(error) => self.accept_failed(listener, &error, now),
            }
        }
    }

    fn pause_full(&mut self, now: Now) {
        self.acceptor.pause = Some(Pause::Full);
        if self.acceptor.troubles.pass(limits::TROUBLE_LOG_INTERVAL_S, now.unix).is_some() {
            log::warn!(
                "{} connections are open, as many as --connections-max allows: accepting is paused",
                self.connections.len()
            );
        }
    }

    fn open(&mut self, socket: N::Socket, peer: Peer, listener: usize) {
        let id = self.connections.insert_with(|_| Connection::new(socket, listener as u16));
        self.calls.counters.connections_accepted += 1;
        self.calls.counters.connections_open += 1;
        let admission = self.settings.listeners[listener].admission;
        self.calls.app.presence_mut().open(id, peer, admission, self.settings.own_uid);
        let Some(connection) = self.connections.get_mut(id) else { return };
        if let Err(error) = self.net.register(&mut connection.socket, id) {
            log::warn!("a connection could not be registered: {error}");
            self.calls.counters.accept_errors += 1;
            self.close(id);
            return;
        }
        self.acceptor.silent.push_back(id);
        self.forget_spoken();
        self.enqueue(id);
    }

    fn accept_failed(&mut self, listener: usize, error: &io::Error, now: Now) {
        match error.kind() {
            io::ErrorKind::WouldBlock => self.acceptor.acceptable[listener] = false,
            // The client is gone before it was taken: the next one may not be.
            io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted => {}
            _ => {
                self.calls.counters.accept_errors += 1;
                self.acceptor.pause = Some(Pause::Exhausted);
                if !std::mem::replace(&mut self.acceptor.retry_is_armed, true) {
                    self.timers.arm(now.instant + limits::ACCEPT_RETRY, Timer::Accept);
                }
                if self.acceptor.troubles.pass(limits::TROUBLE_LOG_INTERVAL_S, now.unix).is_some() {
                    log::warn!("accepting connections failed, trying again soon: {error}");
                }
            }
        }
    }

    /// The oldest connection that never sent a byte. What may have come without an event yet is
    /// looked at first.
    fn oldest_silent(&mut self) -> Option<ConnId> {
        while let Some(&id) = self.acceptor.silent.front() {
            if let Some(connection) = self.connections.get_mut(id)
                && !connection.has_spoken
            {
                while connection.read(&mut self.net, &mut self.chunk) == Taken::Bytes(0) {
                    // Interrupted.
                }
                if !connection.has_spoken {
                    return Some(id);
                }
                self.enqueue(id);
            }
            self.acceptor.silent.pop_front();
        }
        None
    }

    /// Keeps the list of silent connections no longer than twice the connections there are.
    fn forget_spoken(&mut self) {
        if self.acceptor.silent.len() <= 2 * self.connections.len() + 64 {
            return;
        }
        let connections = &self.connections;
        self.acceptor
            .silent
            .retain(|id| connections.get(*id).is_some_and(|connection| !connection.has_spoken));
    }
}
