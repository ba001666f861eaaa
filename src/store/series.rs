//! What all stores decide alike about metrics: which keys become series, and how points are walked along.

use std::collections::HashSet;

use super::{PointPage, PointPosition, StoreError};
use crate::ids::SeriesId;
use crate::model::{MetricKey, NewPoint, Point, PointFilter, Series};

/// Which points a page may hold: those from a place on that lie between two times.
#[derive(Clone, Copy, Debug)]
pub(super) struct ScanRange {
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
pub(super) struct PageBuilder {
    page: PointPage,
    remaining: usize,
    last: Option<PointPosition>,
}

/// What comes of the keys of a request that the store does not have yet.
#[derive(Default, Debug, PartialEq, Eq)]
pub(super) struct NewKeys<'p> {
    /// Become series, in this order.
    pub(super) keys: Vec<&'p MetricKey>,
    /// Places of the points whose key would be one too many, ascending.
    pub(super) refused: Vec<usize>,
}

/// Decides about the points at the places `unknown` (ascending), whose keys the store does not have while it has
/// room for `room` more.
pub(super) fn check_key_quota(
    points: &[NewPoint],
    unknown: impl IntoIterator<Item = usize>,
    remaining: u64,
    is_atomic: bool,
) -> Result<NewKeys<'_>, StoreError> {
    let mut new_keys = NewKeys::default();
    let mut seen = HashSet::new();
    for index in unknown {
        let Some(NewPoint { key, .. }) = points.get(index) else { continue };
        if seen.contains(key) {
            continue;
        }
        if (new_keys.keys.len() as u64) < remaining {
            seen.insert(key);
            new_keys.keys.push(key);
        } else if is_atomic {
            return Err(StoreError::KeyLimitReached(index));
        } else {
            new_keys.refused.push(index);
        }
    }
    Ok(new_keys)
}

impl ScanRange {
    /// What `filter` means behind `after`; `None`: nothing.
    pub(super) fn new(filter: &PointFilter, after: Option<PointPosition>) -> Option<ScanRange> {
        let (from, to) = filter.time_range();
        let (series, series_from) = match after {
            None => (SeriesId(i64::MIN), from),
            Some(PointPosition { series, timestamp: i64::MAX }) => (SeriesId(series.0.checked_add(1)?), from),
            Some(PointPosition { series, timestamp: second }) => (series, from.max(second + 1)),
        };
        Some(ScanRange { series, series_from, from, to })
    }

    /// The first second that is meant of the series `id`.
    pub(super) fn from(&self, id: SeriesId) -> i64 {
        if id == self.series { self.series_from } else { self.from }
    }
}

impl PageBuilder {
    /// An empty page with room for `count_max`, at least one.
    pub(super) fn new(count_max: usize) -> PageBuilder {
        PageBuilder { page: PointPage::default(), remaining: count_max.max(1), last: None }
    }

    pub(super) fn is_full(&self) -> bool {
        self.remaining == 0
    }

    /// How many points of the next series to ask for: one more than there is room for shows that there are more.
    pub(super) fn rows_needed(&self) -> usize {
        self.remaining.saturating_add(1)
    }

    /// Adds points of the next series; whether there were more than there is room for. A series takes room for one also if it has none: that bounds how many are looked at.
    pub(super) fn add(
        &mut self,
        id: SeriesId,
        key: impl FnOnce() -> MetricKey,
        mut points: Vec<Point>,
    ) -> bool {
        let has_more = points.len() > self.remaining;
        points.truncate(self.remaining);
        self.remaining = self.remaining.saturating_sub(points.len().max(1));
        self.last = Some(PointPosition {
            series: id,
            timestamp: points.last().map_or(i64::MAX, |last| last.timestamp),
        });
        if !points.is_empty() {
            self.page.series.push(Series { id, key: key(), points });
        }
        has_more
    }

    /// The page; there are more points, or at least series to look at, behind it if it `has_more`.
    pub(super) fn finish(mut self, has_more: bool) -> PointPage {
        self.page.next = self.last.filter(|_| has_more);
        self.page
    }
}
