//! The wall clock of a simulated world: it follows the simulated time, and is adjusted at random times.

use std::ops::RangeInclusive;

use vmherd::internals::clock::{Instant, UnixSeconds};

/// The clock, with all its adjustments.
pub(super) struct WallClock {
    start: Instant,
    /// The adjustments: since when, and the total in seconds.
    settings: Vec<(Instant, i64)>,
}

impl WallClock {
    /// A clock without adjustments.
    pub(super) fn new(start: Instant) -> WallClock {
        WallClock { start, settings: vec![(Instant::ORIGIN, 0)] }
    }

    /// Sets it forward by `seconds`, or back.
    pub(super) fn set(&mut self, now: Instant, seconds: i64) {
        let ahead = self.settings.last().map_or(0, |(_, ahead)| *ahead);
        self.settings.push((now, ahead + seconds));
    }

    /// The time that it shows.
    pub(super) fn now(&self, now: Instant) -> UnixSeconds {
        let ahead = self.settings.last().map_or(0, |(_, ahead)| *ahead);
        self.shown(now, ahead)
    }

    /// The lowest and the highest time that it has shown between two instants, both included.
    pub(super) fn range(&self, from: Instant, to: Instant) -> RangeInclusive<UnixSeconds> {
        let ends = self.settings.iter().skip(1).map(|(since, _)| *since).chain([to]);
        let spans = self.settings.iter().zip(ends).filter(|((since, _), end)| *since <= to && *end >= from);
        let shown = spans.flat_map(|((since, ahead), end)| {
            [(*since).max(from), end.min(to)].map(|at| self.shown(at, *ahead))
        });
        shown.fold(UnixSeconds(i64::MAX)..=UnixSeconds(i64::MIN), |range, at| {
            at.min(*range.start())..=at.max(*range.end())
        })
    }

    fn shown(&self, at: Instant, ahead: i64) -> UnixSeconds {
        let passed = i64::try_from((at - self.start).as_secs()).expect("a world is shorter");
        UnixSeconds(FIRST_SECOND + passed + ahead)
    }
}

/// The time when a world begins.
const FIRST_SECOND: i64 = 1_700_000_000;

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_range_covers_every_adjustment() {
        let at = |seconds| Instant::ORIGIN + Duration::from_secs(seconds);
        let mut clock = WallClock::new(at(0));
        let shown = |range: RangeInclusive<UnixSeconds>| {
            (range.start().0 - FIRST_SECOND, range.end().0 - FIRST_SECOND)
        };
        assert_eq!(shown(clock.range(at(1), at(3))), (1, 3));
        clock.set(at(5), -100);
        clock.set(at(7), 1000);
        assert_eq!(clock.now(at(8)).0 - FIRST_SECOND, 908);
        assert_eq!(shown(clock.range(at(1), at(3))), (1, 3));
        assert_eq!(shown(clock.range(at(4), at(6))), (-95, 5));
        assert_eq!(shown(clock.range(at(6), at(8))), (-94, 908));
        assert_eq!(shown(clock.range(at(0), at(8))), (-95, 908));
        assert_eq!(shown(clock.range(at(8), at(9))), (908, 909));
    }
}
