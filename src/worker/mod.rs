//! Work that blocks, away from the reactor: a bounded queue and a few threads for each lane, and one
//! list of what is done.
//!
//! The reactor hands in [`Job`]s and collects [`Completion`]s; it never waits. Threads start when there
//! is work for them and end when there has been none for a while.

mod backlog;
mod fair_queue;
mod lane;
mod maintenance;
mod pool;
mod thread_group;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::app::task::{Done, Lane, Task, TaskError};
use crate::clock::Instant;
use crate::ids::RequestKey;

#[cfg(test)]
pub(crate) use backlog::{Backlog, BatchPolicy};
pub use fair_queue::{Account, Accounts};
pub use maintenance::Maintenance;
pub use pool::{LaneSettings, Pool, PoolControl, PoolSettings};

/// One task on its way to a worker.
#[derive(Clone, Debug)]
pub struct Job {
    /// Whose it is.
    pub key: JobKey,
    /// What to run.
    pub task: Task,
    /// What room there has to be for it.
    pub priority: Priority,
    /// To whom it is charged.
    pub accounts: Accounts,
    /// What it is charged, in points to be kept.
    pub weight: usize,
    /// When nobody waits for it any more, by the clock of whoever submits it.
    pub deadline: Instant,
    /// Shared with whoever may give it up.
    pub state: Arc<JobState>,
}

/// A job and the request it is for; no two jobs share a key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct JobKey {
    /// The request.
    pub request_key: RequestKey,
    /// Counts all jobs.
    pub job: u64,
}

/// What room a job takes in its lane's queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Priority {
    /// A place, if there is one.
    Normal,
    /// The same, but most others have their turn before.
    Low,
    /// A place, whether or not the queue is full: half an answer is out already, and a client that is told `busy`
    /// now would have it cut. A connection has one such job at most.
    Reserved,
}

/// What came of a job.
#[derive(Debug)]
pub struct Completion {
    /// Whose it is.
    pub key: JobKey,
    /// The task's result.
    pub result: Result<Done, TaskError>,
}

/// The queue of the job's lane is full; nothing was done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct QueueFull;

/// Where jobs go and come from: threads, or a simulation.
pub trait Jobs {
    /// Queues a job, or says at once that there is no room. One that has less waiting may take the place of
    /// another, which comes to [`TaskError::NoRoom`].
    fn try_submit(&mut self, job: Job) -> Result<(), QueueFull>;

    /// All jobs of this turn have been queued: whoever rests is called for them. Until then they may wait.
    fn notify_workers(&mut self) {}

    /// Appends what has been done since the last call.
    fn drain(&mut self, completions: &mut VecDeque<Completion>);

    /// A job that `lane` runs in `run` has been given up: its thread is stuck, and another may take its
    /// place.
    fn replace_worker(&mut self, lane: Lane, run: RunId);

    /// Whether `lane` gets on. Where nothing can hang there is nothing to tell.
    fn progress(&self, _lane: Lane) -> LaneProgress {
        LaneProgress::default()
    }

    /// What to show of the lanes: name and value.
    fn statistics(&self) -> Vec<(&'static str, u64)>;
}

/// How a lane gets on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LaneProgress {
    /// Jobs that wait.
    pub queued: usize,
    /// Batches that threads are at.
    pub running: usize,
    /// Batches that threads are done with, whatever came of them.
    pub done: u64,
}

/// One batch of jobs that one thread runs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RunId(pub u64);

/// Where a job is: queued, running, or given up. The reactor and one worker race for it, and the first
/// wins.
#[derive(Debug, Default)]
pub struct JobState(AtomicU64);

/// Where a job was when it was given up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Abandoned {
    /// It will never run.
    Queued,
    /// It runs or has just run, and nobody waits for it any more.
    Running(RunId),
}

impl JobState {
    /// A worker takes the job for `run`, which is not zero; false where it has been given up.
    pub fn start(&self, run: RunId) -> bool {
        self.0.compare_exchange(QUEUED, run.0, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// The worker that took the job for `run` could not do it and puts it back; false where it has been given
    /// up meanwhile.
    pub fn requeue(&self, run: RunId) -> bool {
        self.0.compare_exchange(run.0, QUEUED, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// The run that the job is in; none while it is queued.
    pub fn run(&self) -> Option<RunId> {
        match self.0.load(Ordering::Acquire) {
            QUEUED | ABANDONED => None,
            run => Some(RunId(run)),
        }
    }

    /// Gives the job up if it is queued; false where it is not, and goes on.
    pub fn cancel_if_queued(&self) -> bool {
        self.0.compare_exchange(QUEUED, ABANDONED, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Whether nobody waits for the job any more.
    pub fn is_abandoned(&self) -> bool {
        self.0.load(Ordering::Acquire) == ABANDONED
    }

    /// Nobody waits for the job any more.
    pub fn abandon(&self) -> Abandoned {
        match self.0.swap(ABANDONED, Ordering::AcqRel) {
            QUEUED => Abandoned::Queued,
            run => Abandoned::Running(RunId(run)),
        }
    }
}

const QUEUED: u64 = 0;
const ABANDONED: u64 = u64::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_abandoned_while_queued_never_runs() {
        let state = JobState::default();
        assert_eq!(state.abandon(), Abandoned::Queued);
        assert!(!state.start(RunId(1)));
    }

    #[test]
    fn a_cancelled_job_never_runs() {
        let state = JobState::default();
        assert!(state.cancel_if_queued() && !state.cancel_if_queued());
        assert!(!state.start(RunId(1)));
    }

    #[test]
    fn an_abandoned_running_job_reports_its_run() {
        let state = JobState::default();
        assert!(state.start(RunId(7)));
        assert!(!state.start(RunId(8)));
        assert!(!state.cancel_if_queued());
        assert_eq!(state.abandon(), Abandoned::Running(RunId(7)));
    }

    #[test]
    fn a_requeued_job_runs_again_unless_abandoned() {
        let state = JobState::default();
        assert!(state.start(RunId(7)) && state.requeue(RunId(7)) && state.start(RunId(8)));
        assert!(!state.requeue(RunId(7)));
        assert_eq!(state.abandon(), Abandoned::Running(RunId(8)));
        assert!(!state.requeue(RunId(8)) && !state.start(RunId(9)));
    }
}
