//! Requests that are on their way: from the session to the app, through the lanes, and back.
//!
//! Invariant: a request that a session has handed out is answered here at once, or it is in flight under
//! its request_key with one job and one armed timer.

mod counters;
mod delayed;
mod delayed_logins;
mod in_flight;
mod password_checks;
mod statistics;
pub(crate) mod timers;
#[cfg(feature = "internals")]
pub(crate) mod trace;
pub(crate) mod watchdog;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use self::delayed::Delayed;
use crate::app::App;
use crate::app::commands::{Next, Stage};
use crate::buffer::Buffer;
use crate::clock::{HttpDate, Instant, UnixSeconds};
use crate::ids::{ConnId, RequestKey};
use crate::limits;
use crate::log_limiter::LogRateLimiter;
use crate::model::{Answer, CommandName, Cursor, Dialect, Failure, Listing, LongText, Refusal, Request};
use crate::session::Session;
use crate::work::{Compute, Lane, Work, WorkError, WorkResult};
use crate::worker::{
    Abandoned, Account, Accounts, Completion, Job, JobKey, JobState, Jobs, Priority, QueueFull,
};
use counters::Counters;
use delayed_logins::{DelayedLogin, PendingCheck};
use in_flight::{InFlight, Origin, Owner, PageWait, time_left};
use password_checks::PasswordChecks;
use timers::{Timer, Timers};

/// The requests in flight, and what carries them.
pub(crate) struct Dispatcher<J> {
    pub(crate) app: App,
    pub(crate) jobs: J,
    pub(crate) counters: Counters,
    /// That of this turn.
    pub(crate) date: HttpDate,
    pub(crate) in_flight: HashMap<RequestKey, InFlight>,
    /// Those of them that have a password checked.
    pub(crate) checks: PasswordChecks,
    /// Those checks that are to be taken back.
    pub(crate) withdrawn: Vec<RequestKey>,
    in_flight_max: usize,
    delayed: Delayed,
    /// What all jobs in flight weigh, in points to be kept.
    weight: usize,
    cut_log_limiter: LogRateLimiter,
    /// Logins that wait until they may be tried.
    pub(crate) delayed_logins: HashMap<RequestKey, DelayedLogin>,
    pub(crate) is_stopping: bool,
    pub(crate) next_job: u64,
    delayed_bytes_max: usize,
    started: Instant,
    /// What has been done since the trace was last taken, if it is recorded.
    #[cfg(feature = "internals")]
    pub(crate) trace: Option<Vec<trace::TraceEvent>>,
}

/// What a request uses of its connection.
pub(crate) struct Client<'a> {
    pub(crate) session: &'a mut Session,
    pub(crate) output: &'a mut Buffer,
    pub(crate) load: &'a mut JobLoad,
}

/// The queued and running jobs of one connection.
#[derive(Default)]
pub(crate) struct JobLoad {
    pub(crate) jobs: u32,
    /// Their weight, in points.
    pub(crate) weight: usize,
}

/// The two clocks' readings of this turn.
#[derive(Clone, Copy)]
pub(crate) struct Now {
    pub(crate) instant: Instant,
    pub(crate) unix: UnixSeconds,
}

/// The request that something is done for.
pub(crate) struct RequestContext {
    pub(crate) command: CommandName,
    pub(crate) origin: Origin,
}

/// A request whose job is done.
pub(crate) struct ClaimedRequest {
    owner: Owner,
    /// How long it has waited for the store.
    store_time: Duration,
    weight: usize,
}

impl RequestContext {
    fn new(request_key: RequestKey, command: CommandName) -> RequestContext {
        RequestContext { command, origin: Origin::new(request_key) }
    }
}

