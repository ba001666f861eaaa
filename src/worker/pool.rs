//! The threads: three lanes of them, each thread with its own tools.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use super::lane::{LaneQueue, Next};
use super::{Completion, Full, Job, Jobs, LaneProgress, RunId};
use crate::app::password::Cost;
use crate::app::task::{Done, Lane, Task, TaskError, Tools};
use crate::limits;
use crate::store::StoreFactory;
use crate::sys;

/// How the pool is made.
#[derive(Clone, Debug)]
pub struct PoolSettings {
    /// Hashing.
    pub auth: LaneSettings,
    /// Reading the store.
    pub read: LaneSettings,
    /// Writing to the store.
    pub write: LaneSettings,
    /// What a password hash costs.
    pub cost: Cost,
}

/// The size of one lane.
#[derive(Clone, Copy, Debug)]
pub struct LaneSettings {
    /// Jobs that wait.
    pub queue: usize,
    /// Threads that run them.
    pub threads: usize,
}

/// The bounds of a pool's queues, to be changed from any thread.
#[derive(Clone)]
pub struct Queues {
    shared: Arc<Shared>,
}

/// Threads behind bounded queues.
pub struct Pool {
    shared: Arc<Shared>,
}

struct Shared {
    lanes: [LaneQueue; Lane::ALL.len()],
    done: Mutex<Vec<Completion>>,
    /// Tells the reactor that `done` is not empty any more.
    wake: Box<dyn Fn() + Send + Sync>,
    factory: Arc<dyn StoreFactory>,
    cost: Cost,
}

impl Pool {
    /// A pool without threads yet. `wake` is called from any thread and must not block.
    pub fn new(
        settings: &PoolSettings,
        factory: Arc<dyn StoreFactory>,
        wake: Box<dyn Fn() + Send + Sync>,
    ) -> Pool {
        let lanes = Lane::ALL.map(|lane| {
            let LaneSettings { queue, threads } = settings.lane(lane);
            LaneQueue::new(queue, threads, threads * limits::REPLACEMENTS_PER_WORKER)
        });
        let done = Mutex::default();
        Pool { shared: Arc::new(Shared { lanes, done, wake, factory, cost: settings.cost }) }
    }

    /// The bounds of its queues.
    pub fn queues(&self) -> Queues {
        Queues { shared: Arc::clone(&self.shared) }
    }

    fn start_thread(&self, lane: Lane) {
        let shared = Arc::clone(&self.shared);
        let started = thread::Builder::new()
            .name(lane_name(lane).into())
            .stack_size(limits::WORKER_STACK_BYTES)
            .spawn(move || shared.work(lane));
        if let Err(error) = started {
            log::error!("no thread for the {} lane: {error}", lane_name(lane));
            let stranded = self.shared.queue(lane).thread_failed();
            let failed = |job: Job| Completion { key: job.key, result: Err(TaskError::Internal) };
            self.shared.complete(stranded.into_iter().map(failed).collect());
        }
    }
}

impl Queues {
    /// Lets as many jobs wait as `settings` say; its other settings hold for a new pool only.
    pub fn resize(&self, settings: &PoolSettings) {
        for lane in Lane::ALL {
            self.shared.queue(lane).set_jobs_max(settings.lane(lane).queue);
        }
    }
}

impl PoolSettings {
    fn lane(&self, lane: Lane) -> LaneSettings {
        match lane {
            Lane::Auth => self.auth,
            Lane::Read => self.read,
            Lane::Write => self.write,
        }
    }
}

impl Jobs for Pool {
    fn try_submit(&mut self, job: Job) -> Result<(), Full> {
        let lane = job.task.lane();
        if self.shared.queue(lane).push(job)? {
            self.start_thread(lane);
        }
        Ok(())
    }

