//! Points that the server does not take.

use std::fs;

use vmherd::client::Point;

use crate::agent::backlog::Backlog;
use crate::agent::sample::Sample;
use crate::common::{DEADLINE, Daemon, wait_until};
use crate::support::{Agent, NAME, Site, assert_no_gap, keys, operator, timestamps, wait_for_samples};

#[test]
fn refused_points_are_dropped_and_the_others_are_sent() {
    let site = Site::new();
    fs::create_dir(site.state_dir()).expect("a new directory");
    let mut backlog = Backlog::open(&site.state_dir(), 1 << 20).expect("a new backlog");
    let values = |timestamp| (0..).take(30).map(move |index| (format!("{NAME}.{index}"), timestamp as f64));
    for timestamp in 1..=20 {
        backlog.append(Sample { timestamp, values: values(timestamp).collect() });
    }
    drop(backlog);
    let daemon = site.daemon().start();
    fill(&daemon, KEYS_MAX - 15);
    // There is room for half of the keys in the backlog, and for none of those that the agent adds.
    let mut agent = Agent::start(site.registering_agent());
    agent.wait_for_log("the server refused ");
    wait_until("the backlog is empty", DEADLINE, || site.backlog_bytes() < 100);
    let mut keys = keys(&daemon);
    keys.retain(|key, _| key.starts_with(NAME));
    assert_eq!(keys.len(), 15, "{keys:?}");
    assert!(keys.values().all(|points| *points == 20), "{keys:?}");
    let log = agent.stop();
    assert!(log.contains("key limit reached") && log.matches("the server refused ").count() < 3, "{log}");
}

#[test]
fn a_busy_store_costs_no_sample() {
    let site = Site::new();
    let daemon = site.daemon().start();
    let mut agent = Agent::start(site.registering_agent());
    wait_for_samples(&daemon, 2);
    // Another process has the store's file for itself: requests fail as `store unavailable`.
    let lock = rusqlite::Connection::open(daemon.state_dir().join("vmherd.sqlite3")).expect("the store");
    lock.execute_batch("BEGIN EXCLUSIVE").expect("the lock");
    wait_until("samples wait", DEADLINE, || site.backlog_bytes() > 1200);
    drop(lock);
    wait_until("the backlog is sent", DEADLINE, || site.backlog_bytes() < 100);
    let log = agent.stop();
    assert!(!log.contains("refused"), "{log}");
    let load = timestamps(&daemon, "load");
    assert_no_gap(&load);
}

/// Gives the server this many keys.
fn fill(daemon: &Daemon, count: usize) {
    let point = |index| Point { key: format!("other-{index}"), value: 1.0, timestamp: Some(1) };
    let points: Vec<Point> = (0..count).map(point).collect();
    operator(daemon).put_many(&points).expect("there is room");
}

/// The most keys that a server has.
const KEYS_MAX: usize = 100_000;
