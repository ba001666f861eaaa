//! One lane: a bounded queue of jobs and the number of its threads.
//!
//! Invariant: a job is in the queue or with one thread, and whenever a job is queued, some thread will look for
//! it.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::backlog::{Backlog, BatchPolicy};
use super::job::{Job, LaneStatus, QueueFull, RunId};

/// What the threads of one lane share.
pub(super) struct LaneQueue {
    state: Mutex<LaneState>,
    arrived: Condvar,
}

#[derive(Default)]
struct LaneState {
    jobs: Backlog,
    /// Threads, except for those that are stuck in an abandoned job.
    threads: usize,
    threads_max: usize,
    /// Threads that wait for a job.
    idle: usize,
    /// Idle threads that were notified and have not woken yet: at most `idle`.
    notified: usize,
    /// Runs in progress, at most one for each thread.
    running: Vec<RunId>,
    /// Runs whose thread is stuck.
    stuck: Vec<RunId>,
    stuck_max: usize,
    next_run: u64,
    /// Runs that have ended.
    done: u64,
    closed: bool,
}

/// The result of queueing a job.
pub(super) struct Pushed {
    /// Whether the caller must start a thread, which is counted already.
    pub(super) starts_thread: bool,
    /// Jobs that were evicted for it.
    pub(super) displaced: Vec<Job>,
}

impl LaneQueue {
    pub(super) fn new(jobs_max: usize, threads_max: usize, stuck_max: usize) -> LaneQueue {
        let jobs = Backlog::new(jobs_max);
        let state = LaneState { jobs, threads_max, stuck_max, next_run: 1, ..LaneState::default() };
        LaneQueue { state: Mutex::new(state), arrived: Condvar::new() }
    }

    /// Queues `job` without waking a thread: [`LaneQueue::notify`] does that for all jobs that arrived
    /// together.
    pub(super) fn push(&self, job: Job) -> Result<Pushed, QueueFull> {
        let mut state = self.lock();
        let displaced = state.jobs.push(job)?;
        Ok(Pushed { starts_thread: state.claim_thread(), displaced })
    }

    /// Wakes as many idle threads as there are jobs for.
    pub(super) fn notify(&self) {
        let state = self.lock();
        let missing = state.jobs.ready().saturating_sub(state.notified);
        self.notify_idle(state, missing);
    }

    /// Waits at most `idle` for jobs, and takes as many as `batch` allows. `None`: no job has arrived, and the thread
    /// must exit.
    pub(super) fn take(&self, batch: BatchPolicy, idle: Duration) -> Option<(RunId, Vec<Job>)> {
        let mut state = self.wait(idle);
        let threads = state.threads_max;
        let run = RunId(state.next_run);
        let batch = state.jobs.take(batch, threads, run);
        if batch.is_empty() {
            state.threads -= 1;
            return None;
        }
        state.next_run += 1;
        state.running.push(run);
        // Those that were held when they arrived have woken no thread.
        let left = state.jobs.ready().min(1);
        self.notify_idle(state, left);
        Some((run, batch))
    }

    /// Marks the thread of `run` as stuck, of which another job was abandoned; returns whether the caller must start
    /// another.
    pub(super) fn replace_thread(&self, run: RunId) -> bool {
        let mut state = self.lock();
        state.jobs.give_up(run);
        if state.stuck.len() < state.stuck_max && remove(&mut state.running, run) {
            state.stuck.push(run);
            state.threads -= 1;
        }
        if state.jobs.ready() == 0 {
            return false;
        }
        let starts_thread = state.claim_thread();
        self.notify_idle(state, 1);
        starts_thread
    }

    /// Ends `run` and queues those of its jobs that must run `again`. Returns whether its thread continues; false if
    /// it was replaced.
    pub(super) fn end_run(&self, run: RunId, again: Vec<Job>) -> bool {
        let mut state = self.lock();
        state.done += 1;
        let has_retries = !again.is_empty();
        state.jobs.end_run(run, again);
        let continues = remove(&mut state.running, run) || {
            remove(&mut state.stuck, run);
            let has_room = state.threads < state.threads_max;
            state.threads += usize::from(has_room);
            has_room
        };
        // Some thread will look for what can be taken now: this one, or as many as there may be.
        let must_notify = has_retries || !continues && state.jobs.ready() > 0;
        self.notify_idle(state, usize::from(must_notify));
        continues
    }

    /// Reports that a thread could not be started. Returns all queued jobs if no thread is left to run
    /// them.
    pub(super) fn thread_failed(&self) -> Vec<Job> {
        let mut state = self.lock();
        state.threads -= 1;
        if state.threads == 0 { state.jobs.drain() } else { Vec::new() }
    }

    /// Changes the limit; jobs that are queued stay.
    pub(super) fn set_jobs_max(&self, jobs_max: usize) {
        self.lock().jobs.set_jobs_max(jobs_max);
    }

