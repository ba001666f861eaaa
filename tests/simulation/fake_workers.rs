//! Simulated workers: every job is really run, on a store in memory, but when, in which order and whether its result
//! is delivered is random.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::delivery::{Delivery, is_final};
use super::fairness::FairnessMonitor;
use super::fake_handlers::FakeHandlers;
use super::fake_hypervisor::FakeHypervisor;
use super::fake_runs::{Call, Run};
use super::fake_tasks::{COST, TaskResult, is_of_points, run_task, with_keys_max};
use super::fault_config::FaultConfig;
use super::faulty_store::StoreFaults;
use super::maintenance::Maintenance;
use super::random::Random;
use super::trace::Trace;
use super::verification::{Verification, ensure};
use vmherd::internals::clock::Instant;
use vmherd::internals::ids::ConnId;
use vmherd::internals::limits;
use vmherd::internals::store::{StoreError, StoreFactory};
use vmherd::internals::work::password::known_costs;
use vmherd::internals::work::{Lane, Work, WorkError, WorkerContext};
use vmherd::internals::worker::{
    Backlog, BatchPolicy, Completion, Job, JobKey, JobState, LaneStatus, Priority, QueueFull, RunId,
};

/// All lanes.
pub(super) struct FakeWorkers {
    random: Random,
    tools: WorkerContext,
    factory: Arc<dyn StoreFactory>,
    faults: Arc<Mutex<StoreFaults>>,
    /// The queued jobs of each lane, in the order in which the real workers take them.
    waiting: [Backlog; Lane::ALL.len()],
    fairness: [FairnessMonitor; Lane::ALL.len()],
    /// What was unfair, if anything.
    unfairness: Verification,
    /// When a thread of each lane looks at the queue at the earliest.
    looks: [Instant; Lane::ALL.len()],
    /// Finished runs of each lane.
    runs_done: [u64; Lane::ALL.len()],
    running: Vec<Run>,
    pub(super) handlers: FakeHandlers,
    pub(super) hypervisor: FakeHypervisor,
    done: Vec<Completion>,
    /// Jobs whose result will be delivered again.
    doubled: Vec<JobKey>,
    is_woken: bool,
    /// The reactor was woken for the results that wait.
    is_announced: bool,
    last_run: u64,
    pub(super) delivery: Delivery,
}

/// A job that runs while another thread writes.
pub(super) struct InterleavedJob {
    id: RunId,
    key: JobKey,
    work: Work,
    seq: Arc<Mutex<Option<TaskResult>>>,
}

impl FakeWorkers {
    pub(super) fn new(
        maintenance: &Maintenance,
        handlers: FakeHandlers,
        hypervisor: FakeHypervisor,
        random: Random,
    ) -> FakeWorkers {
        let factory = Arc::clone(&maintenance.factory);
        FakeWorkers {
            random,
            tools: WorkerContext::new(Arc::clone(&factory), known_costs(COST)),
            factory,
            faults: Arc::clone(&maintenance.faults),
            waiting: Lane::ALL.map(|_| Backlog::new(0)),
            fairness: Default::default(),
            unfairness: Ok(()),
            looks: [Instant::ORIGIN; Lane::ALL.len()],
            runs_done: [0; Lane::ALL.len()],
            running: Vec::new(),
            handlers,
            hypervisor,
            done: Vec::new(),
            doubled: Vec::new(),
            is_woken: false,
            is_announced: false,
            last_run: 0,
            delivery: Delivery::default(),
        }
    }

    /// Queues `job`.
    pub(super) fn submit(&mut self, job: Job, now: Instant, config: &FaultConfig) -> Result<(), QueueFull> {
        self.delivery.add(&job);
        let lane = job.work.lane() as usize;
        let waiting = &mut self.waiting[lane];
        if job.priority == Priority::Normal && self.random.chance(config.full_percent) {
            return Err(QueueFull);
        }
        if waiting.ready() == 0 {
            self.looks[lane] = now + self.random.micros(0, config.job_micros_max);
        }
        waiting.set_jobs_max(config.queue_max);
        let fairness = &mut self.fairness[lane];
        let result = waiting.push(job.clone());
        let evicted = result.inspect_err(|_| {
            let verification = fairness.check_refusal(&job);
            note(&mut self.unfairness, verification);
        })?;
        for other in evicted {
            note(&mut self.unfairness, fairness.evict(&other, &job));
            self.done.push(Completion { key: other.key, result: Err(WorkError::NoRoom) });
            // It may still be withdrawn.
            self.delivery.counts.is_uncertain |= lane == Lane::Auth as usize;
        }
        self.announce();
        self.fairness[lane].add(&job);
        Ok(())
    }

