//! Series and their points, in the same order as in the SQL stores.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound::{Excluded, Unbounded};

use super::super::series::{PageBuilder, add_series};
use super::super::{PointPage, PointRemoval, RemovedPoints, ScanRange, StoreError, WriteOutcome, Written};
use super::chunked_points::ChunkedPoints;
use crate::ids::SeriesId;
use crate::model::{MetricKey, NewPoint, Point};

/// Each key has one series.
#[derive(Default)]
pub(super) struct SeriesTable {
    /// The rows, in no order; those that are not in use are empty.
    rows: Vec<SeriesRow>,
    /// The indexes of rows.
    series: BTreeMap<SeriesId, usize>,
    keys: HashMap<MetricKey, usize>,
    unused: Vec<usize>,
    last_id: i64,
}

struct SeriesRow {
    id: SeriesId,
    key: MetricKey,
    points: ChunkedPoints,
}

impl SeriesTable {
    pub(super) fn put(&mut self, points: &[NewPoint], keys_max: u64, is_atomic: bool) -> WriteOutcome {
        let mut rows: Vec<Option<usize>> =
            points.iter().map(|new| self.keys.get(&new.key).copied()).collect();
        let remaining = keys_max.saturating_sub(self.keys.len() as u64);
        let refused = add_series(points, &mut rows, remaining, is_atomic, |key| {
            self.last_id += 1;
            let id = SeriesId(self.last_id);
            let row = SeriesRow { id, key: key.clone(), points: ChunkedPoints::default() };
            let index = match self.unused.pop() {
                Some(index) => {
                    self.rows[index] = row;
                    index
                }
                None => {
                    self.rows.push(row);
                    self.rows.len() - 1
                }
            };
            self.series.insert(id, index);
            self.keys.insert(key.clone(), index);
            Ok::<_, StoreError>(index)
        })?;
        for (row, NewPoint { point, .. }) in rows.into_iter().zip(points) {
            // Refused points have no row.
            if let Some(row) = row {
                self.rows[row].points.put(*point);
            }
        }
        Ok(Written::Put { refused })
    }

    pub(super) fn remove(&mut self, removal: PointRemoval) -> RemovedPoints {
        let PointRemoval { before, after, count_max } = removal;
        let count_max = count_max.max(1);
        let after = self.series.range((Excluded(after), Unbounded)).take(count_max);
        let scanned: Vec<(SeriesId, usize)> = after.map(|(id, index)| (*id, *index)).collect();
        let (mut count, mut removed_keys) = (0, Vec::new());
        for (id, index) in &scanned {
            let row = &mut self.rows[*index];
            count += row.points.remove_before(before, count_max - count);
            if count == count_max && !row.points.is_empty() {
                return RemovedPoints { count, next: Some(SeriesId(id.0 - 1)), removed_keys };
            }
            if row.points.is_empty() {
                self.series.remove(id);
                self.keys.remove(&row.key);
                removed_keys.push(row.key.clone());
                self.unused.push(*index);
            }
        }
        let next = scanned.last().filter(|_| scanned.len() == count_max);
        RemovedPoints { count, next: next.map(|(id, _)| *id), removed_keys }
    }

    pub(super) fn scan(&self, range: &ScanRange<'_>, count_max: usize) -> PointPage {
        let mut page = PageBuilder::new(count_max);
        let ids = match range.key.map(|key| self.keys.get(key).map(|index| self.rows[*index].id)) {
            None => range.series..=SeriesId(i64::MAX),
            Some(Some(id)) if id >= range.series => id..=id,
            Some(_) => return page.finish(false),
        };
        for (id, index) in self.series.range(ids) {
            let row = &self.rows[*index];
            if page.is_full() {
                return page.finish(true);
            }
            if !row.key.as_str().starts_with(range.prefix) {
                continue;
            }
            let mut found = row.points.range(range.from(*id)..=range.to);
            let mut points = Vec::new();
            match range.is_latest {
                true => points.extend(found.filter_map(<[Point]>::last).next_back()),
                false => {
                    let mut needed = page.rows_needed();
                    while needed > 0
                        && let Some(slice) = found.next()
                    {
                        points.extend_from_slice(&slice[..slice.len().min(needed)]);
                        needed -= slice.len().min(needed);
                    }
                }
            }
            if page.add(*id, || row.key.clone(), points) {
                return page.finish(true);
            }
        }
        page.finish(false)
    }

    /// Whether the maps agree.
    pub(super) fn is_consistent(&self) -> bool {
        self.keys.len() == self.series.len() && self.rows.len() == self.series.len() + self.unused.len()
    }
}
