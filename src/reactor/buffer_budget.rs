//! What is held for clients, over all connections: how much, who holds most, and who waits for room.
//!
//! Kept by difference: what a connection holds is counted after each piece of its work, so a turn costs as much
//! as it changes. Whoever holds little is in the sum only; most connections hold nothing and are nowhere.
//!
//! Invariants: the sum is that of all charges; those who hold more than little are listed once each, by what
//! they are charged.

use std::collections::{BTreeSet, VecDeque};

use crate::ids::ConnId;
use crate::limits;

/// What all connections hold.
pub(super) struct BufferBudget {
    bytes_max: usize,
    bytes: usize,
    /// Clients that are not known come first, and of each kind who holds least.
    holders: BTreeSet<(Charge, ConnId)>,
    /// Those that wait for room, in order; some may be gone. First those that are not known.
    waiting: [VecDeque<ConnId>; 2],
    /// Whose turn it is to go beyond the bound, and whether that was so when it was looked at last.
    overcommit: Option<(ConnId, bool)>,
    /// The most that was held since memory was given back to the system.
    bytes_peak: usize,
    /// The most that was held since it was decided to give some back.
    bytes_since: usize,
}

/// What one connection is charged, and whether its client is known: has authenticated, or is an operator.
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

    /// From now on so much may be held.
    pub(super) fn set_bytes_max(&mut self, bytes_max: usize) {
        self.bytes_max = bytes_max;
    }

    /// The connection `id` holds something else than before.
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
            // What it went beyond the bound for is done.
            self.end_overcommit(id);
        }
    }

    /// The connection waits until there is room.
    pub(super) fn wait(&mut self, id: ConnId, is_known: bool) {
        self.waiting[usize::from(is_known)].push_back(id);
    }

    /// One that may go on now, those that are known first. `promised` is what those may take that were called
    /// just before.
    pub(super) fn next_waiting(&mut self, promised: usize) -> Option<ConnId> {
        for is_known in [true, false] {
            if self.has_room(promised + limits::PAGE_BYTES_RESERVED, is_known)
                && let Some(id) = self.waiting[usize::from(is_known)].pop_front()
            {
                return Some(id);
            }
        }
        None
    }

    /// One that may go beyond the bound, where those who can't be closed hold all there is. There is one at a
    /// time: the first, or, where even that room is used up by those that had it before, the one that holds most.
    /// It needs least more until it is done; and if none went on, all would wait for each other.
    pub(super) fn next_overcommit(&mut self) -> Option<ConnId> {
        if self.overcommit.is_some() {
            return None;
        }
        let most = self.bytes_max + limits::BUFFERS_BYTES_BEYOND;
        let id = match self.bytes + limits::PAGE_BYTES_RESERVED > most {
            true => self.take_largest_waiting().or_else(|| self.waiting[1].pop_front())?,
            false => self.waiting[1].pop_front()?,
        };
        self.overcommit = Some((id, false));
        Some(id)
    }

    /// Takes the one of those that are known and wait that holds most, of the first few.
    fn take_largest_waiting(&mut self) -> Option<ConnId> {
        let known = self.holders.iter().rev().take_while(|(charge, _)| charge.is_known());
        let waiting = &self.waiting[1];
        let at = known
            .take(limits::STALLED_LOOKED_AT_MAX)
            .find_map(|(_, id)| waiting.iter().position(|waiting| waiting == id))?;
        self.waiting[1].remove(at)
    }

    /// Looks at whose turn it is to go beyond the bound: one that has had it for as long as between two looks
    /// does not get on.
    pub(super) fn expire_overcommit(&mut self) {
        self.overcommit = self.overcommit.filter(|(_, was_seen)| !was_seen).map(|(id, _)| (id, true));
    }

    /// The turn of `id` to go beyond the bound is over, if it was its turn.
    pub(super) fn end_overcommit(&mut self, id: ConnId) {
        if self.has_overcommit(id) {
            self.overcommit = None;
        }
    }

    /// Keeps the lists of those that wait no longer than twice the connections there are.
    pub(super) fn drop_closed(&mut self, connections: usize, is_there: impl Fn(ConnId) -> bool) {
        for waiting in &mut self.waiting {
            if waiting.len() > 2 * connections + 64 {
                waiting.retain(|id| is_there(*id));
            }
        }
    }

    /// Begins to watch whether what was held before is used again.
    pub(super) fn begin_trim_window(&mut self) {
        self.bytes_since = self.bytes;
    }

    /// Whether so much has not been used since [`BufferBudget::begin_trim_window`] that the system is to have it. Counts anew.
    pub(super) fn end_trim_window(&mut self) -> bool {
        let is_unused = self.bytes_peak - self.bytes_since >= limits::TRIM_BYTES_MIN;
        self.bytes_peak = self.bytes_since;
        is_unused
    }

    /// Whether much less is held than was before.
    pub(super) fn is_below_peak(&self) -> bool {
        self.bytes_peak - self.bytes >= limits::TRIM_BYTES_MIN
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    fn has_overcommit(&self, id: ConnId) -> bool {
        self.overcommit.is_some_and(|(way, _)| way == id)
    }

    /// Whether more is held than may be.
    pub(super) fn is_over(&self) -> bool {
        self.bytes > self.bytes_max
    }

    /// Whether anybody waits for room.
    pub(super) fn has_waiting(&self) -> bool {
        self.waiting.iter().any(|waiting| !waiting.is_empty())
    }

    /// Whether strangers do.
    pub(super) fn has_anonymous_waiting(&self) -> bool {
        !self.waiting[0].is_empty()
    }

    /// Whether `bytes` more may be held for an answer. Not all there is, since requests need some; and for
    /// strangers less than for others.
    pub(super) fn has_room(&self, bytes: usize, is_known: bool) -> bool {
        let most = if is_known { self.bytes_max / 4 * 3 } else { self.bytes_max / 2 };
        self.bytes + bytes <= most
    }

    /// Whether a page of an answer may be begun for `id`, who `is_called` before all others.
    pub(super) fn may_begin_page(&self, id: ConnId, is_called: bool, is_known: impl Fn() -> bool) -> bool {
        if self.has_overcommit(id) {
            return true;
        }
        let has_turn = is_called || !self.has_waiting();
        let has_room = |is_known| self.has_room(limits::PAGE_BYTES_RESERVED, is_known);
        has_turn && (has_room(false) || (is_known() && has_room(true)))
    }

    /// Whether to read what the client `id` sends that is charged so much. Strangers are refused instead, as
    /// soon as they hold too much.
    pub(super) fn may_read(&self, id: ConnId, charge: Charge) -> bool {
        if self.bytes < self.bytes_max || !charge.is_listed() || !charge.is_known() {
            return true;
        }
        // Shares get smaller with each who has one, so those who have theirs may be beyond it already.
        let share = self.bytes_max / self.holders.len().max(1);
        let is_nearly_full = self.bytes < self.bytes_max + self.bytes_max / 4;
        self.has_overcommit(id) || (is_nearly_full && charge.bytes() <= share)
    }

    /// Who is not known and holds most, and who comes next.
    pub(super) fn anonymous_holders(&self) -> impl Iterator<Item = ConnId> + '_ {
        self.holders.iter().rev().skip_while(|(charge, _)| charge.is_known()).map(|(_, id)| *id)
    }

    /// Who is not known and holds most.
    pub(super) fn largest_anonymous(&self) -> Option<ConnId> {
        let known = (Charge(KNOWN), ConnId { index: 0, generation: 0 });
        self.holders.range(..known).next_back().map(|(_, id)| *id)
    }
}

