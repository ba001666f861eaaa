//! The server's counters, as plain numbers.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::{CommandName, CustomCommands, Failure};

/// Counters since the start of the server.
#[derive(Clone, Default, Debug)]
pub(crate) struct Counters {
    /// Connections open now.
    pub connections_open: u64,
    /// Connections accepted.
    pub connections_accepted: u64,
    /// Connections that the gate of the embedding program refused.
    pub connections_denied: u64,
    /// Connections refused because of their address, which are not among those accepted.
    pub addresses_refused: u64,
    /// Silent or idle connections that were closed to make room for new ones.
    pub connections_evicted: u64,
    /// Connections closed because they held the most memory while the memory limit was exceeded.
    pub connections_refused: u64,
    /// Connections closed because the client sent nothing in time.
    pub connections_timed_out: u64,
    /// Connections closed because the client did not read its output in time.
    pub connections_stalled: u64,
    /// Bytes of memory that connections hold now.
    pub buffers_bytes: u64,
    /// Failed calls of `accept`, mostly for lack of descriptors.
    pub accept_errors: u64,
    /// Requests by command, in the order of their indices.
    pub requests: Vec<RequestCounters>,
    /// Messages refused: malformed, or over the request limit of their connection.
    pub requests_refused: u64,
    /// Failed requests by kind of failure; only kinds that have occurred.
    pub failures: BTreeMap<&'static str, u64>,
    /// Jobs refused because their queue was full, or that reached their deadline in it.
    pub jobs_refused: u64,
    /// Jobs abandoned at their deadline while they ran.
    pub jobs_given_up: u64,
    /// Answers that broke off because one of their pages failed.
    pub answers_cut: u64,
    /// Errors of the server, of handlers and of the gate.
    pub runtime_errors: u64,
    /// The longest tick of the reactor, without its wait for events.
    pub tick_max: Duration,
    /// Results that arrived after their request was answered or closed.
    pub results_late: u64,
}

/// The requests for one command.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct RequestCounters {
    pub started: u64,
    pub done: u64,
    pub failed: u64,
}

impl RequestCounters {
    /// Started, done, failed.
    pub(crate) fn values(self) -> [u64; 3] {
        [self.started, self.done, self.failed]
    }
}

impl Counters {
    /// Counters for the server's commands and the added ones.
    pub(crate) fn new(customs: &CustomCommands) -> Counters {
        let commands = CommandName::ALL.len() + customs.all().len();
        Counters { requests: vec![RequestCounters::default(); commands], ..Counters::default() }
    }

    /// Counts requests that came together.
    pub(crate) fn count_requests(&mut self, name: CommandName, count: usize) {
        self.requests[name.index()].started += count as u64;
    }

    /// Counts a request whose handler answered with a failure.
    pub(crate) fn count_failed_by_handler(&mut self, name: CommandName) {
        self.requests[name.index()].failed += 1;
        *self.failures.entry("failed_by_handler").or_default() += 1;
    }

    /// Counts requests that end in the same way.
    pub(crate) fn count_outcomes(&mut self, name: CommandName, failure: Option<&Failure>, count: usize) {
        match failure {
            None => self.requests[name.index()].done += count as u64,
            Some(_) if count == 0 => {}
            Some(failure) => {
                self.requests[name.index()].failed += count as u64;
                *self.failures.entry(failure.code()).or_default() += count as u64;
            }
        }
    }
}
