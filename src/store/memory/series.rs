//! Series and their points, in the same order as in the SQL stores.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound::{Excluded, Unbounded};

use super::super::series::{PageBuilder, add_series};
use super::super::{PointPage, PointRemoval, RemovedPoints, ScanRange, StoreError, WriteOutcome, Written};
use super::chunked_points::ChunkedPoints;
use crate::ids::SeriesId;
use crate::model::{MetricKey, NewPoint};

/// Each key has one series.
#[derive(Default)]
pub(super) struct SeriesTable {
    series: BTreeMap<SeriesId, SeriesRow>,
    keys: HashMap<MetricKey, SeriesId>,
    last_id: i64,
}

struct SeriesRow {
    key: MetricKey,
    points: ChunkedPoints,
}

impl SeriesTable {
    pub(super) fn put(&mut self, points: &[NewPoint], keys_max: u64, is_atomic: bool) -> WriteOutcome {
        let mut ids: Vec<Option<SeriesId>> =
            points.iter().map(|new| self.keys.get(&new.key).copied()).collect();
        let remaining = keys_max.saturating_sub(self.keys.len() as u64);
        let refused = add_series(points, &mut ids, remaining, is_atomic, |key| {
            self.last_id += 1;
            let id = SeriesId(self.last_id);
            self.series.insert(id, SeriesRow { key: key.clone(), points: ChunkedPoints::default() });
            self.keys.insert(key.clone(), id);
            Ok::<_, StoreError>(id)
        })?;
        for (id, NewPoint { point, .. }) in ids.into_iter().zip(points) {
            // Refused points have no id.
            if let Some(row) = id.and_then(|id| self.series.get_mut(&id)) {
                row.points.put(*point);
            }
        }
        Ok(Written::Put { refused })
    }

    pub(super) fn remove(&mut self, removal: PointRemoval) -> RemovedPoints {
        let PointRemoval { before, after, count_max } = removal;
        let count_max = count_max.max(1);
        let scanned: Vec<SeriesId> =
            self.series.range((Excluded(after), Unbounded)).take(count_max).map(|(id, _)| *id).collect();
        let (mut count, mut removed_keys) = (0, Vec::new());
        for id in &scanned {
            let Some(row) = self.series.get_mut(id) else { continue };
            count += row.points.remove_before(before, count_max - count);
            if count == count_max && !row.points.is_empty() {
                return RemovedPoints { count, next: Some(SeriesId(id.0 - 1)), removed_keys };
            }
            if row.points.is_empty()
                && let Some(row) = self.series.remove(id)
            {
                self.keys.remove(&row.key);
                removed_keys.push(row.key);
            }
        }
        let next = scanned.last().filter(|_| scanned.len() == count_max);
        RemovedPoints { count, next: next.copied(), removed_keys }
    }

    pub(super) fn scan(&self, range: &ScanRange<'_>, count_max: usize) -> PointPage {
        let mut page = PageBuilder::new(count_max);
        let ids = match range.key.map(|key| self.keys.get(key)) {
            None => range.series..=SeriesId(i64::MAX),
            Some(Some(id)) if *id >= range.series => *id..=*id,
            Some(_) => return page.finish(false),
        };
        for (id, row) in self.series.range(ids) {
            if page.is_full() {
                return page.finish(true);
            }
            if !row.key.as_str().starts_with(range.prefix) {
                continue;
            }
            let mut points = row.points.range(range.from(*id)..=range.to);
            let points = match range.is_latest {
                true => points.next_back().into_iter().collect(),
                false => points.take(page.rows_needed()).collect(),
            };
            if page.add(*id, || row.key.clone(), points) {
                return page.finish(true);
            }
        }
        page.finish(false)
    }

    /// Whether the maps agree.
    pub(super) fn is_consistent(&self) -> bool {
        self.keys.len() == self.series.len()
    }
}
