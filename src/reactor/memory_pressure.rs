//! Keeping what is held for clients within its bound: whoever is not known and holds most is refused first;
//! what clients that are known want to send or to be told waits.

use super::buffer_budget::Charge;
use super::connection::Connection;
use super::net::Net;
use super::{Now, Reactor};
use crate::clock::Clock;
use crate::dispatch::timers::Timer;
use crate::ids::ConnId;
use crate::limits;
use crate::worker::Jobs;

impl<N: Net, J: Jobs, C: Clock> Reactor<N, J, C> {
    /// Counts what the connection holds now.
    pub(super) fn update_charge(&mut self, id: ConnId) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        let bytes = connection.held_bytes();
        if bytes == 0 && connection.charge == Charge::default() {
            return self.budget.end_overcommit(id);
        }
        let charge = match bytes {
            0 => Charge::default(),
            _ => Charge::new(bytes, self.dispatcher.app.presence().is_trusted(id)),
        };
        let before = std::mem::replace(&mut connection.charge, charge);
        self.budget.change(id, before, charge);
    }

    /// Refuses those who are not known, who holds most first, until no more is held than may be.
    pub(super) fn shed(&mut self, now: Now) {
        while self.budget.is_over() {
            let Some(id) = self.budget.largest_anonymous() else { return };
            self.refuse_for_memory(id, now);
        }
    }

    /// The connection can't go on without room. Who is known gets that of those who are not, or waits for it.
    pub(super) fn make_room(&mut self, id: ConnId, now: Now) {
        let is_known = self.dispatcher.app.presence().is_trusted(id);
        while is_known && !self.budget.has_room(limits::PAGE_BYTES_RESERVED, true) {
            let Some(stranger) = self.budget.largest_anonymous() else { break };
            self.refuse_for_memory(stranger, now);
        }
        let Some(connection) = self.connections.get_mut(id) else { return };
        if !std::mem::replace(&mut connection.waits_for_memory, true) {
            self.budget.wait(id, is_known);
            if !std::mem::replace(&mut self.scarcity_is_watched, true) {
                self.timers.arm(now.instant + limits::STALL_WHILE_SCARCE, Timer::Scarcity);
            }
            let connections = &self.connections;
            self.budget.drop_closed(connections.len(), |id| connections.get(id).is_some());
        }
    }

    /// Lets those go on that have waited, as far as there is room.
    pub(super) fn resume_waiting(&mut self, now: Now) {
        let mut promised = 0;
        while self.budget.has_waiting() {
            let called = match self.budget.next_waiting(promised) {
                Some(id) => id,
                None => match self.budget.next_overcommit() {
                    Some(id) => id,
                    None => break,
                },
            };
            match self.connections.get_mut(called) {
                Some(connection) => {
                    connection.waits_for_memory = false;
                    connection.is_resumed = true;
                    promised += limits::PAGE_BYTES_RESERVED;
                    self.enqueue(called);
                }
                None => self.budget.end_overcommit(called),
            }
        }
        self.dispatcher.counters.buffers_bytes = self.budget.bytes() as u64;
        if self.budget.is_below_peak() && !std::mem::replace(&mut self.trim_is_armed, true) {
            self.budget.begin_trim_window();
            self.timers.arm(now.instant + limits::TRIM_AFTER, Timer::Trim);
        }
    }

    /// Ends the turn of one that does not get on, and closes strangers that have an answer and take nothing of it while others wait for room for theirs.
    pub(super) fn close_stalled(&mut self, now: Now) {
        self.budget.expire_overcommit();
        self.scarcity_is_watched = self.budget.has_waiting();
        if !self.scarcity_is_watched {
            return;
        }
        self.timers.arm(now.instant + limits::STALL_WHILE_SCARCE, Timer::Scarcity);
        if !self.budget.has_anonymous_waiting() {
            return;
        }
        let has_stalled = |connection: &Connection<N::Socket>| {
            connection.stalled_since.is_some_and(|since| since + limits::STALL_WHILE_SCARCE <= now.instant)
        };
        let looked_at = self.budget.anonymous_holders().take(limits::STALLED_LOOKED_AT_MAX);
        let stalled: Vec<ConnId> =
            looked_at.filter(|id| self.connections.get(*id).is_some_and(has_stalled)).collect();
        stalled.into_iter().for_each(|id| self.refuse_for_memory(id, now));
    }

    /// Gives back to the system what is not used any more.
    pub(super) fn trim(&mut self) {
        self.trim_is_armed = false;
        if self.budget.end_trim_window() {
            crate::sys::memory::trim();
        }
    }

    /// Takes from a connection what it holds: its client is told where it can be, or else closed at once.
    fn refuse_for_memory(&mut self, id: ConnId, now: Now) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        self.dispatcher.counters.connections_refused += 1;
        #[cfg(feature = "internals")]
        self.dispatcher.trace(crate::dispatch::trace::TraceEvent::RefusedForMemory(id));
        if let Some(held_back) = self.memory_log_limiter.allow(limits::TROUBLE_LOG_INTERVAL_S, now.unix) {
            log::warn!(
                "clients have filled the memory that --buffers-max allows for requests and answers: refused {} \
                 that had not authenticated, those that held most",
                1 + held_back
            );
        }
        let is_told = connection.session.refuse_for_room(&mut connection.input);
        self.update_charge(id);
        let holds_still = self
            .connections
            .get(id)
            .is_some_and(|connection| connection.charge.bytes() >= limits::HOLDING_BYTES_MIN);
        if !is_told || holds_still {
            self.close(id);
        } else {
            self.enqueue(id);
        }
    }
}
