//! The counters as the command `stats` shows them.

use std::borrow::Cow;

use super::Dispatcher;
use crate::clock::Instant;
use crate::embed::ProgramCounter;
use crate::model::{CommandName, Statistics};
use crate::worker::Jobs;

impl<J: Jobs> Dispatcher<J> {
    /// The state of the server, which runs, and all counters.
    pub(crate) fn statistics(&self, now: Instant) -> Statistics {
        let counters = &self.counters;
        let [events_lost, callbacks_failed] = self.events.counters();
        let runtime_errors = counters.runtime_errors + callbacks_failed;
        let store_errors = self.app.store_errors();
        let points = self.app.points_counted();
        let (changes, watchers) = self.app.watches().counters();
        let logins = self.app.logins().counters();
        let uptime = now - self.started;
        let mut values = vec![
            ("uptime_s", uptime.as_secs()),
            ("connections_open", counters.connections_open),
            ("connections_authenticated", self.app.presence().authenticated_count() as u64),
            ("connections_accepted", counters.connections_accepted),
            ("connections_denied", counters.connections_denied),
            ("addresses_refused", counters.addresses_refused),
            ("connections_evicted", counters.connections_evicted),
            ("connections_refused", counters.connections_refused),
            ("connections_timed_out", counters.connections_timed_out),
            ("connections_stalled", counters.connections_stalled),
            ("accept_errors", counters.accept_errors),
            ("buffers_bytes", counters.buffers_bytes),
        ];
        for (name, counters) in CommandName::ALL.iter().zip(&counters.requests) {
            values.extend(name.spec().counters.into_iter().zip(counters.values()));
        }
        values.push(("requests_failed", counters.requests.iter().map(|command| command.failed).sum()));
        values.extend(counters.failures.iter().map(|(name, count)| (*name, *count)));
        values.extend([
            ("points_put", points.put),
            ("points_refused", points.refused),
            ("watchers", watchers as u64),
            ("changes", changes.changes),
            ("changes_sent", changes.sent),
            ("watches_too_far_behind", changes.too_far_behind),
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
            ("runtime_errors", runtime_errors),
            ("events_lost", events_lost),
        ]);
        values.extend(self.jobs.statistics());
        values.extend(self.app.program_counters().iter().map(ProgramCounter::read));
        let mut values: Vec<_> = values.into_iter().map(|(name, value)| (Cow::from(name), value)).collect();
        let customs = counters.requests.iter().skip(CommandName::ALL.len());
        for (custom, counters) in self.app.customs().all().iter().zip(customs) {
            let names = custom.counters.iter().map(|name| Cow::from(name.to_string()));
            values.extend(names.zip(counters.values()));
        }
        let containers_available = self.app.containers().available();
        Statistics { is_running: true, runtime_errors, uptime, containers_available, counters: values }
    }
}
