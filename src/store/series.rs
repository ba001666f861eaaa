//! Code that all stores share: new series and their limit, and the pages of a scan over points.

use std::collections::HashMap;

use super::{PointPage, PointPosition, StoreError};
use crate::ids::SeriesId;
use crate::model::{MetricKey, NewPoint, Point, Series};

/// Builds a page of points.
#[derive(Debug)]
pub(super) struct PageBuilder {
    page: PointPage,
    remaining: usize,
    last: Option<PointPosition>,
}

/// Has `add` make a series for each new key of `points`, in order; `ids` has the existing series and gets the new ones.
/// At most `remaining` keys may be new. Returns the indexes of the points that exceed that, ascending. Everything is
/// checked before anything is added.
pub(super) fn add_series<Id: Copy, E: From<StoreError>>(
    points: &[NewPoint],
    ids: &mut [Option<Id>],
    remaining: u64,
    is_atomic: bool,
    mut add: impl FnMut(&MetricKey) -> Result<Id, E>,
) -> Result<Vec<usize>, E> {
    if ids.iter().all(Option::is_some) {
        return Ok(Vec::new());
    }
    let (mut added, mut refused) = (HashMap::new(), Vec::new());
    for (index, NewPoint { key, .. }) in points.iter().enumerate() {
        if ids[index].is_some() || added.contains_key(key) {
            continue;
        }
        if (added.len() as u64) < remaining {
            added.insert(key, None);
        } else if is_atomic {
            return Err(StoreError::KeyLimitReached(index).into());
        } else {
            refused.push(index);
        }
    }
    for (id, NewPoint { key, .. }) in ids.iter_mut().zip(points) {
        if id.is_none()
            && let Some(new) = added.get_mut(key)
        {
            *id = Some(match *new {
                Some(new) => new,
                None => *new.insert(add(key)?),
            });
        }
    }
    Ok(refused)
}

impl PageBuilder {
    /// An empty page for at most `count_max` points.
    pub(super) fn new(count_max: usize) -> PageBuilder {
        PageBuilder { page: PointPage::default(), remaining: count_max, last: None }
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