    /// Closes the lane: threads exit when the queue is empty.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_all();
    }

    pub(super) fn status(&self) -> LaneStatus {
        let state = self.lock();
        LaneStatus {
            queued: state.jobs.queued(),
            threads: state.threads,
            stuck: state.stuck.len(),
            running: state.running.len() + state.stuck.len(),
            done: state.done,
        }
    }

    /// Waits until there are jobs, the lane is closed, or no notification has come for `idle`.
    fn wait(&self, idle: Duration) -> MutexGuard<'_, LaneState> {
        let (mut state, mut timed_out) = (self.lock(), false);
        while state.jobs.ready() == 0 && !state.closed && !timed_out {
            state.idle += 1;
            let (woken, waited) =
                self.arrived.wait_timeout(state, idle).unwrap_or_else(PoisonError::into_inner);
            (state, timed_out) = (woken, waited.timed_out());
            state.idle -= 1;
            // Another thread than the notified one may wake: then one more is notified than
            // necessary.
            state.notified = state.notified.saturating_sub(1);
        }
        state
    }

    /// Wakes up to `count` idle threads, once they can have the lock. Each notification is a system call even if no
    /// thread waits, so no thread is notified twice.
    fn notify_idle(&self, mut state: MutexGuard<'_, LaneState>, count: usize) {
        let count = count.min(state.idle - state.notified);
        state.notified += count;
        drop(state);
        (0..count).for_each(|_| self.arrived.notify_one());
    }

    fn lock(&self) -> MutexGuard<'_, LaneState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Removes `run` from `runs`; returns whether it was there.
fn remove(runs: &mut Vec<RunId>, run: RunId) -> bool {
    let index = runs.iter().position(|other| *other == run);
    index.map(|index| runs.swap_remove(index)).is_some()
}

