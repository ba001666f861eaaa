//! A record of what was done, and a check of the invariants, for tests.

use std::collections::HashMap;

use super::timers::{Timer, Timers};
use super::{Dispatcher, JobLoad};
use crate::clock::Instant;
use crate::ids::ConnId;
use crate::worker::{JobKey, Jobs};

/// Something that the reactor has done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TraceEvent {
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

impl<J: Jobs> Dispatcher<J> {
    /// Compares the requests in flight with the timers and the loads of the connections; `load` finds that of an open
    /// connection. An error says what does not match.
    pub(crate) fn check_invariants<'a>(
        &self,
        timers: &Timers,
        load: impl Fn(ConnId) -> Option<&'a JobLoad>,
    ) -> Result<(), String> {
        let mut loads: HashMap<ConnId, (u32, usize)> = HashMap::new();
        for (request_key, in_flight) in &self.in_flight {
            let key = JobKey { request_key: *request_key, job: in_flight.job };
            if !timers.is_armed(in_flight.deadline, Timer::Job(key)) {
                return Err(format!("{request_key:?} is in flight without a timer"));
            }
            let (jobs, weight) = loads.entry(request_key.conn).or_default();
            *jobs += 1;
            *weight += in_flight.weight;
        }
        let weight: usize = loads.values().map(|(_, weight)| weight).sum();
        if weight != self.weight {
            return Err(format!("jobs of the weight {weight} are in flight, counted as {}", self.weight));
        }
        for (request_key, login) in &self.delayed_logins {
            if !login.is_armed(timers) {
                return Err(format!("{request_key:?} is a delayed login without a timer"));
            }
            loads.entry(request_key.conn).or_default().0 += 1;
        }
        for (conn, (jobs, weight)) in loads {
            match load(conn) {
                Some(load) if (load.jobs, load.weight) != (jobs, weight) => {
                    return Err(format!(
                        "{conn:?} has {jobs} jobs of the weight {weight}, counted as {} of {}",
                        load.jobs, load.weight
                    ));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether a request of the connection has a job or waits for one.
    pub(crate) fn has_jobs(&self, conn: ConnId) -> bool {
        self.in_flight.keys().chain(self.delayed_logins.keys()).any(|key| key.conn == conn)
    }

    /// Records `event`, if events are recorded.
    pub(crate) fn trace(&mut self, event: TraceEvent) {
        if let Some(trace) = &mut self.trace {
            trace.push(event);
        }
    }
}
