//! The end of connections, one or all.

use std::time::Duration;

use super::Reactor;
use super::buffer_budget::Charge;
use super::connection::{Connection, Phase, SlotPool};
use super::net::Net;
use crate::clock::Clock;
use crate::dispatch::timers::Timer;
use crate::dispatch::{JobLoad, Now};
use crate::ids::ConnId;
use crate::model::OfflineReason;
use crate::worker::Jobs;

impl<N: Net, J: Jobs, C: Clock> Reactor<N, J, C> {
    /// Stops accepting connections and starting requests, and finishes when the requests in flight are answered.
    /// After `grace`, closes the remaining connections.
    pub fn begin_drain(&mut self, grace: Duration) {
        let now = self.clock.now();
        self.stopping = true;
        self.acceptor.close();
        self.dispatcher.timers_mut().arm(now + grace, Timer::Stop);
        self.dispatcher.begin_stop(now);
        let now = Now { instant: now, unix: self.clock.unix_now() };
        self.apply_effects(now);
        for id in self.connections.ids() {
            match self.connections.get_mut(id) {
                Some(connection) if matches!(connection.phase, Phase::Gated) => self.close(id),
                Some(connection) => {
                    connection.note_end(OfflineReason::Stopped);
                    connection.session.begin_drain(&connection.input);
                    self.enqueue(id);
                }
                None => {}
            }
        }
    }

    /// Ends the connections that the embedding program wants to close.
    pub(super) fn disconnect(&mut self) {
        for id in std::mem::take(&mut self.leaving) {
            match self.connections.get_mut(id) {
                Some(connection) if matches!(connection.phase, Phase::Gated) => self.close(id),
                Some(connection) => {
                    connection.session.disconnect();
                    self.enqueue(id);
                }
                None => {}
            }
        }
    }

    pub(super) fn close(&mut self, id: ConnId) {
        self.note_sent(id);
        self.check_delivery(id);
        let Some(mut connection) = self.connections.remove(id) else { return };
        self.budget.change(id, connection.charge, Charge::default());
        self.budget.end_overcommit(id);
        connection.input.clear();
        connection.output.clear();
        self.connection_timers.disarm(id.index);
        if connection.pool != SlotPool::Refused {
            let was_admitted = !matches!(connection.phase, Phase::Gated);
            self.dispatcher.closed(id, &connection.session, was_admitted, connection.end_reason());
        }
        self.acceptor.connection_closed(connection.pool);
        let Connection { socket, session, sent, phase, load, .. } = connection;
        self.keep_undelivered(id, socket, sent, matches!(phase, Phase::Lingering { .. }));
        match session.open_count() {
            few if few <= self.settings.bounds.forgotten_at_once => self.forget(id, &load),
            _ => self.closing.push_back((id, session, load)),
        }
    }

    pub(super) fn forget_closing(&mut self) {
        if let Some((id, _session, load)) = self.closing.pop_front() {
            self.forget(id, &load);
        }
    }

    /// Cancels the jobs of a closed connection.
    fn forget(&mut self, id: ConnId, load: &JobLoad) {
        if load.jobs > 0 {
            self.dispatcher.cancel_all(id);
        }
    }
}
