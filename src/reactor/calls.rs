//! Requests that are on their way: from the session to the app, through the lanes, and back.
//!
//! Invariant: a request that a session has handed out is answered here at once, or it is in flight under
//! its ticket with one job and one armed timer.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::connection::Connection;
use super::counters::Counters;
use super::timers::{Timer, Timers};
use crate::app::App;
use crate::app::stage::{Action, Stage};
use crate::app::task::{Lane, Task};
use crate::clock::{Instant, UnixSeconds};
use crate::ids::Ticket;
use crate::limits;
use crate::model::{Answer, CommandName, Cursor, Failure, List, Request, Statistics};
use crate::stats;
use crate::worker::{Completion, Full, GivenUp, Job, JobKey, JobState, Jobs, Room};

/// The requests in flight, and what carries them.
pub(super) struct Calls<J> {
    pub(super) app: App,
    pub(super) jobs: J,
    pub(super) counters: Counters,
    in_flight: HashMap<Ticket, InFlight>,
    in_flight_max: usize,
    next_job: u64,
}

/// The two clocks' readings of this turn.
#[derive(Clone, Copy)]
pub(super) struct Now {
    pub(super) instant: Instant,
    pub(super) unix: UnixSeconds,
}

struct InFlight {
    /// The job it waits for; results of any other find nothing.
    job: u64,
    lane: Lane,
    stage: Stage,
    state: Arc<JobState>,
    deadline: Instant,
}

impl<J: Jobs> Calls<J> {
    pub(super) fn new(app: App, jobs: J, in_flight_max: usize) -> Calls<J> {
        Calls {
            app,
            jobs,
            counters: Counters::default(),
            in_flight: HashMap::new(),
            in_flight_max,
            next_job: 0,
        }
    }

    /// A session hands out a request.
    pub(super) fn begin<S>(
        &mut self,
        ticket: Ticket,
        request: Request,
        connection: &mut Connection<S>,
        timers: &mut Timers,
        now: Now,
    ) {
        self.counters.count_request(request.name);
        let action = if self.in_flight.len() < self.in_flight_max {
            self.app.call(ticket.conn, request, now.unix)
        } else {
            self.app.refuse(ticket.conn, request.name)
        };
        self.act(ticket, action, Room::Queue, connection, timers, now);
    }

    /// A session wants the next page of an answer.
    pub(super) fn begin_page<S>(
        &mut self,
        ticket: Ticket,
        list: List,
        cursor: Cursor,
        connection: &mut Connection<S>,
        timers: &mut Timers,
        now: Now,
    ) {
        let action = self.app.page(ticket.conn, list, cursor);
        self.act(ticket, action, Room::Reserved, connection, timers, now);
    }

    /// Whose result this is, if anybody still waits for it.
    pub(super) fn claim(&mut self, key: JobKey, timers: &mut Timers) -> Option<Stage> {
        match self.in_flight.get(&key.ticket) {
            Some(in_flight) if in_flight.job == key.job => {}
            _ => {
                self.counters.results_late += 1;
                return None;
            }
        }
        let in_flight = self.in_flight.remove(&key.ticket)?;
        timers.disarm(in_flight.deadline, Timer::Job(key));
        Some(in_flight.stage)
    }

    /// Goes on with a request whose job is done, and counted out of the connection's.
    pub(super) fn resume<S>(
        &mut self,
        stage: Stage,
        completion: Completion,
        connection: &mut Connection<S>,
        timers: &mut Timers,
        now: Now,
    ) {
        connection.jobs -= 1;
        let ticket = completion.key.ticket;
        let action = self.app.resume(ticket.conn, stage, completion.result, now.unix);
        self.act(ticket, action, Room::Queue, connection, timers, now);
    }

    /// The deadline of a job has come: its client is answered now, whatever becomes of it.
    pub(super) fn give_up<S>(&mut self, key: JobKey, connection: &mut Connection<S>) {
        let Some(in_flight) = self.in_flight.remove(&key.ticket) else { return };
        connection.jobs -= 1;
        let failure = match in_flight.state.give_up() {
            GivenUp::Queued => {
                self.counters.jobs_refused += 1;
                Failure::Busy
            }
            GivenUp::Running(run) => {
                self.counters.jobs_given_up += 1;
                self.jobs.replace_worker(in_flight.lane, run);
                match in_flight.lane {
                    Lane::Auth => Failure::Busy,
                    Lane::Read => Failure::StoreUnavailable,
                    Lane::Write => Failure::OutcomeUnknown,
                }
            }
        };
        self.answer(key.ticket, Answer::Failed(failure), connection);
    }

