//! Requests that are on their way: from the session to the app, through the lanes, and back.
//!
//! Invariant: a request that a session has handed out is answered here at once, or it is in flight under
//! its request_key with one job and one armed timer.

mod delayed;
mod statistics;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use self::delayed::Delayed;
use super::Settings;
use super::checks::Checks;
use super::connection::Connection;
use super::counters::Counters;
use super::held::{HeldLogin, PasswordCheck};
use super::in_flight::{InFlight, Origin, Owner, PageWait, time_left};
use super::timers::{Timer, Timers};
use crate::app::App;
use crate::app::stage::{Action, Stage};
use crate::app::task::{Done, Lane, Task, TaskError};
use crate::clock::{HttpDate, Instant, UnixSeconds};
use crate::ids::{ConnId, RequestKey};
use crate::limits;
use crate::log_limiter::LogRateLimiter;
use crate::model::{Answer, CommandName, Cursor, Dialect, Failure, Listing, LongText, Refusal, Request};
use crate::worker::{
    Abandoned, Account, Accounts, Completion, Job, JobKey, JobState, Jobs, Priority, QueueFull,
};

/// The requests in flight, and what carries them.
pub(super) struct Calls<J> {
    pub(super) app: App,
    pub(super) jobs: J,
    pub(super) counters: Counters,
    /// That of this turn.
    pub(super) date: HttpDate,
    pub(super) in_flight: HashMap<RequestKey, InFlight>,
    /// Those of them that have a password checked.
    pub(super) checks: Checks,
    /// Those checks that are to be taken back.
    pub(super) overtaken: Vec<RequestKey>,
    in_flight_max: usize,
    delayed: Delayed,
    /// What all jobs in flight weigh, in points to be kept.
    weight: usize,
    cuts: LogRateLimiter,
    /// Logins that wait until they may be tried.
    pub(super) held_logins: HashMap<RequestKey, HeldLogin>,
    pub(super) is_stopping: bool,
    pub(super) next_job: u64,
    delayed_bytes_max: usize,
    started: Instant,
    /// What has been done since somebody last asked.
    #[cfg(test)]
    pub(super) notes: Vec<super::inspect::Note>,
}

/// The two clocks' readings of this turn.
#[derive(Clone, Copy)]
pub(super) struct Now {
    pub(super) instant: Instant,
    pub(super) unix: UnixSeconds,
}

/// The request that something is done for.
pub(super) struct Asked {
    pub(super) command: CommandName,
    pub(super) origin: Origin,
}

/// A request whose job is done.
pub(super) struct Claimed {
    owner: Owner,
    /// How long it has waited for the store.
    store_time: Duration,
    weight: usize,
}

impl Asked {
    fn new(request_key: RequestKey, command: CommandName) -> Asked {
        Asked { command, origin: Origin::new(request_key) }
    }
}

impl<J: Jobs> Calls<J> {
    pub(super) fn new(app: App, jobs: J, settings: &Settings, started: Instant) -> Calls<J> {
        Calls {
            app,
            jobs,
            counters: Counters::default(),
            date: HttpDate::new(UnixSeconds::default()),
            in_flight: HashMap::new(),
            checks: Checks::default(),
            overtaken: Vec::new(),
            in_flight_max: settings.requests_max,
            delayed: Delayed::default(),
            held_logins: HashMap::new(),
            is_stopping: false,
            weight: 0,
            cuts: LogRateLimiter::default(),
            delayed_bytes_max: settings.bounds.delayed_bytes,
            next_job: 0,
            started,
            #[cfg(test)]
            notes: Vec::new(),
        }
    }

    /// From now on so many requests may be in flight; those that are, go on.
    pub(super) fn set_in_flight_max(&mut self, in_flight_max: usize) {
        self.in_flight_max = in_flight_max;
    }

