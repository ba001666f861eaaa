//! Checks of a client's connection: the server serves it in time, and ends it with a reason only.

use std::time::Duration;

use super::client::Client;
use super::connection::{Eviction, ReadPace};
use super::environment::Environment;
use super::network::SLACK;
use super::steps::Step;
use super::verification::Verification;
use vmherd::internals::limits;

impl Client {
    /// Whether the server answers in time, and ends the connection in time.
    pub(super) fn check_deadlines(&self, env: &Environment) -> Verification {
        let Some(connection) = self.connection.map(|connection| &env.network.connections[connection]) else {
            return Ok(());
        };
        let Some(accepted) = connection.accepted else { return Ok(()) };
        if self.is_done || connection.is_dead() || connection.shut_down.is_some() {
            return Ok(());
        }
        if let Some(deadline) = self.deadline
            // The last bytes may take long where the network takes few at a time.
            && env.now > (deadline.since.max(accepted) + deadline.after).max(self.last_received) + SLACK
        {
            return Err("the connection is not ended in time".to_owned());
        }
        let closed_by_handler = connection.closed_by_handler.map(|(at, _)| at);
        if let Some(since) = closed_by_handler.filter(|_| connection.stalled_since.is_none())
            && env.now > since.max(self.last_received).max(connection.stalled_until.unwrap_or(since)) + SLACK
        {
            return Err("it is not ended, and a handler has closed it".to_owned());
        }
        let waits = !self.exchange.has_nothing_pending()
            && self.exchange.outgoing.is_empty()
            && self.read_pace == ReadPace::Eager;
        let is_fair = env.config.has_greedy_client && !env.config.is_greedy(self.number);
        let within = if is_fair { FAIR_REPLY_WITHIN } else { REPLY_WITHIN };
        if waits && self.deadline.is_none() && env.now > self.last_activity.max(accepted) + within {
            return Err("no reply comes".to_owned());
        }
        Ok(())
    }

    /// The connection has ended: checks that there was a reason, and that all replies have come.
    pub(super) fn end(&mut self, at: usize, is_reset: bool, env: &mut Environment) -> Result<(), String> {
        self.is_done = true;
        env.log(|| format!("client {} sees the {}", self.number, if is_reset { "reset" } else { "end" }));
        let connection = &env.network.connections[at];
        if connection.broken || connection.client_has_reset() {
            return Ok(());
        }
        let closed = connection.shut_down.or(connection.closed).unwrap_or(env.now);
        let was_cut = env
            .shutdown
            .stopped
            .is_some_and(|stopped| connection.closed.is_some_and(|at| at >= stopped + env.config.grace));
        if connection.evicted_for.is_some() || connection.is_given_up {
            return Ok(());
        }
        let is_torn = !self.exchange.codec.is_at_boundary()
            || self.exchange.codec.is_in_message()
            || connection.lost > 0;
        let may_be_torn =
            self.exchange.expectations.may_be_broken_off(connection.closed_by_handler.is_some(), env);
        if was_cut || is_torn && may_be_torn {
            return Ok(());
        }
        if !self.exchange.codec.is_at_boundary() {
            return Err(format!("client {}: a torn reply", self.number));
        }
        let has_lingered = connection
            .shut_down
            .zip(connection.closed)
            .is_some_and(|(since, until)| until >= since + limits::LINGER_TIMEOUT);
        if connection.lost > 0 && !has_lingered {
            return Err(format!("client {}: a reset overtook its replies", self.number));
        }
        if let Some((_, act)) = connection.closed_by_handler.filter(|_| !self.exchange.owes_step()) {
            self.exchange
                .expectations
                .check_answered_before(act, env)
                .map_err(|why| format!("client {}: {why}", self.number))?;
        }
        let has_all = self.exchange.has_nothing_pending();
        let accepted = connection.accepted.unwrap_or(closed);
        let is_over_time = self
            .deadline
            .is_some_and(|deadline| closed + SLACK >= deadline.since.max(accepted) + deadline.after);
        let was_evicted = connection.inbound_total == 0 && env.config.connections_max < env.config.clients;
        let is_explained = self.exchange.expectations.has_closing_error
            || env.shutdown.stopped.is_some()
            || was_evicted
            || connection.closed_by_handler.is_some()
            || has_all
                && (self.exchange.codec.is_finished()
                    || is_over_time
                    || self.has_sent_http
                    || connection.client_has_finished());
        if is_explained { Ok(()) } else { Err(format!("ended without a reason; {}", self.describe())) }
    }

    /// It is evicted: never while it is authenticated, and never for its slot while a reply is due.
    pub(super) fn check_eviction(&self, why: Eviction, env: &Environment) -> Result<(), String> {
        let Some(connection) = self.connection.map(|connection| &env.network.connections[connection]) else {
            return Ok(());
        };
        if self.exchange.expectations.is_logged_in(env) {
            return Err(format!("client {} is authenticated and is evicted", self.number));
        }
        // An error that is expected for what comes next is not due yet.
        let comes_next = matches!(self.plan.front(), Some(Step::Send(_)));
        let has_sent_all =
            self.exchange.outgoing.is_empty() && self.exchange.withheld_body.is_none() && !comes_next;
        let has_read_all = !connection.has_unread() && !connection.broken && !connection.client_has_reset();
        let has_begun = connection.inbound_total > 0;
        let is_waiting = has_begun && has_sent_all && has_read_all && !self.exchange.has_nothing_pending();
        if why == Eviction::ForSlot && is_waiting && !self.exchange.expectations.responses_are_optional {
            return Err(format!("evicted with a request under way; {}", self.describe()));
        }
        Ok(())
    }
}

/// The longest time of one request: a token, a hash, its credentials and a write, and some pages.
const REPLY_WITHIN: Duration = Duration::from_secs(50);
/// The same where workers never fail and only another client keeps them busy: a delayed conversion, and some jobs.
const FAIR_REPLY_WITHIN: Duration = Duration::from_secs(10);
