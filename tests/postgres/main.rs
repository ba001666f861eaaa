//! The daemon on PostgreSQL, in a cluster of the tests' own: one daemon or several, stopped and killed, with the database
//! stopped and killed.
//!
//! `VMHERD_ROUNDS` is the number of times.

#[path = "../common/postgres.rs"]
mod cluster;
#[path = "../common/mod.rs"]
mod common;
#[path = "../common/pgbouncer.rs"]
mod pgbouncer;
#[path = "../common/proxy.rs"]
mod proxy;

mod connections;
mod daemons;
mod logins;
mod metrics;
mod outages;
mod poolers;
mod starting;

use cluster::Database;
use common::Daemon;

/// A daemon on `database`.
#[track_caller]
fn daemon_on(database: &Database<'_>) -> Daemon {
    Daemon::builder().args(["--store", &database.url()]).start()
}
