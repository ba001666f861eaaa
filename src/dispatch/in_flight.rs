//! What is known of a request while a job of its is on its way.

use std::sync::Arc;
use std::time::Duration;

use crate::app::commands::Stage;
use crate::clock::Instant;
use crate::ids::RequestKey;
use crate::limits;
use crate::work::Lane;
use crate::worker::{JobState, Priority, RunId};

/// What a job is for.
pub(crate) struct Origin {
    pub(crate) request_key: RequestKey,
    /// What the job needs in its queue.
    pub(crate) room: Priority,
    /// How long the request has waited for the store.
    pub(crate) store_time: Duration,
    /// How long it was held before it could be tried.
    pub(crate) held: Duration,
}

/// Who goes on when a job is done.
pub(crate) enum Owner {
    /// The app, with a request that has come to this stage.
    App(Stage),
    /// The session, which has a message read.
    Session,
}

/// A request that waits for a job.
pub(crate) struct InFlight {
    /// The job it waits for; results of any other find nothing.
    pub(crate) job: u64,
    pub(crate) lane: Lane,
    pub(crate) owner: Owner,
    pub(crate) state: Arc<JobState>,
    pub(crate) submitted: Instant,
    pub(crate) deadline: Instant,
    /// How long the jobs before this one waited for the store.
    pub(crate) store_time: Duration,
    /// What it weighs, what waits for it included.
    pub(crate) weight: usize,
    /// Where it makes a page of a list.
    pub(crate) page: Option<PageWait>,
}

/// A page of a list that waits for its turn.
#[derive(Clone, Copy)]
pub(crate) struct PageWait {
    pub(crate) until: Instant,
    /// The run in which it was at its last deadline: it is stuck if it is at the next, too.
    pub(crate) run: Option<RunId>,
    /// What its lane had done by its last deadline, or when it was submitted: the lane is stuck if that is all at the
    /// next.
    pub(crate) lane_done: u64,
}

impl Origin {
    pub(crate) fn new(request_key: RequestKey) -> Origin {
        Origin { request_key, room: Priority::Normal, store_time: Duration::ZERO, held: Duration::ZERO }
    }
}

impl InFlight {
    /// Its deadline has come, and its lane has `lane_done`. Whether there is another: a page of a list may wait for its
    /// turn for longer while the lane gets on, and its time to be made begins with it.
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
    /// What waits for the job, in points to be kept.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Owner::App(stage) => stage.weight(),
            Owner::Session => 0,
        }
    }
}

/// How long a job of `lane` may take whose request has waited for the store for `store_time` and was `held`
/// before.
pub(crate) fn time_left(lane: Lane, store_time: Duration, held: Duration) -> Duration {
    match lane {
        Lane::Auth => lane_deadline(lane).saturating_sub(held),
        Lane::Compute => lane_deadline(lane),
        Lane::Read | Lane::Write => {
            lane_deadline(lane).saturating_sub(store_time).max(limits::STORE_DEADLINE_MIN)
        }
    }
}

/// How long a job of `lane` may take, waiting included.
pub(crate) fn lane_deadline(lane: Lane) -> Duration {
    match lane {
        Lane::Auth => limits::AUTH_DEADLINE,
        Lane::Compute => limits::COMPUTE_DEADLINE,
        Lane::Read | Lane::Write => limits::STORE_DEADLINE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_jobs_of_a_request_share_its_time_for_the_store() {
        let (all, least) = (limits::STORE_DEADLINE, limits::STORE_DEADLINE_MIN);
        for lane in [Lane::Read, Lane::Write] {
            assert_eq!(time_left(lane, Duration::ZERO, all), all);
            assert_eq!(time_left(lane, all / 2, all), all / 2);
            assert_eq!(time_left(lane, all, all), least);
        }
        let held = limits::AUTH_DEADLINE / 3;
        assert_eq!(time_left(Lane::Auth, all, held), limits::AUTH_DEADLINE - held);
    }
}
