//! The points of a store: reads of pages, and their positions.

use super::StoreError;
use crate::ids::SeriesId;
pub use crate::model::PointPosition;
use crate::model::{MetricKey, PointFilter, Series};

/// The range that a scan covers: points of one key or of all, from a position on, between two times.
#[derive(Clone, Copy, Debug)]
pub struct ScanRange<'f> {
    /// The only key; `None`: all.
    pub key: Option<&'f MetricKey>,
    /// The text that the keys begin with.
    pub prefix: &'f str,
    /// The first series.
    pub series: SeriesId,
    /// The first timestamp of the first series.
    pub series_from: i64,
    /// The first timestamp of the other series.
    pub from: i64,
    /// The last timestamp.
    pub to: i64,
    /// Only the latest point of each series, in this range.
    pub is_latest: bool,
}

/// The reads of points, on one connection.
pub trait PointStore {
    /// Writes everything that [`super::Store::write`] has acknowledged but not yet stored.
    fn flush(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Points that match `filter`, after the position `after`, at most `count_max`: series in the order of
    /// their creation, the points of each in ascending order of time. A series without matching points
    /// counts as one point; so a page may be short or empty although more points follow.
    fn points_after(
        &mut self,
        filter: &PointFilter,
        after: Option<PointPosition>,
        count_max: usize,
    ) -> Result<PointPage, StoreError> {
        let Some(range) = ScanRange::new(filter, after) else { return Ok(PointPage::default()) };
        let mut page = self.scan(&range, count_max.max(1))?;
        if let Some(next) = page.next.as_mut().filter(|_| filter.is_latest) {
            // A later point of the same series would be another latest one.
            next.timestamp = i64::MAX;
        }
        Ok(page)
    }

    /// As [`PointStore::points_after`]; `count_max` is at least one.
    fn scan(&mut self, range: &ScanRange<'_>, count_max: usize) -> Result<PointPage, StoreError>;
}

/// A page of points.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PointPage {
    /// The points, grouped by series; no group is empty.
    pub series: Vec<Series>,
    /// Where the next page starts; `None` on the last page. The next page may be empty.
    pub next: Option<PointPosition>,
}

/// One step of a removal of old points, and of series that become empty.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PointRemoval {
    /// In seconds since 1970; points of this second stay.
    pub before: i64,
    /// Scan series with an id above this one.
    pub after: SeriesId,
    /// The maximum number of points to remove, approximately, and of series to scan.
    pub count_max: usize,
}

/// The result of a [`PointRemoval`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RemovedPoints {
    /// The number of points that were removed.
    pub count: usize,
    /// Where to continue; `None` at the end.
    pub next: Option<SeriesId>,
    /// The keys of the series that became empty and were removed.
    pub removed_keys: Vec<MetricKey>,
}

impl ScanRange<'_> {
    /// The range that matches `filter` after the position `after`; `None` if it is empty.
    fn new(filter: &PointFilter, after: Option<PointPosition>) -> Option<ScanRange<'_>> {
        let (from, to) = filter.time_range();
        let (series, series_from) = match after {
            None => (SeriesId(i64::MIN), from),
            Some(PointPosition { series, timestamp: i64::MAX }) => (SeriesId(series.0.checked_add(1)?), from),
            Some(PointPosition { series, timestamp }) => (series, from.max(timestamp + 1)),
        };
        let (key, prefix, is_latest) = (filter.key.as_ref(), filter.prefix(), filter.is_latest);
        Some(ScanRange { key, prefix, series, series_from, from, to, is_latest })
    }

    /// Whether it begins at the first series.
    pub(super) fn is_from_start(&self) -> bool {
        self.series == SeriesId(i64::MIN)
    }

    /// The first timestamp to read of the series `id`.
    pub(super) fn from(&self, id: SeriesId) -> i64 {
        if id == self.series { self.series_from } else { self.from }
    }
}
