//! Read-only access to the reactor's state, for tests.

use super::Reactor;
use super::net::Net;
use crate::clock::Clock;
pub use crate::dispatch::trace::TraceEvent;
use crate::ids::ConnId;
use crate::worker::Jobs;

/// The sizes of a reactor's collections.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Holdings {
    /// Open connections.
    pub connections: usize,
    /// Requests in flight.
    pub in_flight: usize,
    /// Connections in the run queue.
    pub runnable: usize,
    /// Pending timers.
    pub timers: usize,
    /// Connections listed as present.
    pub present: usize,
    /// Authenticated connections.
    pub authenticated: usize,
    /// Closed connections whose requests are not cancelled yet.
    pub closing: usize,
    /// Connections whose clients may not have received their new containers yet.
    pub deliveries: usize,
    /// Delayed requests, and the bytes of their texts.
    pub delayed: (usize, usize),
    /// Bytes charged to all connections.
    pub buffers: usize,
    /// Results of jobs that are not processed yet.
    pub completions: usize,
}

/// The sizes of one connection's collections.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionHoldings {
    /// The connection.
    pub id: ConnId,
    /// Bytes of unread input.
    pub input: usize,
    /// Bytes of unsent output.
    pub output: usize,
    /// Capacity of its empty buffers.
    pub idle_capacity: usize,
    /// How often it is in the run queue.
    pub queued: usize,
    /// Whether it is marked as queued.
    pub is_queued: bool,
    /// Bytes that it holds.
    pub held: usize,
    /// Bytes that it is charged for.
    pub charged: usize,
    /// Whether its client is authenticated or an operator.
    pub is_known: bool,
    /// Its delayed requests, and the bytes of their texts.
    pub delayed: (usize, usize),
}

impl<N: Net, J: Jobs, C: Clock> Reactor<N, J, C> {
    /// The sizes of the reactor's collections now.
    pub fn holdings(&self) -> Holdings {
        let presence = self.dispatcher.presence();
        Holdings {
            connections: self.connections.len(),
            in_flight: self.dispatcher.in_flight_count(),
            runnable: self.runnable.len(),
            timers: self.connection_timers.len() + self.dispatcher.timers().len(),
            present: presence.page(crate::model::List::ActiveVms, 0).0.len(),
            authenticated: presence.authenticated_count(),
            closing: self.closing.len(),
            deliveries: self.deliveries.len(),
            delayed: self.dispatcher.delayed(),
            buffers: self.budget.bytes(),
            completions: self.completions.len(),
        }
    }

    /// Checks that requests, timers and the job counts of connections agree; the error describes the mismatch.
    pub fn check_invariants(&self) -> Result<(), String> {
        let is_idle = |id| self.connections.get(id).is_none_or(|connection| connection.load.jobs == 0);
        let load = |id| self.connections.get(id).map(|connection| &connection.load);
        self.dispatcher.check_invariants(load)?;
        let stray =
            self.connections.ids().into_iter().find(|id| !is_idle(*id) && !self.dispatcher.has_jobs(*id));
        stray.map_or(Ok(()), |id| Err(format!("{id:?} counts jobs that are not in flight")))
    }

    /// Starts to record events.
    pub fn start_trace(&mut self) {
        self.dispatcher.start_trace();
    }

    /// Takes the events since the last call.
    pub fn take_trace(&mut self) -> Vec<TraceEvent> {
        self.dispatcher.take_trace()
    }

    /// The sizes of each connection's collections now.
    pub fn connection_holdings(&self) -> Vec<ConnectionHoldings> {
        let ids = self.connections.ids().into_iter();
        ids.filter_map(|id| {
            let connection = self.connections.get(id)?;
            let (input, output) = (&connection.input, &connection.output);
            let idle = [input, output].into_iter().filter(|buffer| buffer.is_empty());
            Some(ConnectionHoldings {
                id,
                input: input.len(),
                output: output.len() + connection.session.deferred_len(),
                idle_capacity: idle.map(|buffer| buffer.capacity()).sum(),
                queued: self.runnable.iter().filter(|queued| **queued == id).count(),
                is_queued: connection.is_queued,
                held: connection.held_bytes(),
                charged: connection.charge.bytes(),
                is_known: self.dispatcher.is_trusted(id),
                delayed: connection.session.delayed(),
            })
        })
        .collect()
    }
}
