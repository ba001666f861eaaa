//! Series and their points, in the same order as in the SQL stores.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound::{Excluded, Unbounded};

use super::super::series::{PageBuilder, ScanRange, check_key_quota};
use super::super::{PointPage, PointPosition, PointRemoval, RemovedPoints, WriteOutcome, Written};
use super::chunked_points::ChunkedPoints;
use crate::ids::SeriesId;
use crate::model::{MetricKey, NewPoint, PointFilter};

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
        let mut refused = Vec::new();
        if ids.contains(&None) {
            let unknown = (0..points.len()).filter(|index| ids[*index].is_none());
            let room = keys_max.saturating_sub(self.keys.len() as u64);
            let new_keys = check_key_quota(points, unknown, room, is_atomic)?;
            for key in new_keys.keys {
                self.last_id += 1;
                let id = SeriesId(self.last_id);
                self.series.insert(id, SeriesRow { key: key.clone(), points: ChunkedPoints::default() });
                self.keys.insert(key.clone(), id);
            }
            for (id, new) in ids.iter_mut().zip(points) {
                *id = id.or_else(|| self.keys.get(&new.key).copied());
            }
            refused = new_keys.refused;
        }
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
        let (mut count, mut gone) = (0, Vec::new());
        for id in &scanned {
            let Some(row) = self.series.get_mut(id) else { continue };
            count += row.points.remove_before(before, count_max - count);
            if count == count_max && !row.points.is_empty() {
                return RemovedPoints { count, next: Some(SeriesId(id.0 - 1)), removed_keys: gone };
            }
            if row.points.is_empty()
                && let Some(row) = self.series.remove(id)
            {
                self.keys.remove(&row.key);
                gone.push(row.key);
            }
        }
        let next = scanned.last().filter(|_| scanned.len() == count_max);
        RemovedPoints { count, next: next.copied(), removed_keys: gone }
    }

    pub(super) fn points_after(
        &self,
        filter: &PointFilter,
        after: Option<PointPosition>,
        count_max: usize,
    ) -> PointPage {
        let mut page = PageBuilder::new(count_max);
        let Some(range) = ScanRange::new(filter, after) else { return page.finish(false) };
        let only = match &filter.key {
            None => None,
            Some(key) => match self.keys.get(key) {
                Some(id) if *id >= range.series => Some(*id),
                _ => return page.finish(false),
            },
        };
        let ids = only.map_or((range.series, SeriesId(i64::MAX)), |id| (id, id));
        for (id, row) in self.series.range(ids.0..=ids.1) {
            if page.is_full() {
                return page.finish(true);
            }
            let from = range.from(*id);
            let points = row.points.range(from..=range.to);
            if page.add(*id, || row.key.clone(), points.take(page.rows_needed()).collect()) {
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
