//! Keeps the memory of connections within its limit: the largest anonymous holders are refused first; input from
//! known clients, and their answers, wait.

use super::buffer_budget::Charge;
use super::connection::{Connection, PageMemory};
use super::net::Net;
use super::{Now, Reactor};
use crate::clock::Clock;
use crate::dispatch::timers::Timer;
use crate::ids::ConnId;
use crate::limits;
use crate::worker::Jobs;

impl<N: Net, J: Jobs, C: Clock> Reactor<N, J, C> {
    /// Updates the charge of a connection.
    pub(super) fn update_charge(&mut self, id: ConnId) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        let bytes = connection.held_bytes();
        if bytes == 0 && connection.charge == Charge::default() {
            return self.budget.end_overcommit(id);
        }
        let charge = match bytes {
            0 => Charge::default(),
            _ => Charge::new(bytes, self.dispatcher.is_trusted(id)),
        };
        let before = std::mem::replace(&mut connection.charge, charge);
        self.budget.change(id, before, charge);
    }

    /// Refuses the largest anonymous holders until the total is within the limit.
    pub(super) fn shed(&mut self, now: Now) {
        while self.budget.is_over() {
            let Some(id) = self.budget.largest_anonymous() else { return };
            self.refuse_for_memory(id, now);
        }
    }

    /// Handles a connection that needs memory to continue. A known client gets the memory of anonymous ones; without
    /// any, or if it is anonymous itself, it waits.
    pub(super) fn make_room(&mut self, id: ConnId, now: Now) {
        let is_known = self.dispatcher.is_trusted(id);
        while is_known && !self.budget.has_room(limits::PAGE_BYTES_RESERVED, true) {
            let Some(anonymous) = self.budget.largest_anonymous() else { break };
            self.refuse_for_memory(anonymous, now);
        }
        let Some(connection) = self.connections.get_mut(id) else { return };
        if connection.page_memory != PageMemory::Awaited {
            connection.page_memory = PageMemory::Awaited;
            self.budget.wait(id, is_known, now.instant);
            if !std::mem::replace(&mut self.scarcity_is_watched, true) {
                self.dispatcher
                    .timers_mut()
                    .arm(now.instant + limits::STALL_TIMEOUT_UNDER_PRESSURE, Timer::Scarcity);
            }
            let connections = &self.connections;
            self.budget.drop_closed(connections.len(), |id| connections.get(id).is_some());
        }
    }

    /// Resumes waiting connections while there is memory.
    pub(super) fn resume_waiting(&mut self, now: Now) {
        let mut reserved = 0;
        while self.budget.has_waiting() {
            let id = match self.budget.next_waiting(reserved) {
                Some(id) => id,
                None => match self.budget.next_overcommit() {
                    Some(id) => id,
                    None => break,
                },
            };
            match self.connections.get_mut(id) {
                Some(connection) => {
                    connection.page_memory = PageMemory::Granted;
                    reserved += limits::PAGE_BYTES_RESERVED;
                    self.enqueue(id);
                }
                None => self.budget.end_overcommit(id),
            }
        }
        self.dispatcher.counters_mut().buffers_bytes = self.budget.bytes() as u64;
        if self.budget.is_below_peak() && !std::mem::replace(&mut self.trim_is_armed, true) {
            self.budget.begin_trim_window();
            self.dispatcher.timers_mut().arm(now.instant + limits::TRIM_AFTER, Timer::Trim);
        }
    }

    /// Ends an overcommit that makes no progress, closes anonymous clients that do not read their answer while
    /// others wait for memory, and refuses requests that have waited for too long.
    pub(super) fn close_stalled(&mut self, now: Now) {
        self.budget.expire_overcommit();
        self.scarcity_is_watched = self.budget.has_waiting();
        if !self.scarcity_is_watched {
            return;
        }
        self.dispatcher.timers_mut().arm(now.instant + limits::STALL_TIMEOUT_UNDER_PRESSURE, Timer::Scarcity);
        if !self.budget.has_anonymous_waiting() {
            return;
        }
        let has_stalled = |connection: &Connection<N::Socket>| {
            connection.has_stalled(limits::STALL_TIMEOUT_UNDER_PRESSURE, now.instant)
        };
        let candidates = self.budget.anonymous_holders().take(limits::STALL_CANDIDATES_MAX);
        let stalled: Vec<ConnId> =
            candidates.filter(|id| self.connections.get(*id).is_some_and(has_stalled)).collect();
        stalled.into_iter().for_each(|id| self.refuse_for_memory(id, now));
        self.refuse_waiting(now);
    }

    /// Answers anonymous requests that have waited for memory for too long with `busy`: known clients may use it for as
    /// long as they like.
    fn refuse_waiting(&mut self, now: Now) {
        let mut refused = Vec::new();
        self.budget.retain_anonymous_waiting(|id, since| {
            let Some(connection) = self.connections.get_mut(id) else { return false };
            let is_due = since + limits::ANONYMOUS_MEMORY_WAIT_MAX <= now.instant;
            if !is_due || !connection.session.refuse_page() {
                return true;
            }
            connection.page_memory = PageMemory::Shared;
            refused.push(id);
            false
        });
        refused.into_iter().for_each(|id| self.enqueue(id));
    }

    /// Returns unused memory to the system.
    pub(super) fn trim(&mut self) {
        self.trim_is_armed = false;
        if self.budget.end_trim_window() {
            crate::sys::memory::trim();
        }
    }

    /// Frees the memory of a connection: refuses its input with an error where possible, or else closes it.
    fn refuse_for_memory(&mut self, id: ConnId, now: Now) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        self.dispatcher.counters_mut().connections_refused += 1;
        #[cfg(feature = "internals")]
        self.dispatcher.trace(crate::dispatch::trace::TraceEvent::RefusedForMemory(id));
        if let Some(suppressed) = self.memory_log_limiter.allow(limits::ERROR_LOG_INTERVAL_S, now.unix) {
            log::warn!(
                "requests and answers have reached the memory limit --buffers-max: refused {} anonymous clients, \
                the largest holders first",
                1 + suppressed
            );
        }
        let is_notified = connection.session.refuse_for_room(&mut connection.input);
        self.update_charge(id);
        let still_holds = self
            .connections
            .get(id)
            .is_some_and(|connection| connection.charge.bytes() >= limits::HOLDING_BYTES_MIN);
        if !is_notified || still_holds {
            self.close(id);
        } else {
            self.enqueue(id);
        }
    }
}
