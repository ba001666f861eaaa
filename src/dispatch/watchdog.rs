//! The heartbeat for the service manager, sent by the loop. It stops when the loop stops, and when a lane has
//! queued jobs and has completed none for longer than a job may take.
//!
//! A store that does not answer does not stop the heartbeat: a restart would not repair the database, and would
//! interrupt the clients that do not need it. So a lane with a thread in the store is not stuck, nor is one with a thread
//! in a handler of the embedding program.

use std::time::Duration;

use super::in_flight::lane_deadline;
use crate::clock::Instant;
use crate::work::Lane;
use crate::worker::Jobs;

/// The heartbeat, and the last sample of each lane.
pub(crate) struct Watchdog {
    interval: Duration,
    beat: Box<dyn FnMut() + Send>,
    lanes: [LaneSample; Lane::ALL.len()],
}

/// The progress of a lane.
#[derive(Clone, Copy)]
struct LaneSample {
    done: u64,
    /// Since when jobs have waited and none has completed.
    waiting: Option<Instant>,
    is_stuck: bool,
}

impl Watchdog {
    pub(crate) fn new(interval: Duration, beat: Box<dyn FnMut() + Send>) -> Watchdog {
        let lanes = Lane::ALL.map(|_| LaneSample { done: 0, waiting: None, is_stuck: false });
        Watchdog { interval, beat, lanes }
    }

    /// Sends a heartbeat unless a lane is stuck; returns the time of the next one.
    pub(crate) fn beat(&mut self, jobs: &impl Jobs, now: Instant) -> Instant {
        for (lane, sample) in Lane::ALL.into_iter().zip(&mut self.lanes) {
            sample.update(lane, jobs, now);
        }
        if !self.lanes.iter().any(|sample| sample.is_stuck) {
            (self.beat)();
        }
        now + self.interval
    }
}

impl LaneSample {
    fn update(&mut self, lane: Lane, jobs: &impl Jobs, now: Instant) {
        let status = jobs.status(lane);
        let is_elsewhere = !lane.is_computing() && status.running > 0;
        if status.queued == 0 || status.done != self.done || is_elsewhere {
            self.done = status.done;
            self.waiting = None;
        }
        if status.queued > 0 && !is_elsewhere {
            self.waiting.get_or_insert(now);
        }
        let time = self.waiting.map_or(Duration::ZERO, |since| now - since);
        let was_stuck = self.is_stuck;
        self.is_stuck = time > lane_deadline(lane);
        match (was_stuck, self.is_stuck) {
            (false, true) => {
                let queued = status.queued;
                log::error!(
                    "the {lane:?} lane is stuck: {queued} jobs are queued, and none has completed for {time:?}"
                );
            }
            (true, false) => log::warn!("the {lane:?} lane makes progress again"),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits;
    use crate::worker::{Completion, Job, LaneStatus, QueueFull, RunId};
    use std::collections::VecDeque;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// Lanes of which only the write lane has jobs.
    struct WriteLane(LaneStatus);

    impl Jobs for WriteLane {
        fn try_submit(&mut self, _job: Job) -> Result<(), QueueFull> {
            Err(QueueFull)
        }
        fn drain(&mut self, _completions: &mut VecDeque<Completion>) {}
        fn replace_worker(&mut self, _lane: Lane, _run: RunId) {}
        fn status(&self, lane: Lane) -> LaneStatus {
            if lane == Lane::Write { self.0 } else { LaneStatus::default() }
        }
        fn statistics(&self) -> Vec<(&'static str, u64)> {
            Vec::new()
        }
    }

    #[test]
    fn a_hanging_store_does_not_stop_the_heartbeat() {
        let beats = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&beats);
        let beat = Box::new(move || {
            counter.fetch_add(1, Ordering::Relaxed);
        });
        let second = Duration::from_secs(1);
        let mut watchdog = Watchdog::new(second, beat);
        for step in 1..=10 {
            let hanging = WriteLane(LaneStatus { queued: 5, running: 3, ..LaneStatus::default() });
            watchdog.beat(&hanging, Instant::ORIGIN + second * step);
            assert_eq!(beats.load(Ordering::Relaxed), step);
        }
    }

    #[test]
    fn a_stuck_lane_stops_the_heartbeat() {
        let beats = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&beats);
        let beat = Box::new(move || {
            counter.fetch_add(1, Ordering::Relaxed);
        });
        let second = Duration::from_secs(1);
        let mut now = Instant::ORIGIN;
        let mut watchdog = Watchdog::new(second, beat);
        // Queued, done, and whether a beat is expected; one second apart.
        let steps = [
            (0, 0, true),
            (5, 0, true),
            (5, 0, true),
            (5, 0, true),
            (5, 0, false),
            (5, 0, false),
            (5, 1, true),
            (5, 2, true),
            (5, 2, true),
            (5, 2, true),
            (5, 2, false),
            (0, 2, true),
            (0, 2, true),
        ];
        assert_eq!(limits::STORE_DEADLINE, second * 5 / 2, "the steps assume this deadline");
        let mut expected = 0;
        for (step, (queued, done, is_healthy)) in steps.into_iter().enumerate() {
            now = now + second;
            let next = watchdog.beat(&WriteLane(LaneStatus { queued, done, ..LaneStatus::default() }), now);
            expected += u32::from(is_healthy);
            assert_eq!(beats.load(Ordering::Relaxed), expected, "step {step}");
            assert_eq!(next, now + second);
        }
    }
}
