//! The delivery of new containers: whether their clients' systems have received the answers.
//!
//! A client that has closed looks like one that has ended its output only: what is sent to it counts as sent. Its system
//! answers with a reset, though, and acknowledges nothing. So a container whose answer is sent is kept in mind until the
//! answer is acknowledged, or can't be any more; then the container is destroyed. A connection that ends before leaves its
//! socket here.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::time::Duration;

use super::Reactor;
use super::net::{Net, Receipt};
use crate::clock::{Clock, Instant};
use crate::dispatch::timers::Timer;
use crate::ids::{ConnId, ContainerId};
use crate::limits;
use crate::worker::Jobs;

/// The answers that are sent and not acknowledged, as far as they are about containers.
pub(super) struct Deliveries<S> {
    by_connection: BTreeMap<ConnId, Delivery>,
    /// The sockets of closed connections among them, the one that was closed first at the front, and how much was sent.
    closed: VecDeque<(ConnId, S, u32)>,
    /// The connection that was looked at last.
    last: Option<ConnId>,
    timer_is_armed: bool,
}

/// The answers on one connection.
struct Delivery {
    /// The containers, and how much of the connection's output is to be acknowledged for each, in ascending order.
    containers: VecDeque<(u64, ContainerId)>,
    listener: u8,
    /// How much output was sent, as far as is noted here.
    sent: u64,
    /// How much was acknowledged when some was for the last time.
    acknowledged: u64,
    /// When that was seen.
    since: Instant,
}

/// What is known of the answers on a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Status {
    /// None is missing.
    Delivered,
    /// Some may still be acknowledged.
    Open,
    /// Those that are missing never will be.
    Lost,
    /// The client's system has acknowledged nothing for too long.
    Stalled,
}

impl<S> Deliveries<S> {
    pub(super) fn new() -> Deliveries<S> {
        Deliveries {
            by_connection: BTreeMap::new(),
            closed: VecDeque::new(),
            last: None,
            timer_is_armed: false,
        }
    }

    /// How many connections have such answers.
    #[cfg(feature = "internals")]
    pub(super) fn len(&self) -> usize {
        self.by_connection.len()
    }

    /// The next connection in a round over all of them.
    fn next(&mut self) -> Option<ConnId> {
        let after = self.last.map_or(Bound::Unbounded, Bound::Excluded);
        let mut later = self.by_connection.range((after, Bound::Unbounded));
        let next = later.next().or_else(|| self.by_connection.first_key_value()).map(|(id, _)| *id);
        self.last = next;
        next
    }

    /// Forgets a connection; returns the containers whose answers were not acknowledged.
    fn forget(&mut self, id: ConnId) -> impl Iterator<Item = ContainerId> + use<S> {
        self.closed.retain(|(of, ..)| *of != id);
        let delivery = self.by_connection.remove(&id);
        delivery.into_iter().flat_map(|delivery| delivery.containers).map(|(_, container)| container)
    }
}

impl Delivery {
    /// Notes how much output was sent, a count that wraps around: much less than that is sent between two calls.
    fn note_sent(&mut self, sent: u32) {
        self.sent += u64::from(sent.wrapping_sub(self.sent as u32));
    }

    /// Takes what the receipt says of `sent`.
    fn update(&mut self, sent: u32, receipt: Receipt, now: Instant, timeout: Duration) -> Status {
        self.note_sent(sent);
        let acknowledged = self.sent.saturating_sub(receipt.missing);
        if acknowledged > self.acknowledged {
            (self.acknowledged, self.since) = (acknowledged, now);
        }
        while self.containers.front().is_some_and(|(end, _)| *end <= acknowledged) {
            self.containers.pop_front();
        }
        if self.containers.is_empty() {
            Status::Delivered
        } else if receipt.is_last {
            Status::Lost
        } else if self.since + timeout <= now {
            Status::Stalled
        } else {
            Status::Open
        }
    }
}

impl<N: Net, J: Jobs, C: Clock> Reactor<N, J, C> {
    /// Notes the containers in the output of a connection, if all of it is sent.
    pub(super) fn note_sent(&mut self, id: ConnId) {
        if !self.dispatcher.has_unsent() {
            return;
        }
        let Some(connection) = self.connections.get(id).filter(|open| open.has_sent_all()) else { return };
        let (sent, listener) = (connection.sent, connection.listener);
        let Some(first) = self.dispatcher.pop_unsent(id) else { return };
        let since = self.clock.now();
        let new = || Delivery {
            containers: VecDeque::new(),
            listener,
            sent: u64::from(sent),
            acknowledged: 0,
            since,
        };
        let delivery = self.deliveries.by_connection.entry(id).or_insert_with(new);
        delivery.note_sent(sent);
        delivery.containers.push_back((delivery.sent, first));
        while let Some(other) = self.dispatcher.pop_unsent(id) {
            delivery.containers.push_back((delivery.sent, other));
        }
        self.check_delivery(id);
        self.watch_deliveries();
    }

    /// Keeps the socket of a closed connection while answers on it may still be acknowledged. Its output has ended if it
    /// `is_shut_down`.
    pub(super) fn keep_undelivered(
        &mut self,
        id: ConnId,
        mut socket: N::Socket,
        mut sent: u32,
        is_shut_down: bool,
    ) {
        if !self.deliveries.by_connection.contains_key(&id) {
            return;
        }
        // The client sees the end now. It does not if it has gone, which the check finds.
        if !is_shut_down && self.net.shutdown_write(&mut socket).is_ok() {
            sent = sent.wrapping_add(END_OF_OUTPUT);
        }
        self.deliveries.closed.push_back((id, socket, sent));
        self.check_delivery(id);
        if self.deliveries.closed.len() > limits::UNDELIVERED_SOCKETS_MAX
            && let Some((first, ..)) = self.deliveries.closed.front()
        {
            self.undo_undelivered(*first);
        }
        self.watch_deliveries();
    }

