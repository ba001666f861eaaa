//! Failures of the database, the network and the daemon under load, on PostgreSQL. Black box: the daemon as a process,
//! clusters of the tests' own.
//!
//! Tests run one at a time. During each, a healthy client's pings are answered as long as the daemon runs.
//! `VMHERD_BAD_DAYS=full` runs the tests at full length; without it they do about a tenth of that.

#[path = "../common/postgres.rs"]
mod cluster;
#[path = "../common/mod.rs"]
mod common;
#[path = "../common/overload.rs"]
mod overload;
#[path = "../common/points/mod.rs"]
mod points;
#[path = "../common/proxy.rs"]
mod proxy;

mod commits;
mod failover;
mod history;
mod kills;
mod locks;
mod metrics;
mod network;
mod outages;
mod serializable;
mod signals;
mod traffic;

use std::time::{Duration, Instant};

use cluster::Database;
use common::{Builder, Client, DEADLINE, Daemon, registration, wait_until};

/// How long a client waits for an answer, at most, whatever the state of the database.
const WAIT_MAX: Duration = DEADLINE;
/// When a request that waits for the store is answered with an error.
const STORE_DEADLINE: Duration = Duration::from_millis(2500);
/// How long after the database everything works again, at most.
const BACK_MAX: Duration = DEADLINE;

/// `many` for a run at full length, else `few`.
fn amount<T>(few: T, many: T) -> T {
    if std::env::var_os("VMHERD_BAD_DAYS").is_some_and(|amount| amount == "full") { many } else { few }
}

/// A daemon that is to be started on `database`.
fn daemon_on(database: &Database<'_>) -> Builder {
    Daemon::builder().args(["--store", &database.url()])
}

/// The time until the daemon does a write, and a read of it.
#[track_caller]
fn time_until_back(daemon: &Daemon, mark: &str) -> Duration {
    let begin = Instant::now();
    let (mut client, mut attempts) = (daemon.client(), 0);
    wait_until("the daemon does writes again", DEADLINE, || {
        attempts += 1;
        is_done(&mut client, &registration(&format!("back-{mark}-{attempts}"), &[1]))
    });
    let login = common::request(
        "authenticate",
        serde_json::json!({"vm_id": format!("back-{mark}-{attempts}"), "password": common::PASSWORD}),
    );
    wait_until("the daemon does reads again", DEADLINE, || is_done(&mut client, &login));
    begin.elapsed()
}

fn is_done(client: &mut Client, request: &serde_json::Value) -> bool {
    client.call(request.clone())["status"] == "success"
}