    /// Runs `work` on the reactor's thread, if the store answers at once.
    pub(super) fn run_at_once(&mut self, work: &Work, config: &FaultConfig) -> Option<TaskResult> {
        let is_used = [Lane::Read, Lane::Write].iter().any(|lane| self.status(*lane).running > 0);
        if !config.answers_at_once || is_used {
            return None;
        }
        Some(self.run(with_keys_max(work.clone(), config.keys_max), config))
    }

    /// Replaces the thread of `run`, which is stuck, unless too many of its lane are.
    pub(super) fn replace(&mut self, lane: Lane, run: RunId, threads: usize) -> Verification {
        ensure(!lane.is_computing(), "a worker that only computes is replaced")?;
        let stuck = self.running.iter().filter(|run| run.lane == lane && run.is_replaced).count();
        let Some(run) = self.running.iter_mut().find(|other| other.id == run) else { return Ok(()) };
        run.is_replaced |= stuck < threads * limits::REPLACEMENTS_PER_WORKER;
        self.waiting[lane as usize].give_up(run.id);
        self.fairness[lane as usize].give_up(run.id);
        ensure(run.lane == lane, "a run of another lane is given up")
    }

    pub(super) fn status(&self, lane: Lane) -> LaneStatus {
        LaneStatus {
            queued: self.waiting[lane as usize].queued(),
            running: self.running.iter().filter(|run| run.lane == lane).count(),
            done: self.runs_done[lane as usize],
            ..LaneStatus::default()
        }
    }

    /// Begins and ends what is due.
    pub(super) fn advance(&mut self, now: Instant, config: &FaultConfig, trace: &mut Trace) {
        self.handlers.advance(now);
        self.hypervisor.advance(now);
        loop {
            let is_over = |run: &Run| run.ends.is_some_and(|ends| ends <= now);
            while let Some(at) = self.running.iter().position(is_over) {
                let run = self.running.swap_remove(at);
                trace.add(now, || format!("run {} ends", run.id.0));
                self.runs_done[run.lane as usize] += 1;
                self.done.extend(run.completions);
                self.do_writes(run.writes, now, config);
                self.end_run(run.lane, run.id);
                if let Some((key, deadline, call)) = run.call {
                    self.call(key, deadline, call, now);
                }
            }
            let may_begin = |lane: &Lane| self.begins(*lane, config.threads).is_some_and(|at| at <= now);
            let Some(lane) = Lane::ALL.into_iter().find(may_begin) else { break };
            self.begin(lane, now, config, trace);
        }
        self.announce();
    }

    /// Wakes the reactor for results, once until it collects them, as the real workers do.
    fn announce(&mut self) {
        let is_called_back = self.handlers.has_completions() || self.hypervisor.has_completions();
        let has_results = !self.done.is_empty() || is_called_back;
        if has_results && !std::mem::replace(&mut self.is_announced, true) {
            self.is_woken = true;
        }
    }

    /// Whether results wait whose wake-up the reactor had already: no other comes.
    pub(super) fn has_forgotten_results(&self) -> bool {
        self.is_announced && !self.is_woken
    }

    /// When something is due next.
    pub(super) fn next(&self, threads: usize) -> Option<Instant> {
        let ends = self.running.iter().filter_map(|run| run.ends);
        let begins = Lane::ALL.into_iter().filter_map(|lane| self.begins(lane, threads));
        ends.chain(begins).chain(self.handlers.next()).chain(self.hypervisor.next()).min()
    }

    /// Whether the lanes were fair to all connections.
    pub(super) fn check_fairness(&self) -> Verification {
        self.unfairness.clone()
    }

    /// Whether the reactor is to look for results; true once.
    pub(super) fn take_wake(&mut self) -> bool {
        std::mem::take(&mut self.is_woken) | self.handlers.take_wake() | self.hypervisor.take_wake()
    }

    /// Results in any order, and after them some earlier ones again, as errors: a reactor that used them would
    /// report an error to a client.
    pub(super) fn collect(
        &mut self,
        doubled_percent: usize,
        is_open: impl Fn(ConnId) -> bool,
    ) -> Vec<Completion> {
        self.is_announced = false;
        let mut done = std::mem::take(&mut self.done);
        done.extend(self.handlers.take_completions());
        done.extend(self.hypervisor.take_completions());
        // The panic of a handler after its answer comes after that.
        let mut keys = HashSet::new();
        let panics: Vec<Completion> =
            done.extract_if(.., |completion| !keys.insert(completion.key)).collect();
        self.random.shuffle(&mut done);
        let doubled = std::mem::take(&mut self.doubled);
        for completion in &done {
            if is_final(completion) && self.random.chance(doubled_percent) {
                self.doubled.push(completion.key);
                self.is_woken = true;
            }
        }
        done.extend(panics);
        let again = |key| Completion { key, result: Err(WorkError::Internal) };
        done.extend(doubled.into_iter().map(again));
        done.iter().for_each(|completion| self.delivery.deliver(completion, &is_open));
        done
    }

