//! Conversions, answered after a delay, and the log of delays.

use std::io;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::super::token::Random;
use super::{App, Continue, Next, Resume, StageInfo};
use crate::clock::UnixSeconds;
use crate::dialect::convert;
use crate::limits;
use crate::model::{Answer, Failure};
use crate::work::{Compute, Work, WorkResult, WrongResult};

/// A worker converts a long text.
#[derive(Debug)]
pub struct Stage;

impl App {
    pub(super) fn convert(&mut self, data: Box<str>, now: UnixSeconds) -> Next<Stage> {
        let after = match draw(&self.settings.conversion_delay, self.random.as_mut()) {
            Ok(after) => after,
            Err(error) => {
                log::error!("getting random bytes for a delay failed: {error}");
                return Next::failed(Failure::Internal);
            }
        };
        if after.is_zero() {
            return self.convert_undelayed(data);
        }
        self.delay_log.log(after, now);
        Next::Later { after, data }
    }

    fn convert_undelayed(&self, data: Box<str>) -> Next<Stage> {
        if data.len() > self.settings.inline_bytes_max {
            return Next::Work { work: Work::Compute(Compute::Convert { data }), stage: Stage };
        }
        Next::Answer(Answer::Converted(convert(&data)))
    }

    /// Converts a text after its delay.
    pub fn convert_now(&self, data: Box<str>) -> Next {
        self.convert_undelayed(data).map(super::Stage::Convert)
    }
}

impl StageInfo for Stage {}

impl Continue for Stage {
    fn resume(self, _: Resume<'_>, result: WorkResult) -> Result<Next<Stage>, WrongResult> {
        Ok(Next::Answer(Answer::Converted(result.converted()?)))
    }
}

/// Draws a uniformly distributed duration from `range`, in whole milliseconds.
fn draw(range: &RangeInclusive<Duration>, random: &mut dyn Random) -> io::Result<Duration> {
    let (min, max) = (range.start().as_millis() as u64, range.end().as_millis() as u64);
    if min >= max {
        return Ok(*range.start());
    }
    let mut bytes = [0; 8];
    random.fill(&mut bytes)?;
    // Delays are hours at most, so the bias of the modulo is negligible in 64 bits.
    Ok(Duration::from_millis(min + u64::from_le_bytes(bytes) % (max - min + 1)))
}

/// Logs each delay, up to a limit per second.
#[derive(Debug, Default)]
pub(in crate::app) struct DelayLog {
    second: UnixSeconds,
    logged: u32,
    suppressed: u64,
}

impl DelayLog {
    /// Logs the delay of one request, or counts it.
    fn log(&mut self, delay: Duration, now: UnixSeconds) {
        if self.second != now {
            let suppressed = std::mem::take(&mut self.suppressed);
            (self.second, self.logged) = (now, 0);
            if suppressed > 0 {
                log::info!("Timeouts for {suppressed} more, not logged one by one.");
            }
        }
        if self.logged < limits::DELAYS_LOGGED_PER_SECOND_MAX {
            self.logged += 1;
            log::info!("Timeout {:.1} seconds for this one.", delay.as_secs_f64());
        } else {
            self.suppressed += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::token::SystemRandom;

    #[test]
    fn delays_are_drawn_from_their_range_and_both_ends_occur() {
        let range = |min, max| Duration::from_millis(min)..=Duration::from_millis(max);
        let mut drawn: Vec<u64> =
            (0..1000).map(|_| draw(&range(10, 19), &mut SystemRandom).unwrap().as_millis() as u64).collect();
        drawn.sort_unstable();
        drawn.dedup();
        assert_eq!(drawn, (10..=19).collect::<Vec<_>>());
        assert_eq!(draw(&range(7, 7), &mut SystemRandom).unwrap(), Duration::from_millis(7));
    }

    #[test]
    fn delays_beyond_the_limit_per_second_are_counted() {
        let mut log = DelayLog::default();
        for _ in 0..250 {
            log.log(Duration::from_secs(1), UnixSeconds(5));
        }
        assert_eq!((log.logged, log.suppressed), (100, 150));
        log.log(Duration::from_secs(1), UnixSeconds(6));
        assert_eq!((log.logged, log.suppressed), (1, 0));
    }
}