    /// Looks after a bounded number of connections, in turn.
    pub(super) fn check_deliveries(&mut self) {
        self.deliveries.timer_is_armed = false;
        for _ in 0..self.deliveries.by_connection.len().min(limits::DELIVERIES_PER_CHECK_MAX) {
            let Some(id) = self.deliveries.next() else { return };
            self.check_delivery(id);
        }
        self.watch_deliveries();
    }

    /// Arms the timer for the next look, if there is anything to look after.
    fn watch_deliveries(&mut self) {
        let is_empty = self.deliveries.by_connection.is_empty();
        if !is_empty && !std::mem::replace(&mut self.deliveries.timer_is_armed, true) {
            let at = self.clock.now() + limits::DELIVERY_CHECK_INTERVAL;
            self.dispatcher.timers_mut().arm(at, Timer::Delivery);
        }
    }

    /// Looks whether the answers on a connection were received.
    pub(super) fn check_delivery(&mut self, id: ConnId) {
        let Some(delivery) = self.deliveries.by_connection.get_mut(&id) else { return };
        let closed = self.deliveries.closed.iter().find(|(of, ..)| *of == id);
        let (socket, sent) = match (self.connections.get(id), closed) {
            (Some(connection), _) => (&connection.socket, connection.sent),
            (None, Some((_, socket, sent))) => (socket, *sent),
            // It is being closed.
            (None, None) => return,
        };
        let timeout = self.settings.listeners[usize::from(delivery.listener)].rules.write_timeout;
        match delivery.update(sent, self.net.receipt(socket), self.clock.now(), timeout) {
            Status::Delivered | Status::Lost => self.undo_undelivered(id),
            Status::Stalled => {
                self.undo_undelivered(id);
                if self.connections.get(id).is_some() {
                    self.dispatcher.counters_mut().connections_stalled += 1;
                    self.close(id);
                }
            }
            Status::Open => {}
        }
    }

    /// Forgets a connection, and destroys the containers whose answers were not received.
    fn undo_undelivered(&mut self, id: ConnId) {
        for container in self.deliveries.forget(id) {
            self.dispatcher.undo(container);
        }
    }
}

/// The end of the output counts as a byte, in what was sent and in what is acknowledged.
pub(super) const END_OF_OUTPUT: u32 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: ContainerId = ContainerId([1; 16]);
    const SECOND: ContainerId = ContainerId([2; 16]);
    const SECOND_OF_TIME: Duration = Duration::from_secs(1);

    /// Answers that end after 100 and after 200 bytes.
    fn delivery() -> Delivery {
        let containers = [(100, FIRST), (200, SECOND)].into();
        Delivery { containers, listener: 0, sent: 0, acknowledged: 0, since: Instant::ORIGIN }
    }

    fn at(seconds: u32) -> Instant {
        Instant::ORIGIN + seconds * SECOND_OF_TIME
    }

    #[test]
    fn an_answer_is_delivered_when_all_of_it_is_received() {
        for (sent, missing, is_last, status, left) in [
            (200, 101, false, Status::Open, 2),
            (200, 100, false, Status::Open, 1),
            (200, 1, false, Status::Open, 1),
            (200, 0, false, Status::Delivered, 0),
            (500, 300, false, Status::Delivered, 0),
            (500, 301, false, Status::Open, 1),
            (200, 101, true, Status::Lost, 2),
            (200, 100, true, Status::Lost, 1),
            (200, 0, true, Status::Delivered, 0),
        ] {
            let mut delivery = delivery();
            let found = delivery.update(sent, Receipt { missing, is_last }, at(0), SECOND_OF_TIME);
            assert_eq!((found, delivery.containers.len()), (status, left), "{sent} {missing} {is_last}");
        }
    }

    #[test]
    fn a_delivery_without_progress_times_out() {
        let mut delivery = delivery();
        let mut update = |missing, seconds| {
            let receipt = Receipt { missing, is_last: false };
            delivery.update(200, receipt, at(seconds), 10 * SECOND_OF_TIME)
        };
        assert_eq!([update(190, 1), update(190, 10), update(189, 10)], [Status::Open; 3]);
        assert_eq!([update(189, 19), update(189, 20)], [Status::Open, Status::Stalled]);
    }

    #[test]
    fn the_count_of_what_is_sent_wraps_around() {
        let end = 100 + u64::from(u32::MAX);
        let mut delivery = Delivery { containers: [(end, FIRST)].into(), sent: end, ..delivery() };
        let mut update =
            |sent, missing| delivery.update(sent, Receipt { missing, is_last: false }, at(0), SECOND_OF_TIME);
        assert_eq!(
            [update(99, 1), update(300, 202), update(300, 201)],
            [Status::Open, Status::Open, Status::Delivered]
        );
    }

    #[test]
    fn connections_are_looked_after_in_turn() {
        let mut deliveries = Deliveries::<()>::new();
        assert_eq!(deliveries.next(), None);
        let ids = [1, 2, 3].map(|index| ConnId { index, generation: 1 });
        deliveries.by_connection.extend(ids.map(|id| (id, delivery())));
        assert_eq!([(); 4].map(|()| deliveries.next()), [ids[0], ids[1], ids[2], ids[0]].map(Some));
        assert_eq!(deliveries.forget(ids[1]).collect::<Vec<_>>(), [FIRST, SECOND]);
        assert_eq!(deliveries.next(), Some(ids[2]));
    }
}
