//! The points of one series, in chunks. Most points arrive in order of time and extend the last chunk.

use std::collections::VecDeque;
use std::ops::RangeInclusive;

use crate::model::Point;

/// Points by timestamp, at most one each.
#[derive(Default)]
pub(super) struct ChunkedPoints {
    /// Each is non-empty and sorted, and precedes the next.
    chunks: VecDeque<Vec<Point>>,
}

impl ChunkedPoints {
    /// Adds `point`, or replaces the one with the same timestamp.
    pub(super) fn put(&mut self, point: Point) {
        let at = match self.chunks.back() {
            None => return self.chunks.push_back(vec![point]),
            Some(last) if last[0].timestamp <= point.timestamp => self.chunks.len() - 1,
            Some(_) => self.chunk_of(point.timestamp),
        };
        let chunk = &mut self.chunks[at];
        // Most points are later than all others of their series; a search would fetch more of the chunk into the cache.
        let index = match chunk.last() {
            Some(last) if last.timestamp < point.timestamp => Err(chunk.len()),
            _ => chunk.binary_search_by_key(&point.timestamp, |other| other.timestamp),
        };
        match index {
            Ok(index) => chunk[index] = point,
            // After all of a full chunk.
            Err(CHUNK_POINTS_MAX) => self.chunks.insert(at + 1, vec![point]),
            Err(index) => {
                chunk.insert(index, point);
                if chunk.len() > CHUNK_POINTS_MAX {
                    let upper = chunk.split_off(CHUNK_POINTS_MAX / 2);
                    self.chunks.insert(at + 1, upper);
                }
            }
        }
    }

    /// The points within `timestamps`, ascending, in slices.
    pub(super) fn range(&self, timestamps: RangeInclusive<i64>) -> impl DoubleEndedIterator<Item = &[Point]> {
        let (from, to) = timestamps.into_inner();
        let end = self.chunks.partition_point(|chunk| chunk[0].timestamp <= to);
        self.chunks.range(self.chunk_of(from).min(end)..end).map(move |chunk| {
            let begin = chunk.partition_point(|point| point.timestamp < from);
            let end = chunk.partition_point(|point| point.timestamp <= to);
            &chunk[begin.min(end)..end]
        })
    }

    /// The chunk that has this timestamp, or to which it would be added.
    fn chunk_of(&self, timestamp: i64) -> usize {
        self.chunks.partition_point(|chunk| chunk[0].timestamp <= timestamp).saturating_sub(1)
    }

    /// Removes the earliest points before `before`, at most `count_max`; returns how many.
    pub(super) fn remove_before(&mut self, before: i64, count_max: usize) -> usize {
        let mut removed = 0;
        while removed < count_max
            && let Some(chunk) = self.chunks.front_mut()
        {
            let old = chunk.partition_point(|point| point.timestamp < before);
            let count = old.min(count_max - removed);
            if count == 0 {
                break;
            }
            removed += count;
            if count < chunk.len() {
                chunk.drain(..count);
                break;
            }
            self.chunks.pop_front();
        }
        removed
    }

    pub(super) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }
}

/// The maximum length of a chunk, and so the number of points moved for one that arrives out of order.
const CHUNK_POINTS_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::model::MetricValue;

    fn point(second: i64, value: f64) -> Point {
        Point { timestamp: second, value: MetricValue::new(value).expect("finite") }
    }

    /// In any order of arrival they behave like a map.
    #[test]
    fn chunked_points_behave_like_a_map_by_timestamp() {
        let mut random: u64 = 7;
        let mut next = |below: i64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) as i64 % below
        };
        for world in 0..60 {
            let (mut points, mut map) = (ChunkedPoints::default(), BTreeMap::new());
            let span = [10, 300, 2000, 100_000][world % 4];
            let mut clock = 0;
            for step in 0..3000 {
                clock += 1;
                let second = match world % 3 {
                    0 => clock,
                    1 => span - clock,
                    _ => next(span),
                };
                points.put(point(second, step as f64));
                map.insert(second, step as f64);
                if step % 500 == 250 {
                    let (before, count_max) = (next(span), next(700) as usize);
                    let old: Vec<i64> =
                        map.range(..before).map(|(second, _)| *second).take(count_max).collect();
                    map.retain(|second, _| !old.contains(second));
                    assert_eq!(points.remove_before(before, count_max), old.len());
                    assert_eq!(points.is_empty(), map.is_empty());
                }
                if step % 100 == 0 {
                    let (from, to) = (next(span), next(span));
                    for (from, to) in [(from, to), (i64::MIN, i64::MAX), (from, from), (to, i64::MAX)] {
                        let found: Vec<Point> = points.range(from..=to).flatten().copied().collect();
                        let wanted: Vec<Point> = match from <= to {
                            true => {
                                map.range(from..=to).map(|(second, value)| point(*second, *value)).collect()
                            }
                            false => Vec::new(),
                        };
                        assert_eq!(found, wanted, "{world} {step} {from} {to}");
                    }
                }
            }
            assert!(points.chunks.iter().all(|chunk| (1..=CHUNK_POINTS_MAX).contains(&chunk.len())));
        }
    }

    #[test]
    fn extreme_timestamps_are_valid() {
        let mut points = ChunkedPoints::default();
        for second in [i64::MAX, i64::MIN, 0] {
            points.put(point(second, 1.0));
        }
        let seconds: Vec<i64> =
            points.range(i64::MIN..=i64::MAX).flatten().map(|point| point.timestamp).collect();
        assert_eq!(seconds, [i64::MIN, 0, i64::MAX]);
    }
}
