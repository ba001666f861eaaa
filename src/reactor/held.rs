//! Logins by password that wait until they may be tried: without a worker, without a place in a queue.
//!
//! Invariant: each has one armed timer, a place among those of its source that wait, and is counted among its
//! connection's jobs.

use super::calls::{Asked, Calls, Now};
use super::connection::Connection;
use super::timers::{HeldOrder, Timer, Timers};
use crate::app::login_limiter::{LoginAttempt, Permit};
use crate::app::stage::Stage;
use crate::app::task::Task;
use crate::clock::Instant;
use crate::ids::Ticket;
use crate::limits;
use crate::model::{Answer, Failure};
use crate::worker::Jobs;

/// A password that is to be checked.
pub(super) struct PasswordCheck {
    pub(super) asked: Asked,
    pub(super) task: Task,
    pub(super) stage: Stage,
    pub(super) attempt: LoginAttempt,
    /// When it was to be checked first.
    pub(super) begun: Instant,
}

/// One that waits.
pub(super) struct HeldLogin {
    check: PasswordCheck,
    at: Instant,
    order: HeldOrder,
}

impl<J: Jobs> Calls<J> {
    /// Has a password checked, now or as soon as that may be, if that is soon enough.
    pub(super) fn check_password<S>(
        &mut self,
        check: PasswordCheck,
        connection: &mut Connection<S>,
        timers: &mut Timers,
        now: Now,
    ) {
        let logins = self.app.logins_mut();
        let at = match logins.start(check.attempt, now.instant) {
            Permit::Now => {
                let PasswordCheck { mut asked, task, stage, begun, .. } = check;
                asked.origin.held = now.instant - begun;
                return self.work(asked, task, stage, connection, timers, now);
            }
            Permit::At(at) => at,
        };
        let is_in_time = at < check.begun + limits::AUTH_DEADLINE && !self.is_stopping;
        if !is_in_time || !logins.enter(check.attempt.source) {
            logins.count_refused();
            return self.answer_busy(&check.asked, connection, now);
        }
        if check.begun == now.instant {
            logins.count_delayed();
        }
        let ticket = check.asked.origin.ticket;
        let last_start = logins.last_start(check.attempt.source, now.instant).unwrap_or(Instant::ORIGIN);
        let order = HeldOrder { last_start, number: self.next_job, ticket };
        self.next_job += 1;
        timers.arm(at, Timer::Login(order));
        connection.jobs += 1;
        self.held_logins.insert(ticket, HeldLogin { check, at, order });
    }

    /// The time has come for a login that waits.
    pub(super) fn retry_login<S>(
        &mut self,
        ticket: Ticket,
        connection: &mut Connection<S>,
        timers: &mut Timers,
        now: Now,
    ) {
        if let Some(held) = self.release_login(ticket) {
            connection.jobs -= 1;
            self.check_password(held.check, connection, timers, now);
        }
    }

    /// A login that waits is not tried any more.
    pub(super) fn refuse_login<S>(
        &mut self,
        ticket: Ticket,
        connection: &mut Connection<S>,
        timers: &mut Timers,
        now: Now,
    ) {
        if let Some(HeldLogin { check, at, order }) = self.release_login(ticket) {
            timers.disarm(at, Timer::Login(order));
            connection.jobs -= 1;
            self.app.logins_mut().count_refused();
            self.answer_busy(&check.asked, connection, now);
        }
    }

    /// The connection of a login that may be waiting is gone.
    pub(super) fn cancel_login(&mut self, ticket: Ticket, timers: &mut Timers) {
        if let Some(HeldLogin { at, order, .. }) = self.release_login(ticket) {
            timers.disarm(at, Timer::Login(order));
        }
    }

    /// From now on no login waits; the requests of those that do.
    pub(super) fn begin_stop(&mut self) -> Vec<Ticket> {
        self.is_stopping = true;
        self.held_logins.keys().copied().collect()
    }

    fn release_login(&mut self, ticket: Ticket) -> Option<HeldLogin> {
        let held = self.held_logins.remove(&ticket)?;
        self.app.logins_mut().leave(held.check.attempt.source);
        Some(held)
    }

    fn answer_busy<S>(&mut self, asked: &Asked, connection: &mut Connection<S>, now: Now) {
        self.answer(asked.origin.ticket, asked.command, Answer::Failed(Failure::Busy), connection, now);
    }
}