    /// Whether a connection may begin one more request, or is read no further until some that it has begun are
    /// done: by itself it may have so much waiting, and less where all together have much.
    pub(super) fn may_begin<S>(&self, connection: &Connection<S>) -> bool {
        let weight_max = match self.weight < limits::WORK_WAITING_SHARED {
            true => limits::WORK_PER_CONNECTION_MAX,
            false => limits::WORK_PER_CONNECTION_FREE,
        };
        connection.jobs < limits::JOBS_PER_CONNECTION_MAX && connection.jobs_weight < weight_max
    }

    /// A session hands out a request.
    pub(super) fn begin<S>(
        &mut self,
        request_key: RequestKey,
        request: Box<Request>,
        connection: &mut Connection<S>,
        timers: &mut Timers,
        now: Now,
    ) {
        let (command, is_inline) = (request.name, request.is_inline());
        self.counters.count_request(command);
        #[cfg(test)]
        self.notes.push(super::inspect::Note::Begun(request_key.conn));
        let open = self.in_flight.len() + self.held_logins.len() + self.delayed.requests;
        let action = if open < self.in_flight_max || is_inline {
            self.app.call(request_key.conn, request, now.unix)
        } else {
            self.app.refuse(request_key.conn, &request)
        };
        self.act(Asked::new(request_key, command), action, connection, timers, now);
    }

    /// A session has a long message read.
    pub(super) fn begin_decoding<S>(
        &mut self,
        request_key: RequestKey,
        text: LongText,
        connection: &mut Connection<S>,
        timers: &mut Timers,
        now: Now,
    ) {
        let task = Task::Decode { text };
        match self.submit(Origin::new(request_key), task, Owner::Session, connection, timers, now) {
            Ok(()) => {}
            Err(QueueFull) => {
                self.counters.jobs_refused += 1;
                connection.session.decoded(request_key.seq, Err(unread(Failure::Busy)));
            }
        }
    }

    /// A session wants the next page of an answer.
    pub(super) fn begin_page<S>(
        &mut self,
        request_key: RequestKey,
        of: Listing,
        cursor: Cursor,
        connection: &mut Connection<S>,
        timers: &mut Timers,
        now: Now,
    ) {
        let origin = Origin { room: Priority::Reserved, ..Origin::new(request_key) };
        let asked = Asked { command: of.command(), origin };
        let action = self.app.page(request_key.conn, of, cursor);
        self.act(asked, action, connection, timers, now);
    }

    /// Whose result this is, if anybody still waits for it.
    pub(super) fn claim(&mut self, key: JobKey, timers: &mut Timers, now: Now) -> Option<Claimed> {
        match self.in_flight.get(&key.request_key) {
            Some(in_flight) if in_flight.job == key.job => {}
            _ => {
                self.counters.results_late += 1;
                return None;
            }
        }
        let in_flight = self.release(key.request_key)?;
        timers.disarm(in_flight.deadline, Timer::Job(key));
        let InFlight { lane, owner, submitted, mut store_time, weight, .. } = in_flight;
        if matches!(lane, Lane::Read | Lane::Write) {
            store_time += now.instant - submitted;
        }
        Some(Claimed { owner, store_time, weight })
    }

    /// Goes on with a request whose job is done, and counted out of the connection's.
    pub(super) fn resume<S>(
        &mut self,
        claimed: Claimed,
        completion: Completion,
        connection: &mut Connection<S>,
        timers: &mut Timers,
        now: Now,
    ) {
        let request_key = completion.key.request_key;
        let Claimed { owner, store_time, weight } = claimed;
        connection.jobs -= 1;
        connection.jobs_weight -= weight;
        if matches!(completion.result, Err(TaskError::NoRoom)) {
            self.counters.jobs_refused += 1;
        }
        let stage = match owner {
            Owner::App(stage) => stage,
            Owner::Session => {
                let decoded = match completion.result {
                    Ok(Done::Decoded(decoded)) => *decoded,
                    Err(TaskError::NoRoom) => Err(unread(Failure::Busy)),
                    _ => Err(unread(Failure::Internal)),
                };
                return connection.session.decoded(request_key.seq, decoded);
            }
        };
        let asked =
            Asked { command: stage.command(), origin: Origin { store_time, ..Origin::new(request_key) } };
        if let Some(failed) = self.app.note_login(request_key.conn, &stage, &completion.result, now.instant) {
            self.overtake(failed, now);
        }
        let action = self.app.resume(request_key.conn, stage, completion.result, now.unix);
        self.act(asked, action, connection, timers, now);
    }

