//! The memory that connections hold: the total, the largest holders, and the connections that wait for memory.
//!
//! A connection's charge is updated after each of its runs, so a tick costs as much as it changes. Small charges
//! count in the total only; most connections have none.
//!
//! Invariants: the total is the sum of all charges; each connection with more than a small charge is listed once,
//! under its charge.

use std::collections::{BTreeSet, VecDeque};

use crate::clock::Instant;
use crate::ids::ConnId;
use crate::limits;

/// The charges of all connections against one limit.
pub(super) struct BufferBudget {
    bytes_max: usize,
    bytes: usize,
    /// Anonymous clients first, then known ones; each by increasing charge.
    holders: BTreeSet<(Charge, ConnId)>,
    /// Connections that wait for memory, in order, and since when, anonymous ones first; some may be closed.
    waiting: [VecDeque<(ConnId, Instant)>; 2],
    /// The connection that may exceed the limit, and whether the last check of stalled connections found it there.
    overcommit: Option<(ConnId, bool)>,
    /// The largest total since memory was returned to the system.
    bytes_peak: usize,
    /// The largest total since the trim window began.
    bytes_since: usize,
}

/// The bytes that one connection is charged for, and whether its client is known: authenticated, or an operator.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub(super) struct Charge(u32);

impl Charge {
    pub(super) fn new(bytes: usize, is_known: bool) -> Charge {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX).min(KNOWN - 1);
        Charge(if is_known { KNOWN | bytes } else { bytes })
    }

    pub(super) fn bytes(self) -> usize {
        (self.0 & !KNOWN) as usize
    }

    fn is_known(self) -> bool {
        self.0 & KNOWN != 0
    }

    fn is_listed(self) -> bool {
        self.bytes() >= limits::HOLDING_BYTES_MIN
    }
}

impl BufferBudget {
    pub(super) fn new(bytes_max: usize) -> BufferBudget {
        BufferBudget {
            bytes_max,
            bytes: 0,
            holders: BTreeSet::new(),
            waiting: Default::default(),
            overcommit: None,
            bytes_peak: 0,
            bytes_since: 0,
        }
    }

    /// Sets the limit.
    pub(super) fn set_bytes_max(&mut self, bytes_max: usize) {
        self.bytes_max = bytes_max;
    }

    /// Replaces the charge of connection `id`.
    pub(super) fn change(&mut self, id: ConnId, before: Charge, after: Charge) {
        self.bytes = self.bytes - before.bytes() + after.bytes();
        self.bytes_peak = self.bytes_peak.max(self.bytes);
        self.bytes_since = self.bytes_since.max(self.bytes);
        if before == after {
            return;
        }
        if before.is_listed() {
            self.holders.remove(&(before, id));
        }
        if after.is_listed() {
            self.holders.insert((after, id));
        } else {
            // It has released the memory that it exceeded the limit for.
            self.end_overcommit(id);
        }
    }

    /// Adds a connection to the queue for memory.
    pub(super) fn wait(&mut self, id: ConnId, is_known: bool, now: Instant) {
        self.waiting[usize::from(is_known)].push_back((id, now));
    }

    /// Takes the next waiting connection that there is memory for, known clients first. `reserved` is the memory
    /// for connections that were resumed just before.
    pub(super) fn next_waiting(&mut self, reserved: usize) -> Option<ConnId> {
        for is_known in [true, false] {
            if self.has_room(reserved + limits::PAGE_BYTES_RESERVED, is_known)
                && let Some((id, _)) = self.waiting[usize::from(is_known)].pop_front()
            {
                return Some(id);
            }
        }
        None
    }

    /// Takes a known connection that may exceed the limit, for when connections that must not be closed hold all
    /// memory; without one, all would wait for each other. There is one at a time: the first in the queue, or, if
    /// earlier ones have used up the overcommit as well, the largest holder, which needs least to finish.
    pub(super) fn next_overcommit(&mut self) -> Option<ConnId> {
        if self.overcommit.is_some() {
            return None;
        }
        let most = self.bytes_max + limits::BUFFERS_OVERCOMMIT_BYTES;
        let largest =
            if self.bytes + limits::PAGE_BYTES_RESERVED > most { self.take_largest_waiting() } else { None };
        let (id, _) = largest.or_else(|| self.waiting[1].pop_front())?;
        self.overcommit = Some((id, false));
        Some(id)
    }

    /// Takes the largest holder among the waiting known connections. Looks at a bounded number of holders.
    fn take_largest_waiting(&mut self) -> Option<(ConnId, Instant)> {
        let known = self.holders.iter().rev().take_while(|(charge, _)| charge.is_known());
        let waiting = &self.waiting[1];
        let position = known
            .take(limits::STALL_CANDIDATES_MAX)
            .find_map(|(_, id)| waiting.iter().position(|(waiting, _)| waiting == id))?;
        self.waiting[1].remove(position)
    }

