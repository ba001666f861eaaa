//! The counters as the command `stats` shows them.

use std::sync::atomic::Ordering;

use super::Dispatcher;
use crate::clock::Instant;
use crate::log_limiter::LOG_LINES_DROPPED;
use crate::model::{CommandName, Statistics};
use crate::worker::Jobs;

impl<J: Jobs> Dispatcher<J> {
    /// The state of the server, which runs, and all counters.
    pub(crate) fn statistics(&self, now: Instant) -> Statistics {
        let counters = &self.counters;
        let store_errors = self.app.store_errors();
        let points = self.app.points_counted();
        let logins = self.app.logins().counters();
        let uptime = now - self.started;
        let mut values = vec![
            ("uptime_s", uptime.as_secs()),
            ("connections_open", counters.connections_open),
            ("connections_authenticated", self.app.presence().authenticated_count() as u64),
            ("connections_accepted", counters.connections_accepted),
            ("connections_evicted", counters.connections_evicted),
            ("connections_refused", counters.connections_refused),
            ("connections_timed_out", counters.connections_timed_out),
            ("connections_stalled", counters.connections_stalled),
            ("accept_errors", counters.accept_errors),
            ("buffers_bytes", counters.buffers_bytes),
        ];
        for (index, name) in CommandName::ALL.iter().enumerate() {
            let [begun, done, failed] = name.spec().counters;
            values.push((begun, counters.requests[index]));
            values.push((done, counters.requests_done[index]));
            values.push((failed, counters.requests_failed[index]));
        }
        values.push(("requests_failed", counters.requests_failed.iter().sum()));
        values.extend(counters.failures.iter().map(|(name, count)| (*name, *count)));
        values.extend([
            ("points_put", points.put),
            ("points_refused", points.refused),
            ("requests_refused", counters.requests_refused),
            ("requests_in_flight", self.in_flight.len() as u64),
            ("requests_delayed", self.delayed.requests as u64),
            ("logins_failed", logins.failed),
            ("logins_delayed", logins.delayed),
            ("logins_refused", logins.refused),
            ("logins_waiting", self.delayed_logins.len() as u64),
            ("jobs_refused", counters.jobs_refused),
            ("jobs_given_up", counters.jobs_given_up),
            ("answers_cut", counters.answers_cut),
            ("results_late", counters.results_late),
            ("turn_us_max", counters.tick_max.as_micros() as u64),
            ("store_errors_busy", store_errors.busy),
            ("store_errors_unavailable", store_errors.unavailable),
            ("store_errors_outcome_unknown", store_errors.outcome_unknown),
            ("runtime_errors", counters.runtime_errors),
        ]);
        values.extend(self.jobs.statistics());
        values.push(("log_lines_dropped", LOG_LINES_DROPPED.load(Ordering::Relaxed)));
        Statistics {
            is_running: true,
            runtime_errors: counters.runtime_errors,
            uptime,
            containers_available: None,
            counters: values.into_iter().map(|(name, value)| (name.into(), value)).collect(),
        }
    }
}