    /// When the next job of the lane is begun, if there is one.
    fn begins(&self, lane: Lane, threads: usize) -> Option<Instant> {
        if self.waiting[lane as usize].ready() == 0 {
            return None;
        }
        Some(self.thread_free(lane, threads)?.max(self.looks[lane as usize]))
    }

    /// When a thread of the lane is free; `None`: never.
    fn thread_free(&self, lane: Lane, threads: usize) -> Option<Instant> {
        let busy = self.running.iter().filter(|run| run.lane == lane && !run.is_replaced);
        match busy.clone().count() < threads {
            true => Some(Instant::ORIGIN),
            false => busy.filter_map(|run| run.ends).min(),
        }
    }

    fn begin(&mut self, lane: Lane, now: Instant, config: &FaultConfig, trace: &mut Trace) {
        self.last_run += 1;
        let id = RunId(self.last_run);
        let batch = match BatchPolicy::of(lane) {
            BatchPolicy::InOrder { max, weight_max } => {
                BatchPolicy::InOrder { max: max.min(config.writes_at_once), weight_max }
            }
            batch => batch,
        };
        let batch = self.take_queued(lane, batch, id, config);
        let does_at_end = lane == Lane::Write && self.random.chance(50);
        let (mut keys, mut tasks, mut writes) = (Vec::new(), Vec::new(), Vec::new());
        for job in batch {
            if !job.state.start(id) {
                trace.add(now, || format!("job {} was abandoned", job.key.job));
                continue;
            }
            trace.add(now, || format!("run {} runs job {}", id.0, job.key.job));
            let call = match job.work {
                Work::Handle(call) => Call::Handler(call),
                Work::Container(call) => Call::Hypervisor(call),
                work if does_at_end => {
                    writes.push((job.key, job.state, with_keys_max(work, config.keys_max)));
                    continue;
                }
                work => {
                    keys.push(job.key);
                    tasks.push(with_keys_max(work, config.keys_max));
                    continue;
                }
            };
            self.begin_call(id, (job.key, job.deadline, call), now, config);
        }
        let results = self.run_all(tasks, now, config);
        let completions: Vec<Completion> =
            keys.into_iter().zip(results).map(|(key, result)| Completion { key, result }).collect();
        match completions.is_empty() && writes.is_empty() {
            true => self.end_run(lane, id),
            false => self.keep_busy(id, lane, completions, now, config).writes = writes,
        }
    }

    /// Does the writes of a run that ends, except for those that were abandoned: their outcome is unknown.
    fn do_writes(
        &mut self,
        mut writes: Vec<(JobKey, Arc<JobState>, Work)>,
        now: Instant,
        config: &FaultConfig,
    ) {
        let late = writes
            .extract_if(.., |(_, state, _)| state.is_abandoned())
            .map(|(key, ..)| Completion { key, result: Err(WorkError::Store(StoreError::Busy)) });
        self.done.extend(late);
        let keys: Vec<JobKey> = writes.iter().map(|(key, ..)| *key).collect();
        let tasks = writes.into_iter().map(|(_, _, work)| work).collect();
        let results = self.run_all(tasks, now, config);
        self.done.extend(keys.into_iter().zip(results).map(|(key, result)| Completion { key, result }));
    }

    /// Later jobs of the connections of a run may be taken.
    fn end_run(&mut self, lane: Lane, run: RunId) {
        self.waiting[lane as usize].end_run(run, Vec::new());
        self.fairness[lane as usize].end_run(run);
    }

    /// Calls the program, now or at the end of a run that may never end. Its thread is busy until then.
    fn begin_call(
        &mut self,
        id: RunId,
        (key, deadline, call): (JobKey, Instant, Call),
        now: Instant,
        config: &FaultConfig,
    ) {
        // The hypervisor returns soon.
        let may_hang = matches!(call, Call::Handler(_));
        let hangs = may_hang && self.random.chance(config.handlers_hang_percent);
        let call = match self.random.chance(50) {
            true => Some((key, deadline, call)),
            false => {
                self.call(key, deadline, call, now);
                None
            }
        };
        let run = self.keep_busy(id, Lane::Handler, Vec::new(), now, config);
        run.call = call;
        run.ends = run.ends.filter(|_| !hangs);
    }

