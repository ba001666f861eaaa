//! The state of a request while one of its jobs is queued or running.

use std::sync::Arc;
use std::time::Duration;

use crate::app::commands::Stage;
use crate::app::containers::Step;
use crate::clock::Instant;
#[cfg(doc)]
use crate::ids::ConnId;
use crate::ids::{ContainerId, RequestKey, ServerId};
use crate::limits;
use crate::model::{CommandName, VmName};
use crate::work::Lane;
use crate::worker::{JobState, Priority, RunId};

/// The request that a job belongs to, and how the job is queued.
pub(crate) struct Origin {
    pub(crate) request_key: RequestKey,
    /// The job's priority in its queue.
    pub(crate) priority: Priority,
    /// The time that the request has waited for the store.
    pub(crate) store_time: Duration,
    /// The time that the rate limiter delayed the login.
    pub(crate) login_delay: Duration,
    /// When the request must be done, if its earlier jobs have set it.
    pub(crate) deadline: Option<Instant>,
}

/// The receiver of a job's result.
pub(crate) enum Owner {
    /// The app, which continues the request of `command` at `stage`.
    App { command: CommandName, stage: Stage },
    /// The session, which waits for a decoded message.
    Session,
    /// The gate, which admits the connection or not.
    Gate,
    /// The dispatcher itself. The job belongs to [`ConnId::INTERNAL`].
    Internal(InternalJob),
}

/// A job that belongs to no request.
#[derive(Clone)]
pub(crate) enum InternalJob {
    /// A step to the end of a container.
    Step(ContainerId, Step),
    /// Reads the rows of the server's containers.
    ReadRows(ServerId),
    /// Removes those without a container; some may be left unless `is_all`.
    RemoveRows { names: Arc<[VmName]>, is_all: bool },
    /// Writes when VMs were last seen.
    WriteSeen,
    /// Reads the VMs that have changed, for clients that watch.
    ReadChanged,
    /// Reads the changes that other processes make, for the same clients.
    ReadOthers,
}

/// A request that waits for a job.
pub(crate) struct InFlight {
    /// The number of the job; results of any other job are late.
    pub(crate) job: u64,
    pub(crate) lane: Lane,
    pub(crate) owner: Owner,
    pub(crate) state: Arc<JobState>,
    pub(crate) submitted: Instant,
    pub(crate) deadline: Instant,
    /// When the request must be done: a container with its row is created in the time for its creation.
    pub(crate) request_deadline: Option<Instant>,
    /// The time that the request's earlier jobs waited for the store.
    pub(crate) store_time: Duration,
    /// The weight of the job and of the stage that waits for it, in points.
    pub(crate) weight: usize,
    /// Set if the job makes a page of a list.
    pub(crate) page: Option<PageWait>,
}

/// The extended deadline of a page of a list.
#[derive(Clone, Copy)]
pub(crate) struct PageWait {
    pub(crate) until: Instant,
    /// The run that executed it at its last deadline: the job is stuck if the same run still executes it at the next.
    pub(crate) run: Option<RunId>,
    /// The lane's count of completed jobs at its last deadline, or at submission: the lane is stuck if the count is
    /// the same at the next.
    pub(crate) lane_done: u64,
}

impl Origin {
    pub(crate) fn new(request_key: RequestKey) -> Origin {
        Origin {
            request_key,
            priority: Priority::Normal,
            store_time: Duration::ZERO,
            login_delay: Duration::ZERO,
            deadline: None,
        }
    }
}

impl InFlight {
    /// Extends the deadline of a page while its lane, which has completed `lane_done` jobs, makes progress. Returns
    /// whether it did; a page that has started gets the full time from then.
    pub(crate) fn may_wait_longer(&mut self, lane_done: u64, now: Instant) -> bool {
        let (Some(page), run) = (&mut self.page, self.state.run()) else { return false };
        if now >= page.until || lane_done == page.lane_done || (run.is_some() && run == page.run) {
            return false;
        }
        (page.run, page.lane_done) = (run, lane_done);
        self.deadline = now + limits::STORE_DEADLINE;
        true
    }
}

impl Owner {
    /// The weight of the stage that waits for the job, in points.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Owner::App { stage, .. } => stage.info().weight(),
            Owner::Session | Owner::Gate | Owner::Internal(_) => 0,
        }
    }
}

/// The time left for a job of `lane`, after the request waited for the store for `store_time` and was delayed
/// for `login_delay`.
pub(crate) fn time_left(lane: Lane, store_time: Duration, login_delay: Duration) -> Duration {
    match lane {
        Lane::Auth => lane_deadline(lane).saturating_sub(login_delay),
        Lane::Read | Lane::Write => {
            lane_deadline(lane).saturating_sub(store_time).max(limits::STORE_DEADLINE_MIN)
        }
        _ => lane_deadline(lane),
    }
}

/// The time that a job of `lane` may take, including its wait in the queue.
pub(crate) fn lane_deadline(lane: Lane) -> Duration {
    match lane {
        Lane::Auth => limits::AUTH_DEADLINE,
        Lane::Compute => limits::COMPUTE_DEADLINE,
        #[cfg(feature = "sealed")]
        Lane::Keys => limits::KEYS_DEADLINE,
        Lane::Handler => limits::HANDLER_DEADLINE,
        Lane::Gate => limits::GATE_DEADLINE,
        Lane::Read | Lane::Write => limits::STORE_DEADLINE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_of_a_request_share_its_store_deadline() {
        let (all, least) = (limits::STORE_DEADLINE, limits::STORE_DEADLINE_MIN);
        for lane in [Lane::Read, Lane::Write] {
            assert_eq!(time_left(lane, Duration::ZERO, all), all);
            assert_eq!(time_left(lane, all / 2, all), all / 2);
            assert_eq!(time_left(lane, all, all), least);
        }
        let delay = limits::AUTH_DEADLINE / 3;
        assert_eq!(time_left(Lane::Auth, all, delay), limits::AUTH_DEADLINE - delay);
    }
}
