//! The memory of a VM, as the requests that set it leave it.

use super::response::Outcome;

/// The client of a request, and the request's place among all that it sends on its connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct SentBy {
    pub(super) client: usize,
    pub(super) place: u64,
}

/// The values of a VM's memory, in MiB. No value is used twice.
pub(super) struct RamHistory {
    first: u32,
    /// In the order in which they were sent.
    changes: Vec<Change>,
}

struct Change {
    by: SentBy,
    ram: u32,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Unsettled,
    Done,
    NotDone,
}

impl SentBy {
    /// Whether it was sent before `other` on the same connection.
    pub(super) fn is_before(self, other: SentBy) -> bool {
        self.client == other.client && self.place < other.place
    }
}

impl RamHistory {
    pub(super) fn new(first: u32) -> RamHistory {
        RamHistory { first, changes: Vec::new() }
    }

    /// A client sends a change.
    pub(super) fn begin(&mut self, by: SentBy, ram: u32) {
        self.changes.push(Change { by, ram, state: State::Unsettled });
    }

    /// The client got the outcome of its change `by`.
    pub(super) fn end(&mut self, by: SentBy, outcome: &Outcome) {
        if let Some(change) = self.changes.iter_mut().find(|change| change.by == by) {
            change.state = match outcome {
                Outcome::Success => State::Done,
                Outcome::Unknown => State::Unsettled,
                _ => State::NotDone,
            };
        }
    }

    /// Whether it may ever have been this value.
    pub(super) fn may_have_been(&self, ram: u32) -> bool {
        self.first == ram || self.changes.iter().any(|change| change.ram == ram)
    }

    /// Whether the request `by` may read this value: the last one that its own client has set before it, if no other
    /// client sets any, since a connection's writes are done in order and before its reads.
    pub(super) fn may_be(&self, ram: u32, by: SentBy) -> bool {
        let is_own = self.changes.iter().all(|change| change.by.client == by.client);
        let mut possible = vec![self.first];
        for change in &self.changes {
            if is_own && change.by.is_before(by) && change.state == State::Done {
                possible.clear();
            }
            if !is_own || change.state != State::NotDone {
                possible.push(change.ram);
            }
        }
        possible.contains(&ram)
    }
}
