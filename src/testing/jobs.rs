//! Simulated workers: every task is run for real, on a store in memory, but when and in which order, and
//! whether its result ever comes, is up to the weather. Passwords are not hashed: that would take real time.

use std::collections::VecDeque;
use std::sync::Arc;

use super::random::Random;
use super::trace::Trace;
use super::weather::Weather;
use super::world::Shared;
use crate::app::password::{Cost, Verdict};
use crate::app::task::{Done, Lane, Task, TaskError, Tools};
use crate::clock::Instant;
use crate::limits;
use crate::store::{StoreError, StoreFactory, Write};
use crate::worker::{Backlog, Batch, Completion, Full, Job, JobKey, Jobs, LaneProgress, Room, RunId};

/// The workers as the reactor sees them.
pub(super) struct FakeJobs(pub(super) Shared);

/// All lanes.
pub(super) struct Workshop {
    random: Random,
    tools: Tools,
    /// What waits in each lane, in the order in which the real ones take it.
    waiting: [Backlog; Lane::ALL.len()],
    /// When a thread of each lane looks there at the earliest.
    looks: [Instant; Lane::ALL.len()],
    /// Runs of each that are over.
    runs_done: [u64; Lane::ALL.len()],
    running: Vec<Run>,
    done: Vec<Completion>,
    /// Jobs whose result will come again.
    doubled: Vec<JobKey>,
    is_woken: bool,
    last_run: u64,
}

/// What one thread does.
struct Run {
    id: RunId,
    lane: Lane,
    ends: Instant,
    completions: Vec<Completion>,
    /// It was given up, and does not count among the lane's threads.
    is_replaced: bool,
}

impl Jobs for FakeJobs {
    fn try_submit(&mut self, job: Job) -> Result<(), Full> {
        let mut world = self.0.borrow_mut();
        world.operations += 1;
        let (now, lane) = (world.now, job.task.lane());
        world.log(|| format!("job {} of {:?}: {}", job.key.job, job.key.ticket, name(&job.task)));
        if let Task::Write(Write::Put { points, .. }) = &job.task
            && !(1..=limits::POINTS_PER_REQUEST_MAX).contains(&points.len())
        {
            world.fail(format!("{} points are put at once", points.len()));
        }
        let weather = world.weather.clone();
        let workshop = &mut world.workshop;
        let waiting = &mut workshop.waiting[lane as usize];
        if job.room == Room::Queue && workshop.random.chance(weather.full_percent) {
            return Err(Full);
        }
        if waiting.is_empty() {
            workshop.looks[lane as usize] = now + workshop.random.micros(0, weather.job_micros_max);
        }
        waiting.set_jobs_max(weather.queue_max);
        for job in waiting.push(job)? {
            workshop.done.push(Completion { key: job.key, result: Err(TaskError::NoRoom) });
            workshop.is_woken = true;
        }
        Ok(())
    }

    fn drain(&mut self, completions: &mut VecDeque<Completion>) {
        let mut world = self.0.borrow_mut();
        let doubled_percent = world.weather.doubled_percent;
        let done = world.workshop.collect(doubled_percent);
        world.operations += done.len() as u64;
        for completion in &done {
            let (job, is_done) = (completion.key.job, completion.result.is_ok());
            world.log(|| format!("job {job} is collected, done: {is_done}"));
        }
        completions.extend(done);
    }

    fn replace_worker(&mut self, lane: Lane, run: RunId) {
        let mut world = self.0.borrow_mut();
        world.log(|| format!("run {} of {lane:?} is given up", run.0));
        let mut runs = world.workshop.running.iter_mut();
        if let Some(run) = runs.find(|other| other.id == run) {
            let is_right = run.lane == lane;
            run.is_replaced = true;
            if !is_right {
                world.fail("a run of another lane is given up".to_owned());
            }
        }
    }

    fn progress(&self, lane: Lane) -> LaneProgress {
        let workshop = &self.0.borrow().workshop;
        LaneProgress {
            queued: workshop.waiting[lane as usize].len(),
            running: workshop.running.iter().filter(|run| run.lane == lane).count(),
            done: workshop.runs_done[lane as usize],
        }
    }

    fn statistics(&self) -> Vec<(&'static str, u64)> {
        Vec::new()
    }
}

impl Workshop {
    pub(super) fn new(store: Arc<dyn StoreFactory>, random: Random) -> Workshop {
        let cost = Cost { memory_kib: 8, passes: 1, lanes: 1 };
        Workshop {
            random,
            tools: Tools::new(store, cost),
            waiting: Lane::ALL.map(|_| Backlog::new(0)),
            looks: [Instant::ORIGIN; Lane::ALL.len()],
            runs_done: [0; Lane::ALL.len()],
            running: Vec::new(),
            done: Vec::new(),
            doubled: Vec::new(),
            is_woken: false,
            last_run: 0,
        }
    }

