//! A sign of life for whoever watches the process, given by the loop itself: it stops where the loop does
//! not turn, and where a lane has had jobs waiting and finished none for longer than they may take.
//!
//! A store that does not answer is no reason: to start the process anew would not wake a database, and would
//! take from clients what does not need one. So threads that are at the store are not blamed.

use std::time::Duration;

use super::in_flight::lane_deadline;
use crate::clock::Instant;
use crate::work::Lane;
use crate::worker::Jobs;

/// The sign, and what was seen of the lanes.
pub(crate) struct Watchdog {
    interval: Duration,
    beat: Box<dyn FnMut() + Send>,
    lanes: [LaneSample; Lane::ALL.len()],
}

/// How far a lane has come.
#[derive(Clone, Copy)]
struct LaneSample {
    done: u64,
    /// When jobs were first seen to wait without one having ended since.
    waiting: Option<Instant>,
    is_stuck: bool,
}

impl Watchdog {
    pub(crate) fn new(interval: Duration, beat: Box<dyn FnMut() + Send>) -> Watchdog {
        let lanes = Lane::ALL.map(|_| LaneSample { done: 0, waiting: None, is_stuck: false });
        Watchdog { interval, beat, lanes }
    }

    /// Gives the sign, if all is well; when to do so again.
    pub(crate) fn beat(&mut self, jobs: &impl Jobs, now: Instant) -> Instant {
        for (lane, seen) in Lane::ALL.into_iter().zip(&mut self.lanes) {
            seen.look(lane, jobs, now);
        }
        if !self.lanes.iter().any(|seen| seen.is_stuck) {
            (self.beat)();
        }
        now + self.interval
    }
}

impl LaneSample {
    fn look(&mut self, lane: Lane, jobs: &impl Jobs, now: Instant) {
        let progress = jobs.progress(lane);
        let is_at_the_store = matches!(lane, Lane::Read | Lane::Write) && progress.running > 0;
        if progress.queued == 0 || progress.done != self.done || is_at_the_store {
            self.done = progress.done;
            self.waiting = None;
        }
        if progress.queued > 0 && !is_at_the_store {
            self.waiting.get_or_insert(now);
        }
        let time = self.waiting.map_or(Duration::ZERO, |since| now - since);
        let was_stuck = self.is_stuck;
        self.is_stuck = time > lane_deadline(lane);
        match (was_stuck, self.is_stuck) {
            (false, true) => {
                let queued = progress.queued;
                log::error!(
                    "the {lane:?} lane is stuck: {queued} jobs wait, and none has ended for {time:?}"
                );
            }
            (true, false) => log::warn!("the {lane:?} lane gets on again"),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits;
    use crate::worker::{Completion, Job, LaneProgress, QueueFull, RunId};
    use std::collections::VecDeque;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// Lanes of which only the one for writes has anything to do.
    struct Writes(LaneProgress);

    impl Jobs for Writes {
        fn try_submit(&mut self, _job: Job) -> Result<(), QueueFull> {
            Err(QueueFull)
        }
        fn drain(&mut self, _completions: &mut VecDeque<Completion>) {}
        fn replace_worker(&mut self, _lane: Lane, _run: RunId) {}
        fn progress(&self, lane: Lane) -> LaneProgress {
            if lane == Lane::Write { self.0 } else { LaneProgress::default() }
        }
        fn statistics(&self) -> Vec<(&'static str, u64)> {
            Vec::new()
        }
    }

    #[test]
    fn a_store_that_does_not_answer_does_not_stop_the_heart() {
        let beats = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&beats);
        let beat = Box::new(move || {
            counter.fetch_add(1, Ordering::Relaxed);
        });
        let second = Duration::from_secs(1);
        let mut watchdog = Watchdog::new(second, beat);
        for step in 1..=10 {
            let hanging = Writes(LaneProgress { queued: 5, running: 3, done: 0 });
            watchdog.beat(&hanging, Instant::ORIGIN + second * step);
            assert_eq!(beats.load(Ordering::Relaxed), step);
        }
    }

    #[test]
    fn beats_while_lanes_get_on_or_rest_and_not_while_one_is_stuck() {
        let beats = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&beats);
        let beat = Box::new(move || {
            counter.fetch_add(1, Ordering::Relaxed);
        });
        let second = Duration::from_secs(1);
        let mut now = Instant::ORIGIN;
        let mut watchdog = Watchdog::new(second, beat);
        // Queued, done, and whether a beat is to come; a second apart.
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
        assert_eq!(limits::STORE_DEADLINE, second * 5 / 2, "the steps are made for it");
        let mut expected = 0;
        for (step, (queued, done, is_well)) in steps.into_iter().enumerate() {
            now = now + second;
            let next = watchdog.beat(&Writes(LaneProgress { queued, running: 0, done }), now);
            expected += u32::from(is_well);
            assert_eq!(beats.load(Ordering::Relaxed), expected, "step {step}");
            assert_eq!(next, now + second);
        }
    }
}
