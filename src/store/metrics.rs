//! What all stores decide alike about metrics: which keys become series, and how points are walked along.

use std::collections::HashSet;

use super::{PointAt, PointPage, StoreError};
use crate::ids::SeriesId;
use crate::model::{MetricKey, NewPoint, Point, PointFilter, Series};

/// Which points a page may hold: those from a place on that lie between two times.
#[derive(Clone, Copy, Debug)]
pub(super) struct Walk {
    /// The first series.
    pub(super) series: SeriesId,
    /// The first second of the first series.
    pub(super) series_from: i64,
    /// The first second of the others.
    pub(super) from: i64,
    /// The last second of all.
    pub(super) to: i64,
}

/// A page while it is filled.
#[derive(Debug)]
pub(super) struct Filling {
    page: PointPage,
    room: usize,
    last: Option<PointAt>,
}

/// What comes of the keys of a request that the store does not have yet.
#[derive(Default, Debug, PartialEq, Eq)]
pub(super) struct Admitted<'p> {
    /// Become series, in this order.
    pub(super) keys: Vec<&'p MetricKey>,
    /// Places of the points whose key would be one too many, ascending.
    pub(super) refused: Vec<usize>,
}

/// Decides about the points at the places `unknown` (ascending), whose keys the store does not have while it has
/// room for `room` more.
pub(super) fn admit(
    points: &[NewPoint],
    unknown: impl IntoIterator<Item = usize>,
    room: u64,
    is_atomic: bool,
) -> Result<Admitted<'_>, StoreError> {
    let mut admitted = Admitted::default();
    let mut known = HashSet::new();
    for place in unknown {
        let Some(NewPoint { key, .. }) = points.get(place) else { continue };
        if known.contains(key) {
            continue;
        }
        if (admitted.keys.len() as u64) < room {
            known.insert(key);
            admitted.keys.push(key);
        } else if is_atomic {
            return Err(StoreError::KeyLimitReached(place));
        } else {
            admitted.refused.push(place);
        }
    }
    Ok(admitted)
}

impl Walk {
    /// What `filter` means behind `after`; `None`: nothing.
    pub(super) fn new(filter: &PointFilter, after: Option<PointAt>) -> Option<Walk> {
        let (from, to) = filter.time_range();
        let (series, series_from) = match after {
            None => (SeriesId(i64::MIN), from),
            Some(PointAt { series, second: i64::MAX }) => (SeriesId(series.0.checked_add(1)?), from),
            Some(PointAt { series, second }) => (series, from.max(second + 1)),
        };
        Some(Walk { series, series_from, from, to })
    }

    /// The first second that is meant of the series `id`.
    pub(super) fn from(&self, id: SeriesId) -> i64 {
        if id == self.series { self.series_from } else { self.from }
    }
}

impl Filling {
    /// An empty page with room for `count_max`, at least one.
    pub(super) fn new(count_max: usize) -> Filling {
        Filling { page: PointPage::default(), room: count_max.max(1), last: None }
    }

    pub(super) fn is_full(&self) -> bool {
        self.room == 0
    }

    /// How many points of the next series to ask for: one more than there is room for shows that there are more.
    pub(super) fn rows_wanted(&self) -> usize {
        self.room.saturating_add(1)
    }

    /// Adds points of the next series; whether there were more than there is room for. A series takes room for one also if it has none: that bounds how many are looked at.
    pub(super) fn add(
        &mut self,
        id: SeriesId,
        key: impl FnOnce() -> MetricKey,
        mut points: Vec<Point>,
    ) -> bool {
        let has_more = points.len() > self.room;
        points.truncate(self.room);
        self.room = self.room.saturating_sub(points.len().max(1));
        self.last =
            Some(PointAt { series: id, second: points.last().map_or(i64::MAX, |last| last.timestamp) });
        if !points.is_empty() {
            self.page.series.push(Series { id, key: key(), points });
        }
        has_more
    }

    /// The page; there are more points, or at least series to look at, behind it if it `has_more`.
    pub(super) fn end(mut self, has_more: bool) -> PointPage {
        self.page.next = self.last.filter(|_| has_more);
        self.page
    }
}