    /// Begins and ends what is due.
    pub(super) fn advance(&mut self, now: Instant, weather: &Weather, trace: &mut Trace) {
        loop {
            let is_over = |run: &Run| run.ends <= now;
            while let Some(at) = self.running.iter().position(is_over) {
                let run = self.running.swap_remove(at);
                trace.add(now, || format!("run {} ends", run.id.0));
                self.runs_done[run.lane as usize] += 1;
                self.done.extend(run.completions);
                self.is_woken = true;
            }
            let may_begin = |lane: &Lane| self.begins(*lane, weather.threads).is_some_and(|at| at <= now);
            let Some(lane) = Lane::ALL.into_iter().find(may_begin) else { return };
            self.begin(lane, now, weather, trace);
        }
    }

    /// When something is due next.
    pub(super) fn next(&self, threads: usize) -> Option<Instant> {
        let ends = self.running.iter().map(|run| run.ends);
        let begins = Lane::ALL.into_iter().filter_map(|lane| self.begins(lane, threads));
        ends.chain(begins).min()
    }

    /// Whether the reactor is to look for results; told once.
    pub(super) fn take_wake(&mut self) -> bool {
        std::mem::take(&mut self.is_woken)
    }

    /// Results in any order, and behind them those of earlier ones that come again: whoever took these
    /// would tell its client of a fault.
    fn collect(&mut self, doubled_percent: usize) -> Vec<Completion> {
        let mut done = std::mem::take(&mut self.done);
        self.random.shuffle(&mut done);
        let doubled = std::mem::take(&mut self.doubled);
        for completion in &done {
            if self.random.chance(doubled_percent) {
                self.doubled.push(completion.key);
                self.is_woken = true;
            }
        }
        let again = |key| Completion { key, result: Err(TaskError::Internal) };
        done.extend(doubled.into_iter().map(again));
        done
    }

    /// When the next job of the lane is begun, if there is one.
    fn begins(&self, lane: Lane, threads: usize) -> Option<Instant> {
        let looks = self.looks[lane as usize];
        (!self.waiting[lane as usize].is_empty()).then(|| self.thread_free(lane, threads).max(looks))
    }

    /// Since when, or from when on, a thread of the lane is free.
    fn thread_free(&self, lane: Lane, threads: usize) -> Instant {
        let busy = self.running.iter().filter(|run| run.lane == lane && !run.is_replaced);
        match busy.clone().count() < threads {
            true => Instant::ORIGIN,
            false => busy.map(|run| run.ends).min().unwrap_or(Instant::ORIGIN),
        }
    }

    fn begin(&mut self, lane: Lane, now: Instant, weather: &Weather, trace: &mut Trace) {
        self.last_run += 1;
        let id = RunId(self.last_run);
        let batch = self.waiting[lane as usize].take(Batch::of(lane), weather.threads);
        let mut completions = Vec::new();
        for job in batch {
            if !job.state.start(id) {
                trace.add(now, || format!("job {} was given up", job.key.job));
                continue;
            }
            trace.add(now, || format!("run {} runs job {}", id.0, job.key.job));
            let result = self.run(job.task, weather);
            completions.push(Completion { key: job.key, result });
        }
        if completions.is_empty() {
            return;
        }
        let takes = if self.random.chance(weather.stuck_percent) {
            self.random.micros(1_000_000, 100_000_000)
        } else {
            self.random.micros(0, weather.job_micros_max)
        };
        self.running.push(Run { id, lane, ends: now + takes, completions, is_replaced: false });
    }

    fn run(&mut self, task: Task, weather: &Weather) -> Result<Done, TaskError> {
        let is_write = matches!(task, Task::Write(_));
        match task {
            Task::HashPassword { password } => return Ok(Done::Hashed(fake_hash(password.expose()))),
            Task::VerifyPassword { password, stored } => {
                let hash = fake_hash(password.expose());
                let is_right = stored.is_some_and(|stored| stored == hash);
                let right =
                    if self.random.chance(20) { Verdict::RightRehashed(hash) } else { Verdict::Right };
                return Ok(Done::Verified(if is_right { right } else { Verdict::Wrong }));
            }
            _ => {}
        }
        let is_computing = task.lane() == Lane::Compute;
        if is_computing || !self.random.chance(weather.failed_percent) {
            let mut results = Vec::new();
            self.tools.run(vec![task], &mut results);
            return results.pop().expect("one result for one task");
        }
        let why = "the weather".to_owned();
        Err(TaskError::Store(match self.random.between(0, 2) {
            0 => StoreError::Busy,
            1 if is_write => {
                if self.random.chance(50) {
                    self.tools.run(vec![task], &mut Vec::new());
                }
                StoreError::OutcomeUnknown(why)
            }
            _ => StoreError::Unavailable(why),
        }))
    }
}

/// What stands for the hash of a password.
pub(super) fn fake_hash(password: &str) -> String {
    format!("fake:{password}")
}

fn name(task: &Task) -> &'static str {
    match task {
        Task::FindToken { .. } => "find a token",
        Task::FindCredentials { .. } | Task::FindCredentialsById { .. } => "find credentials",
        Task::Decode { .. } => "read a message",
        Task::Convert { .. } => "convert",
        Task::HashPassword { .. } => "hash",
        Task::VerifyPassword { .. } => "verify",
        Task::ListPage { .. } => "a page",
        Task::Write(_) => "write",
    }
}
