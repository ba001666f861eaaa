//! The server's counters, as plain numbers.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::{CommandName, Failure};

/// Counters since the start of the server.
#[derive(Clone, Default, Debug)]
pub(crate) struct Counters {
    /// Connections open now.
    pub connections_open: u64,
    /// Connections accepted.
    pub connections_accepted: u64,
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
    /// Errors in code of the host program that the server has called.
    pub runtime_errors: u64,
    /// Requests started, by command.
    pub requests: [u64; CommandName::ALL.len()],
    /// Messages refused: malformed, or over the request limit of their connection.
    pub requests_refused: u64,
    /// Requests that succeeded, by command.
    pub requests_done: [u64; CommandName::ALL.len()],
    /// Requests that failed, by command.
    pub requests_failed: [u64; CommandName::ALL.len()],
    /// Failed requests by kind of failure; only kinds that have occurred.
    pub failures: BTreeMap<&'static str, u64>,
    /// Jobs refused because their queue was full, or that reached their deadline in it.
    pub jobs_refused: u64,
    /// Jobs abandoned at their deadline while they ran.
    pub jobs_given_up: u64,
    /// Answers that broke off because one of their pages failed.
    pub answers_cut: u64,
    /// The longest tick of the reactor, without its wait for events.
    pub tick_max: Duration,
    /// Results that arrived after their request was answered or closed.
    pub results_late: u64,
}

impl Counters {
    /// Counts a request.
    pub(crate) fn count_request(&mut self, name: CommandName) {
        self.requests[name as usize] += 1;
    }

    /// Counts the end of a request.
    pub(crate) fn count_outcome(&mut self, name: CommandName, failure: Option<&Failure>) {
        match failure {
            None => self.requests_done[name as usize] += 1,
            Some(failure) => {
                self.requests_failed[name as usize] += 1;
                *self.failures.entry(failure.code()).or_default() += 1;
            }
        }
    }
}