/// The bit of a charge that says that the client is known.
const KNOWN: u32 = 1 << 31;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_again_soon_is_not_given_back() {
        let mut budget = BufferBudget::new(64 << 20);
        let (none, much) = (Charge::default(), Charge::new(20 << 20, false));
        let turn = |budget: &mut BufferBudget, before, after| budget.change(id(1), before, after);
        turn(&mut budget, none, much);
        assert!(!budget.is_below_peak(), "it is in use");
        turn(&mut budget, much, none);
        assert!(budget.is_below_peak());
        budget.begin_trim_window();
        turn(&mut budget, none, much);
        turn(&mut budget, much, none);
        assert!(!budget.end_trim_window() && budget.is_below_peak(), "it was used meanwhile");
        budget.begin_trim_window();
        assert!(budget.end_trim_window() && !budget.is_below_peak());
    }

    fn id(index: u32) -> ConnId {
        ConnId { index, generation: 1 }
    }

    /// What `budget` holds after each of `charges` is added.
    fn charge(budget: &mut BufferBudget, charges: &[(u32, usize, bool)]) {
        for (at, bytes, is_known) in charges {
            budget.change(id(*at), Charge::default(), Charge::new(*bytes, *is_known));
        }
    }

    #[test]
    fn the_heaviest_is_one_that_is_not_known() {
        let mut budget = BufferBudget::new(10 << 20);
        charge(&mut budget, &[(1, 5000, false), (2, 9000, true), (3, 7000, false), (4, 100, false)]);
        assert_eq!(budget.bytes(), 21_100);
        assert_eq!(budget.largest_anonymous(), Some(id(3)));
        assert_eq!(
            budget.anonymous_holders().collect::<Vec<_>>(),
            [id(3), id(1)],
            "who holds little is not listed"
        );
        budget.change(id(3), Charge::new(7000, false), Charge::new(7000, true));
        budget.change(id(1), Charge::new(5000, false), Charge::default());
        assert_eq!((budget.largest_anonymous(), budget.bytes()), (None, 16_100));
    }

    #[test]
    fn only_those_above_an_equal_share_are_not_read() {
        let mut budget = BufferBudget::new(4 << 20);
        charge(&mut budget, &[(1, 2 << 20, true), (2, 2 << 20, true), (3, 200_000, true), (4, 10, true)]);
        let may_read = |budget: &BufferBudget, at, bytes| budget.may_read(id(at), Charge::new(bytes, true));
        assert!(!may_read(&budget, 1, 2 << 20) && may_read(&budget, 3, 200_000) && may_read(&budget, 4, 10));
        // Far beyond the bound nobody grows any more.
        charge(&mut budget, &[(5, 1 << 20, true)]);
        assert!(!may_read(&budget, 3, 200_000) && may_read(&budget, 4, 10));
    }

    #[test]
    fn those_that_wait_are_called_in_order_and_no_more_than_there_is_room_for() {
        let mut budget = BufferBudget::new(4 << 20);
        charge(&mut budget, &[(9, 3 << 20, true)]);
        [1, 2].into_iter().for_each(|at| budget.wait(id(at), false));
        [3, 4].into_iter().for_each(|at| budget.wait(id(at), true));
        assert_eq!(budget.next_waiting(0), None);
        assert_eq!(budget.next_overcommit(), Some(id(3)), "one may go beyond the bound");
        assert_eq!(budget.next_overcommit(), None);
        budget.end_overcommit(id(3));
        budget.change(id(9), Charge::new(3 << 20, true), Charge::default());
        let page = limits::PAGE_BYTES_RESERVED;
        let called: Vec<_> = (0..4).map_while(|at| budget.next_waiting(at * page)).collect();
        assert_eq!(called, [id(4), id(1)], "strangers have half of what there is");
    }

    #[test]
    fn one_goes_on_even_where_the_room_beyond_the_bound_is_used_up() {
        let mut budget = BufferBudget::new(2 << 20);
        charge(&mut budget, &[(1, 1 << 20, true), (2, 2 << 20, true), (3, 1 << 19, true)]);
        [1, 2, 3].into_iter().for_each(|at| budget.wait(id(at), true));
        assert_eq!(budget.next_overcommit(), Some(id(2)), "the one that holds most");
        assert_eq!(budget.next_overcommit(), None, "one at a time");
        budget.change(id(2), Charge::new(2 << 20, true), Charge::default());
        assert_eq!(budget.next_overcommit(), Some(id(1)), "and then the first");
        // It has gone on without this, and holds nothing.
        budget.end_overcommit(id(1));
        assert_eq!(budget.next_overcommit(), Some(id(3)));
    }
}
