//! What is measured.

mod auth;
mod growth;
mod memory;
mod ping;
mod start;
mod stored;

use std::time::Duration;

use crate::figures::Line;
use crate::process::Cores;

/// A line or a few of the table.
pub struct Row {
    /// What it is asked for by.
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
    Row { name: "hashes", run: auth::hashes },
    Row { name: "meanwhile", run: auth::ping_meanwhile },
    Row { name: "tokens", run: stored::tokens },
    Row { name: "lists", run: stored::lists },
    Row { name: "disks", run: stored::disks },
    Row { name: "registrations", run: stored::registrations },
    Row { name: "updates", run: stored::updates },
    Row { name: "connections", run: growth::connections },
    Row { name: "vms", run: growth::vms },
];

/// Servers that are measured beside the daemon where they are installed.
pub const PEERS: [&str; 3] = ["redis-server", "memcached", "nginx"];

/// How often everything is measured.
pub const ROUNDS: usize = 5;

/// How long one candidate is measured in one round.
const TIME: Duration = Duration::from_millis(1000);
