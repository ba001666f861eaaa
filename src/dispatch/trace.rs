//! A record of what was done, for tests.

use super::Dispatcher;
use crate::clock::Instant;
use crate::ids::ConnId;
use crate::worker::Jobs;

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
    /// Records `event`, if events are recorded.
    pub(crate) fn trace(&mut self, event: TraceEvent) {
        if let Some(trace) = &mut self.trace {
            trace.push(event);
        }
    }
}
