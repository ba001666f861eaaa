//! Runs requests: passes them from the session to the app, through the worker lanes, and back.
//!
//! Invariant: a request that a session starts is answered at once, or is in flight under its request key
//! with one job and one armed timer.

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

/// Owns the requests in flight, the app and the access to the workers.
pub(crate) struct Dispatcher<J> {
    pub(crate) app: App,
    pub(crate) jobs: J,
    pub(crate) counters: Counters,
    /// The date of this tick.
    pub(crate) date: HttpDate,
    pub(crate) in_flight: HashMap<RequestKey, InFlight>,
    /// The password checks among `in_flight`.
    pub(crate) checks: PasswordChecks,
    /// Checks to cancel and submit again later.
    pub(crate) withdrawn: Vec<RequestKey>,
    in_flight_max: usize,
    delayed: Delayed,
    /// The weight of all jobs in flight, in points.
    weight: usize,
    cut_log_limiter: LogRateLimiter,
    /// Logins that the rate limiter delays.
    pub(crate) delayed_logins: HashMap<RequestKey, DelayedLogin>,
    pub(crate) is_stopping: bool,
    pub(crate) next_job: u64,
    delayed_bytes_max: usize,
    started: Instant,
    /// Events since the trace was last taken; `None` unless tracing is on.
    #[cfg(feature = "internals")]
    pub(crate) trace: Option<Vec<trace::TraceEvent>>,
}

/// The parts of a connection that a request uses.
pub(crate) struct Client<'a> {
    pub(crate) session: &'a mut Session,
    pub(crate) output: &'a mut Buffer,
    pub(crate) load: &'a mut JobLoad,
}

/// The queued and running jobs of one connection.
#[derive(Default)]
pub(crate) struct JobLoad {
    pub(crate) jobs: u32,
    /// The sum of their weights, in points.
    pub(crate) weight: usize,
}

/// The time of this tick on both clocks.
#[derive(Clone, Copy)]
pub(crate) struct Now {
    pub(crate) instant: Instant,
    pub(crate) unix: UnixSeconds,
}

/// The request that an operation belongs to.
pub(crate) struct RequestContext {
    pub(crate) command: CommandName,
    pub(crate) origin: Origin,
}

/// A request whose job has completed.
pub(crate) struct ClaimedRequest {
    owner: Owner,
    /// The time that the request has waited for the store.
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

    /// Sets the limit of requests in flight. Requests over a lowered limit continue.
    pub(crate) fn set_in_flight_max(&mut self, in_flight_max: usize) {
        self.in_flight_max = in_flight_max;
    }

    /// Whether a connection may start another request; if not, it is not read until some of its jobs complete.
    /// The limit of a connection is lower while the weight of all jobs is high.
    pub(crate) fn may_begin(&self, load: &JobLoad) -> bool {
        let weight_max = match self.weight < limits::IN_FLIGHT_WEIGHT_SHARED {
            true => limits::WEIGHT_PER_CONNECTION_MAX,
            false => limits::WEIGHT_PER_CONNECTION_MIN,
        };
        load.jobs < limits::JOBS_PER_CONNECTION_MAX && load.weight < weight_max
    }

    /// Starts a request that a session has decoded.
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

    /// Submits a long message to be decoded by a worker.
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

    /// Starts the next page of an answer.
    pub(crate) fn begin_page(
        &mut self,
        request_key: RequestKey,
        listing: Listing,
        cursor: Cursor,
        client: &mut Client<'_>,
        timers: &mut Timers,
        now: Now,
    ) {
        let origin = Origin { priority: Priority::Reserved, ..Origin::new(request_key) };
        let context = RequestContext { command: listing.command(), origin };
        let action = self.app.page(request_key.conn, listing, cursor);
        self.dispatch(context, action, client, timers, now);
    }

    /// Takes the request that waits for the job `key`; `None` if the result is late.
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

