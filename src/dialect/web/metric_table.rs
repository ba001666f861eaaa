//! The metrics for Prometheus: a row for each, with its names, type and help. A new counter needs a row.

use Kind::{Counter, Gauge};

/// A metric.
pub(super) struct Metric {
    /// The name among the counters; `*` stands for the value of the label.
    pub(super) counter: &'static str,
    /// The name for Prometheus.
    pub(super) name: &'static str,
    /// The label, if it has one.
    pub(super) label: &'static str,
    /// What Prometheus knows of it.
    pub(super) kind: Kind,
    /// The counter counts in parts of the metric's unit: so many are one.
    pub(super) divisor: u32,
    /// What it is.
    pub(super) help: &'static str,
}

/// The types of Prometheus.
#[derive(Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub(super) enum Kind {
    Counter,
    Gauge,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Counter => "counter",
            Gauge => "gauge",
        }
    }
}

impl Metric {
    /// The value of the label if `counter` belongs to this metric; empty without a label.
    pub(super) fn label_of<'c>(&self, counter: &'c str) -> Option<&'c str> {
        match self.counter.split_once('*') {
            None => (self.counter == counter).then_some(""),
            Some((before, after)) => counter.strip_prefix(before)?.strip_suffix(after),
        }
    }
}

const fn row(counter: &'static str, name: &'static str, kind: Kind, help: &'static str) -> Metric {
    Metric { counter, name, label: "", kind, divisor: 1, help }
}

impl Metric {
    const fn label(self, label: &'static str) -> Metric {
        Metric { label, ..self }
    }

    const fn micros(self) -> Metric {
        Metric { divisor: 1_000_000, ..self }
    }
}

