//! Runs requests: passes them from the session to the app, through the worker lanes, and back.
//!
//! Invariant: a request that a session starts is answered at once, or is in flight under its request key
//! with one job and one armed timer.

mod answers;
mod at_once;
mod containers;
mod counters;
mod delayed_conversions;
mod delayed_logins;
mod events;
mod failed_jobs;
mod in_flight;
mod last_seen;
mod lifecycle;
mod password_checks;
mod statistics;
mod submission;
pub(crate) mod timers;
#[cfg(feature = "internals")]
pub(crate) mod trace;
pub(crate) mod watch;
pub(crate) mod watchdog;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::app::App;
use crate::app::commands::Next;
use crate::app::presence::SessionEnd;
use crate::app::watch::Noted;
use crate::buffer::Buffer;
use crate::clock::{HttpDate, Instant, UnixSeconds};
use crate::ids::{ConnId, ContainerId, RequestKey, RequestSeq};
use crate::limits;
use crate::log_limiter::LogRateLimiter;
use crate::model::{Answer, CommandName, Cursor, Failure, Items, Listing, Request, ServerStatus};
use crate::session::{RequestHead, Session};
use crate::work::{Lane, WorkError, WorkResult};
use crate::worker::{Completion, JobKey, Jobs, Priority};
use counters::Counters;
use delayed_conversions::Delayed;
use delayed_logins::{DelayedLogin, PendingLogin};
use events::EventOutbox;
use failed_jobs::GATE_THREAD;
use in_flight::{InFlight, Origin, Owner};
use password_checks::{Check, PasswordChecks};
use timers::{Timer, Timers};
use watchdog::Watchdog;

/// Owns the requests in flight, the app, the timers and the access to the workers.
pub(crate) struct Dispatcher<J> {
    app: App,
    jobs: J,
    timers: Timers,
    counters: Counters,
    /// The date of this tick.
    date: HttpDate,
    /// Boxed, since they are large and the map moves its values.
    in_flight: BTreeMap<RequestKey, Box<InFlight>>,
    /// The password checks among `in_flight`.
    checks: PasswordChecks,
    /// Logins that the rate limiter delays.
    delayed_logins: BTreeMap<RequestKey, DelayedLogin>,
    delayed: Delayed,
    outbox: Vec<Effect>,
    events: EventOutbox,
    /// New containers whose answers may be unsent, by connection.
    unsent: BTreeSet<(ConnId, ContainerId)>,
    /// The containers whose rows are being added by jobs that were abandoned while they ran.
    adding: BTreeMap<JobKey, ContainerId>,
    /// The changes of writes that were abandoned while they ran.
    late_writes: BTreeMap<JobKey, Noted>,
    /// The weight of all jobs in flight, in points.
    weight: usize,
    /// The jobs in flight that use the store.
    store_jobs: usize,
    /// What may still be done in this tick without a worker, in points.
    at_once_left: usize,
    next_job: u64,
    in_flight_max: usize,
    delayed_bytes_max: usize,
    is_stopping: bool,
    started: Instant,
    watchdog: Option<Watchdog>,
    cut_log_limiter: LogRateLimiter,
    error_log_limiter: LogRateLimiter,
    seen_log_limiter: LogRateLimiter,
    /// The instant that [`Timer::Seen`] is armed for.
    seen_armed: Option<Instant>,
    watch_log_limiter: LogRateLimiter,
    /// The instant that [`Timer::Watch`] is armed for.
    watch_armed: Option<Instant>,
    /// The cause of an internal error of the request that continues now.
    error_detail: Option<String>,
    /// Events since the trace was last taken; `None` unless tracing is on.
    #[cfg(feature = "internals")]
    trace: Option<Vec<trace::TraceEvent>>,
}

/// The parts of a connection that a request uses, and the time.
pub(crate) struct Client<'a> {
    pub(crate) conn: ConnId,
    pub(crate) session: &'a mut Session,
    pub(crate) output: &'a mut Buffer,
    pub(crate) load: &'a mut JobLoad,
    pub(crate) now: Now,
}

/// A consequence for other connections. The reactor applies effects after each completion, and when it begins to stop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Effect {
    /// A queued password check exceeds the rate limit now: [`Dispatcher::withdraw`].
    WithdrawCheck(RequestKey),
    /// The server stops: [`Dispatcher::refuse_login`].
    RefuseLogin(RequestKey),
    /// The gate admits a connection: it is read from now on.
    Admit(ConnId),
    /// The gate refuses a connection: it is closed.
    Deny(ConnId),
    /// An operator has ended the login of a connection: [`Dispatcher::end_session`].
    EndSession(ConnId, SessionEnd),
}

