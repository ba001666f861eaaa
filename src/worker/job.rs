//! Jobs: blocking work submitted to a lane, and how its state changes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::fair_queue::Accounts;
use crate::clock::Instant;
use crate::ids::RequestKey;
use crate::work::{Lane, Work, WorkError, WorkResult};

/// Work submitted to a lane.
#[derive(Clone, Debug)]
pub struct Job {
    /// The job's key.
    pub key: JobKey,
    /// What to run.
    pub work: Work,
    /// Its place in the lane's queue.
    pub priority: Priority,
    /// The accounts that it is charged to.
    pub accounts: Accounts,
    /// Its cost, in points to be stored.
    pub weight: usize,
    /// The deadline, on the submitter's clock.
    pub deadline: Instant,
    /// Shared with the submitter, which may abandon the job.
    pub state: Arc<JobState>,
}

/// Identifies a job and its request; unique.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct JobKey {
    /// The number of the job, over all requests. First: two keys differ in it.
    pub job: u64,
    /// The request.
    pub request_key: RequestKey,
}

/// How a job is queued in its lane.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Priority {
    /// In its turn, if the queue is not full.
    Normal,
    /// The same, but after most normal jobs.
    Low,
    /// Accepted even if the queue is full: part of the answer has been sent, and `busy` would cut it off. A
    /// connection has at most one such job.
    Reserved,
}

/// The result of a job.
#[derive(Debug)]
pub struct Completion {
    /// The job's key.
    pub key: JobKey,
    /// The result of its work.
    pub result: Result<WorkResult, WorkError>,
}

const _: () = assert!(size_of::<Completion>() <= 88, "each is moved from a worker through two lists");

/// The queue of the lane is full; nothing was done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct QueueFull;

/// Executes jobs: on threads, or in a simulation.
pub trait Jobs {
    /// Queues a job, or reports at once that the queue is full. A job may evict a queued one whose account
    /// has more waiting; that one completes with [`WorkError::NoRoom`].
    fn try_submit(&mut self, job: Job) -> Result<(), QueueFull>;

    /// Runs `work` on the calling thread, if its store answers at once and no worker uses it.
    fn run_at_once(&mut self, _work: &Work) -> Option<Result<WorkResult, WorkError>> {
        None
    }

    /// Wakes idle workers for the jobs queued in this iteration of the loop. Until then they may wait.
    fn notify_workers(&mut self) {}

    /// Appends the completions since the last call.
    fn drain(&mut self, completions: &mut VecDeque<Completion>);

    /// Reports that a job which `lane` runs in `run` was abandoned: its thread is stuck, and another may
    /// replace it.
    fn replace_worker(&mut self, lane: Lane, run: RunId);

    /// The status of `lane`, to detect a lane that hangs.
    fn status(&self, _lane: Lane) -> LaneStatus {
        LaneStatus::default()
    }

    /// Statistics of the lanes: name and value.
    fn statistics(&self) -> Vec<(&'static str, u64)>;
}

/// The status of a lane.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LaneStatus {
    /// Queued jobs.
    pub queued: usize,
    /// Threads, except for stuck ones.
    pub threads: usize,
    /// Threads that are stuck in an abandoned job.
    pub stuck: usize,
    /// Runs in progress.
    pub running: usize,
    /// Runs that have ended, with any result.
    pub done: u64,
}

/// Identifies one batch of jobs that one thread runs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RunId(pub u64);

/// The state of a job: queued, running or abandoned. The reactor and one worker race to change it, and the
/// first wins.
#[derive(Debug, Default)]
pub struct JobState(AtomicU64);

/// The state that a job was abandoned in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Abandoned {
    /// It never runs.
    Queued,
    /// It runs or has just run; its result is discarded.
    Running(RunId),
}

impl JobState {
    /// Marks the job as running in `run`, which is not zero; false if it was abandoned.
    pub fn start(&self, run: RunId) -> bool {
        self.change(QUEUED, run.0)
    }

    /// Marks the job as queued again, since its worker could not do it in `run`; false if it was abandoned
    /// meanwhile.
    pub fn requeue(&self, run: RunId) -> bool {
        self.change(run.0, QUEUED)
    }

    /// The run that the job is in; `None` while it is queued.
    pub fn run(&self) -> Option<RunId> {
        match self.0.load(Ordering::Acquire) {
            QUEUED | ABANDONED => None,
            run => Some(RunId(run)),
        }
    }

    /// Abandons the job if it is still queued; returns whether it was.
    pub fn cancel_if_queued(&self) -> bool {
        self.change(QUEUED, ABANDONED)
    }

    fn change(&self, from: u64, to: u64) -> bool {
        self.0.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Whether the job was abandoned.
    pub fn is_abandoned(&self) -> bool {
        self.0.load(Ordering::Acquire) == ABANDONED
    }

    /// Abandons the job.
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
