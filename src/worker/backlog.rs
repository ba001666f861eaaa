//! The queued jobs of one lane: how many there may be, and which run next.
//!
//! Low-priority jobs (logins of sources that have failed lately) are queued apart and run after the others,
//! except for one in [`limits::LOW_PRIORITY_INTERVAL`]. Pages of lists run in order of arrival, since a connection waits
//! for one at most, and after other reads: a look-up takes microseconds. All other jobs are in a fair queue.
//!
//! A job that hit a lock timeout is tried again alone, in alternation with batches of other jobs: the lock may be
//! one that only another job of its batch needed.
//!
//! Writes of one account are done in order, however many threads there are: while a thread runs some, the later ones
//! stay in the queue, and so they do until one that hit a lock timeout has been tried again. Those that the client
//! has been told are not done, or of unknown outcome, hold up none.
//!
//! Invariant: the total weight is within the limit, or there is one job only.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::fair_queue::{Accounts, FairQueue};
use super::job::{Job, JobState, Priority, QueueFull, RunId};
use crate::limits;
use crate::work::Lane;

/// The queued jobs.
#[derive(Default)]
pub struct Backlog {
    jobs: FairQueue<Job>,
    /// Jobs that run after the others.
    low_priority: FairQueue<Job>,
    /// Jobs that ran before them since one of them ran.
    passed_over: usize,
    pages: VecDeque<Job>,
    /// Jobs to try again.
    retries: VecDeque<Job>,
    retries_weight: usize,
    /// Whether one of them runs next.
    is_retry_next: bool,
    /// The runs that hold up later jobs of the same accounts, and their jobs.
    running: BTreeMap<RunId, Vec<(Accounts, Arc<JobState>)>>,
    jobs_max: usize,
}

/// How many queued jobs one thread takes at once.
#[derive(Clone, Copy, Debug)]
pub enum BatchPolicy {
    /// All jobs up to the limits: they gain from running together.
    All {
        /// The maximum number of jobs.
        max: usize,
        /// The maximum total weight; a single job may exceed it.
        weight_max: usize,
    },
    /// The same, and one thread at a time runs the jobs of an account, in order.
    InOrder {
        /// The maximum number of jobs.
        max: usize,
        /// The maximum total weight; a single job may exceed it.
        weight_max: usize,
    },
    /// An equal share for each thread, up to a limit.
    EvenShare {
        /// The maximum number of jobs.
        max: usize,
    },
}

impl BatchPolicy {
    /// The policy of `lane`.
    pub fn of(lane: Lane) -> BatchPolicy {
        match lane {
            Lane::Read => BatchPolicy::EvenShare { max: limits::READS_PER_BATCH_MAX },
            Lane::Write => BatchPolicy::InOrder {
                max: limits::WRITES_PER_COMMIT_MAX,
                weight_max: limits::POINTS_PER_COMMIT_MAX,
            },
            _ => BatchPolicy::All { max: 1, weight_max: usize::MAX },
        }
    }
}

impl Backlog {
    /// An empty one for at most `jobs_max` jobs.
    pub fn new(jobs_max: usize) -> Backlog {
        Backlog { jobs_max, ..Backlog::default() }
    }

    /// Changes the limit; jobs that are queued stay.
    pub fn set_jobs_max(&mut self, jobs_max: usize) {
        self.jobs_max = jobs_max;
    }

    /// Adds `job`. Returns the jobs that were evicted for it.
    pub fn push(&mut self, job: Job) -> Result<Vec<Job>, QueueFull> {
        if job.work.is_page() {
            if job.priority == Priority::Normal && self.pages.len() >= self.jobs_max {
                return Err(QueueFull);
            }
            self.pages.push_back(job);
            return Ok(Vec::new());
        }
        let mut displaced = Vec::new();
        while !self.has_room(job.weight) {
            match self.evict_for(&job) {
                Some(other) => displaced.push(other),
                None if displaced.is_empty() => return Err(QueueFull),
                // The remaining jobs are no heavier than this one.
                None => break,
            }
        }
        match job.priority {
            Priority::Low => self.low_priority.push(job.accounts, job.weight, job),
            _ => self.jobs.push(job.accounts, job.weight, job),
        }
        Ok(displaced)
    }

    /// Evicts a job that `job` may replace.
    fn evict_for(&mut self, job: &Job) -> Option<Job> {
        let weight = if job.priority == Priority::Low { job.weight } else { 0 };
        let later = self.low_priority.pop_newest_of_heaviest(job.accounts, weight);
        later.or_else(|| self.jobs.pop_newest_of_heaviest(job.accounts, job.weight))
    }

    /// Takes the next job that is not a page, if it weighs at most `weight_max`.
    fn pop(&mut self, weight_max: usize) -> Option<Job> {
        let is_charged = |job: &Job| !job.state.is_abandoned();
        if self.low_priority.is_empty() {
            self.passed_over = 0;
            return self.jobs.pop_charged(weight_max, is_charged);
        }
        if self.jobs.ready() == 0 || self.passed_over + 1 >= limits::LOW_PRIORITY_INTERVAL {
            self.passed_over = 0;
            return self.low_priority.pop_charged(weight_max, is_charged);
        }
        self.passed_over += 1;
        self.jobs.pop_charged(weight_max, is_charged)
    }

