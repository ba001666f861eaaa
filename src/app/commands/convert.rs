//! Conversions, which are answered after a delay, and the log of delays.

use std::io;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::super::token::Random;
use super::{App, Continue, Next, StageInfo};
use crate::clock::UnixSeconds;
use crate::dialect::convert;
use crate::ids::ConnId;
use crate::limits;
use crate::model::{Answer, CommandName, Failure};
use crate::work::{Compute, Work, WorkResult, WrongResult};

/// A worker converts a long text.
#[derive(Debug)]
pub struct Stage;

impl App {
    pub(super) fn convert(&mut self, data: Box<str>, now: UnixSeconds) -> Next<Stage> {
        let after = match draw(&self.settings.conversion_delay, self.random.as_mut()) {
            Ok(after) => after,
            Err(error) => {
                log::error!("no random bytes for a delay: {error}");
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

    /// Converts a text whose delay is over.
    pub fn convert_now(&self, data: Box<str>) -> Next {
        self.convert_undelayed(data).map(super::Stage::Convert)
    }
}

impl StageInfo for Stage {
    fn command(&self) -> CommandName {
        CommandName::Convert
    }
}

impl Continue for Stage {
    fn resume(
        self,
        _: &mut App,
        _: ConnId,
        result: WorkResult,
        _: UnixSeconds,
    ) -> Result<Next<Stage>, WrongResult> {
        Ok(Next::Answer(Answer::Converted(result.converted()?)))
    }
}

/// Draws a time out of `range`, each millisecond as likely as any other.
fn draw(range: &RangeInclusive<Duration>, random: &mut dyn Random) -> io::Result<Duration> {
    let (min, max) = (range.start().as_millis() as u64, range.end().as_millis() as u64);
    if min >= max {
        return Ok(*range.start());
    }
    let mut bytes = [0; 8];
    random.fill(&mut bytes)?;
    // Times are hours at most: so small a range is next to nothing to 64 bits, and no time is favoured.
    Ok(Duration::from_millis(min + u64::from_le_bytes(bytes) % (max - min + 1)))
}

/// Tells the log of each delay, as long as there are few.
#[derive(Debug, Default)]
pub(in crate::app) struct DelayLog {
    second: UnixSeconds,
    told: u32,
    held_back: u64,
}

impl DelayLog {
    /// Tells of a delay of one request, or counts it for later.
    fn log(&mut self, delay: Duration, now: UnixSeconds) {
        if self.second != now {
            let held_back = std::mem::take(&mut self.held_back);
            (self.second, self.told) = (now, 0);
            if held_back > 0 {
                log::info!("Timeouts for {held_back} more that were not told one by one.");
            }
        }
        if self.told < limits::DELAYS_LOGGED_PER_SECOND_MAX {
            self.told += 1;
            log::info!("Timeout {:.1} seconds for this one.", delay.as_secs_f64());
        } else {
            self.held_back += 1;
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
    fn few_delays_are_told_each_second_and_the_rest_counted() {
        let mut log = DelayLog::default();
        for _ in 0..250 {
            log.log(Duration::from_secs(1), UnixSeconds(5));
        }
        assert_eq!((log.told, log.held_back), (100, 150));
        log.log(Duration::from_secs(1), UnixSeconds(6));
        assert_eq!((log.told, log.held_back), (1, 0));
    }
}