    /// The deadline of a job has come: its client is answered now, whatever becomes of it, unless it only waits for
    /// its turn and may.
    pub(super) fn give_up<S>(
        &mut self,
        key: JobKey,
        connection: &mut Connection<S>,
        timers: &mut Timers,
        now: Now,
    ) {
        let Some(in_flight) = self.in_flight.get_mut(&key.request_key) else { return };
        if in_flight.page.is_some()
            && in_flight.waits_on(self.jobs.progress(in_flight.lane).done, now.instant)
        {
            return timers.arm(in_flight.deadline, Timer::Job(key));
        }
        let Some(in_flight) = self.release(key.request_key) else { return };
        connection.jobs -= 1;
        connection.jobs_weight -= in_flight.weight;
        let failure = match in_flight.state.abandon() {
            Abandoned::Queued => {
                self.counters.jobs_refused += 1;
                Failure::Busy
            }
            Abandoned::Running(run) => {
                self.counters.jobs_given_up += 1;
                self.jobs.replace_worker(in_flight.lane, run);
                match in_flight.lane {
                    Lane::Auth | Lane::Compute => Failure::Busy,
                    Lane::Read => Failure::StoreUnavailable,
                    Lane::Write => Failure::OutcomeUnknown,
                }
            }
        };
        match in_flight.owner {
            Owner::App(stage) => {
                self.answer(key.request_key, stage.command(), Answer::Failed(failure), connection, now);
            }
            Owner::Session => connection.session.decoded(key.request_key.seq, Err(unread(failure))),
        }
    }

    /// The connection is gone: what it waits for need not be begun.
    pub(super) fn cancel(&mut self, request_key: RequestKey, timers: &mut Timers) {
        if let Some(in_flight) = self.release(request_key) {
            timers.disarm(in_flight.deadline, Timer::Job(JobKey { request_key, job: in_flight.job }));
            let _ = in_flight.state.abandon();
        }
        self.cancel_login(request_key, timers);
    }

    /// A request waits for its job no longer.
    pub(super) fn release(&mut self, request_key: RequestKey) -> Option<InFlight> {
        let in_flight = self.in_flight.remove(&request_key)?;
        self.weight -= in_flight.weight;
        if in_flight.lane == Lane::Auth {
            self.checks.remove(request_key);
        }
        Some(in_flight)
    }

    /// A session has answered so many messages of a connection with an error by itself.
    #[cfg_attr(not(test), allow(unused_variables))]
    pub(super) fn count_refused(&mut self, conn: ConnId, refused: u16) {
        self.counters.requests_refused += u64::from(refused);
        #[cfg(test)]
        if refused > 0 {
            self.notes.push(super::inspect::Note::Refused(conn, u32::from(refused)));
        }
    }

    /// How many requests wait for a job.
    #[cfg(test)]
    pub(super) fn in_flight_count(&self) -> usize {
        assert!(self.checks.len() <= self.in_flight.len(), "a check that is not in flight");
        self.in_flight.len() + self.held_logins.len()
    }

    fn act<S>(
        &mut self,
        asked: Asked,
        action: Action,
        connection: &mut Connection<S>,
        timers: &mut Timers,
        now: Now,
    ) {
        let Asked { command, origin } = asked;
        let request_key = origin.request_key;
        match action {
            Action::Answer(answer) => self.answer(request_key, command, answer, connection, now),
            Action::Statistics => {
                let answer = Answer::Statistics(self.statistics(now.instant));
                self.answer(request_key, command, answer, connection, now);
            }
            Action::Later { after, data } => {
                self.delay(Asked { command, origin }, after, data, connection, now);
            }
            Action::Page(page) => {
                if page.next.is_none() {
                    self.counters.count_outcome(command, None);
                }
                let output = &mut connection.output;
                connection.session.complete_page(request_key.seq, &page, output, &self.date);
            }
            Action::Work { task, stage } => {
                let asked = Asked { command, origin };
                match self.app.login_attempt(request_key.conn, &stage) {
                    Some(attempt) => {
                        let (begun, was_delayed) = (now.instant, false);
                        let check = PasswordCheck { asked, task, stage, attempt, begun, was_delayed };
                        self.check_password(check, connection, timers, now);
                    }
                    None => self.work(asked, task, stage, connection, timers, now),
                }
            }
        }
        connection.session.set_authenticated(self.app.presence().is_authenticated(request_key.conn));
    }

