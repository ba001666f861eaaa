//! Rules that all stores share: the limit of keys, and the pages of a scan over points.

use std::collections::HashSet;

use super::{PointPage, PointPosition, StoreError};
use crate::ids::SeriesId;
use crate::model::{MetricKey, NewPoint, Point, PointFilter, Series};

/// The range that a scan covers: points from a position on, between two times.
#[derive(Clone, Copy, Debug)]
pub(super) struct ScanRange {
    /// The first series.
    pub(super) series: SeriesId,
    /// The first timestamp of the first series.
    pub(super) series_from: i64,
    /// The first timestamp of the other series.
    pub(super) from: i64,
    /// The last timestamp.
    pub(super) to: i64,
}

/// Builds a page of points.
#[derive(Debug)]
pub(super) struct PageBuilder {
    page: PointPage,
    remaining: usize,
    last: Option<PointPosition>,
}

/// The result of the key limit for keys that the store does not have yet.
#[derive(Default, Debug, PartialEq, Eq)]
pub(super) struct NewKeys<'p> {
    /// The keys that become series, in this order.
    pub(super) keys: Vec<&'p MetricKey>,
    /// Indexes of the points that exceed the limit, ascending.
    pub(super) refused: Vec<usize>,
}

/// Checks the points at the indexes `unknown` (ascending), whose keys are new, against the `remaining` number
/// of keys.
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
    /// The range that matches `filter` after the position `after`; `None` if it is empty.
    pub(super) fn new(filter: &PointFilter, after: Option<PointPosition>) -> Option<ScanRange> {
        let (from, to) = filter.time_range();
        let (series, series_from) = match after {
            None => (SeriesId(i64::MIN), from),
            Some(PointPosition { series, timestamp: i64::MAX }) => (SeriesId(series.0.checked_add(1)?), from),
            Some(PointPosition { series, timestamp: second }) => (series, from.max(second + 1)),
        };
        Some(ScanRange { series, series_from, from, to })
    }

    /// The first timestamp to read of the series `id`.
    pub(super) fn from(&self, id: SeriesId) -> i64 {
        if id == self.series { self.series_from } else { self.from }
    }
}

impl PageBuilder {
    /// An empty page for at most `count_max` points, and at least one.
    pub(super) fn new(count_max: usize) -> PageBuilder {
        PageBuilder { page: PointPage::default(), remaining: count_max.max(1), last: None }
    }

    pub(super) fn is_full(&self) -> bool {
        self.remaining == 0
    }

    /// The number of points to read of the next series: one more than fits shows that more follow.
    pub(super) fn rows_needed(&self) -> usize {
        self.remaining.saturating_add(1)
    }

    /// Adds points of the next series. Returns whether there were more than fit. A series without points
    /// counts as one, which bounds the number of series scanned.
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

    /// Finishes the page; `has_more` says whether more points or series follow.
    pub(super) fn finish(mut self, has_more: bool) -> PointPage {
        self.page.next = self.last.filter(|_| has_more);
        self.page
    }
}
