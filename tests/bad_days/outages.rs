//! A server that is stopped, killed and started again while clients work.

use std::thread;

use postgres::NoTls;

use crate::cluster::{Cluster, Database};
use crate::common::{DEADLINE, Daemon, DaemonFate, send_signal, wait_until};
use crate::overload::{LatencyProbe, alone, best_of_three};
use crate::traffic::{CUT, Traffic};
use crate::{BACK_MAX, amount, daemon_on, time_until_back};

#[test]
fn a_lost_server_is_unavailable_at_once_and_back_within_a_second() {
    let _alone = alone();
    best_of_three("a server that goes and comes", || {
        let cluster = Cluster::start();
        let database = cluster.database();
        let daemon = daemon_on(&database).start();
        let probe = LatencyProbe::start(&daemon);
        let traffic = Traffic::start(&daemon, 6, DaemonFate::Lives);
        for round in 0..amount(4, 20) {
            traffic.wait_done(50);
            match round % 4 {
                0 => cluster.stop(),
                1 => cluster.stop_at_once(),
                2 => cluster.kill(),
                // The server starts itself again, as after a crash.
                _ => kill_a_backend(&database),
            }
            if round % 4 != 3 {
                traffic.wait_failed(50);
                thread::scope(|scope| {
                    scope.spawn(|| cluster.restart());
                    expect_back(&daemon, &database, round);
                });
            } else {
                expect_back(&daemon, &database, round);
            }
        }
        traffic.wait_done(50);
        let history = traffic.finish();
        history.check_answers(&["store unavailable", "outcome unknown", "busy", CUT]);
        history.check(&database, &daemon);
        probe.finish()
    });
}

#[track_caller]
fn expect_back(daemon: &Daemon, database: &Database<'_>, round: usize) {
    wait_until("the database takes connections", DEADLINE, || {
        postgres::Client::connect(&database.url(), NoTls).is_ok()
    });
    let time = time_until_back(daemon, &round.to_string());
    eprintln!("  round {round}: back after {time:?}");
    assert!(time <= BACK_MAX, "back after {time:?}");
}

/// Kills a server process of the daemon's; the server then ends all others.
fn kill_a_backend(database: &Database<'_>) {
    let sql = "SELECT pid FROM pg_stat_activity WHERE application_name = 'vmherd' LIMIT 1";
    let pid: i32 = database.client().query_one(sql, &[]).expect("the daemon is connected").get(0);
    send_signal("KILL", pid.unsigned_abs());
}