    /// Ends the overcommit of a connection that has had it since the call before: it makes no progress.
    pub(super) fn expire_overcommit(&mut self) {
        self.overcommit = self.overcommit.filter(|(_, was_seen)| !was_seen).map(|(id, _)| (id, true));
    }

    /// Ends the overcommit of `id`, if it has it.
    pub(super) fn end_overcommit(&mut self, id: ConnId) {
        if self.has_overcommit(id) {
            self.overcommit = None;
        }
    }

    /// Bounds the queues to about twice the number of connections, by dropping closed ones.
    pub(super) fn drop_closed(&mut self, connections: usize, is_there: impl Fn(ConnId) -> bool) {
        for waiting in &mut self.waiting {
            if waiting.len() > 2 * connections + 64 {
                waiting.retain(|(id, _)| is_there(*id));
            }
        }
    }

    /// Starts to watch whether the memory of the last peak is used again.
    pub(super) fn begin_trim_window(&mut self) {
        self.bytes_since = self.bytes;
    }

    /// Whether enough memory was unused since [`BufferBudget::begin_trim_window`] to return it to the system.
    /// Resets the peak.
    pub(super) fn end_trim_window(&mut self) -> bool {
        let is_unused = self.bytes_peak - self.bytes_since >= limits::TRIM_BYTES_MIN;
        self.bytes_peak = self.bytes_since;
        is_unused
    }

    /// Whether the total is far below its peak.
    pub(super) fn is_below_peak(&self) -> bool {
        self.bytes_peak - self.bytes >= limits::TRIM_BYTES_MIN
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    fn has_overcommit(&self, id: ConnId) -> bool {
        self.overcommit.is_some_and(|(holder, _)| holder == id)
    }

    /// Whether the total exceeds the limit.
    pub(super) fn is_over(&self) -> bool {
        self.bytes > self.bytes_max
    }

    /// Whether a connection waits for memory.
    pub(super) fn has_waiting(&self) -> bool {
        self.waiting.iter().any(|waiting| !waiting.is_empty())
    }

    /// Whether an anonymous connection waits for memory.
    pub(super) fn has_anonymous_waiting(&self) -> bool {
        !self.waiting[0].is_empty()
    }

    /// Drops the waiting anonymous connections that `stays` returns false for.
    pub(super) fn retain_anonymous_waiting(&mut self, mut stays: impl FnMut(ConnId, Instant) -> bool) {
        self.waiting[0].retain(|(id, since)| stays(*id, *since));
    }

    /// Whether `bytes` may be used for an answer. Answers get part of the limit, since requests need memory too, and
    /// those for anonymous clients get less.
    pub(super) fn has_room(&self, bytes: usize, is_known: bool) -> bool {
        let most = if is_known { self.bytes_max / 4 * 3 } else { self.bytes_max / 2 };
        self.bytes + bytes <= most
    }

    /// Whether a page of an answer may start for `id`; `is_resumed` means that its wait for memory has just ended.
    pub(super) fn may_begin_page(&self, id: ConnId, is_resumed: bool, is_known: impl Fn() -> bool) -> bool {
        if self.has_overcommit(id) {
            return true;
        }
        let is_next = is_resumed || !self.has_waiting();
        let has_room = |is_known| self.has_room(limits::PAGE_BYTES_RESERVED, is_known);
        is_next && (has_room(false) || (is_known() && has_room(true)))
    }

    /// Whether to read from the client `id` with this charge. Anonymous clients are read and refused once they hold
    /// too much.
    pub(super) fn may_read(&self, id: ConnId, charge: Charge) -> bool {
        if self.bytes < self.bytes_max || !charge.is_listed() || !charge.is_known() {
            return true;
        }
        // A new holder lowers the share of all, so clients within their share before may exceed it now.
        let share = self.bytes_max / self.holders.len().max(1);
        let is_nearly_full = self.bytes < self.bytes_max + self.bytes_max / 4;
        self.has_overcommit(id) || (is_nearly_full && charge.bytes() <= share)
    }

    /// The anonymous holders, largest first.
    pub(super) fn anonymous_holders(&self) -> impl Iterator<Item = ConnId> + '_ {
        self.holders.iter().rev().skip_while(|(charge, _)| charge.is_known()).map(|(_, id)| *id)
    }

    /// The largest anonymous holder.
    pub(super) fn largest_anonymous(&self) -> Option<ConnId> {
        let known = (Charge(KNOWN), ConnId { index: 0, generation: 0 });
        self.holders.range(..known).next_back().map(|(_, id)| *id)
    }
}

