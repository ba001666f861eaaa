//! Jobs that fail, run into their deadline, or end too late; and the errors of the server itself.

use super::in_flight::Owner;
use super::timers::Timer;
use super::{Client, Dispatcher, Now};
use crate::clock::UnixSeconds;
use crate::embed::HandlerFailure;
use crate::ids::ConnId;
use crate::limits;
use crate::model::{Answer, Failure};
use crate::work::{Lane, WorkError, WorkResult};
use crate::worker::{Abandoned, Completion, JobKey, Jobs};

impl<J: Jobs> Dispatcher<J> {
    /// Handles the deadline of a job: answers its request with an error, unless the job is a page that may wait
    /// longer.
    pub(crate) fn expire_job(&mut self, key: JobKey, client: &mut Client<'_>) {
        let Some(in_flight) = self.in_flight.get_mut(&key.request_key) else { return };
        if in_flight.page.is_some()
            && in_flight.may_wait_longer(self.jobs.status(in_flight.lane).done, client.now.instant)
        {
            return self.timers.arm(in_flight.deadline, Timer::Job(key));
        }
        let Some(in_flight) = self.take(key, client) else { return };
        let abandoned = in_flight.state.abandon();
        self.abandoned(key, &in_flight.owner, abandoned);
        let failure = match abandoned {
            Abandoned::Queued => {
                self.counters.jobs_refused += 1;
                Failure::Busy
            }
            Abandoned::Running(run) => {
                self.counters.jobs_given_up += 1;
                // A store, a handler or a gate may never answer, so its lane gets another thread. Hashing always ends,
                // and a second thread would exceed the memory limit of the lane.
                if !in_flight.lane.is_computing() {
                    self.jobs.replace_worker(in_flight.lane, run);
                }
                match in_flight.lane {
                    Lane::Read => Failure::StoreUnavailable,
                    Lane::Write | Lane::Handler => Failure::OutcomeUnknown,
                    _ => Failure::Busy,
                }
            }
        };
        match in_flight.owner {
            Owner::App { command, .. } => {
                self.answer(key.request_key.seq, command, Answer::Failed(failure), client);
            }
            Owner::Gate => self.settle_admission(client.conn, false),
            Owner::Internal(_) => {}
            Owner::Session => client.session.decoded(key.request_key.seq, Err(failure.into())),
        }
    }

    /// Handles a result that no client waits for: it arrived after its request was answered or its connection was
    /// closed, or belongs to no connection.
    pub(crate) fn settle(&mut self, completion: Completion, now: Now) {
        let Completion { key, result } = completion;
        let conn = key.request_key.conn;
        if let Ok(WorkResult::Container(report)) = &result {
            self.emit_container(report);
            if !report.change.is_final() {
                return;
            }
        }
        self.counters.results_late += u64::from(conn != ConnId::INTERNAL);
        if let Some(error) = error_detail(&result) {
            self.record_runtime_error(conn, HANDLER_THREAD, error, now.unix);
        }
        let owner = self.release(key).map(|in_flight| in_flight.owner);
        self.note_late(key, owner.as_ref(), &result);
        self.settle_container(key, result, owner, now);
    }

    /// Counts, logs and reports an error on `thread`, for a request of `conn`. Requests may cause many: most are not
    /// logged then.
    pub(super) fn record_runtime_error(
        &mut self,
        conn: ConnId,
        thread: &'static str,
        error: String,
        now: UnixSeconds,
    ) {
        self.counters.runtime_errors += 1;
        match self.error_log_limiter.allow(limits::ERROR_LOG_INTERVAL_S, now) {
            None => {}
            Some(0) => log::error!("{error}"),
            Some(suppressed) => log::error!("{error} (and {suppressed} other errors before)"),
        }
        self.emit_error(conn, thread, error);
    }
}

/// The threads of handlers, of the gate, and of the reactor.
pub(super) const HANDLER_THREAD: &str = "vmherd-handler";
pub(super) const GATE_THREAD: &str = "vmherd-gate";
pub(super) const REACTOR_THREAD: &str = "vmherd-reactor";

/// The cause of an internal error, for the log; `None` if the result is none.
pub(super) fn error_detail(result: &Result<WorkResult, WorkError>) -> Option<String> {
    match result {
        // The client has caused it.
        Err(WorkError::Handler(HandlerFailure::BadParameters(_))) => None,
        Err(WorkError::Handler(failure)) => Some(failure.to_string()),
        Ok(WorkResult::Container(report)) => report.change.error().map(str::to_owned),
        _ => None,
    }
}