    /// Hands a task to a worker.
    pub(super) fn work<S>(
        &mut self,
        asked: Asked,
        task: Task,
        stage: Stage,
        connection: &mut Connection<S>,
        timers: &mut Timers,
        now: Now,
    ) {
        let Asked { command, origin } = asked;
        let request_key = origin.request_key;
        let owner = Owner::App(stage);
        if self.submit(origin, task, owner, connection, timers, now).is_err() {
            self.counters.jobs_refused += 1;
            self.answer(request_key, command, Answer::Failed(Failure::Busy), connection, now);
        }
    }

    fn submit<S>(
        &mut self,
        origin: Origin,
        task: Task,
        owner: Owner,
        connection: &mut Connection<S>,
        timers: &mut Timers,
        now: Now,
    ) -> Result<(), QueueFull> {
        let Origin { request_key, room, store_time, held } = origin;
        let (lane, submitted) = (task.lane(), now.instant);
        let deadline = submitted + time_left(lane, store_time, held);
        let state = Arc::new(JobState::default());
        let key = JobKey { request_key, job: self.next_job };
        self.next_job += 1;
        let (shares, weight) = (self.shares(lane, request_key.conn, &owner), task.weight());
        let page = task.is_page().then(|| PageWait {
            until: submitted + limits::PAGE_WAIT_MAX,
            run: None,
            lane_done: self.jobs.progress(lane).done,
        });
        self.jobs.try_submit(Job {
            key,
            task,
            priority: room,
            accounts: shares,
            weight,
            deadline,
            state: Arc::clone(&state),
        })?;
        timers.arm(deadline, Timer::Job(key));
        let weight = weight + owner.weight();
        connection.jobs += 1;
        connection.jobs_weight += weight;
        self.weight += weight;
        let job = key.job;
        let in_flight = InFlight { job, lane, owner, state, submitted, deadline, store_time, weight, page };
        self.in_flight.insert(request_key, in_flight);
        Ok(())
    }

    /// To whom a job of `lane` is charged.
    fn shares(&self, lane: Lane, conn: ConnId, owner: &Owner) -> Accounts {
        match (lane, self.app.presence().peer(conn), owner) {
            (Lane::Auth, Some(peer), Owner::App(stage)) => {
                (Account::Source(peer.source()), stage.hashed_for().map(Account::vm))
            }
            _ => (Account::Connection(conn), None),
        }
    }

    pub(super) fn answer<S>(
        &mut self,
        request_key: RequestKey,
        command: CommandName,
        answer: Answer,
        connection: &mut Connection<S>,
        now: Now,
    ) {
        let failure = match &answer {
            Answer::Failed(failure) => Some(failure),
            _ => None,
        };
        self.counters.count_outcome(command, failure);
        let was_cut = connection.session.has_broken_off();
        connection.session.complete(request_key.seq, &answer, &mut connection.output, &self.date);
        if connection.session.has_broken_off() && !was_cut {
            self.counters.answers_cut += 1;
            if let Some(held_back) = self.cuts.allow(limits::TROUBLE_LOG_INTERVAL_S, now.unix) {
                log::warn!("cut {} answers ({command:?}) in the middle: {answer:?}", 1 + held_back);
            }
        }
    }
}

/// What is answered to a message that could not be read.
fn unread(failure: Failure) -> Refusal {
    Refusal { dialect: Dialect::Command, id: None, failure }
}
