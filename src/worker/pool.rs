//! The threads: three lanes of them, each thread with its own tools.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use super::lane::{LaneQueue, Next};
use super::{Completion, Full, Job, Jobs, LaneProgress, RunId};
use crate::app::password::Cost;
use crate::app::task::{Done, Lane, Task, TaskError, Tools};
use crate::clock::{Clock, Instant, SystemClock};
use crate::limits;
use crate::store::{Patience, StoreError, StoreFactory};
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

/// Whether a job may wait for somebody's lock.
#[derive(Clone, Copy, PartialEq, Eq)]
enum LockWait {
    /// It may be run again.
    Possible,
    /// What comes of it now is its result.
    None,
    /// It might come to its deadline while it waits, when nobody could tell that nothing was done: it is not
    /// begun any more.
    Over,
}

struct Shared {
    lanes: [LaneQueue; Lane::ALL.len()],
    done: Mutex<Vec<Completion>>,
    /// Tells the reactor that `done` is not empty any more.
    wake: Box<dyn Fn() + Send + Sync>,
    factory: Arc<dyn StoreFactory>,
    cost: Cost,
    /// The one that deadlines are by.
    clock: SystemClock,
    patience: Option<Patience>,
}

impl Pool {
    /// A pool without threads yet. `clock` is the one that deadlines are by; `wake` is called from any
    /// thread and must not block.
    pub fn new(
        settings: &PoolSettings,
        factory: Arc<dyn StoreFactory>,
        clock: SystemClock,
        wake: Box<dyn Fn() + Send + Sync>,
    ) -> Pool {
        let lanes = Lane::ALL.map(|lane| {
            let LaneSettings { queue, threads } = settings.lane(lane);
            LaneQueue::new(queue, threads, threads * limits::REPLACEMENTS_PER_WORKER)
        });
        let (done, cost, patience) = (Mutex::default(), settings.cost, factory.worker_patience());
        Pool { shared: Arc::new(Shared { lanes, done, wake, factory, cost, clock, patience }) }
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
        LaneProgress { queued: status.queued, running: status.running, done: status.done }
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
                    let again = self.run(run, batch, &mut tools);
                    if !self.queue(lane).end_run(run, again) {
                        return;
                    }
                }
                Next::End => return,
            }
        }
    }

    /// Runs those jobs of `batch` that have not been given up. Those that have to be run again: somebody holds
    /// a lock that they need, and they have not waited for it long enough.
    fn run(&self, run: RunId, batch: Vec<Job>, tools: &mut Tools) -> Vec<Job> {
        let (mut begun, mut tasks, mut completions) = (Vec::new(), Vec::new(), Vec::new());
        for job in batch {
            if !job.state.start(run) {
                continue;
            }
            let Job { key, task, room, deadline, state } = job;
            let copy = match self.lock_wait(task.lane(), deadline) {
                LockWait::Over => {
                    completions.push(Completion { key, result: Err(BUSY) });
                    continue;
                }
                LockWait::Possible => Some(Job { key, task: task.clone(), room, deadline, state }),
                LockWait::None => None,
            };
            begun.push((key, copy));
            tasks.push(task);
        }
        let results = if begun.is_empty() { Vec::new() } else { run_tasks(tasks, begun.len(), tools) };
        let mut again = Vec::new();
        for ((key, copy), result) in begun.into_iter().zip(results) {
            let can_wait = |job: &Job| {
                let wait = self.lock_wait(job.task.lane(), job.deadline);
                wait == LockWait::Possible && job.state.put_back(run)
            };
            match copy {
                Some(job) if is_busy(&result) && can_wait(&job) => again.push(job),
                _ => completions.push(Completion { key, result }),
            }
        }
        self.complete(completions);
        again
    }

    /// Whether a job may still wait for a lock.
    fn lock_wait(&self, lane: Lane, deadline: Instant) -> LockWait {
        let Some(Patience { attempt, reserve }) = self.patience else { return LockWait::None };
        let mut clock = self.clock;
        let left = deadline.since(clock.now());
        match lane {
            Lane::Auth => LockWait::None,
            _ if left > reserve => LockWait::Possible,
            _ if left + attempt > reserve => LockWait::None,
            _ => LockWait::Over,
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

fn is_busy(result: &Result<Done, TaskError>) -> bool {
    matches!(result, Err(error) if *error == BUSY)
}

const BUSY: TaskError = TaskError::Store(StoreError::Busy);

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
    use crate::clock::UnixSeconds;
    use crate::ids::{ConnId, DiskId, Slot, Ticket, VmId};
    use crate::model::{Credentials, DiskOfVm, Login, TokenHash, Vm, VmName};
    use crate::store::{Store, VmPage, Write, Written};
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
        pool_on(Arc::<BadFactory>::default())
    }

    fn pool_on(factory: Arc<dyn StoreFactory>) -> (Pool, Receiver<()>) {
        let lane = LaneSettings { queue: 4, threads: 1 };
        let cost = Cost { memory_kib: 64, passes: 1, lanes: 1 };
        let settings = PoolSettings { auth: lane, read: lane, write: lane, cost };
        let (wake, woken) = channel();
        let wake = Mutex::new(wake);
        let wake = move || wake.lock().unwrap().send(()).expect("the test waits");
        (Pool::new(&settings, factory, SystemClock::new(), Box::new(wake)), woken)
    }

    fn job(number: u64) -> Job {
        let ticket = Ticket { conn: ConnId { index: 0, generation: 1 }, slot: Slot(0) };
        let login = Login { id: VmId(1), epoch: 0, name: VmName::stored("a") };
        let task = Task::ListPage { login, page: PageRequest::Vms { after: VmId(0) } };
        let key = JobKey { ticket, job: number };
        let deadline = SystemClock::new().now();
        Job { key, task, room: Room::Queue, deadline, state: Arc::<JobState>::default() }
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

    /// A store in which somebody holds a lock for so many questions.
    struct HeldFactory {
        questions_left: Arc<AtomicUsize>,
        patience: Option<Patience>,
    }

    struct HeldStore(Box<dyn Store>, Arc<AtomicUsize>);

    impl StoreFactory for HeldFactory {
        fn connect(&self) -> Result<Box<dyn Store>, StoreError> {
            let memory = crate::store::open(&crate::store::Location::Memory)?;
            Ok(Box::new(HeldStore(memory.connect()?, Arc::clone(&self.questions_left))))
        }

        fn worker_patience(&self) -> Option<Patience> {
            self.patience
        }
    }

    impl Store for HeldStore {
        fn is_current(&mut self, login: &Login) -> Result<bool, StoreError> {
            let left = self.1.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
            if left.is_ok() { Err(StoreError::Busy) } else { self.0.is_current(login) }
        }
        fn write(&mut self, writes: &[Write]) -> Vec<Result<Written, StoreError>> {
            self.0.write(writes)
        }
        fn credentials(&mut self, name: &VmName) -> Result<Option<Credentials>, StoreError> {
            self.0.credentials(name)
        }
        fn token_owner(&mut self, token: &TokenHash, now: UnixSeconds) -> Result<Option<Login>, StoreError> {
            self.0.token_owner(token, now)
        }
        fn vms_after(&mut self, after: VmId, rows_max: usize) -> Result<VmPage, StoreError> {
            self.0.vms_after(after, rows_max)
        }
        fn vms(&mut self, ids: &[VmId]) -> Result<Vec<Vm>, StoreError> {
            self.0.vms(ids)
        }
        fn disks_after(&mut self, after: DiskId, count_max: usize) -> Result<Vec<DiskOfVm>, StoreError> {
            self.0.disks_after(after, count_max)
        }
    }

    /// What comes of a job that has so much time `left` where a lock is held for three questions, and how many
    /// of them are not asked.
    fn result_where_held(patience: Option<Patience>, left: Duration) -> (Result<Done, TaskError>, usize) {
        let questions_left = Arc::new(AtomicUsize::new(3));
        let factory = HeldFactory { questions_left: Arc::clone(&questions_left), patience };
        let (mut pool, woken) = pool_on(Arc::new(factory));
        let mut clock = pool.shared.clock;
        pool.try_submit(Job { deadline: clock.now() + left, ..job(1) }).unwrap();
        (result(&mut pool, &woken), questions_left.load(Ordering::Relaxed))
    }

    #[test]
    fn what_somebody_has_locked_is_asked_for_again_while_there_is_time() {
        let minute = Duration::from_secs(60);
        let patience = Some(Patience { attempt: minute, reserve: 3 * minute });
        let held = |patience, left| {
            let (result, left) = result_where_held(patience, left);
            (result.map(|_| ()), left)
        };
        let gone = Err(TaskError::Store(StoreError::NotCurrent));
        assert_eq!(held(patience, 4 * minute), (gone, 0), "the store answers in the end");
        assert_eq!(held(patience, 5 * minute / 2), (Err(BUSY), 2), "once more, and that is it");
        assert_eq!(held(patience, minute), (Err(BUSY), 3), "too late to begin");
        assert_eq!(held(None, 4 * minute), (Err(BUSY), 2), "the store has waited itself");
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
