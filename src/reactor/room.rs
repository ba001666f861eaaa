//! Keeping what is held for clients within its bound: whoever is not known and holds most is refused first;
//! what clients that are known want to send or to be told waits.

use super::account::Charge;
use super::connection::Connection;
use super::net::Net;
use super::timers::Timer;
use super::{Now, Reactor};
use crate::clock::Clock;
use crate::ids::ConnId;
use crate::limits;
use crate::worker::Jobs;

impl<N: Net, J: Jobs, C: Clock> Reactor<N, J, C> {
    /// Counts what the connection holds now.
    pub(super) fn settle(&mut self, id: ConnId) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        let bytes = connection.held_bytes();
        if bytes == 0 && connection.charge == Charge::default() {
            return self.account.end_way(id);
        }
        let charge = match bytes {
            0 => Charge::default(),
            _ => Charge::new(bytes, self.calls.app.presence().is_known(id)),
        };
        let before = std::mem::replace(&mut connection.charge, charge);
        self.account.change(id, before, charge);
    }

    /// Refuses those who are not known, who holds most first, until no more is held than may be.
    pub(super) fn shed(&mut self, now: Now) {
        while self.account.is_over() {
            let Some(id) = self.account.heaviest_stranger() else { return };
            self.refuse(id, now);
        }
    }

    /// The connection can't go on without room. Who is known gets that of those who are not, or waits for it.
    pub(super) fn find_room(&mut self, id: ConnId, now: Now) {
        let is_known = self.calls.app.presence().is_known(id);
        while is_known && !self.account.has_room(limits::PAGE_BYTES_RESERVED, true) {
            let Some(stranger) = self.account.heaviest_stranger() else { break };
            self.refuse(stranger, now);
        }
        let Some(connection) = self.connections.get_mut(id) else { return };
        if !std::mem::replace(&mut connection.waits_for_room, true) {
            self.account.wait(id, is_known);
            if !std::mem::replace(&mut self.scarcity_is_watched, true) {
                self.timers.arm(now.instant + limits::STALL_WHILE_SCARCE, Timer::Scarcity);
            }
            let connections = &self.connections;
            self.account.forget_gone(connections.len(), |id| connections.get(id).is_some());
        }
    }

    /// Lets those go on that have waited, as far as there is room.
    pub(super) fn call_waiting(&mut self, now: Now) {
        let mut promised = 0;
        while self.account.has_waiting() {
            let called = match self.account.call_one(promised) {
                Some(id) => id,
                None => match self.account.call_beyond() {
                    Some(id) => id,
                    None => break,
                },
            };
            match self.connections.get_mut(called) {
                Some(connection) => {
                    connection.waits_for_room = false;
                    connection.is_called = true;
                    promised += limits::PAGE_BYTES_RESERVED;
                    self.enqueue(called);
                }
                None => self.account.end_way(called),
            }
        }
        self.calls.counters.buffers_bytes = self.account.bytes() as u64;
        if self.account.has_peak() && !std::mem::replace(&mut self.trim_is_armed, true) {
            self.account.watch_use();
            self.timers.arm(now.instant + limits::TRIM_AFTER, Timer::Trim);
        }
    }

    /// Ends the turn of one that does not get on, and closes strangers that have an answer and take nothing of it while others wait for room for theirs.
    pub(super) fn look_at_stalled(&mut self, now: Now) {
        self.account.look_at_way();
        self.scarcity_is_watched = self.account.has_waiting();
        if !self.scarcity_is_watched {
            return;
        }
        self.timers.arm(now.instant + limits::STALL_WHILE_SCARCE, Timer::Scarcity);
        if !self.account.has_strangers_waiting() {
            return;
        }
        let has_stalled = |connection: &Connection<N::Socket>| {
            connection.stalled_since.is_some_and(|since| since + limits::STALL_WHILE_SCARCE <= now.instant)
        };
        let looked_at = self.account.strangers().take(limits::STALLED_LOOKED_AT_MAX);
        let stalled: Vec<ConnId> =
            looked_at.filter(|id| self.connections.get(*id).is_some_and(has_stalled)).collect();
        stalled.into_iter().for_each(|id| self.refuse(id, now));
    }

    /// Gives back to the system what is not used any more.
    pub(super) fn trim(&mut self) {
        self.trim_is_armed = false;
        if self.account.end_peak() {
            crate::sys::memory::trim();
        }
    }

    /// Takes from a connection what it holds: its client is told where it can be, or else closed at once.
    fn refuse(&mut self, id: ConnId, now: Now) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        self.calls.counters.connections_refused += 1;
        #[cfg(test)]
        self.calls.notes.push(super::inspect::Note::MadeRoom(id));
        if let Some(held_back) = self.room_troubles.allow(limits::TROUBLE_LOG_INTERVAL_S, now.unix) {
            log::warn!(
                "clients have filled the memory that --buffers-max allows for requests and answers: refused {} \
                 that had not authenticated, those that held most",
                1 + held_back
            );
        }
        let is_told = connection.session.refuse_for_room(&mut connection.input);
        self.settle(id);
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
