//! The thread pool: lanes of threads, each thread with its own tools.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::backlog::BatchPolicy;
use super::job::{Completion, Job, Jobs, LaneStatus, QueueFull, RunId};
use super::lane::LaneQueue;
use super::maintenance::Maintenance;
use super::thread_group::ThreadGroup;

use crate::clock::{Clock, Instant, SystemClock};
use crate::embed::{HandlerFailure, Responder};
use crate::limits;
use crate::store::{LockRetryPolicy, StoreError, StoreFactory};
use crate::sys;
use crate::work::password::known_costs;
use crate::work::stored_costs::{Cost, StoredCosts};
use crate::work::{Lane, Work, WorkError, WorkResult, WorkerContext};

/// The settings of a pool.
#[derive(Clone, Debug)]
pub struct PoolSettings {
    /// The size of each lane, in the order of [`Lane::ALL`].
    pub lanes: [LaneSettings; Lane::ALL.len()],
    /// The cost of a password hash.
    pub cost: Cost,
}

/// The size of one lane.
#[derive(Clone, Copy, Debug)]
pub struct LaneSettings {
    /// The length of the queue.
    pub queue: usize,
    /// The number of threads.
    pub threads: usize,
}

/// Threads with bounded queues.
pub struct Pool {
    shared: Arc<PoolControl>,
    /// The lanes that received jobs since their threads were notified.
    unnotified: [bool; Lane::ALL.len()],
    /// For work on the calling thread, if the store answers at once.
    at_once: Option<WorkerContext>,
    /// The batches of each lane that were run there.
    run_at_once: [u64; Lane::ALL.len()],
    /// The maintenance threads, for their statistics.
    maintenance: Option<Arc<Maintenance>>,
}

/// Whether a job may be retried after a lock timeout.
#[derive(Clone, Copy, PartialEq, Eq)]
enum LockRetry {
    /// It may run again.
    Possible,
    /// Its next result is final.
    Final,
    /// Its deadline could pass while it waits for a lock, and then its outcome would be unknown: it is not
    /// started.
    Expired,
}

/// The shared part of a pool: resizes and shuts it down, from any thread.
pub struct PoolControl {
    lanes: [LaneQueue; Lane::ALL.len()],
    completions: Mutex<Vec<Completion>>,
    /// Wakes the reactor when `completions` is no longer empty.
    wake: Box<dyn Fn() + Send + Sync>,
    factory: Arc<dyn StoreFactory>,
    costs: Arc<StoredCosts>,
    /// The clock of the deadlines.
    clock: SystemClock,
    lock_retry_policy: Option<LockRetryPolicy>,
    threads: Arc<ThreadGroup>,
    /// The threads of the handlers and of the gate, which a shutdown does not wait for.
    handler_threads: Arc<ThreadGroup>,
}

impl Pool {
    /// A pool without threads. `clock` is the clock of the deadlines; `wake` is called from any thread and
    /// must not block.
    pub fn new(
        settings: &PoolSettings,
        factory: Arc<dyn StoreFactory>,
        clock: SystemClock,
        wake: Box<dyn Fn() + Send + Sync>,
    ) -> Pool {
        let lanes = settings.lanes.map(|LaneSettings { queue, threads }| {
            LaneQueue::new(queue, threads, threads * limits::REPLACEMENTS_PER_WORKER)
        });
        let costs = known_costs(settings.cost);
        let new_context = || WorkerContext::new(Arc::clone(&factory), Arc::clone(&costs));
        Pool {
            at_once: factory.answers_at_once().then(new_context),
            run_at_once: [0; Lane::ALL.len()],
            shared: Arc::new(PoolControl {
                lanes,
                completions: Mutex::default(),
                wake,
                lock_retry_policy: factory.lock_retry_policy(),
                factory,
                costs,
                clock,
                threads: Arc::default(),
                handler_threads: Arc::default(),
            }),
            unnotified: [false; Lane::ALL.len()],
            maintenance: None,
        }
    }

    /// Adds the statistics of `maintenance`.
    pub fn show_maintenance(&mut self, maintenance: Arc<Maintenance>) {
        self.maintenance = Some(maintenance);
    }

    /// A handle to its queues and threads.
    pub fn control(&self) -> Arc<PoolControl> {
        Arc::clone(&self.shared)
    }

    fn start_thread(&self, lane: Lane) {
        let shared = Arc::clone(&self.shared);
        let (name, _) = names(lane);
        let group = match lane {
            Lane::Handler | Lane::Gate => &self.shared.handler_threads,
            _ => &self.shared.threads,
        };
        if let Err(error) = group.spawn(name, move || shared.work(lane)) {
            log::error!("no thread for the {name} lane: {error}");
            self.shared.fail(self.shared.queue(lane).thread_failed(), &WorkError::Internal);
        }
    }
}