    fn drain(&mut self, completions: &mut Vec<Completion>) {
        completions.append(&mut self.shared.done.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn replace_worker(&mut self, lane: Lane, run: RunId) {
        if self.shared.queue(lane).replace_thread(run) {
            self.start_thread(lane);
        }
    }

    fn progress(&self, lane: Lane) -> LaneProgress {
        let status = self.shared.queue(lane).status();
        LaneProgress { queued: status.queued, done: status.done }
    }

    fn statistics(&self) -> Vec<(&'static str, u64)> {
        let mut values = Vec::new();
        for lane in Lane::ALL {
            let status = self.shared.queue(lane).status();
            let [queued, threads, stuck, running, done] = statistics_names(lane);
            values.push((queued, status.queued as u64));
            values.push((threads, status.threads as u64));
            values.push((stuck, status.stuck as u64));
            values.push((running, status.running as u64));
            values.push((done, status.done));
        }
        // Most of what the process weighs is the threads' and the store's.
        values.extend(sys::process::resident_kib().map(|kib| ("memory_resident_kib", kib)));
        values
    }
}

impl Drop for Pool {
    /// Threads end by themselves once their queue is empty; one that is stuck is left behind.
    fn drop(&mut self) {
        for lane in &self.shared.lanes {
            lane.close();
        }
    }
}

impl Shared {
    fn queue(&self, lane: Lane) -> &LaneQueue {
        &self.lanes[lane as usize]
    }

    /// A thread's life.
    fn work(&self, lane: Lane) {
        if lane == Lane::Auth {
            step_back();
        }
        let mut tools = Tools::new(Arc::clone(&self.factory), self.cost);
        let batch_max = if lane == Lane::Write { limits::WRITES_PER_COMMIT_MAX } else { 1 };
        loop {
            match self.queue(lane).take(batch_max, limits::WORKER_IDLE) {
                Next::Run(run, batch) => {
                    self.run(run, batch, &mut tools);
                    if !self.queue(lane).end_run(run) {
                        return;
                    }
                }
                Next::End => return,
            }
        }
    }

    /// Runs those jobs of `batch` that have not been given up.
    fn run(&self, run: RunId, batch: Vec<Job>, tools: &mut Tools) {
        let (mut keys, mut tasks) = (Vec::new(), Vec::new());
        for job in batch {
            if job.state.start(run) {
                keys.push(job.key);
                tasks.push(job.task);
            }
        }
        if !keys.is_empty() {
            let results = run_tasks(tasks, keys.len(), tools);
            self.complete(
                keys.into_iter().zip(results).map(|(key, result)| Completion { key, result }).collect(),
            );
        }
    }

    fn complete(&self, mut completions: Vec<Completion>) {
        if completions.is_empty() {
            return;
        }
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        let was_empty = done.is_empty();
        done.append(&mut completions);
        drop(done);
        if was_empty {
            (self.wake)();
        }
    }
}

/// Hashing yields to the reactor, on which everybody waits.
fn step_back() {
    if let Err(error) = sys::process::set_thread_niceness(limits::AUTH_NICENESS) {
        log::debug!("a hashing thread keeps its priority: {error}");
    }
}

/// Runs `tasks`; a panic is answered for all of them, and the thread lives on.
fn run_tasks(tasks: Vec<Task>, count: usize, tools: &mut Tools) -> Vec<Result<Done, TaskError>> {
    let ran = catch_unwind(AssertUnwindSafe(|| {
        let mut results = Vec::with_capacity(count);
        tools.run(tasks, &mut results);
        results
    }));
    match ran {
        Ok(results) if results.len() == count => results,
        Ok(results) => {
            log::error!("{} tasks had {} results", count, results.len());
            (0..count).map(|_| Err(TaskError::Internal)).collect()
        }
        Err(_) => {
            // The panic hook has logged it.
            tools.forget_store();
            (0..count).map(|_| Err(TaskError::Internal)).collect()
        }
    }
}

fn lane_name(lane: Lane) -> &'static str {
    match lane {
        Lane::Auth => "vmherd-auth",
        Lane::Read => "vmherd-read",
        Lane::Write => "vmherd-write",
    }
}

fn statistics_names(lane: Lane) -> [&'static str; 5] {
    match lane {
        Lane::Auth => {
            ["auth_queued", "auth_threads", "auth_threads_stuck", "auth_batches_running", "auth_batches_done"]
        }
        Lane::Read => {
            ["read_queued", "read_threads", "read_threads_stuck", "read_batches_running", "read_batches_done"]
        }
        Lane::Write => [
            "write_queued",
            "write_threads",
            "write_threads_stuck",
            "write_batches_running",
            "write_batches_done",
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::task::PageRequest;
    use crate::ids::{ConnId, Slot, Ticket, VmId};
    use crate::model::{Login, VmName};
    use crate::store::{Store, StoreError};
    use crate::worker::{JobKey, JobState, Room};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::{Receiver, channel};
    use std::time::Duration;

    /// A store that panics at first, then is out of reach.
    #[derive(Default)]
    struct BadFactory {
        connects: AtomicUsize,
    }

    impl StoreFactory for BadFactory {
        fn connect(&self) -> Result<Box<dyn Store>, StoreError> {
            match self.connects.fetch_add(1, Ordering::Relaxed) {
                0 => panic!("a panic that this test wants"),
                _ => Err(StoreError::Unavailable("out of reach".to_owned())),
            }
        }
    }

    fn pool() -> (Pool, Receiver<()>) {
        let lane = LaneSettings { queue: 4, threads: 1 };
        let cost = Cost { memory_kib: 64, passes: 1, lanes: 1 };
        let settings = PoolSettings { auth: lane, read: lane, write: lane, cost };
        let (wake, woken) = channel();
        let wake = Mutex::new(wake);
        let wake = move || wake.lock().unwrap().send(()).expect("the test waits");
        (Pool::new(&settings, Arc::<BadFactory>::default(), Box::new(wake)), woken)
    }

    fn job(number: u64) -> Job {
        let ticket = Ticket { conn: ConnId { index: 0, generation: 1 }, slot: Slot(0) };
        let login = Login { id: VmId(1), epoch: 0, name: VmName::stored("a") };
        let task = Task::ListPage { login, page: PageRequest::Vms { after: VmId(0) } };
        let key = JobKey { ticket, job: number };
        Job { key, task, room: Room::Queue, state: Arc::<JobState>::default() }
    }

    fn result(pool: &mut Pool, woken: &Receiver<()>) -> Result<Done, TaskError> {
        woken.recv_timeout(Duration::from_secs(10)).expect("a completion");
        let mut completions = Vec::new();
        pool.drain(&mut completions);
        assert_eq!(completions.len(), 1);
        completions.remove(0).result
    }

    #[test]
    fn a_worker_that_panics_answers_and_lives_on() {
        let (mut pool, woken) = pool();
        pool.try_submit(job(1)).unwrap();
        assert!(matches!(result(&mut pool, &woken), Err(TaskError::Internal)));
        pool.try_submit(job(2)).unwrap();
        let unavailable = Err(TaskError::Store(StoreError::Unavailable("out of reach".to_owned())));
        assert_eq!(result(&mut pool, &woken).map(|_| ()), unavailable);
        let threads = pool.statistics().into_iter().find(|(name, _)| *name == "read_threads");
        assert_eq!(threads, Some(("read_threads", 1)));
    }

    #[test]
    fn a_job_that_was_given_up_does_not_run() {
        let (mut pool, woken) = pool();
        let given_up = job(1);
        given_up.state.give_up();
        pool.try_submit(given_up).unwrap();
        pool.try_submit(job(2)).unwrap();
        assert!(matches!(result(&mut pool, &woken), Err(TaskError::Internal)), "the first to run panics");
    }
}
