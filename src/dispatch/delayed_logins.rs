//! Logins by password that wait until they may be tried: without a worker, without a place in a queue.
//!
//! Invariant: each has one armed timer, a place among those of its source that wait, and is counted among its
//! connection's jobs.

use super::in_flight::{InFlight, Origin, Owner};
use super::password_checks::Check;
use super::timers::{LoginRetry, Timer, Timers};
use super::{Client, Dispatcher, Now, RequestContext};
use crate::app::commands::Stage;
use crate::app::login_limiter::{LoginAttempt, Permit};
use crate::clock::Instant;
use crate::ids::RequestKey;
use crate::limits;
use crate::model::{Answer, Failure};
use crate::work::Work;
use crate::worker::{JobKey, Jobs, Priority};

/// A password that is to be checked.
pub(crate) struct PendingCheck {
    pub(crate) asked: RequestContext,
    pub(crate) work: Work,
    pub(crate) stage: Stage,
    pub(crate) attempt: LoginAttempt,
    /// When it was to be checked first.
    pub(crate) begun: Instant,
    /// Whether it has waited already.
    pub(crate) was_delayed: bool,
}

/// One that waits.
pub(crate) struct DelayedLogin {
    check: PendingCheck,
    at: Instant,
    order: LoginRetry,
}

#[cfg(feature = "internals")]
impl DelayedLogin {
    pub(crate) fn is_armed(&self, timers: &Timers) -> bool {
        timers.is_armed(self.at, Timer::Login(self.order))
    }
}

impl<J: Jobs> Dispatcher<J> {
    /// Has a password checked, now or as soon as that may be, if that is soon enough.
    pub(crate) fn check_password(
        &mut self,
        mut check: PendingCheck,
        client: &mut Client<'_>,
        timers: &mut Timers,
        now: Now,
    ) {
        let logins = self.app.logins_mut();
        let at = match logins.start(check.attempt, now.instant) {
            Permit::Now => return self.submit_check(check, client, timers, now),
            Permit::At(at) => at,
        };
        let is_in_time = at < check.begun + limits::AUTH_DEADLINE && !self.is_stopping;
        if !is_in_time || !logins.enter(check.attempt.source) {
            logins.count_refused();
            return self.answer_busy(&check.asked, client, now);
        }
        if !std::mem::replace(&mut check.was_delayed, true) {
            logins.count_delayed();
        }
        let request_key = check.asked.origin.request_key;
        let last_start = logins.last_start(check.attempt.source, now.instant).unwrap_or(Instant::ORIGIN);
        let order = LoginRetry { last_start, number: self.next_job, request_key };
        self.next_job += 1;
        timers.arm(at, Timer::Login(order));
        client.load.jobs += 1;
        self.delayed_logins.insert(request_key, DelayedLogin { check, at, order });
    }

    /// Hands a check to a worker.
    fn submit_check(&mut self, check: PendingCheck, client: &mut Client<'_>, timers: &mut Timers, now: Now) {
        let PendingCheck { mut asked, work, stage, attempt, begun, was_delayed } = check;
        asked.origin.held = now.instant - begun;
        if self.app.logins().has_failed(attempt, now.instant) {
            asked.origin.room = Priority::Low;
        }
        let request_key = asked.origin.request_key;
        let again = work.clone();
        self.work(asked, work, stage, client, timers, now);
        if let Some(InFlight { job, .. }) = self.in_flight.get(&request_key) {
            self.checks.insert(request_key, Check { job: *job, work: again, attempt, begun, was_delayed });
        }
    }

    /// `failed` was made in vain: checks that a worker was asked for may have to wait now.
    pub(crate) fn withdraw_over_limit(&mut self, failed: LoginAttempt, now: Now) {
        let logins = self.app.logins();
        let has_to_wait = |attempt| logins.next(attempt, now.instant).is_some_and(|at| at > now.instant);
        let like = self.checks.of_same_target(failed);
        self.withdrawn
            .extend(like.filter(|(_, attempt)| has_to_wait(*attempt)).map(|(request_key, _)| request_key));
    }

    /// The requests whose checks are to be taken back; some may be among them twice.
    pub(crate) fn take_withdrawn(&mut self) -> Vec<RequestKey> {
        std::mem::take(&mut self.withdrawn)
    }

    /// A check is not to be done before its time, if it is not begun: as if it was asked for now.
    pub(crate) fn withdraw(
        &mut self,
        request_key: RequestKey,
        client: &mut Client<'_>,
        timers: &mut Timers,
        now: Now,
    ) {
        let Some(in_flight) = self.in_flight.get(&request_key) else { return };
        if !in_flight.state.cancel_if_queued() {
            return;
        }
        let Some(check) = self.checks.remove(request_key) else { return };
        let Some(InFlight { job, owner, deadline, store_time, weight, .. }) = self.release(request_key)
        else {
            return;
        };
        timers.disarm(deadline, Timer::Job(JobKey { request_key, job }));
        client.load.jobs -= 1;
        client.load.weight -= weight;
        let Owner::App(stage) = owner else { return };
        let asked = RequestContext {
            command: stage.command(),
            origin: Origin { store_time, ..Origin::new(request_key) },
        };
        let Check { work, attempt, begun, was_delayed, .. } = check;
        let check = PendingCheck { asked, work, stage, attempt, begun, was_delayed };
        self.check_password(check, client, timers, now);
    }

    /// The time has come for a login that waits.
    pub(crate) fn retry_login(
        &mut self,
        request_key: RequestKey,
        client: &mut Client<'_>,
        timers: &mut Timers,
        now: Now,
    ) {
        if let Some(held) = self.release_login(request_key) {
            client.load.jobs -= 1;
            self.check_password(held.check, client, timers, now);
        }
    }

    /// A login that waits is not tried any more.
    pub(crate) fn refuse_login(
        &mut self,
        request_key: RequestKey,
        client: &mut Client<'_>,
        timers: &mut Timers,
        now: Now,
    ) {
        if let Some(DelayedLogin { check, at, order }) = self.release_login(request_key) {
            timers.disarm(at, Timer::Login(order));
            client.load.jobs -= 1;
            self.app.logins_mut().count_refused();
            self.answer_busy(&check.asked, client, now);
        }
    }

    /// The connection of a login that may be waiting is gone.
    pub(crate) fn cancel_login(&mut self, request_key: RequestKey, timers: &mut Timers) {
        if let Some(DelayedLogin { at, order, .. }) = self.release_login(request_key) {
            timers.disarm(at, Timer::Login(order));
        }
    }

    /// From now on no login waits; the requests of those that do.
    pub(crate) fn begin_stop(&mut self) -> Vec<RequestKey> {
        self.is_stopping = true;
        self.delayed_logins.keys().copied().collect()
    }

    fn release_login(&mut self, request_key: RequestKey) -> Option<DelayedLogin> {
        let held = self.delayed_logins.remove(&request_key)?;
        self.app.logins_mut().leave(held.check.attempt.source);
        Some(held)
    }

    fn answer_busy(&mut self, asked: &RequestContext, client: &mut Client<'_>, now: Now) {
        self.answer(asked.origin.request_key, asked.command, Answer::Failed(Failure::Busy), client, now);
    }
}