impl PoolControl {
    /// Applies the queue lengths of `settings`; the other settings hold for a new pool only.
    pub fn resize(&self, settings: &PoolSettings) {
        for (lane, settings) in self.lanes.iter().zip(settings.lanes) {
            lane.set_jobs_max(settings.queue);
        }
    }

    /// Ends the threads as soon as nothing is queued, and waits at most `wait` until all store connections
    /// are closed. A stuck thread is left alone, as is one that runs a handler.
    pub fn shut_down(&self, wait: Duration) {
        self.close();
        let left = self.threads.wait(wait);
        if left > 0 {
            log::warn!("{left} threads still use the store; not waiting for them any longer");
        }
    }
}

impl Jobs for Pool {
    fn try_submit(&mut self, job: Job) -> Result<(), QueueFull> {
        let lane = job.work.lane();
        let pushed = self.shared.queue(lane).push(job)?;
        if pushed.starts_thread {
            self.start_thread(lane);
        }
        self.shared.fail(pushed.displaced, &WorkError::NoRoom);
        self.unnotified[lane as usize] = true;
        Ok(())
    }

    fn run_at_once(&mut self, work: &Work) -> Option<Result<WorkResult, WorkError>> {
        let context = self.at_once.as_mut()?;
        let is_used = |lane: Lane| self.shared.queue(lane).status().running > 0;
        if is_used(Lane::Read) || is_used(Lane::Write) {
            return None;
        }
        self.run_at_once[work.lane() as usize] += 1;
        Some(catch_unwind(AssertUnwindSafe(|| context.run_one(work))).unwrap_or_else(|_| {
            // The panic hook has logged it.
            context.forget_store();
            Err(WorkError::Internal)
        }))
    }

    fn notify_workers(&mut self) {
        for lane in Lane::ALL {
            if std::mem::take(&mut self.unnotified[lane as usize]) {
                self.shared.queue(lane).notify();
            }
        }
    }

    fn drain(&mut self, completions: &mut VecDeque<Completion>) {
        completions.extend(self.shared.completions.lock().unwrap_or_else(PoisonError::into_inner).drain(..));
    }

    fn replace_worker(&mut self, lane: Lane, run: RunId) {
        if self.shared.queue(lane).replace_thread(run) {
            self.start_thread(lane);
        }
    }

    fn status(&self, lane: Lane) -> LaneStatus {
        self.shared.queue(lane).status()
    }

    fn statistics(&self) -> Vec<(&'static str, u64)> {
        let mut values = Vec::new();
        for lane in Lane::ALL {
            let LaneStatus { queued, threads, stuck, running, done } = self.status(lane);
            let done = done + self.run_at_once[lane as usize];
            let counts = [queued as u64, threads as u64, stuck as u64, running as u64, done];
            let (_, names) = names(lane);
            values.extend(names.into_iter().zip(counts));
        }
        values.extend(self.maintenance.iter().flat_map(|maintenance| maintenance.statistics()));
        // Most of the process's memory belongs to the threads and the store.
        values.extend(sys::process::resident_kib().map(|kib| ("memory_resident_kib", kib)));
        values
    }
}

