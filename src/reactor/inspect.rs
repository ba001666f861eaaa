//! What tests may see of a reactor's inside. Changes nothing.

use super::Reactor;
use super::net::Net;
use crate::clock::{Clock, Instant};
use crate::ids::ConnId;
use crate::worker::Jobs;

/// How much a reactor holds.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Holdings {
    pub(crate) connections: usize,
    pub(crate) in_flight: usize,
    pub(crate) runnable: usize,
    pub(crate) timers: usize,
    /// Connections that are listed as present.
    pub(crate) present: usize,
    pub(crate) authenticated: usize,
    /// Closed connections that are laid aside.
    pub(crate) closing: usize,
    /// Requests that are to be answered later, and the bytes of their texts.
    pub(crate) delayed: (usize, usize),
    /// Bytes that connections hold, as counted.
    pub(crate) buffers: usize,
}

/// Something that the reactor has done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum TraceEvent {
    /// Begun a request of a connection.
    Begun(ConnId),
    /// Refused so many messages of a connection.
    Refused(ConnId, u32),
    /// Laid a text aside that is to be answered then.
    Delayed(Box<str>, Instant),
    /// Closed a connection for another that wanted its place.
    MadePlace(ConnId),
    /// Taken from a connection what it held.
    MadeRoom(ConnId),
    /// Answered a connection a text that had been laid aside.
    Due(ConnId, Box<str>),
}

/// How much one connection holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConnectionHoldings {
    pub(crate) id: ConnId,
    pub(crate) input: usize,
    pub(crate) output: usize,
    /// Memory of buffers that are empty.
    pub(crate) idle_capacity: usize,
    /// How often it stands in the queue of those to be run.
    pub(crate) queued: usize,
    pub(crate) is_queued: bool,
    /// Bytes that it holds, and those that it is charged.
    pub(crate) held: usize,
    pub(crate) charged: usize,
    /// Whether its client is known.
    pub(crate) is_known: bool,
    /// Of its requests those to be answered later, and the bytes of their texts.
    pub(crate) delayed: (usize, usize),
}

impl<N: Net, J: Jobs, C: Clock> Reactor<N, J, C> {
    pub(crate) fn holdings(&self) -> Holdings {
        let presence = self.dispatcher.app.presence();
        Holdings {
            connections: self.connections.len(),
            in_flight: self.dispatcher.in_flight_count(),
            runnable: self.runnable.len(),
            timers: self.timers.len(),
            present: presence.page(crate::model::List::ActiveVms, 0).0.len(),
            authenticated: presence.authenticated_count(),
            closing: self.closing.len(),
            delayed: self.dispatcher.delayed(),
            buffers: self.budget.bytes(),
        }
    }

    /// What has been done since the last call.
    pub(crate) fn take_trace(&mut self) -> Vec<TraceEvent> {
        std::mem::take(&mut self.dispatcher.trace)
    }

    pub(crate) fn connection_holdings(&self) -> Vec<ConnectionHoldings> {
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
                is_known: self.dispatcher.app.presence().is_trusted(id),
                delayed: connection.session.delayed(),
            })
        })
        .collect()
    }
}