/// The bit of a charge that marks a known client.
const KNOWN: u32 = 1 << 31;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_is_used_again_soon_is_not_trimmed() {
        let mut budget = BufferBudget::new(64 << 20);
        let (none, much) = (Charge::default(), Charge::new(20 << 20, false));
        let update = |budget: &mut BufferBudget, before, after| budget.change(id(1), before, after);
        update(&mut budget, none, much);
        assert!(!budget.is_below_peak(), "it is in use");
        update(&mut budget, much, none);
        assert!(budget.is_below_peak());
        budget.begin_trim_window();
        update(&mut budget, none, much);
        update(&mut budget, much, none);
        assert!(!budget.end_trim_window() && budget.is_below_peak(), "it was used meanwhile");
        budget.begin_trim_window();
        assert!(budget.end_trim_window() && !budget.is_below_peak());
    }

    fn id(index: u32) -> ConnId {
        ConnId { index, generation: 1 }
    }

    /// Adds `charges` to `budget`: connection, bytes, whether its client is known.
    fn charge(budget: &mut BufferBudget, charges: &[(u32, usize, bool)]) {
        for (index, bytes, is_known) in charges {
            budget.change(id(*index), Charge::default(), Charge::new(*bytes, *is_known));
        }
    }

    #[test]
    fn only_anonymous_holders_are_listed_largest_first() {
        let mut budget = BufferBudget::new(10 << 20);
        charge(&mut budget, &[(1, 5000, false), (2, 9000, true), (3, 7000, false), (4, 100, false)]);
        assert_eq!(budget.bytes(), 21_100);
        assert_eq!(budget.largest_anonymous(), Some(id(3)));
        assert_eq!(
            budget.anonymous_holders().collect::<Vec<_>>(),
            [id(3), id(1)],
            "small charges are not listed"
        );
        budget.change(id(3), Charge::new(7000, false), Charge::new(7000, true));
        budget.change(id(1), Charge::new(5000, false), Charge::default());
        assert_eq!((budget.largest_anonymous(), budget.bytes()), (None, 16_100));
    }

    #[test]
    fn a_full_budget_stops_reading_from_clients_above_an_equal_share() {
        let mut budget = BufferBudget::new(4 << 20);
        charge(&mut budget, &[(1, 2 << 20, true), (2, 2 << 20, true), (3, 200_000, true), (4, 10, true)]);
        let may_read =
            |budget: &BufferBudget, index, bytes| budget.may_read(id(index), Charge::new(bytes, true));
        assert!(!may_read(&budget, 1, 2 << 20) && may_read(&budget, 3, 200_000) && may_read(&budget, 4, 10));
        // Far above the limit, no holder may grow.
        charge(&mut budget, &[(5, 1 << 20, true)]);
        assert!(!may_read(&budget, 3, 200_000) && may_read(&budget, 4, 10));
    }

    #[test]
    fn waiting_connections_resume_in_order_while_memory_lasts() {
        let mut budget = BufferBudget::new(4 << 20);
        charge(&mut budget, &[(9, 3 << 20, true)]);
        [1, 2].into_iter().for_each(|index| budget.wait(id(index), false, Instant::ORIGIN));
        [3, 4].into_iter().for_each(|index| budget.wait(id(index), true, Instant::ORIGIN));
        assert_eq!(budget.next_waiting(0), None);
        assert_eq!(budget.next_overcommit(), Some(id(3)), "one may exceed the limit");
        assert_eq!(budget.next_overcommit(), None);
        budget.end_overcommit(id(3));
        budget.change(id(9), Charge::new(3 << 20, true), Charge::default());
        let page = limits::PAGE_BYTES_RESERVED;
        let resumed: Vec<_> = (0..4).map_while(|index| budget.next_waiting(index * page)).collect();
        assert_eq!(resumed, [id(4), id(1)], "anonymous clients may use half of the limit");
    }

    #[test]
    fn one_connection_continues_when_the_overcommit_is_used_up() {
        let mut budget = BufferBudget::new(2 << 20);
        charge(&mut budget, &[(1, 1 << 20, true), (2, 2 << 20, true), (3, 1 << 19, true)]);
        [1, 2, 3].into_iter().for_each(|index| budget.wait(id(index), true, Instant::ORIGIN));
        assert_eq!(budget.next_overcommit(), Some(id(2)), "the largest holder");
        assert_eq!(budget.next_overcommit(), None, "one at a time");
        budget.change(id(2), Charge::new(2 << 20, true), Charge::default());
        assert_eq!(budget.next_overcommit(), Some(id(1)), "then the first in the queue");
        // It has continued without the overcommit, and holds nothing.
        budget.end_overcommit(id(1));
        assert_eq!(budget.next_overcommit(), Some(id(3)));
    }
}
