//! What the server counts, as plain numbers. Each is counted where it happens.

use crate::model::CommandName;

/// Counters since the start.
#[derive(Clone, Default, Debug)]
pub(super) struct Counters {
    /// Connections open now.
    pub connections_open: u64,
    /// Connections accepted.
    pub connections_accepted: u64,
    /// Connections that never sent a byte, closed to make room.
    pub connections_evicted: u64,
    /// Connections closed because the client kept us waiting.
    pub connections_timed_out: u64,
    /// Connections closed because the client did not take what was due to it.
    pub connections_stalled: u64,
    /// Times that accepting failed, for lack of descriptors mostly.
    pub accept_errors: u64,
    /// Requests begun, by command.
    pub requests: [u64; CommandName::ALL.len()],
    /// Messages that were no request, or one too many of their connection.
    pub requests_refused: u64,
    /// Requests begun and answered with a failure.
    pub requests_failed: u64,
    /// Jobs refused because their queue was full, or answered `busy` in it at their deadline.
    pub jobs_refused: u64,
    /// Jobs given up at their deadline while they ran.
    pub jobs_given_up: u64,
    /// Results that came too late for anybody.
    pub results_late: u64,
}

impl Counters {
    /// Counts a request.
    pub(super) fn count_request(&mut self, name: CommandName) {
        self.requests[name as usize] += 1;
    }
}
