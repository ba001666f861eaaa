//! An event trace and a check of the invariants, for tests.

use std::collections::HashMap;

use super::timers::Timer;
use super::{Dispatcher, JobLoad};
use crate::app::presence::Presence;
use crate::clock::Instant;
use crate::ids::ConnId;
use crate::work::Lane;
use crate::worker::{JobKey, Jobs};

/// An action of the reactor.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TraceEvent {
    /// Started a request of a connection.
    Begun(ConnId),
    /// Refused this many messages of a connection.
    Refused(ConnId, u32),
    /// Delayed the answer to a text until this instant.
    Delayed(Box<str>, Instant),
    /// Closed a silent or idle connection to make room for a new one.
    Evicted(ConnId),
    /// Refused a connection's input to free its memory.
    RefusedForMemory(ConnId),
    /// Answered a delayed text of a connection.
    Due(ConnId, Box<str>),
}

impl<J: Jobs> Dispatcher<J> {
    /// Compares the requests in flight with the timers and with the job counts of the connections; `load` returns the
    /// count of an open connection. The error describes the mismatch.
    pub(crate) fn check_invariants<'a>(
        &self,
        load: impl Fn(ConnId) -> Option<&'a JobLoad>,
    ) -> Result<(), String> {
        let mut loads: HashMap<ConnId, JobLoad> = HashMap::new();
        for (request_key, in_flight) in &self.in_flight {
            let key = JobKey { request_key: *request_key, job: in_flight.job };
            if !self.timers.is_armed(in_flight.deadline, Timer::Job(key)) {
                return Err(format!("{request_key:?} is in flight without a timer"));
            }
            let load = loads.entry(request_key.conn).or_default();
            load.jobs += 1;
            load.handler_calls += u16::from(in_flight.lane == Lane::Handler);
            load.weight += in_flight.weight as u32;
        }
        let weight: usize = loads.values().map(|load| load.weight as usize).sum();
        if weight != self.weight {
            return Err(format!("jobs of the weight {weight} are in flight, counted as {}", self.weight));
        }
        for (request_key, login) in &self.delayed_logins {
            if !login.is_armed(&self.timers) {
                return Err(format!("{request_key:?} is a delayed login without a timer"));
            }
            loads.entry(request_key.conn).or_default().jobs += 1;
        }
        for (conn, found) in loads {
            if let Some(load) = load(conn)
                && *load != found
            {
                return Err(format!("{conn:?} has {found:?}, counted as {load:?}"));
            }
        }
        Ok(())
    }

    /// Whether a request of the connection has a job or waits for one.
    pub(crate) fn has_jobs(&self, conn: ConnId) -> bool {
        self.in_flight.keys().chain(self.delayed_logins.keys()).any(|key| key.conn == conn)
    }

    /// Starts to record events.
    pub(crate) fn start_trace(&mut self) {
        self.trace = Some(Vec::new());
    }

    /// Takes the events since the last call.
    pub(crate) fn take_trace(&mut self) -> Vec<TraceEvent> {
        self.trace.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// The connections and their logins.
    pub(crate) fn presence(&self) -> &Presence {
        self.app.presence()
    }

    /// Records `event` if tracing is on.
    pub(crate) fn trace(&mut self, event: TraceEvent) {
        if let Some(trace) = &mut self.trace {
            trace.push(event);
        }
    }
}
