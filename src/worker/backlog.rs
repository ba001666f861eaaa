//! The queued jobs of one lane: how many there may be, and which run next.
//!
//! Low-priority jobs (logins of sources that have failed lately) are queued apart and run after the others,
//! except for one in [`limits::LOW_PRIORITY_INTERVAL`]. Pages of lists run in order of arrival, since a connection waits
//! for one at most, and after other reads: a look-up takes microseconds. All other jobs are in a fair queue.
//!
//! A job that hit a lock timeout is tried again alone, in alternation with batches of other jobs: the lock may be
//! one that only another job of its batch needed.
//!
//! Invariant: the total weight is within the limit, or there is one job only.

use std::collections::VecDeque;

use super::fair_queue::FairQueue;
use super::job::{Job, Priority, QueueFull};
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
            Lane::Write => BatchPolicy::All {
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
        if self.jobs.is_empty() || self.passed_over + 1 >= limits::LOW_PRIORITY_INTERVAL {
            self.passed_over = 0;
            return self.low_priority.pop_charged(weight_max, is_charged);
        }
        self.passed_over += 1;
        self.jobs.pop_charged(weight_max, is_charged)
    }

    /// Adds a job that hit a lock timeout.
    pub fn requeue(&mut self, job: Job) {
        self.retries_weight += job.weight;
        self.retries.push_back(job);
    }

    /// Takes the next jobs for one of `threads` threads.
    pub fn take(&mut self, batch: BatchPolicy, threads: usize) -> Vec<Job> {
        let has_others = self.len() > self.retries.len();
        if (self.is_retry_next || !has_others)
            && let Some(job) = self.retries.pop_front()
        {
            self.retries_weight -= job.weight;
            self.is_retry_next = false;
            return vec![job];
        }
        self.is_retry_next = !self.retries.is_empty();
        let (max, mut weight_left) = match batch {
            BatchPolicy::All { max, weight_max } => (max, weight_max),
            BatchPolicy::EvenShare { max } => (self.len().div_ceil(threads).min(max), usize::MAX),
        };
        let mut taken = Vec::with_capacity(max.min(self.len()));
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
        all
    }

    /// Number of waiting jobs.
    pub fn len(&self) -> usize {
        self.jobs.len() + self.low_priority.len() + self.pages.len() + self.retries.len()
    }

    /// Whether no job waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
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
mod tests {
    use super::*;
    use crate::clock::Instant;
    use crate::ids::{ConnId, RequestKey, RequestSeq, VmId};
    use crate::model::VmName;
    use crate::work::pages::PageRequest;
    use crate::work::{Read, Requester, Work};
    use crate::worker::{Account, JobKey};
    use std::sync::Arc;

    const ALL: BatchPolicy = BatchPolicy::All { max: 99, weight_max: usize::MAX };

    /// A look-up of the connection `index`.
    fn lookup(number: u64, index: u32) -> Job {
        let request_key = RequestKey { conn: ConnId { index, generation: 1 }, seq: RequestSeq(number) };
        let accounts = (Account::Connection(request_key.conn), None);
        let key = JobKey { request_key, job: number };
        let work = Work::Read(Read::FindCredentials { name: VmName::from_store("a") });
        let (priority, deadline, state) = (Priority::Normal, Instant::ORIGIN, Arc::default());
        Job { key, work, priority, accounts, weight: 1, deadline, state }
    }

    fn page(number: u64, priority: Priority) -> Job {
        let page = PageRequest::Vms { after: VmId(0), rows_max: 1 };
        let work = Work::Read(Read::ListPage { requester: Requester::AnyClient(None), page });
        Job { work, priority, ..lookup(number, number as u32) }
    }

    fn heavy(number: u64, index: u32, weight: usize) -> Job {
        Job { weight, ..lookup(number, index) }
    }

    fn numbers(jobs: Vec<Job>) -> Vec<u64> {
        jobs.iter().map(|job| job.key.job).collect()
    }

    #[track_caller]
    fn push(backlog: &mut Backlog, job: Job) {
        assert!(backlog.push(job).expect("there is room").is_empty());
    }

    #[test]
    fn pages_are_first_in_first_out_after_lookups() {
        let mut backlog = Backlog::new(9);
        push(&mut backlog, page(1, Priority::Normal));
        push(&mut backlog, page(2, Priority::Reserved));
        push(&mut backlog, lookup(3, 3));
        push(&mut backlog, page(4, Priority::Normal));
        assert_eq!(numbers(backlog.take(ALL, 1)), [3, 1, 2, 4]);
    }

    #[test]
    fn reserved_pages_fit_a_full_queue_and_take_no_other_slots() {
        let mut backlog = Backlog::new(1);
        push(&mut backlog, page(1, Priority::Normal));
        push(&mut backlog, page(2, Priority::Reserved));
        assert_eq!(backlog.push(page(3, Priority::Normal)).map(numbers), Err(QueueFull));
        push(&mut backlog, lookup(4, 4));
        assert_eq!(backlog.push(lookup(5, 5)).map(numbers), Err(QueueFull), "no account has more queued");
        assert_eq!(numbers(backlog.take(ALL, 1)), [4, 1, 2]);
    }

