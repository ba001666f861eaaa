//! Writes when VMs were last seen, in jobs that belong to no request.

use super::in_flight::{InFlight, InternalJob, Owner};
use super::timers::Timer;
use super::{Dispatcher, Now};
use crate::clock::Instant;
use crate::ids::{ConnId, RequestKey, RequestSeq};
use crate::limits;
use crate::store::Write;
use crate::work::{Work, WorkError};
use crate::worker::{JobKey, Jobs};

impl<J: Jobs> Dispatcher<J> {
    /// Begins the next write if it is due, and arms the timer of the one after.
    pub(crate) fn write_seen(&mut self, now: Now) {
        if let Some(vms) = self.app.presence_mut().last_seen_mut().take_batch(now.instant) {
            self.submit_internal(Work::Write(Write::Seen { vms }), InternalJob::WriteSeen, now.instant);
        }
        // A timer of the past has fired, and is armed again if more is to do at once.
        self.seen_armed = self.seen_armed.filter(|at| *at > now.instant);
        let next = self.app.presence().last_seen().next_write();
        if next != self.seen_armed {
            self.seen_armed.into_iter().for_each(|at| self.timers.disarm(at, Timer::Seen));
            next.into_iter().for_each(|at| self.timers.arm(at, Timer::Seen));
            self.seen_armed = next;
        }
    }

    /// Whether nothing is left to write.
    pub(crate) fn has_written_seen(&self) -> bool {
        self.app.presence().last_seen().is_settled()
    }

    /// Writes nothing more, and abandons the write that is under way.
    pub(crate) fn give_up_seen(&mut self) {
        self.app.presence_mut().last_seen_mut().give_up();
        self.abandon_internal(|job| matches!(job, InternalJob::WriteSeen));
    }

    /// Abandons an internal job that is under way, if there is such a one.
    pub(super) fn abandon_internal(&mut self, is_wanted: impl Fn(&InternalJob) -> bool) {
        let first = RequestKey { conn: ConnId::INTERNAL, seq: RequestSeq(0) };
        let is_wanted = |in_flight: &InFlight| match &in_flight.owner {
            Owner::Internal(job) => is_wanted(job),
            _ => false,
        };
        let mut internal = self.in_flight.range(first..);
        if let Some((request_key, in_flight)) = internal.find(|(_, in_flight)| is_wanted(in_flight)) {
            let key = JobKey { request_key: *request_key, job: in_flight.job };
            in_flight.state.abandon();
            self.release(key);
        }
    }

    pub(super) fn seen_written(&mut self, now: Now) {
        self.app.presence_mut().last_seen_mut().written(now.instant);
    }

    pub(super) fn seen_failed(&mut self, error: &WorkError, now: Instant) {
        let count = self.app.presence_mut().last_seen_mut().failed(now);
        let error = match error {
            WorkError::Store(error) => error.to_string(),
            _ => "too many writes wait".to_owned(),
        };
        if let Some(suppressed) =
            self.seen_log_limiter.allow(limits::ERROR_LOG_INTERVAL_S, self.app.presence().now())
        {
            log::warn!(
                "when {count} VMs were last seen is not stored yet; {suppressed} attempts failed before: {error}"
            );
        }
    }
}
