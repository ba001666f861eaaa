//! A silent server: its network drops every packet, or its processes are stopped (SIGSTOP).
//!
//! Tests that need a network run in a network namespace of their own, in which this binary starts itself again: there a
//! server can listen on TCP, and dropped packets disturb no other process.

#![allow(unreachable_pub)]

use std::time::{Duration, Instant};

use serde_json::json;

use crate::cluster::Cluster;
use crate::common::{
    Client, DEADLINE, Daemon, DaemonFate, Drops, is_in_a_namespace, registration, request,
    run_in_a_namespace, send_signal, wait_until,
};
use crate::overload::{LatencyProbe, alone, best_of_three, statistic};
use crate::traffic::{CUT, Traffic};
use crate::{BACK_MAX, WAIT_MAX, amount, daemon_on, time_until_back};

/// The errors that are allowed while the server is silent.
const ALLOWED: &[&str] = &["store unavailable", "outcome unknown", "busy", CUT];

#[test]
fn requests_are_answered_by_the_deadline_despite_dropped_packets() {
    let _alone = alone();
    if !is_in_a_namespace() {
        return run_in_a_namespace("network::requests_are_answered_by_the_deadline_despite_dropped_packets");
    }
    best_of_three("dropped packets", || {
        let cluster = Cluster::start();
        let database = cluster.database();
        let address = "127.0.0.1";
        listen_on_tcp(&cluster, address);
        let url = format!("postgresql://vmherd@{address}/{}", database.name());
        let daemon = Daemon::builder().args(["--store", &url]).start();
        let probe = LatencyProbe::start(&daemon);
        for round in 0..amount(1, 5) {
            let traffic = Traffic::start(&daemon, 6, DaemonFate::Lives);
            traffic.wait_done(50);
            let drops = silence(address);
            let end = Instant::now() + Duration::from_secs(5);
            traffic.wait_failed(6);
            wait_until("five seconds are over", Duration::from_secs(6), || Instant::now() >= end);
            drop(drops);
            let time = time_until_back(&daemon, &round.to_string());
            eprintln!("  round {round}: back after {time:?}");
            assert!(time <= BACK_MAX, "back after {time:?}");
            traffic.wait_done(50);
            let history = traffic.finish();
            history.check_answers(ALLOWED);
            history.check(&database, &daemon);
        }
        probe.finish()
    });
}

#[test]
fn a_frozen_server_is_reported_by_the_deadline() {
    let _alone = alone();
    best_of_three("a server whose processes are stopped", || {
        let cluster = Cluster::start();
        let database = cluster.database();
        let daemon = daemon_on(&database).start();
        let probe = LatencyProbe::start(&daemon);
        let mut operator = daemon.operator();
        for round in 0..amount(1, 5) {
            let traffic = Traffic::start(&daemon, 12, DaemonFate::Lives);
            traffic.wait_done(50);
            cluster.pause();
            let end = Instant::now() + Duration::from_secs(8);
            let mut stuck_max = [0; 2];
            wait_until("threads of both lanes were stuck for a while", 3 * DEADLINE, || {
                for (stuck_max, lane) in stuck_max.iter_mut().zip(["read", "write"]) {
                    *stuck_max = statistic(&mut operator, &format!("{lane}_threads_stuck")).max(*stuck_max);
                }
                Instant::now() >= end && !stuck_max.contains(&0)
            });
            cluster.resume();
            let time = time_until_back(&daemon, &round.to_string());
            eprintln!("  round {round}: back after {time:?}, {stuck_max:?} threads stuck");
            assert!(time <= BACK_MAX, "back after {time:?}");
            let is_bounded = |(stuck, threads)| (1..=2 * threads).contains(&stuck);
            let threads = [crate::overload::cores() as u64, WRITERS];
            assert!(stuck_max.into_iter().zip(threads).all(is_bounded), "{stuck_max:?} threads are stuck");
            traffic.wait_done(50);
            let history = traffic.finish();
            history.check_answers(ALLOWED);
            history.check(&database, &daemon);
            wait_until("no thread is stuck", Duration::from_secs(10), || {
                ["read_threads_stuck", "write_threads_stuck"]
                    .iter()
                    .all(|name| statistic(&mut operator, name) == 0)
            });
        }
        probe.finish()
    });
}

/// The server processes of the daemon's writers are stopped, those of its readers are not.
#[test]
fn reads_continue_while_writes_hang() {
    let _alone = alone();
    best_of_three("writers that hang", || {
        let cluster = Cluster::start();
        let database = cluster.database();
        let daemon = daemon_on(&database).start();
        let mut client = daemon.client();
        client.register("reader", &[1]);
        client.authenticate("reader");
        let probe = LatencyProbe::start(&daemon);
        let sql =
            "SELECT pid FROM pg_stat_activity WHERE application_name = 'vmherd' AND query LIKE '%COMMIT'";
        let rows = database.client().query(sql, &[]).expect(sql);
        let pids: Vec<u32> = rows.iter().map(|row| row.get::<_, i32>(0).unsigned_abs()).collect();
        assert!(!pids.is_empty(), "a worker has written");
        pids.iter().for_each(|pid| send_signal("STOP", *pid));
        // One write for each worker to hang; other writes get new workers.
        let mut writers: Vec<Client> = pids.iter().map(|_| daemon.client()).collect();
        let begin = Instant::now();
        for (number, writer) in writers.iter_mut().enumerate() {
            writer.send(&registration(&format!("vm-{number}"), &[1]).to_string());
        }
        let mut reads = 0;
        while !writers[0].has_input(Duration::from_millis(1)) {
            let begin = Instant::now();
            assert_eq!(client.list("all_vms").len(), 1);
            client.succeed("list", json!({"list_type": "authenticated_vms"}));
            assert!(begin.elapsed() < BACK_MAX, "reads took {:?}", begin.elapsed());
            reads += 1;
        }
        for writer in &mut writers {
            assert_eq!(writer.error(), "outcome unknown");
        }
        assert!(begin.elapsed() <= WAIT_MAX, "{:?}", begin.elapsed());
        assert!(reads > 0, "no reads went on");
        // Other workers replace those that hang.
        let begin = Instant::now();
        daemon.client().register("between", &[1]);
        assert!(begin.elapsed() < BACK_MAX, "a write took {:?}", begin.elapsed());
        let mut operator = daemon.operator();
        assert_eq!(statistic(&mut operator, "write_threads_stuck"), pids.len() as u64);
        pids.iter().for_each(|pid| send_signal("CONT", *pid));
        wait_until("no thread is stuck", Duration::from_secs(10), || {
            statistic(&mut operator, "write_threads_stuck") == 0
        });
        client.call(request("ping", json!({})));
        probe.finish()
    });
}

/// Makes the cluster listen on an address, too; in the namespace all ports are free.
#[track_caller]
pub fn listen_on_tcp(cluster: &Cluster, address: &str) {
    let sql = format!("ALTER SYSTEM SET listen_addresses = '{address}'");
    let url = format!("postgresql://vmherd@{}/postgres", cluster.host());
    let mut client = postgres::Client::connect(&url, postgres::NoTls).expect("a connection");
    client.batch_execute(&sql).expect(&sql);
    cluster.stop();
    cluster.restart();
}

/// Packets to and from the server at an address vanish while the result lives.
#[track_caller]
pub fn silence(address: &str) -> Drops {
    Drops::begin(&[
        &format!("ip daddr {address} tcp dport 5432"),
        &format!("ip saddr {address} tcp sport 5432"),
    ])
}

/// Threads that write at a time.
const WRITERS: u64 = 4;
