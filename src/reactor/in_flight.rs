//! What is known of a request while a job of its is on its way.

use std::sync::Arc;
use std::time::Duration;

use crate::app::stage::Stage;
use crate::app::task::Lane;
use crate::clock::Instant;
use crate::ids::Ticket;
use crate::limits;
use crate::worker::{JobState, Room, RunId};

/// What a job is for.
pub(super) struct Origin {
    pub(super) ticket: Ticket,
    /// What the job needs in its queue.
    pub(super) room: Room,
    /// How long the request has waited for the store.
    pub(super) store_time: Duration,
    /// How long it was held before it could be tried.
    pub(super) held: Duration,
}

/// Who goes on when a job is done.
pub(super) enum Owner {
    /// The app, with a request that has come to this stage.
    App(Stage),
    /// The session, which has a message read.
    Session,
}

/// A request that waits for a job.
pub(super) struct InFlight {
    /// The job it waits for; results of any other find nothing.
    pub(super) job: u64,
    pub(super) lane: Lane,
    pub(super) owner: Owner,
    pub(super) state: Arc<JobState>,
    pub(super) submitted: Instant,
    pub(super) deadline: Instant,
    /// How long the jobs before this one waited for the store.
    pub(super) store_time: Duration,
    /// What it weighs, what waits for it included.
    pub(super) weight: usize,
    /// Where it makes a page of a list.
    pub(super) page: Option<PageWait>,
}

/// A page of a list that waits for its turn.
#[derive(Clone, Copy)]
pub(super) struct PageWait {
    pub(super) until: Instant,
    /// The run in which it was at its last deadline: it is stuck if it is at the next, too.
    pub(super) run: Option<RunId>,
    /// What its lane had done by its last deadline, or when it was submitted: the lane is stuck if that is all at the
    /// next.
    pub(super) lane_done: u64,
}

impl Origin {
    pub(super) fn new(ticket: Ticket) -> Origin {
        Origin { ticket, room: Room::Queue, store_time: Duration::ZERO, held: Duration::ZERO }
    }
}

impl InFlight {
    /// Its deadline has come, and its lane has `lane_done`. Whether there is another: a page of a list may wait for its
    /// turn for longer while the lane gets on, and its time to be made begins with it.
    pub(super) fn waits_on(&mut self, lane_done: u64, now: Instant) -> bool {
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
    pub(super) fn weight(&self) -> usize {
        match self {
            Owner::App(stage) => stage.weight(),
            Owner::Session => 0,
        }
    }
}