impl Drop for Pool {
    /// Threads exit once their queue is empty.
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl PoolControl {
    fn close(&self) {
        self.lanes.iter().for_each(LaneQueue::close);
    }

    fn queue(&self, lane: Lane) -> &LaneQueue {
        &self.lanes[lane as usize]
    }

    /// Runs a worker thread.
    fn work(self: &Arc<Self>, lane: Lane) {
        if !matches!(lane, Lane::Read | Lane::Write) {
            lower_priority();
        }
        let mut context = WorkerContext::new(Arc::clone(&self.factory), Arc::clone(&self.costs));
        while let Some((run, batch)) = self.queue(lane).take(BatchPolicy::of(lane), limits::WORKER_IDLE) {
            let requeued = match lane {
                Lane::Handler => self.run_handlers(run, batch),
                _ => self.run(run, batch, &mut context),
            };
            if !self.queue(lane).end_run(run, requeued) {
                return;
            }
        }
    }

    /// Runs the jobs of `batch` that are not abandoned. Returns those to run again: they hit a lock timeout
    /// and may still wait.
    fn run(&self, run: RunId, mut batch: Vec<Job>, context: &mut WorkerContext) -> Vec<Job> {
        batch.retain(|job| job.state.start(run));
        let mut clock = self.clock;
        let now = clock.now();
        let is_expired = |job: &mut Job| self.lock_retry(job, now) == LockRetry::Expired;
        self.fail(batch.extract_if(.., is_expired).collect(), &BUSY);
        let results = run_work(&batch.iter().map(|job| &job.work).collect::<Vec<_>>(), context);
        let mut requeued = Vec::new();
        self.complete(batch.into_iter().zip(results).filter_map(|(job, result)| {
            let is_busy = matches!(&result, Err(error) if *error == BUSY);
            if is_busy && self.lock_retry(&job, clock.now()) == LockRetry::Possible && job.state.requeue(run)
            {
                requeued.push(job);
                return None;
            }
            Some(Completion { key: job.key, result })
        }));
        requeued
    }

    /// Calls the code of the embedding program for the jobs of `batch` that are not abandoned; each call sends its result itself, maybe later.
    /// Returns no job to run again.
    fn run_handlers(self: &Arc<Self>, run: RunId, batch: Vec<Job>) -> Vec<Job> {
        for Job { key, work, state, .. } in batch {
            if !state.start(run) {
                continue;
            }
            let complete = move |shared: &PoolControl, result| {
                shared.complete(std::iter::once(Completion { key, result }));
            };
            let shared = Arc::clone(self);
            let panic = match work {
                Work::Handle(call) => call.run(Responder::new(move |result| {
                    complete(&shared, result.map(WorkResult::Handled).map_err(WorkError::Handler));
                })),
                Work::Container(call) => {
                    call.run(move |report| complete(&shared, Ok(WorkResult::Container(Box::new(report)))))
                }
                _ => continue,
            };
            // It has answered before, so that this is counted, and answers nothing.
            if let Some(message) = panic {
                complete(self, Err(WorkError::Handler(HandlerFailure::Panicked(message))));
            }
        }
        Vec::new()
    }

    /// Whether a job may still be retried after a lock timeout.
    fn lock_retry(&self, job: &Job, now: Instant) -> LockRetry {
        let Some(LockRetryPolicy { lock_timeout: attempt, reserve }) = self.lock_retry_policy else {
            return LockRetry::Final;
        };
        let left = job.deadline.since(now);
        match job.work.lane() {
            lane if !matches!(lane, Lane::Read | Lane::Write) => LockRetry::Final,
            _ if left > reserve => LockRetry::Possible,
            _ if left + attempt > reserve => LockRetry::Final,
            // It may only have been queued for long, and it changes nothing.
            _ if job.work.is_page() => LockRetry::Final,
            _ => LockRetry::Expired,
        }
    }

    /// Completes `jobs` with `error`.
    fn fail(&self, jobs: Vec<Job>, error: &WorkError) {
        if jobs.is_empty() {
            return;
        }
        let failed = |job: Job| Completion { key: job.key, result: Err(error.clone()) };
        self.complete(jobs.into_iter().map(failed));
    }

    fn complete(&self, completions: impl Iterator<Item = Completion>) {
        let mut done = self.completions.lock().unwrap_or_else(PoisonError::into_inner);
        let was_empty = done.is_empty();
        done.extend(completions);
        let must_wake = was_empty && !done.is_empty();
        drop(done);
        if must_wake {
            (self.wake)();
        }
    }
}

const BUSY: WorkError = WorkError::Store(StoreError::Busy);

/// Long work yields to the reactor thread, which serves all clients.
fn lower_priority() {
    if let Err(error) = sys::process::set_thread_niceness(limits::AUTH_NICENESS) {
        log::debug!("the priority of a thread could not be lowered: {error}");
    }
}

/// Runs `batch`. After a panic all of it fails, and the thread continues.
fn run_work(batch: &[&Work], context: &mut WorkerContext) -> Vec<Result<WorkResult, WorkError>> {
    let count = batch.len();
    match catch_unwind(AssertUnwindSafe(|| context.run(batch.iter().copied()))) {
        Ok(results) if results.len() == count => return results,
        Ok(results) => log::error!("{count} tasks had {} results", results.len()),
        // The panic hook has logged it.
        Err(_) => context.forget_store(),
    }
    (0..count).map(|_| Err(WorkError::Internal)).collect()
}

/// The name of the lane's threads, and the names of its statistics.
fn names(lane: Lane) -> (&'static str, [&'static str; 5]) {
    macro_rules! names {
        ($lane:literal) => {
            (
                concat!("vmherd-", $lane),
                [
                    concat!($lane, "_queued"),
                    concat!($lane, "_threads"),
                    concat!($lane, "_threads_stuck"),
                    concat!($lane, "_batches_running"),
                    concat!($lane, "_batches_done"),
                ],
            )
        };
    }
    match lane {
        Lane::Auth => names!("auth"),
        Lane::Compute => names!("compute"),
        #[cfg(feature = "sealed")]
        Lane::Keys => names!("keys"),
        Lane::Read => names!("read"),
        Lane::Write => names!("write"),
        Lane::Handler => names!("handler"),
        Lane::Gate => names!("gate"),
    }
}

#[cfg(test)]
#[path = "pool_tests.rs"]
mod tests;