    #[test]
    fn lookups_do_not_starve_pages() {
        let mut backlog = Backlog::new(99);
        (10..20).for_each(|number| push(&mut backlog, lookup(number, 1)));
        (1..=3).for_each(|number| push(&mut backlog, page(number, Priority::Normal)));
        let batch = BatchPolicy::EvenShare { max: 4 };
        assert_eq!(numbers(backlog.take(batch, 1)), [10, 11, 12, 13, 1]);
    }

    #[test]
    fn an_even_share_leaves_jobs_for_other_threads() {
        let mut backlog = Backlog::new(9);
        (1..=5).for_each(|number| push(&mut backlog, lookup(number, 1)));
        let mut share = |max| backlog.take(BatchPolicy::EvenShare { max }, 2).len();
        assert_eq!([share(9), share(9), share(9), share(9)], [3, 1, 1, 0]);
        let mut backlog = Backlog::new(9);
        (1..=9).for_each(|number| push(&mut backlog, lookup(number, 1)));
        assert_eq!(backlog.take(BatchPolicy::EvenShare { max: 2 }, 2).len(), 2, "no more than at most");
    }

    #[test]
    fn a_batch_is_limited_by_weight_but_takes_at_least_one_job() {
        let mut backlog = Backlog::new(9);
        for (number, weight) in [(1, 2), (2, 3), (3, 9), (4, 1), (5, 1)] {
            push(&mut backlog, heavy(number, 1, weight));
        }
        let mut taken = || numbers(backlog.take(BatchPolicy::All { max: 9, weight_max: 5 }, 1));
        assert_eq!([taken(), taken(), taken(), taken()], [vec![1, 2], vec![3], vec![4, 5], vec![]]);
    }

    #[test]
    fn queued_weight_is_bounded_by_evicting_the_heaviest_account() {
        let most = limits::QUEUED_WEIGHT_MAX;
        let mut backlog = Backlog::new(9);
        push(&mut backlog, heavy(1, 1, most / 2));
        push(&mut backlog, heavy(2, 1, most / 2));
        assert_eq!(backlog.push(heavy(3, 1, 1)).map(numbers), Err(QueueFull));
        assert_eq!(backlog.push(lookup(4, 2)).map(numbers), Ok(vec![2]));
        assert_eq!(numbers(backlog.take(ALL, 1)), [4, 1]);
        push(&mut backlog, heavy(5, 1, 2 * most));
        assert_eq!(numbers(backlog.take(ALL, 1)), [5], "one has room whatever it weighs");
    }

    #[test]
    fn low_priority_jobs_are_not_starved_and_are_evicted_first() {
        let later = |number| Job { priority: Priority::Low, ..lookup(number, 1) };
        let mut backlog = Backlog::new(8);
        (1..=2).for_each(|number| push(&mut backlog, later(number)));
        (3..=8).for_each(|number| push(&mut backlog, lookup(number, 2)));
        assert_eq!(backlog.push(lookup(9, 2)).map(numbers), Ok(vec![2]), "whatever the others have waiting");
        assert_eq!(backlog.push(Job { priority: Priority::Low, ..lookup(2, 3) }).map(numbers), Ok(vec![9]));
        let one = BatchPolicy::All { max: 1, weight_max: usize::MAX };
        let order: Vec<u64> = (0..8).flat_map(|_| numbers(backlog.take(one, 1))).collect();
        assert_eq!(limits::LOW_PRIORITY_INTERVAL, 4);
        assert_eq!(order, [3, 4, 5, 1, 6, 7, 8, 2]);
    }

    #[test]
    fn abandoned_jobs_are_not_charged() {
        let mut backlog = Backlog::new(9);
        for number in 1..=3 {
            let job = lookup(number, 1);
            job.state.abandon();
            push(&mut backlog, job);
        }
        (5..=7).for_each(|number| push(&mut backlog, lookup(number, 2)));
        let one = BatchPolicy::All { max: 1, weight_max: usize::MAX };
        let order: Vec<u64> = (0..4).flat_map(|_| numbers(backlog.take(one, 1))).collect();
        assert_eq!(order, [1, 2, 3, 5]);
        push(&mut backlog, lookup(4, 1));
        assert_eq!(numbers(backlog.take(ALL, 1)), [6, 4, 7], "its turn is the next but one");
    }

    #[test]
    fn a_requeued_job_fits_a_full_queue() {
        let mut backlog = Backlog::new(1);
        push(&mut backlog, lookup(2, 2));
        backlog.requeue(lookup(1, 1));
        assert_eq!(backlog.push(lookup(3, 3)).map(numbers), Err(QueueFull));
        assert_eq!([(); 2].map(|()| numbers(backlog.take(ALL, 1))), [[2], [1]]);
    }

    #[test]
    fn retries_run_alone_and_alternate_with_batches() {
        let mut backlog = Backlog::new(99);
        (1..=3).for_each(|number| backlog.requeue(lookup(number, 1)));
        (10..=13).for_each(|number| push(&mut backlog, lookup(number, 2)));
        push(&mut backlog, page(20, Priority::Normal));
        let two = BatchPolicy::All { max: 2, weight_max: usize::MAX };
        let order = [(); 6].map(|()| numbers(backlog.take(two, 1)));
        assert_eq!(order, [vec![10, 11, 20], vec![1], vec![12, 13], vec![2], vec![3], vec![]]);
    }
}
