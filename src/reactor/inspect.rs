//! What tests may see of a reactor's inside. Changes nothing.

use super::Reactor;
use super::net::Net;
use crate::clock::Clock;
pub use crate::dispatch::trace::TraceEvent;
use crate::ids::ConnId;
use crate::worker::Jobs;

/// How much a reactor holds.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Holdings {
    /// Open connections.
    pub connections: usize,
    /// Requests under way.
    pub in_flight: usize,
    /// Connections with something to do.
    pub runnable: usize,
    /// Pending timers.
    pub timers: usize,
    /// Connections that are listed as present.
    pub present: usize,
    /// Connections that are authenticated.
    pub authenticated: usize,
    /// Closed connections that are laid aside.
    pub closing: usize,
    /// Requests that are to be answered later, and the bytes of their texts.
    pub delayed: (usize, usize),
    /// Bytes that connections hold, as counted.
    pub buffers: usize,
}

/// How much one connection holds.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionHoldings {
    /// The connection.
    pub id: ConnId,
    /// Bytes of unread input.
    pub input: usize,
    /// Bytes of unsent output.
    pub output: usize,
    /// Memory of buffers that are empty.
    pub idle_capacity: usize,
    /// How often it stands in the queue of those to be run.
    pub queued: usize,
    /// Whether it is marked as queued.
    pub is_queued: bool,
    /// Bytes that it holds, and those that it is charged.
    pub held: usize,
    /// Bytes that it is charged for.
    pub charged: usize,
    /// Whether its client is known.
    pub is_known: bool,
    /// Of its requests those to be answered later, and the bytes of their texts.
    pub delayed: (usize, usize),
}

impl<N: Net, J: Jobs, C: Clock> Reactor<N, J, C> {
    /// How much the reactor holds now.
    pub fn holdings(&self) -> Holdings {
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

    /// Whether requests, timers and the jobs that connections count belong together; an error says what does not.
    pub fn check_invariants(&self) -> Result<(), String> {
        let is_idle = |id| self.connections.get(id).is_none_or(|connection| connection.load.jobs == 0);
        let load = |id| self.connections.get(id).map(|connection| &connection.load);
        self.dispatcher.check_invariants(&self.timers, load)?;
        let stray =
            self.connections.ids().into_iter().find(|id| !is_idle(*id) && !self.dispatcher.has_jobs(*id));
        stray.map_or(Ok(()), |id| Err(format!("{id:?} counts jobs that are not in flight")))
    }

    /// Records from now on what is done.
    pub fn start_trace(&mut self) {
        self.dispatcher.trace = Some(Vec::new());
    }

    /// What has been done since the last call.
    pub fn take_trace(&mut self) -> Vec<TraceEvent> {
        self.dispatcher.trace.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// How much each connection holds now.
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
                is_known: self.dispatcher.app.presence().is_trusted(id),
                delayed: connection.session.delayed(),
            })
        })
        .collect()
    }
}