    /// Continues a request with the result of its job, which no longer counts for the connection.
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
        let context = RequestContext {
            command: stage.command(),
            origin: Origin { store_time, ..Origin::new(request_key) },
        };
        if let Some(failed) = self.app.record_login(request_key.conn, &stage, &completion.result, now.instant)
        {
            self.withdraw_over_limit(failed, now);
        }
        let action = self.app.resume(request_key.conn, stage, completion.result, now.unix);
        self.dispatch(context, action, client, timers, now);
    }

    /// Handles the deadline of a job: answers its request with an error, unless the job is a page that may wait
    /// longer.
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
                // A store may never answer, so its lane gets another thread. Hashing always ends, and a
                // second thread would exceed the memory limit of the lane.
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

    /// Cancels a request of a closed connection.
    pub(crate) fn cancel(&mut self, request_key: RequestKey, timers: &mut Timers) {
        if let Some(in_flight) = self.release(request_key) {
            timers.disarm(in_flight.deadline, Timer::Job(JobKey { request_key, job: in_flight.job }));
            let _ = in_flight.state.abandon();
        }
        self.cancel_login(request_key, timers);
    }

    /// Removes a request from those in flight.
    pub(crate) fn release(&mut self, request_key: RequestKey) -> Option<InFlight> {
        let in_flight = self.in_flight.remove(&request_key)?;
        self.weight -= in_flight.weight;
        if in_flight.lane == Lane::Auth {
            self.checks.remove(request_key);
        }
        Some(in_flight)
    }

    /// Counts messages that a session answered with an error itself.
    #[cfg_attr(not(test), allow(unused_variables))]
    pub(crate) fn count_refused(&mut self, conn: ConnId, refused: u16) {
        self.counters.requests_refused += u64::from(refused);
        #[cfg(feature = "internals")]
        if refused > 0 {
            self.trace(trace::TraceEvent::Refused(conn, u32::from(refused)));
        }
    }

    /// The number of requests that wait for a job.
    #[cfg(feature = "internals")]
    pub(crate) fn in_flight_count(&self) -> usize {
        assert!(self.checks.len() <= self.in_flight.len(), "a check that is not in flight");
        self.in_flight.len() + self.delayed_logins.len()
    }

    fn dispatch(
        &mut self,
        context: RequestContext,
        action: Next,
        client: &mut Client<'_>,
        timers: &mut Timers,
        now: Now,
    ) {
        let RequestContext { command, origin } = context;
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
                let context = RequestContext { command, origin };
                match self.app.login_attempt(request_key.conn, &stage) {
                    Some(attempt) => {
                        let (begun, was_delayed) = (now.instant, false);
                        let check = PendingCheck { context, work, stage, attempt, begun, was_delayed };
                        self.check_password(check, client, timers, now);
                    }
                    None => self.work(context, work, stage, client, timers, now),
                }
            }
        }
        client.session.set_authenticated(self.app.presence().is_authenticated(request_key.conn));
    }

    /// Submits `work` to its lane; answers `busy` if the queue is full.
    pub(crate) fn work(
        &mut self,
        context: RequestContext,
        work: Work,
        stage: Stage,
        client: &mut Client<'_>,
        timers: &mut Timers,
        now: Now,
    ) {
        let RequestContext { command, origin } = context;
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
        let Origin { request_key, priority, store_time, login_delay } = origin;
        let (lane, submitted) = (work.lane(), now.instant);
        let deadline = submitted + time_left(lane, store_time, login_delay);
        let state = Arc::new(JobState::default());
        let key = JobKey { request_key, job: self.next_job };
        self.next_job += 1;
        let (accounts, weight) = (self.accounts(lane, request_key.conn, &owner), work.weight());
        let page = work.is_page().then(|| PageWait {
            until: submitted + limits::PAGE_WAIT_MAX,
            run: None,
            lane_done: self.jobs.progress(lane).done,
        });
        self.jobs.try_submit(Job {
            key,
            work,
            priority,
            accounts,
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

    /// The accounts that a job of `lane` is charged to.
    fn accounts(&self, lane: Lane, conn: ConnId, owner: &Owner) -> Accounts {
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
            if let Some(suppressed) = self.cut_log_limiter.allow(limits::ERROR_LOG_INTERVAL_S, now.unix) {
                log::warn!("cut {} answers ({command:?}) in the middle: {answer:?}", 1 + suppressed);
            }
        }
    }
}

/// The refusal of a message that was not decoded.
fn unreadable(failure: Failure) -> Refusal {
    Refusal { dialect: Dialect::Command, id: None, failure }
}