    /// Takes the next jobs for one of `threads` threads, which runs them as `run`: [`Backlog::end_run`] must follow.
    pub fn take(&mut self, batch: BatchPolicy, threads: usize, run: RunId) -> Vec<Job> {
        let taken = self.take_batch(batch, threads);
        if matches!(batch, BatchPolicy::InOrder { .. }) && !taken.is_empty() {
            let same_accounts = taken.chunk_by(|one, next| one.accounts == next.accounts);
            same_accounts.for_each(|jobs| self.jobs.hold(jobs[0].accounts));
            let running = taken.iter().map(|job| (job.accounts, Arc::clone(&job.state)));
            self.running.insert(run, running.collect());
        }
        taken
    }

    /// Ends `run`; those of its jobs that hit a lock timeout run `again`, the first of each account alone.
    pub fn end_run(&mut self, run: RunId, again: Vec<Job>) {
        let running = self.running.remove(&run);
        let is_in_order = running.is_some();
        let running = running.unwrap_or_default();
        let same_accounts = running.chunk_by(|(one, _), (next, _)| one == next);
        same_accounts.for_each(|jobs| self.jobs.release(jobs[0].0));
        let (mut retried, mut rest) = (BTreeSet::new(), Vec::new());
        for job in again {
            if is_in_order && !retried.insert(job.accounts) {
                rest.push(job);
                continue;
            }
            self.retries_weight += job.weight;
            self.retries.push_back(job);
        }
        retried.into_iter().for_each(|accounts| self.jobs.hold(accounts));
        rest.into_iter().rev().for_each(|job| self.jobs.push_first(job.accounts, job.weight, job));
    }

    /// Notes that jobs of `run`, which may never end, were abandoned: they hold up no later ones.
    pub fn give_up(&mut self, run: RunId) {
        let Some(running) = self.running.get_mut(&run) else { return };
        let abandoned: Vec<_> = running.extract_if(.., |(_, state)| state.is_abandoned()).collect();
        for (accounts, _) in abandoned {
            if running.iter().all(|(others, _)| *others != accounts) {
                self.jobs.release(accounts);
            }
        }
    }

    fn take_batch(&mut self, batch: BatchPolicy, threads: usize) -> Vec<Job> {
        let has_others = self.ready() > self.retries.len();
        if (self.is_retry_next || !has_others)
            && let Some(job) = self.retries.pop_front()
        {
            self.retries_weight -= job.weight;
            self.is_retry_next = false;
            return vec![job];
        }
        self.is_retry_next = !self.retries.is_empty();
        let (max, mut weight_left) = match batch {
            BatchPolicy::All { max, weight_max } | BatchPolicy::InOrder { max, weight_max } => {
                (max, weight_max)
            }
            BatchPolicy::EvenShare { max } => (self.queued().div_ceil(threads).min(max), usize::MAX),
        };
        let mut taken = Vec::with_capacity(max.min(self.queued()));
        while taken.len() < max
            && let Some(job) = self.pop(if taken.is_empty() { usize::MAX } else { weight_left })
        {
            weight_left = weight_left.saturating_sub(job.weight);
            taken.push(job);
        }
        // Look-ups must not starve pages.
        let pages = max.saturating_sub(taken.len()).max(1).min(self.pages.len());
        taken.extend(self.pages.drain(..pages));
        if self.pages.is_empty() {
            self.pages.shrink_to(PAGES_CAPACITY_KEPT);
        }
        taken
    }

    /// Takes all jobs.
    pub fn drain(&mut self) -> Vec<Job> {
        let mut all = self.jobs.drain();
        all.extend(self.low_priority.drain());
        all.extend(self.pages.drain(..));
        all.extend(self.retries.drain(..));
        self.retries_weight = 0;
        self.running.clear();
        all
    }

    /// Number of waiting jobs.
    pub fn queued(&self) -> usize {
        self.jobs.len() + self.low_priority.len() + self.pages.len() + self.retries.len()
    }

    /// Number of jobs that can be taken now.
    pub fn ready(&self) -> usize {
        self.jobs.ready() + self.low_priority.len() + self.pages.len() + self.retries.len()
    }

    fn has_room(&self, weight: usize) -> bool {
        let count = self.jobs.len() + self.low_priority.len() + self.retries.len();
        let waiting = self.jobs.weight() + self.low_priority.weight() + self.retries_weight;
        count == 0 || (count < self.jobs_max && waiting + weight <= limits::QUEUED_WEIGHT_MAX)
    }
}

/// The capacity that the queue of pages keeps.
const PAGES_CAPACITY_KEPT: usize = 16;

#[cfg(test)]
#[path = "backlog_tests.rs"]
mod tests;
