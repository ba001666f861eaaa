//! The figures, by name.

mod auth;
mod embedding;
mod fairness;
mod growth;
mod guests;
mod memory;
pub mod metrics;
mod page;
pub mod ping;
mod pipelined;
mod points;
mod postgres;
mod sealed;
pub mod seeded_store;
mod start;
pub mod stored;
mod ticks;
mod watch;
pub mod web;

use std::time::Duration;

use crate::figures::Line;
use crate::load::Load;
use crate::process::{self, Cores, Server};

/// A few lines of the table.
pub struct Row {
    /// The argument that selects it.
    pub name: &'static str,
    pub run: fn(&Cores) -> Vec<Line>,
}

/// All of them.
pub const ROWS: &[Row] = &[
    Row { name: "ping", run: ping::one_at_a_time },
    Row { name: "pipeline", run: ping::pipelined },
    Row { name: "single", run: ping::single },
    Row { name: "idle", run: memory::idle_connections },
    Row { name: "resident", run: memory::at_start },
    Row { name: "start", run: start::first_reply },
    Row { name: "size", run: start::sizes },
    Row { name: "embedding", run: embedding::callbacks },
    Row { name: "boot", run: guests::boot },
    Row { name: "boot-ping", run: guests::ping_meanwhile },
    Row { name: "guest-memory", run: guests::memory },
    Row { name: "sealed", run: sealed::stat },
    Row { name: "hashes", run: auth::hashes },
    Row { name: "meanwhile", run: auth::ping_meanwhile },
    Row { name: "failed-logins", run: auth::failed_logins },
    Row { name: "tokens", run: stored::tokens },
    Row { name: "lists", run: stored::lists },
    Row { name: "disks", run: stored::disks },
    Row { name: "registrations", run: stored::registrations },
    Row { name: "updates", run: stored::updates },
    Row { name: "pipelined-adds", run: pipelined::adds },
    Row { name: "pipelined-updates", run: pipelined::updates },
    Row { name: "herd", run: stored::herd },
    Row { name: "postgres-tokens", run: postgres::tokens },
    Row { name: "postgres-lists", run: postgres::lists },
    Row { name: "postgres-registrations", run: postgres::registrations },
    Row { name: "metrics-put", run: metrics::put },
    Row { name: "metrics-durable", run: metrics::durable },
    Row { name: "metrics-json", run: metrics::json },
    Row { name: "many-series", run: metrics::many_series },
    Row { name: "metrics-single", run: metrics::single },
    Row { name: "postgres-metrics", run: metrics::postgres },
    Row { name: "metrics-get", run: points::get },
    Row { name: "metrics-disk", run: points::disk },
    Row { name: "fair-lists", run: fairness::lookups },
    Row { name: "fair-puts", run: fairness::updates },
    Row { name: "fair-logins", run: fairness::logins },
    Row { name: "connections", run: growth::connections },
    Row { name: "heartbeats", run: growth::heartbeats },
    Row { name: "vms", run: growth::vms },
    Row { name: "http", run: web::http },
    Row { name: "websocket", run: web::websocket },
    Row { name: "http-idle", run: web::idle },
    Row { name: "page", run: page::page },
    Row { name: "conversions", run: web::conversions },
    Row { name: "watch", run: watch::delivery },
    Row { name: "watch-idle", run: watch::idle_watchers },
    Row { name: "ticks", run: ticks::largest_requests },
];

/// The servers that are not installed, so that they are not measured.
pub fn missing() -> String {
    let peers = ["redis-server", "memcached", "nginx", "victoria-metrics"].into_iter();
    let peers = peers.filter(|peer| process::installed(peer).is_none());
    let others = [
        ("PostgreSQL's server (all of its rows)", postgres::is_there()),
        ("pgbench", postgres::has_pgbench()),
    ];
    let others = others.into_iter().filter(|(_, is_there)| !is_there).map(|(name, _)| name);
    match &peers.chain(others).collect::<Vec<_>>()[..] {
        [] => String::new(),
        missing => format!("Not installed, so not measured: {}.", missing.join(", ")),
    }
}

/// One connection that sends `request` again and again; each answer is one line that begins with `answer`.
pub fn load(server: &Server, request: &str, answer: &str) -> Load {
    Load {
        address: server.address,
        server: server.id(),
        connections: 1,
        idle: 0,
        depth: 1,
        every: None,
        time: TIME,
        request: request.into(),
        answer: answer.into(),
        lines: 1,
        is_websocket: false,
        stride: 0,
        prelude: None,
    }
}

/// How often everything is measured.
pub const ROUNDS: usize = 5;

/// How long one candidate is measured in one round.
const TIME: Duration = Duration::from_millis(1000);