impl<J: Jobs> Dispatcher<J> {
    pub(crate) fn new(
        app: App,
        jobs: J,
        requests_max: usize,
        delayed_bytes_max: usize,
        started: Instant,
    ) -> Dispatcher<J> {
        Dispatcher {
            app,
            jobs,
            counters: Counters::default(),
            date: HttpDate::new(UnixSeconds::default()),
            in_flight: HashMap::new(),
            checks: PasswordChecks::default(),
            withdrawn: Vec::new(),
            in_flight_max: requests_max,
            delayed: Delayed::default(),
            delayed_logins: HashMap::new(),
            is_stopping: false,
            weight: 0,
            cut_log_limiter: LogRateLimiter::default(),
            delayed_bytes_max,
            next_job: 0,
            started,
            #[cfg(feature = "internals")]
            trace: None,
        }
    }

    /// From now on so many requests may be in flight; those that are, go on.
    pub(crate) fn set_in_flight_max(&mut self, in_flight_max: usize) {
        self.in_flight_max = in_flight_max;
    }

    /// Whether a connection may begin one more request, or is read no further until some that it has begun are
    /// done: by itself it may have so much waiting, and less where all together have much.
    pub(crate) fn may_begin(&self, load: &JobLoad) -> bool {
        let weight_max = match self.weight < limits::WORK_WAITING_SHARED {
            true => limits::WORK_PER_CONNECTION_MAX,
            false => limits::WORK_PER_CONNECTION_FREE,
        };
        load.jobs < limits::JOBS_PER_CONNECTION_MAX && load.weight < weight_max
    }

    /// A session hands out a request.
    pub(crate) fn begin(
        &mut self,
        request_key: RequestKey,
        request: Box<Request>,
        client: &mut Client<'_>,
        timers: &mut Timers,
        now: Now,
    ) {
        let (command, is_inline) = (request.name, request.is_inline());
        self.counters.count_request(command);
        #[cfg(feature = "internals")]
        self.trace(trace::TraceEvent::Begun(request_key.conn));
        let open = self.in_flight.len() + self.delayed_logins.len() + self.delayed.requests;
        let action = if open < self.in_flight_max || is_inline {
            self.app.begin(request_key.conn, request, now.unix)
        } else {
            self.app.refuse(request_key.conn, &request)
        };
        self.dispatch(RequestContext::new(request_key, command), action, client, timers, now);
    }

    /// A session has a long message read.
    pub(crate) fn begin_decoding(
        &mut self,
        request_key: RequestKey,
        text: LongText,
        client: &mut Client<'_>,
        timers: &mut Timers,
        now: Now,
    ) {
        let work = Work::Compute(Compute::Decode { text });
        match self.submit(Origin::new(request_key), work, Owner::Session, client, timers, now) {
            Ok(()) => {}
            Err(QueueFull) => {
                self.counters.jobs_refused += 1;
                client.session.decoded(request_key.seq, Err(unreadable(Failure::Busy)));
            }
        }
    }

    /// A session wants the next page of an answer.
    pub(crate) fn begin_page(
        &mut self,
        request_key: RequestKey,
        of: Listing,
        cursor: Cursor,
        client: &mut Client<'_>,
        timers: &mut Timers,
        now: Now,
    ) {
        let origin = Origin { room: Priority::Reserved, ..Origin::new(request_key) };
        let asked = RequestContext { command: of.command(), origin };
        let action = self.app.page(request_key.conn, of, cursor);
        self.dispatch(asked, action, client, timers, now);
    }

    /// Whose result this is, if anybody still waits for it.
    pub(crate) fn claim(&mut self, key: JobKey, timers: &mut Timers, now: Now) -> Option<ClaimedRequest> {
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
        Some(ClaimedRequest { owner, store_time, weight })
    }

