//! The points of a store: reads of pages, and their positions.

use super::StoreError;
use crate::ids::SeriesId;
use crate::model::{MetricKey, PointFilter, Series};

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
    ) -> Result<PointPage, StoreError>;
}

/// The position of a point in the order of all points.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PointPosition {
    /// Its series.
    pub series: SeriesId,
    /// Its time, in seconds since 1970.
    pub timestamp: i64,
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