impl LaneState {
    /// Whether a thread must be started for the queued jobs; counts it.
    fn claim_thread(&mut self) -> bool {
        let is_needed = self.idle < self.jobs.ready() && self.threads < self.threads_max;
        self.threads += usize::from(is_needed);
        is_needed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Instant;
    use crate::ids::{ConnId, RequestKey, RequestSeq};
    use crate::model::Secret;
    use crate::work::{Hash, Lane, Work};
    use crate::worker::{Account, JobKey, Priority};
    use std::sync::Arc;

    fn job(number: u64) -> Job {
        let request_key = RequestKey { conn: ConnId { index: 0, generation: 1 }, seq: RequestSeq(number) };
        let work = Work::Hash(Hash::New { password: Secret::new("password") });
        let key = JobKey { request_key, job: number };
        let accounts = (Account::Connection(request_key.conn), None);
        let (priority, deadline, state) = (Priority::Normal, Instant::ORIGIN, Arc::default());
        Job { key, work, priority, accounts, weight: 1, deadline, state }
    }

    /// Queues `job`; returns whether a thread must be started.
    fn push(lane: &LaneQueue, job: Job) -> Result<bool, QueueFull> {
        lane.push(job).map(|pushed| pushed.starts_thread)
    }

    fn take(lane: &LaneQueue, batch_max: usize) -> (RunId, Vec<u64>) {
        let batch = BatchPolicy::All { max: batch_max, weight_max: usize::MAX };
        let (run, jobs) = lane.take(batch, Duration::ZERO).expect("there are jobs");
        (run, jobs.iter().map(|job| job.key.job).collect())
    }

    #[test]
    fn a_full_queue_rejects_jobs_and_threads_start_on_demand() {
        let lane = LaneQueue::new(2, 1, 1);
        assert_eq!(push(&lane, job(1)), Ok(true));
        assert_eq!(push(&lane, job(2)), Ok(false), "there may be one thread only");
        assert_eq!(push(&lane, job(3)), Err(QueueFull));
        assert_eq!(take(&lane, 1).1, [1]);
        assert_eq!(push(&lane, job(3)), Ok(false));
        assert_eq!(take(&lane, 9).1, [2, 3], "what waits together is taken together");
    }

    #[test]
    fn a_queue_can_be_resized() {
        let lane = LaneQueue::new(2, 1, 1);
        assert_eq!(push(&lane, job(1)), Ok(true));
        assert_eq!(push(&lane, job(2)), Ok(false));
        lane.set_jobs_max(1);
        assert_eq!(push(&lane, job(3)), Err(QueueFull));
        lane.set_jobs_max(3);
        assert_eq!(push(&lane, job(3)), Ok(false));
        assert_eq!(take(&lane, 9).1, [1, 2, 3], "nothing is lost");
    }

    #[test]
    fn an_idle_thread_is_notified_once() {
        let lane = LaneQueue::new(9, 1, 1);
        assert_eq!(push(&lane, job(1)), Ok(true));
        let (run, _) = take(&lane, 1);
        assert!(lane.end_run(run, Vec::new()));
        let batch = BatchPolicy::All { max: 9, weight_max: 9 };
        std::thread::scope(|scope| {
            let idle_thread =
                scope.spawn(|| lane.take(batch, Duration::from_secs(60)).map(|(_, jobs)| jobs.len()));
            while lane.lock().idle == 0 {
                std::thread::yield_now();
            }
            assert_eq!(push(&lane, job(2)), Ok(false));
            assert_eq!(push(&lane, job(3)), Ok(false));
            lane.notify();
            lane.notify();
            assert_eq!(idle_thread.join().expect("it ends"), Some(2));
        });
        assert_eq!(lane.lock().notified, 0);
    }

    #[test]
    fn an_idle_thread_exits_and_another_starts_later() {
        let lane = LaneQueue::new(2, 1, 1);
        assert_eq!(push(&lane, job(1)), Ok(true));
        let (run, _) = take(&lane, 1);
        assert!(lane.end_run(run, Vec::new()));
        assert!(lane.take(BatchPolicy::All { max: 1, weight_max: 1 }, Duration::ZERO).is_none());
        assert_eq!(lane.status(), LaneStatus { queued: 0, threads: 0, stuck: 0, running: 0, done: 1 });
        assert_eq!(push(&lane, job(2)), Ok(true));
    }

    #[test]
    fn stuck_threads_are_replaced_once_each_up_to_a_limit() {
        let lane = LaneQueue::new(9, 1, 2);
        assert_eq!(push(&lane, job(1)), Ok(true));
        let (first, _) = take(&lane, 1);
        assert_eq!(push(&lane, job(2)), Ok(false));
        assert!(lane.replace_thread(first), "a job waits: a thread is needed now");
        assert!(!lane.replace_thread(first), "two jobs of one run are one stuck thread");
        let (second, _) = take(&lane, 1);
        assert!(!lane.replace_thread(second), "nothing waits: the next job starts a thread");
        assert_eq!(push(&lane, job(3)), Ok(true));
        let (third, _) = take(&lane, 1);
        assert_eq!(push(&lane, job(4)), Ok(false));
        assert!(!lane.replace_thread(third), "two are stuck already, as many as may be");
        assert_eq!(lane.status(), LaneStatus { queued: 1, threads: 1, stuck: 2, running: 3, done: 0 });
        assert!(!lane.end_run(first, Vec::new()), "its place is taken");
        assert!(lane.end_run(third, Vec::new()));
        assert_eq!(lane.status(), LaneStatus { queued: 1, threads: 1, stuck: 1, running: 1, done: 2 });
    }

    #[test]
    fn a_requeued_job_runs_alone_after_the_others() {
        let lane = LaneQueue::new(1, 1, 1);
        assert_eq!(push(&lane, job(1)), Ok(true));
        let (run, _) = take(&lane, 1);
        assert_eq!(push(&lane, job(2)), Ok(false));
        assert!(lane.end_run(run, vec![job(1)]));
        assert_eq!(push(&lane, job(3)), Err(QueueFull));
        assert_eq!(take(&lane, 9).1, [2]);
        assert_eq!(take(&lane, 9).1, [1]);
    }

    /// As [`take`], where jobs of one connection run in order.
    fn take_in_order(lane: &LaneQueue) -> (RunId, Vec<u64>) {
        let batch = BatchPolicy::InOrder { max: 1, weight_max: usize::MAX };
        let (run, jobs) = lane.take(batch, Duration::ZERO).expect("there are jobs");
        (run, jobs.iter().map(|job| job.key.job).collect())
    }

    #[test]
    fn no_thread_is_used_for_jobs_that_wait_for_another() {
        let lane = LaneQueue::new(9, 2, 2);
        assert_eq!(push(&lane, job(1)), Ok(true));
        let (first, _) = take_in_order(&lane);
        assert_eq!(push(&lane, job(2)), Ok(false), "it waits for the first");
        let batch = BatchPolicy::InOrder { max: 1, weight_max: usize::MAX };
        let other_connection = Job { accounts: (Account::Vm(1), None), ..job(3) };
        assert_eq!(push(&lane, other_connection), Ok(true));
        let (second, jobs) = take_in_order(&lane);
        assert_eq!(jobs, [3]);
        assert!(lane.end_run(second, Vec::new()));
        assert!(lane.take(batch, Duration::ZERO).is_none(), "the thread exits");
        assert!(lane.end_run(first, Vec::new()));
        assert_eq!(take_in_order(&lane).1, [2]);
    }

    #[test]
    fn jobs_that_waited_for_a_stuck_thread_get_another() {
        let lane = LaneQueue::new(9, 1, 1);
        assert_eq!(push(&lane, job(1)), Ok(true));
        let (run, jobs) = lane.take(BatchPolicy::of(Lane::Write), Duration::ZERO).expect("a job");
        assert_eq!(push(&lane, job(2)), Ok(false));
        assert!(!lane.replace_thread(run), "what waits for it still does");
        jobs[0].state.abandon();
        assert!(lane.replace_thread(run));
        assert_eq!(take_in_order(&lane).1, [2]);
        assert!(!lane.end_run(run, Vec::new()), "its place is taken");
    }

    #[test]
    fn queued_jobs_fail_when_no_thread_can_be_started() {
        let lane = LaneQueue::new(9, 1, 1);
        assert_eq!(push(&lane, job(1)), Ok(true));
        assert_eq!(lane.thread_failed().len(), 1);
        assert_eq!(push(&lane, job(2)), Ok(true));
    }
}
