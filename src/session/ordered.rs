//! The requests without an id: their order, and the replies that wait for earlier ones.
//!
//! Invariants: the first is open; several are open at a time only if all of them are writes.

use std::collections::VecDeque;

use super::request_head::RequestHead;
use crate::ids::RequestSeq;
use crate::limits;

/// The requests without an id that are open, or whose replies wait for earlier ones.
#[derive(Default)]
pub(super) struct OrderedRequests {
    /// In order.
    queue: VecDeque<Ordered>,
    /// Bytes of the replies that wait.
    waiting_bytes: usize,
}

struct Ordered {
    seq: RequestSeq,
    state: State,
}

enum State {
    Open(RequestHead),
    /// The reply, which waits for those before it.
    Answered(Box<[u8]>),
}

impl OrderedRequests {
    /// Adds an open request, which is the last one.
    pub(super) fn push(&mut self, seq: RequestSeq, open: RequestHead) {
        self.queue.push_back(Ordered { seq, state: State::Open(open) });
    }

    /// Whether one more write may be open at the same time as those that are.
    pub(super) fn may_add_write(&self) -> bool {
        let is_write = |first: &Ordered| matches!(&first.state, State::Open(open) if open.is_direct_write);
        self.queue.len() < limits::ORDERED_WRITES_MAX && self.queue.front().is_none_or(is_write)
    }

    /// The open request `seq`.
    pub(super) fn get(&self, seq: RequestSeq) -> Option<&RequestHead> {
        match &self.queue[self.place(seq)?].state {
            State::Open(open) => Some(open),
            State::Answered(_) => None,
        }
    }

    /// Closes the open request `seq`. It keeps its place if its reply has to wait: see [`OrderedRequests::waits`].
    pub(super) fn close(&mut self, seq: RequestSeq) -> Option<RequestHead> {
        let place = self.place(seq)?;
        let state = &mut self.queue[place].state;
        match std::mem::replace(state, State::Answered(Box::default())) {
            State::Open(open) => {
                if place == 0 {
                    self.queue.pop_front();
                }
                Some(open)
            }
            answered => {
                *state = answered;
                None
            }
        }
    }

    /// Whether the reply to the closed request `seq` has to wait for earlier ones.
    pub(super) fn waits(&self, seq: RequestSeq) -> bool {
        self.place(seq).is_some()
    }

    /// Keeps the reply to the closed request `seq`, which waits.
    pub(super) fn keep(&mut self, seq: RequestSeq, reply: &[u8]) {
        if let Some(place) = self.place(seq) {
            self.waiting_bytes += reply.len();
            self.queue[place].state = State::Answered(reply.into());
        }
    }

    /// Takes the next reply that no longer waits.
    pub(super) fn take_reply(&mut self) -> Option<Box<[u8]>> {
        let Some(State::Answered(reply)) = self.queue.front_mut().map(|first| &mut first.state) else {
            return None;
        };
        let reply = std::mem::take(reply);
        self.waiting_bytes -= reply.len();
        self.queue.pop_front();
        Some(reply)
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Bytes of the replies that wait.
    pub(super) fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    fn place(&self, seq: RequestSeq) -> Option<usize> {
        // Most are done in order.
        match self.queue.front() {
            Some(first) if first.seq == seq => Some(0),
            _ => self.queue.binary_search_by_key(&seq, |ordered| ordered.seq).ok(),
        }
    }

    pub(super) fn check(&self) {
        debug_assert!(self.queue.front().is_none_or(|first| matches!(first.state, State::Open(_))));
        debug_assert!(self.queue.len() <= limits::ORDERED_WRITES_MAX);
        debug_assert!(self.waiting_bytes == 0 || self.queue.len() > 1);
    }
}
