//! What the reactor reports besides requests: ticks, connections, settings, and timers that belong to no request.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use super::counters::Counters;
use super::timers::{Timer, Timers};
use super::watchdog::Watchdog;
use super::{Client, Dispatcher, Effect, Now};
use crate::app;
use crate::app::presence::{ListenerPolicy, SessionEnd};
use crate::clock::{HttpDate, Instant};
use crate::embed::{EventDetail, EventKind};
use crate::ids::ConnId;
use crate::limits;
use crate::model::{Denial, Failure, OfflineReason, Peer};
use crate::session::Session;
use crate::worker::{Completion, Jobs};

impl<J: Jobs> Dispatcher<J> {
    /// Applies other settings. Requests over a lowered limit continue.
    pub(crate) fn reload(&mut self, requests_max: usize, settings: app::Settings) {
        self.in_flight_max = requests_max;
        self.app.set_settings(settings);
    }

    /// Begins a tick of the loop. Tokens expire by `now` minus `clock_lead`.
    pub(crate) fn begin_tick(&mut self, now: Now, clock_lead: Duration) {
        self.date.update(now.unix);
        self.at_once_left = limits::AT_ONCE_PER_TICK_MAX;
        self.app.begin_tick(now.instant, now.unix, clock_lead);
    }

    /// Notes a new connection.
    pub(crate) fn opened(&mut self, conn: ConnId, peer: Peer, policy: ListenerPolicy, own_uid: u32) {
        self.counters.connections_accepted += 1;
        self.counters.connections_open += 1;
        self.app.presence_mut().open(conn, peer, policy, own_uid);
        self.emit(EventKind::Connection, conn, || EventDetail::None);
    }

    /// Replaces the policy of a connection's listener.
    pub(crate) fn set_policy(&mut self, conn: ConnId, policy: ListenerPolicy) {
        self.app.presence_mut().set_policy(conn, policy);
        self.app.watches_mut().touch(conn);
    }

    /// Notes that a connection was closed for this reason, whose client was admitted or not. Its open requests are
    /// cancelled one by one.
    pub(crate) fn closed(
        &mut self,
        conn: ConnId,
        session: &Session,
        was_admitted: bool,
        reason: OfflineReason,
    ) {
        if was_admitted {
            self.emit(EventKind::ClientClosed, conn, || EventDetail::None);
        }
        self.undo_unsent(conn);
        let (requests, bytes) = session.delayed();
        self.forget_delayed(requests, bytes);
        self.app.presence_mut().close(conn, reason);
        let now = self.app.presence().instant();
        self.app.watches_mut().end(conn, now);
        self.counters.connections_open -= 1;
    }

    /// Tells the session of a connection that it is no longer authenticated, or closes it.
    pub(crate) fn end_session(&self, end: SessionEnd, client: &mut Client<'_>) {
        match end {
            SessionEnd::Closed => client.session.disconnect(),
            SessionEnd::Anonymous => {
                client.session.set_authenticated(self.app.presence().is_authenticated(client.conn));
            }
        }
    }

    /// The address of a client as log lines show it.
    pub(crate) fn logged_source(&self, peer: Peer) -> impl fmt::Display + use<J> {
        self.app.audit().addresses().source(peer.source())
    }

    /// Whether the client is identified: a VM authenticated on the connection, or the client is an operator.
    pub(crate) fn is_trusted(&self, conn: ConnId) -> bool {
        self.app.presence().is_trusted(conn)
    }

    /// The date of this tick.
    pub(crate) fn date(&self) -> &HttpDate {
        &self.date
    }

    /// The server's counters.
    pub(crate) fn counters_mut(&mut self) -> &mut Counters {
        &mut self.counters
    }

    /// The timers.
    pub(crate) fn timers(&self) -> &Timers {
        &self.timers
    }

    /// The timers, to arm and disarm.
    pub(crate) fn timers_mut(&mut self) -> &mut Timers {
        &mut self.timers
    }

    /// The connections that the embedding program wants to close.
    pub(crate) fn take_disconnected(&self) -> impl Iterator<Item = ConnId> + use<J> {
        self.app.take_disconnected()
    }

    /// Takes the effects since the last call.
    pub(crate) fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.outbox)
    }

    /// Appends the results that workers have returned.
    pub(crate) fn drain(&mut self, completions: &mut VecDeque<Completion>) {
        self.jobs.drain(completions);
    }

    /// Wakes the workers for the jobs submitted in this tick.
    pub(crate) fn notify_workers(&mut self) {
        self.jobs.notify_workers();
    }

    /// Ends a tick: arms the timers of the logs.
    pub(crate) fn end_tick(&mut self, now: Now) {
        if self.app.audit_mut().takes_minute() {
            self.timers.arm(now.instant + limits::AUDIT_INTERVAL, Timer::Audit);
        }
        if self.app.logins_mut().takes_report() {
            self.timers.arm(now.instant + limits::LOGIN_LOG_INTERVAL, Timer::LoginReport);
        }
    }

    /// Calls `beat` every `interval` while the loop runs and no lane is stuck.
    pub(crate) fn set_watchdog(&mut self, interval: Duration, beat: Box<dyn FnMut() + Send>, now: Instant) {
        self.watchdog = Some(Watchdog::new(interval, beat));
        self.timers.arm(now + interval, Timer::Watchdog);
    }

    /// Ends a minute of the audit log.
    pub(crate) fn end_audit_minute(&mut self) {
        self.app.audit_mut().end_minute();
    }

    /// Logs the failed logins.
    pub(crate) fn report_logins(&mut self) {
        self.app.logins_mut().report();
    }

    /// Sends a heartbeat unless a lane is stuck.
    pub(crate) fn beat(&mut self, now: Now) {
        if let Some(watchdog) = &mut self.watchdog {
            let next = watchdog.beat(&self.jobs, now.instant);
            self.timers.arm(next, Timer::Watchdog);
        }
    }

    /// Counts and logs messages that a session answered with an error itself.
    ///
    /// `failures`: their errors, if [`Dispatcher::wants_refusals`].
    pub(crate) fn refused(
        &mut self,
        conn: ConnId,
        refused: u16,
        denials: Vec<Denial>,
        failures: Vec<Failure>,
    ) {
        self.report_refusals(conn, failures);
        self.counters.requests_refused += u64::from(refused);
        #[cfg(feature = "internals")]
        self.trace(super::trace::TraceEvent::Refused(conn, u32::from(refused)));
        denials.into_iter().for_each(|denial| self.app.deny(conn, denial));
    }
}