/// All metrics but the points. A counter belongs to the first row that matches.
pub(super) static METRICS: &[Metric] = &[
    row("build_*", "vmherd_build_info", Gauge, "The version of the server; always 1.").label("version"),
    row("uptime_s", "vmherd_uptime_seconds", Gauge, "The time since the server was started."),
    row("vms_*", "vmherd_vms", Gauge, "Registered VMs; online: with an authenticated connection.")
        .label("state"),
    row("connections_open", "vmherd_connections", Gauge, "Open connections."),
    row(
        "connections_authenticated",
        "vmherd_connections_authenticated",
        Gauge,
        "Connections that a VM has authenticated on.",
    ),
    row("connections_accepted", "vmherd_connections_accepted_total", Counter, "Connections accepted."),
    row(
        "connections_denied",
        "vmherd_connections_denied_total",
        Counter,
        "Connections that the gate refused.",
    ),
    row(
        "addresses_refused",
        "vmherd_addresses_refused_total",
        Counter,
        "Connections refused because of their address.",
    ),
    row(
        "connections_evicted",
        "vmherd_connections_evicted_total",
        Counter,
        "Idle connections closed to make room.",
    ),
    row(
        "connections_refused",
        "vmherd_connections_refused_total",
        Counter,
        "Connections closed because of the memory that they held.",
    ),
    row(
        "connections_timed_out",
        "vmherd_connections_timed_out_total",
        Counter,
        "Connections closed because the client sent nothing in time.",
    ),
    row(
        "connections_stalled",
        "vmherd_connections_stalled_total",
        Counter,
        "Connections closed because the client did not read in time.",
    ),
    row("accept_errors", "vmherd_accept_errors_total", Counter, "Failed attempts to accept a connection."),
    row("buffers_bytes", "vmherd_buffers_bytes", Gauge, "Memory that connections hold."),
    // The sum of those by command.
    row("requests_failed", "", Counter, ""),
    row(
        "requests_refused",
        "vmherd_requests_refused_total",
        Counter,
        "Messages refused: malformed, or too many.",
    ),
    row("requests_in_flight", "vmherd_requests_in_flight", Gauge, "Requests that wait for a worker."),
    row("requests_delayed", "vmherd_requests_delayed", Gauge, "Conversions that are delayed."),
    row("requests_*_ok", "vmherd_requests_done_total", Counter, "Requests that succeeded.").label("command"),
    row("requests_*_failed", "vmherd_requests_failed_total", Counter, "Requests that failed.")
        .label("command"),
    row("requests_*", "vmherd_requests_total", Counter, "Requests.").label("command"),
    row("failed_*", "vmherd_failures_total", Counter, "Failed requests by their error.").label("error"),
    row("points_put", "vmherd_points_put_total", Counter, "Points stored."),
    row(
        "points_refused",
        "vmherd_points_refused_total",
        Counter,
        "Points refused because of the limit of keys.",
    ),
    row("points_removed", "vmherd_points_removed_total", Counter, "Points removed because of their age."),
    row("points_written_behind", "vmherd_write_behind", Gauge, "Whether points are acknowledged in memory."),
    row("points_unwritten", "vmherd_points_unwritten", Gauge, "Points that are not in the store yet."),
    row("watchers", "vmherd_watchers", Gauge, "Connections that watch."),
    row("changes", "vmherd_changes_total", Counter, "Changes that were recorded for watchers."),
    row("changes_sent", "vmherd_changes_sent_total", Counter, "Changes sent to watchers."),
    row(
        "watches_too_far_behind",
        "vmherd_watches_too_far_behind_total",
        Counter,
        "Watches ended because the client did not keep up.",
    ),
    row("logins_failed", "vmherd_logins_failed_total", Counter, "Logins with a wrong password."),
    row("logins_delayed", "vmherd_logins_delayed_total", Counter, "Logins delayed after failed ones."),
    row(
        "logins_refused",
        "vmherd_logins_refused_total",
        Counter,
        "Logins refused because too many were delayed.",
    ),
    row("logins_waiting", "vmherd_logins_waiting", Gauge, "Logins that are delayed."),
    row("jobs_refused", "vmherd_jobs_refused_total", Counter, "Jobs that found no room, or waited too long."),
    row("jobs_given_up", "vmherd_jobs_given_up_total", Counter, "Jobs abandoned while they ran."),
    row("answers_cut", "vmherd_answers_cut_total", Counter, "Long answers that broke off."),
    row(
        "results_late",
        "vmherd_results_late_total",
        Counter,
        "Results that came after their request had ended.",
    ),
    row("turn_us_max", "vmherd_tick_seconds_max", Gauge, "The longest turn of the reactor's loop.").micros(),
    row("store_errors_*", "vmherd_store_errors_total", Counter, "Failures of the store.").label("error"),
    row(
        "runtime_errors",
        "vmherd_runtime_errors_total",
        Counter,
        "Internal errors, and those of added code.",
    ),
    row("events_lost", "vmherd_events_lost_total", Counter, "Events that callbacks did not get."),
    row("*_queued", "vmherd_lane_queued", Gauge, "Jobs in the queue of a lane.").label("lane"),
    row("*_threads", "vmherd_lane_threads", Gauge, "Threads of a lane.").label("lane"),
    row(
        "*_threads_stuck",
        "vmherd_lane_threads_stuck",
        Gauge,
        "Threads of a lane that hang and are replaced.",
    )
    .label("lane"),
    row("*_batches_running", "vmherd_lane_batches_running", Gauge, "Batches of jobs that run in a lane.")
        .label("lane"),
    row("*_batches_done", "vmherd_lane_batches_done_total", Counter, "Batches of jobs done by a lane.")
        .label("lane"),
    row("log_lines_dropped", "vmherd_log_lines_dropped_total", Counter, "Log lines that found no room."),
    row("process_cpu_us", "process_cpu_seconds_total", Counter, "The time that the process has run.")
        .micros(),
    row("process_resident_bytes", "process_resident_memory_bytes", Gauge, "Memory of the process in RAM."),
    // The same, as the command `stats` has it.
    row("memory_resident_kib", "", Gauge, ""),
    row("process_virtual_bytes", "process_virtual_memory_bytes", Gauge, "Address space of the process."),
    row("process_descriptors", "process_open_fds", Gauge, "Open descriptors of the process."),
    row(
        "process_descriptors_max",
        "process_max_fds",
        Gauge,
        "The most descriptors that the process may open.",
    ),
    row("*", "vmherd_other", Gauge, "Counters that the embedding program adds.").label("counter"),
];