    /// The connection is gone: what it waits for need not be begun.
    pub(super) fn cancel(&mut self, ticket: Ticket, timers: &mut Timers) {
        if let Some(in_flight) = self.in_flight.remove(&ticket) {
            timers.disarm(in_flight.deadline, Timer::Job(JobKey { ticket, job: in_flight.job }));
            let _ = in_flight.state.give_up();
        }
    }

    /// How many requests wait for a job.
    #[cfg(test)]
    pub(super) fn in_flight_count(&self) -> usize {
        self.in_flight.len()
    }

    fn act<S>(
        &mut self,
        ticket: Ticket,
        action: Action,
        room: Room,
        connection: &mut Connection<S>,
        timers: &mut Timers,
        now: Now,
    ) {
        match action {
            Action::Answer(answer) => self.answer(ticket, answer, connection),
            Action::Statistics => {
                let answer = Answer::Statistics(self.statistics());
                self.answer(ticket, answer, connection);
            }
            Action::Page(page) => {
                connection.session.complete_page(ticket.slot, &page, &mut connection.output);
            }
            Action::Work { task, stage } => match self.submit(ticket, task, stage, room, timers, now) {
                Ok(()) => connection.jobs += 1,
                Err(Full) => {
                    self.counters.jobs_refused += 1;
                    self.answer(ticket, Answer::Failed(Failure::Busy), connection);
                }
            },
        }
        connection.session.set_authenticated(self.app.presence().is_authenticated(ticket.conn));
    }

    fn submit(
        &mut self,
        ticket: Ticket,
        task: Task,
        stage: Stage,
        room: Room,
        timers: &mut Timers,
        now: Now,
    ) -> Result<(), Full> {
        let lane = task.lane();
        let state = Arc::new(JobState::default());
        let key = JobKey { ticket, job: self.next_job };
        self.next_job += 1;
        self.jobs.try_submit(Job { key, task, room, state: Arc::clone(&state) })?;
        let deadline = now.instant + lane_deadline(lane);
        timers.arm(deadline, Timer::Job(key));
        self.in_flight.insert(ticket, InFlight { job: key.job, lane, stage, state, deadline });
        Ok(())
    }

    fn answer<S>(&mut self, ticket: Ticket, answer: Answer, connection: &mut Connection<S>) {
        if let Answer::Failed(_) = answer {
            self.counters.requests_failed += 1;
        }
        connection.session.complete(ticket.slot, &answer, &mut connection.output);
    }
}

impl<J: Jobs> Calls<J> {
    /// What an operator is shown.
    fn statistics(&self) -> Statistics {
        let counters = &self.counters;
        let mut values = vec![
            ("connections_open", counters.connections_open),
            ("connections_authenticated", self.app.presence().authenticated_count() as u64),
            ("connections_accepted", counters.connections_accepted),
            ("connections_evicted", counters.connections_evicted),
            ("connections_timed_out", counters.connections_timed_out),
            ("connections_stalled", counters.connections_stalled),
            ("accept_errors", counters.accept_errors),
        ];
        values.extend(CommandName::ALL.map(|name| (request_counter(name), counters.requests[name as usize])));
        values.extend([
            ("requests_refused", counters.requests_refused),
            ("requests_failed", counters.requests_failed),
            ("requests_in_flight", self.in_flight.len() as u64),
            ("jobs_refused", counters.jobs_refused),
            ("jobs_given_up", counters.jobs_given_up),
            ("results_late", counters.results_late),
        ]);
        values.extend(self.jobs.statistics());
        values.push(("log_lines_dropped", stats::LOG_LINES_DROPPED.value()));
        Statistics { values }
    }
}

/// How long a job of `lane` may take, waiting included.
fn lane_deadline(lane: Lane) -> Duration {
    match lane {
        Lane::Auth => limits::AUTH_DEADLINE,
        Lane::Read => limits::READ_DEADLINE,
        Lane::Write => limits::WRITE_DEADLINE,
    }
}

fn request_counter(name: CommandName) -> &'static str {
    match name {
        CommandName::Ping => "requests_ping",
        CommandName::Register => "requests_register",
        CommandName::Authenticate => "requests_authenticate",
        CommandName::List => "requests_list",
        CommandName::Update => "requests_update",
        CommandName::Logout => "requests_logout",
        CommandName::Stats => "requests_stats",
    }
}
