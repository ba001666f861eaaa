//! The timers of connections: at most one each, in a binary heap.
//!
//! Every idle connection has one, so it takes few bytes: 16.

use crate::clock::Instant;

/// Armed timers, by index of the connection. One is disarmed before another connection gets the index.
pub(super) struct ConnectionTimers {
    /// Indices of connections. None is due before its parent, at half its place.
    heap: Vec<u32>,
    /// By index of the connection: when its timer is due.
    due: Vec<Option<Instant>>,
    /// By index of a connection with a timer: its place in the heap.
    places: Vec<u32>,
}

impl ConnectionTimers {
    /// No timers, with room for those of `count` connections.
    pub(super) fn with_capacity(count: usize) -> ConnectionTimers {
        ConnectionTimers {
            heap: Vec::with_capacity(count),
            due: Vec::with_capacity(count),
            places: Vec::with_capacity(count),
        }
    }

    /// Arms the timer of a connection, unless it is armed for an earlier time.
    pub(super) fn arm(&mut self, index: u32, at: Instant) {
        let slot = index as usize;
        if slot >= self.due.len() {
            self.due.resize(slot + 1, None);
            self.places.resize(slot + 1, 0);
        }
        match self.due[slot] {
            Some(due) if due <= at => return,
            Some(_) => {}
            None => {
                self.places[slot] = self.heap.len() as u32;
                self.heap.push(index);
            }
        }
        self.due[slot] = Some(at);
        self.rise(self.places[slot] as usize);
    }

    /// Disarms the timer of a connection, if it is armed.
    pub(super) fn disarm(&mut self, index: u32) {
        if self.due.get_mut(index as usize).and_then(Option::take).is_none() {
            return;
        }
        let place = self.places[index as usize] as usize;
        self.heap.swap_remove(place);
        if let Some(moved) = self.heap.get(place) {
            self.places[*moved as usize] = place as u32;
            self.rise(place);
            self.sink(place);
        }
    }

    /// The instant of the earliest timer.
    pub(super) fn next(&self) -> Option<Instant> {
        self.heap.first().and_then(|index| self.due[*index as usize])
    }

    /// Disarms a timer that is due, and returns the index of its connection.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<u32> {
        self.next().filter(|due| *due <= now)?;
        let first = self.heap.first().copied();
        first.inspect(|index| self.disarm(*index))
    }

    /// The number of armed timers.
    #[cfg(feature = "internals")]
    pub(super) fn len(&self) -> usize {
        self.heap.len()
    }

    /// Moves the timer at `place` towards the first, past those that are due later.
    fn rise(&mut self, mut place: usize) {
        while place > 0 && self.due_at(place) < self.due_at((place - 1) / 2) {
            self.swap(place, (place - 1) / 2);
            place = (place - 1) / 2;
        }
    }

    /// Moves the timer at `place` away from the first, past those that are due earlier.
    fn sink(&mut self, mut place: usize) {
        while let Some(child) = [2 * place + 1, 2 * place + 2]
            .into_iter()
            .filter(|child| *child < self.heap.len())
            .min_by_key(|child| self.due_at(*child))
            .filter(|child| self.due_at(*child) < self.due_at(place))
        {
            self.swap(place, child);
            place = child;
        }
    }

    fn due_at(&self, place: usize) -> Option<Instant> {
        self.due[self.heap[place] as usize]
    }

    fn swap(&mut self, one: usize, other: usize) {
        self.heap.swap(one, other);
        self.places[self.heap[one] as usize] = one as u32;
        self.places[self.heap[other] as usize] = other as u32;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;

    fn at(seconds: u32) -> Instant {
        Instant::ORIGIN + seconds * Duration::from_secs(1)
    }

    #[test]
    fn an_earlier_time_replaces_a_later_one_only() {
        let mut timers = ConnectionTimers::with_capacity(0);
        timers.arm(3, at(5));
        timers.arm(3, at(7));
        assert_eq!(timers.next(), Some(at(5)));
        timers.arm(3, at(2));
        assert_eq!((timers.pop_due(at(1)), timers.pop_due(at(2))), (None, Some(3)));
        timers.arm(3, at(9));
        timers.disarm(3);
        timers.disarm(4);
        assert_eq!((timers.next(), timers.pop_due(at(99))), (None, None));
    }

    #[test]
    fn timers_are_due_in_order_whatever_is_disarmed() {
        let (mut timers, mut expected) = (ConnectionTimers::with_capacity(0), BTreeMap::new());
        let mut random = 1u32;
        let mut next = |below: u32| {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (random >> 8) % below
        };
        for _ in 0..20_000 {
            let (index, due) = (next(50), at(next(40)));
            match next(4) {
                0 => {
                    timers.disarm(index);
                    expected.remove(&index);
                }
                1 => {
                    let popped = timers.pop_due(due).map(|index| (index, expected.remove(&index)));
                    assert!(popped.is_none_or(|(_, armed)| armed.is_some_and(|armed| armed <= due)));
                    let is_earliest = |armed| expected.values().all(|other| armed <= *other);
                    match popped {
                        Some((_, armed)) => assert!(armed.is_some_and(is_earliest)),
                        None => assert!(expected.values().all(|other| *other > due)),
                    }
                }
                _ => {
                    timers.arm(index, due);
                    let armed = expected.entry(index).or_insert(due);
                    *armed = due.min(*armed);
                }
            }
            assert_eq!(timers.next(), expected.values().min().copied());
        }
    }
}
