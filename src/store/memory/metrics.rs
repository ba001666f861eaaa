//! Series and their points, in the order in which stores with tables have them.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound::{Excluded, Unbounded};

use super::super::metrics::{Filling, Walk, admit};
use super::super::{PointAt, PointPage, StoreError, Written};
use super::points::Points;
use crate::ids::SeriesId;
use crate::model::{MetricKey, NewPoint, PointFilter};

/// Each key that is known has one series.
#[derive(Default)]
pub(super) struct Metrics {
    series: BTreeMap<SeriesId, Row>,
    keys: HashMap<MetricKey, SeriesId>,
    last_id: i64,
}

struct Row {
    key: MetricKey,
    points: Points,
}

impl Metrics {
    pub(super) fn put(
        &mut self,
        points: &[NewPoint],
        keys_max: u64,
        is_atomic: bool,
    ) -> Result<Written, StoreError> {
        let mut ids: Vec<Option<SeriesId>> =
            points.iter().map(|new| self.keys.get(&new.key).copied()).collect();
        let mut refused = Vec::new();
        if ids.contains(&None) {
            let unknown = (0..points.len()).filter(|place| ids[*place].is_none());
            let room = keys_max.saturating_sub(self.keys.len() as u64);
            let admitted = admit(points, unknown, room, is_atomic)?;
            for key in admitted.keys {
                self.last_id += 1;
                let id = SeriesId(self.last_id);
                self.series.insert(id, Row { key: key.clone(), points: Points::default() });
                self.keys.insert(key.clone(), id);
            }
            for (id, new) in ids.iter_mut().zip(points) {
                *id = id.or_else(|| self.keys.get(&new.key).copied());
            }
            refused = admitted.refused;
        }
        for (id, NewPoint { point, .. }) in ids.into_iter().zip(points) {
            // Those that are refused have none.
            if let Some(row) = id.and_then(|id| self.series.get_mut(&id)) {
                row.points.put(*point);
            }
        }
        Ok(Written::Put { refused })
    }

    pub(super) fn remove(&mut self, before: i64, after: SeriesId, count_max: usize) -> Written {
        let count_max = count_max.max(1);
        let walked: Vec<SeriesId> =
            self.series.range((Excluded(after), Unbounded)).take(count_max).map(|(id, _)| *id).collect();
        let (mut count, mut gone) = (0, Vec::new());
        for id in &walked {
            let Some(row) = self.series.get_mut(id) else { continue };
            count += row.points.remove_before(before, count_max - count);
            if count == count_max && !row.points.is_empty() {
                return Written::PointsRemoved { count, next: Some(SeriesId(id.0 - 1)), gone };
            }
            if row.points.is_empty()
                && let Some(row) = self.series.remove(id)
            {
                self.keys.remove(&row.key);
                gone.push(row.key);
            }
        }
        let next = walked.last().filter(|_| walked.len() == count_max);
        Written::PointsRemoved { count, next: next.copied(), gone }
    }

    pub(super) fn points_after(
        &self,
        filter: &PointFilter,
        after: Option<PointAt>,
        count_max: usize,
    ) -> PointPage {
        let mut page = Filling::new(count_max);
        let Some(walk) = Walk::new(filter, after) else { return page.end(false) };
        let only = match &filter.key {
            None => None,
            Some(key) => match self.keys.get(key) {
                Some(id) if *id >= walk.series => Some(*id),
                _ => return page.end(false),
            },
        };
        let ids = only.map_or((walk.series, SeriesId(i64::MAX)), |id| (id, id));
        for (id, row) in self.series.range(ids.0..=ids.1) {
            if page.is_full() {
                return page.end(true);
            }
            let from = walk.from(*id);
            let points = row.points.range(from..=walk.to);
            if page.add(*id, || row.key.clone(), points.take(page.rows_wanted()).collect()) {
                return page.end(true);
            }
        }
        page.end(false)
    }

    /// Whether every key has its series.
    pub(super) fn is_sound(&self) -> bool {
        self.keys.len() == self.series.len()
    }
}