    /// Goes on with a request whose job is done, and counted out of the connection's.
    pub(crate) fn resume(
        &mut self,
        claimed: ClaimedRequest,
        completion: Completion,
        client: &mut Client<'_>,
        timers: &mut Timers,
        now: Now,
    ) {
        let request_key = completion.key.request_key;
        let ClaimedRequest { owner, store_time, weight } = claimed;
        client.load.jobs -= 1;
        client.load.weight -= weight;
        if matches!(completion.result, Err(WorkError::NoRoom)) {
            self.counters.jobs_refused += 1;
        }
        let stage = match owner {
            Owner::App(stage) => stage,
            Owner::Session => {
                let decoded = match completion.result {
                    Ok(WorkResult::Decoded(decoded)) => *decoded,
                    Err(WorkError::NoRoom) => Err(unreadable(Failure::Busy)),
                    _ => Err(unreadable(Failure::Internal)),
                };
                return client.session.decoded(request_key.seq, decoded);
            }
        };
        let asked = RequestContext {
            command: stage.command(),
            origin: Origin { store_time, ..Origin::new(request_key) },
        };
        if let Some(failed) = self.app.record_login(request_key.conn, &stage, &completion.result, now.instant)
        {
            self.withdraw_over_limit(failed, now);
        }
        let action = self.app.resume(request_key.conn, stage, completion.result, now.unix);
        self.dispatch(asked, action, client, timers, now);
    }

    /// The deadline of a job has come: its client is answered now, whatever becomes of it, unless it only waits for
    /// its turn and may.
    pub(crate) fn expire(&mut self, key: JobKey, client: &mut Client<'_>, timers: &mut Timers, now: Now) {
        let Some(in_flight) = self.in_flight.get_mut(&key.request_key) else { return };
        if in_flight.page.is_some()
            && in_flight.may_wait_longer(self.jobs.progress(in_flight.lane).done, now.instant)
        {
            return timers.arm(in_flight.deadline, Timer::Job(key));
        }
        let Some(in_flight) = self.release(key.request_key) else { return };
        client.load.jobs -= 1;
        client.load.weight -= in_flight.weight;
        let failure = match in_flight.state.abandon() {
            Abandoned::Queued => {
                self.counters.jobs_refused += 1;
                Failure::Busy
            }
            Abandoned::Running(run) => {
                self.counters.jobs_given_up += 1;
                // A store may never answer. What only computes comes to an end, and another thread beside it would take
                // the memory of one hash more than there may be.
                if matches!(in_flight.lane, Lane::Read | Lane::Write) {
                    self.jobs.replace_worker(in_flight.lane, run);
                }
                match in_flight.lane {
                    Lane::Auth | Lane::Compute => Failure::Busy,
                    Lane::Read => Failure::StoreUnavailable,
                    Lane::Write => Failure::OutcomeUnknown,
                }
            }
        };
        match in_flight.owner {
            Owner::App(stage) => {
                self.answer(key.request_key, stage.command(), Answer::Failed(failure), client, now);
            }
            Owner::Session => client.session.decoded(key.request_key.seq, Err(unreadable(failure))),
        }
    }

    /// The connection is gone: what it waits for need not be begun.
    pub(crate) fn cancel(&mut self, request_key: RequestKey, timers: &mut Timers) {
        if let Some(in_flight) = self.release(request_key) {
            timers.disarm(in_flight.deadline, Timer::Job(JobKey { request_key, job: in_flight.job }));
            let _ = in_flight.state.abandon();
        }
        self.cancel_login(request_key, timers);
    }

    /// A request waits for its job no longer.
    pub(crate) fn release(&mut self, request_key: RequestKey) -> Option<InFlight> {
        let in_flight = self.in_flight.remove(&request_key)?;
        self.weight -= in_flight.weight;
        if in_flight.lane == Lane::Auth {
            self.checks.remove(request_key);
        }
        Some(in_flight)
    }

    /// A session has answered so many messages of a connection with an error by itself.
    #[cfg_attr(not(test), allow(unused_variables))]
    pub(crate) fn count_refused(&mut self, conn: ConnId, refused: u16) {
        self.counters.requests_refused += u64::from(refused);
        #[cfg(feature = "internals")]
        if refused > 0 {
            self.trace(trace::TraceEvent::Refused(conn, u32::from(refused)));
        }
    }

    /// How many requests wait for a job.
    #[cfg(feature = "internals")]
    pub(crate) fn in_flight_count(&self) -> usize {
        assert!(self.checks.len() <= self.in_flight.len(), "a check that is not in flight");
        self.in_flight.len() + self.delayed_logins.len()
    }

