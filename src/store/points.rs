//! The points of a store: reads of pages, and their positions.

use super::StoreError;
use crate::ids::SeriesId;
use crate::model::{PointFilter, Series};

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