/// The queued and running jobs of one connection.
#[derive(Default, PartialEq, Eq, Debug)]
pub(crate) struct JobLoad {
    pub(crate) jobs: u16,
    /// The calls of handlers among them.
    pub(crate) handler_calls: u16,
    /// The sum of their weights, in points.
    pub(crate) weight: u32,
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

impl Client<'_> {
    fn key(&self, seq: RequestSeq) -> RequestKey {
        RequestKey { conn: self.conn, seq }
    }
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
        let mut timers = Timers::default();
        if app.containers().server().is_some() {
            timers.arm(Instant::ORIGIN, Timer::Reconcile);
        }
        Dispatcher {
            counters: Counters::new(app.customs()),
            events: EventOutbox::new(Arc::clone(app.events())),
            app,
            jobs,
            timers,
            date: HttpDate::new(UnixSeconds::default()),
            in_flight: BTreeMap::new(),
            checks: PasswordChecks::default(),
            delayed_logins: BTreeMap::new(),
            delayed: Delayed::default(),
            outbox: Vec::new(),
            unsent: BTreeSet::new(),
            adding: BTreeMap::new(),
            late_writes: BTreeMap::new(),
            weight: 0,
            store_jobs: 0,
            at_once_left: limits::AT_ONCE_PER_TICK_MAX,
            next_job: 0,
            in_flight_max: requests_max,
            delayed_bytes_max,
            is_stopping: false,
            started,
            watchdog: None,
            cut_log_limiter: LogRateLimiter::default(),
            error_log_limiter: LogRateLimiter::default(),
            seen_log_limiter: LogRateLimiter::default(),
            seen_armed: None,
            watch_log_limiter: LogRateLimiter::default(),
            watch_armed: None,
            error_detail: None,
            #[cfg(feature = "internals")]
            trace: None,
        }
    }

    /// Whether a connection may start another request; if not, it is not read until some of its jobs complete.
    /// The limit of a connection is lower while the weight of all jobs is high.
    pub(crate) fn may_begin(&self, load: &JobLoad) -> bool {
        let weight_max = match self.weight < limits::IN_FLIGHT_WEIGHT_SHARED {
            true => limits::WEIGHT_PER_CONNECTION_MAX,
            false => limits::WEIGHT_PER_CONNECTION_MIN,
        };
        load.jobs < limits::JOBS_PER_CONNECTION_MAX
            && load.handler_calls < limits::HANDLER_CALLS_PER_CONNECTION_MAX
            && (load.weight as usize) < weight_max
    }

    /// Starts a request that a session has decoded.
    pub(crate) fn begin(&mut self, head: RequestHead, request: Box<Request>, client: &mut Client<'_>) {
        let (command, is_inline, count) = (request.name, request.is_inline(), request.count());
        self.counters.count_requests(command, count);
        match &request.command {
            Ok(_) => (0..count).for_each(|_| self.emit_request(client.conn, command)),
            Err(failure) => self.emit_refused(client.conn, failure),
        }
        #[cfg(feature = "internals")]
        self.trace(trace::TraceEvent::Begun(client.conn));
        let open = self.in_flight.len() + self.delayed_logins.len() + self.delayed.requests;
        let mut next = if open < self.in_flight_max || is_inline {
            self.app.begin(client.conn, request, client.now.unix)
        } else {
            self.app.refuse(client.conn, &request)
        };
        self.work_at_once(command, &mut next, client);
        if let Next::Answer(answer) = &next {
            return self.answer_at_once(head, command, answer, client);
        }
        let seq = client.session.open(head);
        self.dispatch(RequestContext::new(client.key(seq), command), next, client);
    }

    /// Starts the next page of an answer.
    pub(crate) fn begin_page(
        &mut self,
        seq: RequestSeq,
        listing: Listing,
        cursor: Cursor,
        client: &mut Client<'_>,
    ) {
        let origin = Origin { priority: Priority::Reserved, ..Origin::new(client.key(seq)) };
        let context = RequestContext { command: listing.command, origin };
        let mut next = self.app.page(client.conn, listing, cursor);
        self.work_at_once(context.command, &mut next, client);
        self.dispatch(context, next, client);
    }

    /// Continues a request with the result of its job.
    pub(crate) fn resume(&mut self, completion: Completion, client: &mut Client<'_>) {
        let request_key = completion.key.request_key;
        if matches!(&completion.result, Ok(WorkResult::Container(report)) if !report.change.is_final()) {
            return self.settle(completion, client.now);
        }
        let Some(in_flight) = self.take(completion.key, client) else {
            return self.settle(completion, client.now);
        };
        let InFlight { lane, owner, submitted, request_deadline, mut store_time, .. } = *in_flight;
        let result = completion.result;
        if let Ok(WorkResult::Container(report)) = &result {
            self.emit_container(report);
        }
        if matches!(lane, Lane::Read | Lane::Write) {
            store_time += client.now.instant - submitted;
        }
        if matches!(result, Err(WorkError::NoRoom)) {
            self.counters.jobs_refused += 1;
        }
        let (command, stage) = match owner {
            Owner::App { command, stage } => (command, stage),
            Owner::Gate => {
                let is_admitted = matches!(result, Ok(WorkResult::Admission(true)));
                if let Err(WorkError::Internal) = result {
                    let error = "the gate panicked".to_string();
                    self.record_runtime_error(client.conn, GATE_THREAD, error, client.now.unix);
                }
                return self.settle_admission(client.conn, is_admitted);
            }
            Owner::Internal(_) => return,
            Owner::Session => {
                let decoded = match result {
                    Ok(WorkResult::Decoded(decoded)) => decoded,
                    #[cfg(feature = "sealed")]
                    Ok(WorkResult::Exchanged(Some(exchanged))) => {
                        return client.session.exchanged(request_key.seq, exchanged, client.output);
                    }
                    #[cfg(feature = "sealed")]
                    Ok(WorkResult::Exchanged(None)) => Err(Failure::MalformedRequest.into()),
                    Err(WorkError::NoRoom) => Err(Failure::Busy.into()),
                    _ => Err(Failure::Internal.into()),
                };
                return client.session.decoded(request_key.seq, decoded);
            }
        };
        let origin = Origin { store_time, deadline: request_deadline, ..Origin::new(request_key) };
        let context = RequestContext { command, origin };
        let mut next = self.resume_app(command, stage, result, client);
        self.work_at_once(command, &mut next, client);
        self.dispatch(context, next, client);
    }

    /// Cancels all requests of a closed connection.
    pub(crate) fn cancel_all(&mut self, conn: ConnId) {
        let key = |seq| RequestKey { conn, seq: RequestSeq(seq) };
        let all = key(0)..=key(u64::MAX);
        while let Some((request_key, in_flight)) = self.in_flight.range(all.clone()).next() {
            let abandoned = in_flight.state.abandon();
            let key = JobKey { request_key: *request_key, job: in_flight.job };
            if let Some(in_flight) = self.release(key) {
                self.abandoned(key, &in_flight.owner, abandoned);
            }
        }
        while let Some((request_key, _)) = self.delayed_logins.range(all.clone()).next() {
            self.cancel_login(*request_key);
        }
    }

    /// Removes a request from those in flight, if it waits for the job of `key`; the job no longer counts for the
    /// connection.
    fn take(&mut self, key: JobKey, client: &mut Client<'_>) -> Option<Box<InFlight>> {
        let in_flight = self.release(key)?;
        client.load.jobs -= 1;
        client.load.handler_calls -= u16::from(in_flight.lane == Lane::Handler);
        client.load.weight -= in_flight.weight as u32;
        Some(in_flight)
    }

    /// Removes a request from those in flight, with its timer, if it waits for the job of `key`.
    fn release(&mut self, key: JobKey) -> Option<Box<InFlight>> {
        let in_flight = match self.in_flight.entry(key.request_key) {
            Entry::Occupied(entry) if entry.get().job == key.job => entry.remove(),
            _ => return None,
        };
        self.timers.disarm(in_flight.deadline, Timer::Job(key));
        self.weight -= in_flight.weight;
        self.store_jobs -= usize::from(in_flight.lane.uses_store());
        if in_flight.lane == Lane::Auth {
            self.checks.remove(key.request_key);
        }
        Some(in_flight)
    }

    /// The number of requests that wait for a job.
    #[cfg(feature = "internals")]
    pub(crate) fn in_flight_count(&self) -> usize {
        assert!(self.checks.len() <= self.in_flight.len(), "a check that is not in flight");
        self.in_flight.len() + self.delayed_logins.len()
    }

    fn dispatch(&mut self, context: RequestContext, next: Next, client: &mut Client<'_>) {
        let RequestContext { command, origin } = context;
        let seq = origin.request_key.seq;
        match next {
            Next::Answer(answer) => self.answer(seq, command, answer, client),
            Next::Statistics => {
                let answer = Answer::Statistics(self.statistics(client.now.instant));
                self.answer(seq, command, answer, client);
            }
            Next::Status => {
                let uptime = client.now.instant - self.started;
                let containers_available = self.app.containers().available();
                let status = ServerStatus { uptime, containers_available };
                self.answer(seq, command, Answer::Status(status), client);
            }
            Next::Later { after, data } => self.delay(seq, command, after, data, client),
            Next::Page(mut page) => {
                if let Items::Metrics(metrics) = &mut page.items {
                    metrics.statistics = self.statistics(client.now.instant);
                }
                if page.next.is_none() {
                    self.counters.count_outcomes(command, None, 1);
                }
                client.session.complete_page(seq, &page, client.output, &self.date);
            }
            Next::Work { work, stage } => {
                let context = RequestContext { command, origin };
                match self.app.login_attempt(client.conn, &stage) {
                    Some(attempt) => {
                        let check = Check { work, attempt, begun: client.now.instant, was_delayed: false };
                        self.check_password(PendingLogin { context, stage, check }, client);
                    }
                    None => self.work(context, work, stage, client),
                }
            }
        }
        self.update_session(command, client);
    }
}

#[cfg(test)]
mod tests;