    fn dispatch(
        &mut self,
        asked: RequestContext,
        action: Next,
        client: &mut Client<'_>,
        timers: &mut Timers,
        now: Now,
    ) {
        let RequestContext { command, origin } = asked;
        let request_key = origin.request_key;
        match action {
            Next::Answer(answer) => self.answer(request_key, command, answer, client, now),
            Next::Statistics => {
                let answer = Answer::Statistics(self.statistics(now.instant));
                self.answer(request_key, command, answer, client, now);
            }
            Next::Later { after, data } => {
                self.delay(RequestContext { command, origin }, after, data, client, now);
            }
            Next::Page(page) => {
                if page.next.is_none() {
                    self.counters.count_outcome(command, None);
                }
                client.session.complete_page(request_key.seq, &page, client.output, &self.date);
            }
            Next::Work { work, stage } => {
                let asked = RequestContext { command, origin };
                match self.app.login_attempt(request_key.conn, &stage) {
                    Some(attempt) => {
                        let (begun, was_delayed) = (now.instant, false);
                        let check = PendingCheck { asked, work, stage, attempt, begun, was_delayed };
                        self.check_password(check, client, timers, now);
                    }
                    None => self.work(asked, work, stage, client, timers, now),
                }
            }
        }
        client.session.set_authenticated(self.app.presence().is_authenticated(request_key.conn));
    }

    /// Hands a task to a worker.
    pub(crate) fn work(
        &mut self,
        asked: RequestContext,
        work: Work,
        stage: Stage,
        client: &mut Client<'_>,
        timers: &mut Timers,
        now: Now,
    ) {
        let RequestContext { command, origin } = asked;
        let request_key = origin.request_key;
        let owner = Owner::App(stage);
        if self.submit(origin, work, owner, client, timers, now).is_err() {
            self.counters.jobs_refused += 1;
            self.answer(request_key, command, Answer::Failed(Failure::Busy), client, now);
        }
    }

    fn submit(
        &mut self,
        origin: Origin,
        work: Work,
        owner: Owner,
        client: &mut Client<'_>,
        timers: &mut Timers,
        now: Now,
    ) -> Result<(), QueueFull> {
        let Origin { request_key, room, store_time, held } = origin;
        let (lane, submitted) = (work.lane(), now.instant);
        let deadline = submitted + time_left(lane, store_time, held);
        let state = Arc::new(JobState::default());
        let key = JobKey { request_key, job: self.next_job };
        self.next_job += 1;
        let (shares, weight) = (self.shares(lane, request_key.conn, &owner), work.weight());
        let page = work.is_page().then(|| PageWait {
            until: submitted + limits::PAGE_WAIT_MAX,
            run: None,
            lane_done: self.jobs.progress(lane).done,
        });
        self.jobs.try_submit(Job {
            key,
            work,
            priority: room,
            accounts: shares,
            weight,
            deadline,
            state: Arc::clone(&state),
        })?;
        timers.arm(deadline, Timer::Job(key));
        let weight = weight + owner.weight();
        client.load.jobs += 1;
        client.load.weight += weight;
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
                (Account::Source(peer.source()), stage.hashed_name().map(Account::vm))
            }
            _ => (Account::Connection(conn), None),
        }
    }

    pub(crate) fn answer(
        &mut self,
        request_key: RequestKey,
        command: CommandName,
        answer: Answer,
        client: &mut Client<'_>,
        now: Now,
    ) {
        let failure = match &answer {
            Answer::Failed(failure) => Some(failure),
            _ => None,
        };
        self.counters.count_outcome(command, failure);
        let was_cut = client.session.has_broken_off();
        client.session.complete(request_key.seq, &answer, client.output, &self.date);
        if client.session.has_broken_off() && !was_cut {
            self.counters.answers_cut += 1;
            if let Some(held_back) = self.cut_log_limiter.allow(limits::TROUBLE_LOG_INTERVAL_S, now.unix) {
                log::warn!("cut {} answers ({command:?}) in the middle: {answer:?}", 1 + held_back);
            }
        }
    }
}

/// What is answered to a message that could not be read.
fn unreadable(failure: Failure) -> Refusal {
    Refusal { dialect: Dialect::Command, id: None, failure }
}