    fn call(&mut self, key: JobKey, deadline: Instant, call: Call, now: Instant) {
        match call {
            Call::Handler(call) => self.handlers.call(key, deadline, call, now),
            Call::Hypervisor(call) => self.hypervisor.call(key, call, now),
        }
    }

    /// Takes jobs from the queue of `lane`.
    fn take_queued(&mut self, lane: Lane, batch: BatchPolicy, run: RunId, config: &FaultConfig) -> Vec<Job> {
        let jobs = self.waiting[lane as usize].take(batch, config.threads, run);
        let fairness = &mut self.fairness[lane as usize];
        for job in &jobs {
            note(&mut self.unfairness, fairness.take(job));
        }
        if matches!(batch, BatchPolicy::InOrder { .. }) {
            fairness.begin_run(run, &jobs);
        }
        jobs
    }

    /// Keeps a thread busy for some time; then the results are delivered.
    fn keep_busy(
        &mut self,
        id: RunId,
        lane: Lane,
        completions: Vec<Completion>,
        now: Instant,
        config: &FaultConfig,
    ) -> &mut Run {
        let takes = if self.random.chance(config.stuck_percent) {
            self.random.micros(1_000_000, 100_000_000)
        } else {
            self.random.micros(0, config.job_micros_max)
        };
        let ends = Some(now + takes);
        let writes = Vec::new();
        self.running.push(Run { id, lane, ends, completions, writes, call: None, is_replaced: false });
        self.running.last_mut().expect("it was just added")
    }

    /// Runs `tasks` one by one, sometimes with writes of other threads interleaved, or, if they write, together.
    fn run_all(&mut self, tasks: Vec<Work>, now: Instant, config: &FaultConfig) -> Vec<TaskResult> {
        let is_write = tasks.iter().all(|work| matches!(work, Work::Write(_)));
        if tasks.len() > 1 && is_write && config.writes_behind && self.random.chance(40) {
            return self.tools.run(&tasks);
        }
        let run = |work: Work| {
            let interleaved = is_of_points(&work).then(|| self.begin_interleaved(config)).flatten();
            let result = self.run(work, config);
            self.end_interleaved(interleaved, now, config);
            result
        };
        tasks.into_iter().map(run).collect()
    }

    /// Runs a queued write while another thread writes points.
    pub(super) fn begin_interleaved(&mut self, config: &FaultConfig) -> Option<InterleavedJob> {
        if !config.writes_behind || self.random.chance(30) {
            return None;
        }
        let one = BatchPolicy::InOrder { max: 1, weight_max: usize::MAX };
        self.last_run += 1;
        let id = RunId(self.last_run);
        let job = self.take_queued(Lane::Write, one, id, config).pop()?;
        if !job.state.start(id) {
            self.end_run(Lane::Write, id);
            return None;
        }
        let work = with_keys_max(job.work, config.keys_max);
        let seq: Arc<Mutex<Option<TaskResult>>> = Arc::default();
        let mut tools = WorkerContext::new(Arc::clone(&self.factory), known_costs(COST));
        let (result, copy) = (Arc::clone(&seq), work.clone());
        let write_hook = move || {
            *result.lock().unwrap_or_else(PoisonError::into_inner) = tools.run([&copy]).pop();
        };
        self.faults().write_hook = Some(Box::new(write_hook));
        Some(InterleavedJob { id, key: job.key, work, seq })
    }

    /// Ends an interleaved write: it is run now if it was not, or found the store locked.
    pub(super) fn end_interleaved(
        &mut self,
        interleaved: Option<InterleavedJob>,
        now: Instant,
        config: &FaultConfig,
    ) {
        let Some(InterleavedJob { id, key, work, seq }) = interleaved else { return };
        self.faults().write_hook = None;
        let result = match seq.lock().unwrap_or_else(PoisonError::into_inner).take() {
            None | Some(Err(WorkError::Store(StoreError::Busy))) => self.run(work, config),
            Some(result) => result,
        };
        self.keep_busy(id, Lane::Write, vec![Completion { key, result }], now, config);
    }

    fn faults(&self) -> MutexGuard<'_, StoreFaults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&mut self, work: Work, config: &FaultConfig) -> TaskResult {
        run_task(work, &mut self.tools, &mut self.random, config)
    }
}

/// Records the first failure.
fn note(first: &mut Verification, verification: Verification) {
    *first = first.clone().and(verification);
}
