//! The daemon on PostgreSQL, a cluster of the tests' own: one daemon, several, and what becomes of their
//! work when the database or they themselves are ended.
//!
//! `VMHERD_ROUNDS` says how many times something is ended.

#[path = "../common/postgres.rs"]
mod cluster;
#[path = "../common/mod.rs"]
mod common;
#[path = "../common/pgbouncer.rs"]
mod pgbouncer;

mod connections;
mod daemons;
mod metrics;
mod outages;
mod poolers;
mod starting;

use cluster::Database;
use common::Daemon;

/// A daemon that keeps everything in `database`.
#[track_caller]
fn daemon_on(database: &Database<'_>) -> Daemon {
    Daemon::builder().args(["--store", &database.url()]).start()
}
