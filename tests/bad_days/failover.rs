//! The primary is lost and its standby takes over, with both in the daemon's URL.

use std::time::{Duration, Instant};

use postgres::{Client, NoTls};

use crate::cluster::Cluster;
use crate::common::{DEADLINE, Daemon, DaemonFate, is_in_a_namespace, run_in_a_namespace, wait_until};
use crate::network::{listen_on_tcp, silence};
use crate::overload::{Latencies, LatencyProbe, alone, best_of_three};
use crate::time_until_back;
use crate::traffic::{CUT, Traffic};

/// How long after the promotion the daemon writes again, at most.
const WRITES_AGAIN_MAX: Duration = DEADLINE;

/// The database that every cluster has.
const DATABASE: &str = "postgres";

#[test]
fn a_standby_that_is_promoted_takes_over_from_a_primary_that_died() {
    let _alone = alone();
    best_of_three("a primary that died", || {
        let (primary, standby) = pair();
        let hosts = format!("{},{}", primary.host(), standby.host());
        fail_over(&hosts, &standby, || {
            primary.kill();
        })
    });
}

/// The machine is unreachable: connections are not even refused.
#[test]
fn a_standby_that_is_promoted_takes_over_from_a_primary_that_vanished() {
    let _alone = alone();
    if !is_in_a_namespace() {
        return run_in_a_namespace(
            "failover::a_standby_that_is_promoted_takes_over_from_a_primary_that_vanished",
        );
    }
    best_of_three("a primary that vanished", || {
        let (primary, standby) = pair();
        let (first, second) = ("127.0.0.1", "127.0.0.2");
        listen_on_tcp(&standby, second);
        listen_on_tcp(&primary, first);
        let mut drops = None;
        fail_over(&format!("{first},{second}"), &standby, || drops = Some(silence(first)))
    });
}

/// A primary and its standby, which has everything that is acknowledged.
fn pair() -> (Cluster, Cluster) {
    let primary = Cluster::start();
    let standby = primary.standby();
    // After the copy was made, so that a promoted standby does not wait for another one.
    let mut client = connect(&primary);
    for sql in ["ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()"] {
        client.batch_execute(sql).expect(sql);
    }
    (primary, standby)
}

/// Runs a daemon on `hosts` while `lose` stops the first of them and the second is promoted.
#[track_caller]
fn fail_over(hosts: &str, standby: &Cluster, lose: impl FnOnce()) -> Latencies {
    let url = format!("postgresql://vmherd@{hosts}/{DATABASE}?target_session_attrs=read-write");
    let daemon = Daemon::builder().args(["--store", &url]).start();
    let probe = LatencyProbe::start(&daemon);
    let traffic = Traffic::start(&daemon, 6, DaemonFate::Lives);
    traffic.wait_done(100);
    lose();
    traffic.wait_failed(10);
    let begin = Instant::now();
    standby.promote();
    let promotion = begin.elapsed();
    time_until_back(&daemon, "promoted");
    let time = begin.elapsed();
    eprintln!("  promoted in {promotion:?}, writes again after {time:?}");
    assert!(time <= WRITES_AGAIN_MAX, "writes again after {time:?}");
    traffic.wait_done(100);
    let history = traffic.finish();
    history.check_answers(&["store unavailable", "outcome unknown", "busy", CUT]);
    let mut client = connect(standby);
    wait_until("what is under way ends", DEADLINE, || {
        let sql = "SELECT FROM pg_stat_activity WHERE application_name = 'vmherd' AND state <> 'idle'";
        client.query(sql, &[]).expect(sql).is_empty()
    });
    history.check_vms(&mut client);
    history.check_tokens(&daemon);
    probe.finish()
}

#[track_caller]
fn connect(cluster: &Cluster) -> Client {
    let url = format!("postgresql://vmherd@{}/{DATABASE}", cluster.host());
    Client::connect(&url, NoTls).expect("a connection to the cluster")
}
