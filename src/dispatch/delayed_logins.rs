//! Password logins that the rate limiter delays. They use no worker and no place in a queue.
//!
//! Invariant: each has one armed timer, counts among the waiting logins of its source, and counts among the
//! jobs of its connection.

use super::in_flight::{InFlight, Origin, Owner};
use super::password_checks::Check;
use super::timers::{LoginRetry, Timer};
use super::{Client, Dispatcher, Effect, RequestContext};
use crate::app::commands::Stage;
use crate::app::login_limiter::{LoginAttempt, Permit};
use crate::clock::Instant;
use crate::ids::RequestKey;
use crate::limits;
use crate::model::{Answer, Failure};
use crate::worker::{JobKey, Jobs, Priority};

/// A login whose password is to be checked.
pub(crate) struct PendingLogin {
    pub(crate) context: RequestContext,
    pub(crate) stage: Stage,
    pub(crate) check: Check,
}

/// A login that waits for its permit.
pub(crate) struct DelayedLogin {
    login: PendingLogin,
    at: Instant,
    order: LoginRetry,
}

#[cfg(feature = "internals")]
impl DelayedLogin {
    pub(crate) fn is_armed(&self, timers: &super::timers::Timers) -> bool {
        timers.is_armed(self.at, Timer::Login(self.order))
    }
}

impl<J: Jobs> Dispatcher<J> {
    /// Submits a password check now, delays it, or answers `busy` if it would wait past its deadline.
    pub(crate) fn check_password(&mut self, mut login: PendingLogin, client: &mut Client<'_>) {
        let (logins, check) = (self.app.logins_mut(), &mut login.check);
        let at = match logins.start(check.attempt, client.now.instant) {
            Permit::Now => return self.submit_check(login, client),
            Permit::At(at) => at,
        };
        let is_in_time = at < check.begun + limits::AUTH_DEADLINE && !self.is_stopping;
        if !is_in_time || !logins.enter(check.attempt.source) {
            logins.count_refused();
            return self.answer_busy(&login.context, client);
        }
        if !std::mem::replace(&mut check.was_delayed, true) {
            logins.count_delayed();
        }
        let request_key = login.context.origin.request_key;
        let last_start =
            logins.last_start(check.attempt.source, client.now.instant).unwrap_or(Instant::ORIGIN);
        let order = LoginRetry { last_start, number: self.next_job, request_key };
        self.next_job += 1;
        self.timers.arm(at, Timer::Login(order));
        client.load.jobs += 1;
        self.delayed_logins.insert(request_key, DelayedLogin { login, at, order });
    }

    /// Submits a check to the auth lane.
    fn submit_check(&mut self, login: PendingLogin, client: &mut Client<'_>) {
        let PendingLogin { mut context, stage, check } = login;
        context.origin.login_delay = client.now.instant - check.begun;
        if self.app.logins().has_failed(check.attempt, client.now.instant) {
            context.origin.priority = Priority::Low;
        }
        let request_key = context.origin.request_key;
        self.work(context, check.work.clone(), stage, client);
        if let Some(in_flight) = self.in_flight.get(&request_key) {
            self.checks.insert(request_key, in_flight.job, check);
        }
    }

    /// After the failed attempt `failed`, withdraws the submitted checks that now exceed the rate limit; a check may
    /// be withdrawn twice.
    pub(super) fn withdraw_over_limit(&mut self, failed: LoginAttempt, now: Instant) {
        let logins = self.app.logins();
        let has_to_wait = |attempt| logins.next(attempt, now).is_some_and(|at| at > now);
        let over_limit = self.checks.of_same_target(failed).filter(|(_, attempt)| has_to_wait(*attempt));
        self.outbox.extend(over_limit.map(|(request_key, _)| Effect::WithdrawCheck(request_key)));
    }

    /// Cancels a check that is still queued, and applies the rate limit to it again.
    pub(crate) fn withdraw(&mut self, request_key: RequestKey, client: &mut Client<'_>) {
        let Some(in_flight) = self.in_flight.get(&request_key) else { return };
        let key = JobKey { request_key, job: in_flight.job };
        if !in_flight.state.cancel_if_queued() {
            return;
        }
        let Some(check) = self.checks.remove(request_key) else { return };
        let Some(in_flight) = self.take(key, client) else { return };
        let InFlight { owner: Owner::App { command, stage }, store_time, .. } = *in_flight else { return };
        let origin = Origin { store_time, ..Origin::new(request_key) };
        let context = RequestContext { command, origin };
        self.check_password(PendingLogin { context, stage, check }, client);
    }

    /// Tries a delayed login again when its timer is due.
    pub(crate) fn retry_login(&mut self, request_key: RequestKey, client: &mut Client<'_>) {
        if let Some(DelayedLogin { login, .. }) = self.release_login(request_key) {
            client.load.jobs -= 1;
            self.check_password(login, client);
        }
    }

    /// Answers a delayed login with `busy`.
    pub(crate) fn refuse_login(&mut self, request_key: RequestKey, client: &mut Client<'_>) {
        if let Some(DelayedLogin { login, at, order }) = self.release_login(request_key) {
            self.timers.disarm(at, Timer::Login(order));
            client.load.jobs -= 1;
            self.app.logins_mut().count_refused();
            self.answer_busy(&login.context, client);
        }
    }

    /// Drops a delayed login of a closed connection.
    pub(super) fn cancel_login(&mut self, request_key: RequestKey) {
        if let Some(DelayedLogin { at, order, .. }) = self.release_login(request_key) {
            self.timers.disarm(at, Timer::Login(order));
        }
    }

    /// Delays no more logins, and refuses the delayed ones. What is known of VMs is written at once.
    pub(crate) fn begin_stop(&mut self, now: Instant) {
        self.is_stopping = true;
        self.app.presence_mut().last_seen_mut().begin_stop();
        self.timers.arm(now, Timer::Seen);
        // A server without connections stops without another tick.
        if !self.has_watchers() {
            self.abandon_watch_reads();
        }
        self.outbox.extend(self.delayed_logins.keys().map(|request_key| Effect::RefuseLogin(*request_key)));
    }

    fn release_login(&mut self, request_key: RequestKey) -> Option<DelayedLogin> {
        let delayed = self.delayed_logins.remove(&request_key)?;
        self.app.logins_mut().leave(delayed.login.check.attempt.source);
        Some(delayed)
    }

    fn answer_busy(&mut self, context: &RequestContext, client: &mut Client<'_>) {
        self.answer(context.origin.request_key.seq, context.command, Answer::Failed(Failure::Busy), client);
    }
}
