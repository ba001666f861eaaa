//! A disk that refuses to sync while points are put: no put is acknowledged, reads work, and after a restart all
//! acknowledged points are there and none that was never sent.

use crate::common::DaemonFate;
use crate::points::{Counts, Order, Point, PointHistory, PointWriters, get, put, put_all, try_get};
use crate::sync_fault::Fault;

/// The errors for points that were not synced.
const ERRORS: [&str; 2] = ["outcome unknown", "store unavailable"];
const LOG: &str = "vmherd.sqlite3-wal";

fn point(second: i64) -> Point {
    Point { key: "cpu".to_owned(), second, value: second as f64 }
}

/// One of the first syncs fails, each in its turn, while several clients put points.
#[test]
fn no_failed_sync_acknowledges_a_missing_point() {
    let mut total = Counts::default();
    for number in 1..=20 {
        let fault = Fault::new();
        let mut daemon = fault.daemon().start();
        fault.begin_at(LOG, number);
        let mut history = PointHistory::new();
        let writers = PointWriters::start(daemon.address(), 3, &history, DaemonFate::Lives);
        writers.wait_failed(1);
        // Reads are not affected, and writing goes on.
        get(&mut daemon.client(), "*");
        writers.wait_done(10);
        writers.finish(&mut history);
        assert_eq!(fault.end(), 1, "of sync {number}");
        history.check_answers(&ERRORS);
        history.check(&get(&mut daemon.client(), "*"), Order::OfClient);
        daemon.kill();
        daemon.restart();
        history.check(&get(&mut daemon.client(), "*"), Order::OfClient);
        total.add(history.counts);
    }
    println!("20 failed syncs: {total}");
}

/// A kill while every sync fails: unacknowledged points may be there or not.
#[test]
fn unsynced_points_are_not_acknowledged() {
    let fault = Fault::new();
    let mut daemon = fault.daemon().start();
    let mut client = daemon.client();
    put_all(&mut client, &[point(1), point(2)]);
    fault.begin("");
    for answer in put(&mut client, &[point(3), point(4), point(5)]) {
        let error = answer.expect_err("it was not synced");
        assert!(ERRORS.contains(&error.as_str()), "{error}");
    }
    assert_eq!(get(&mut client, "*"), [point(1), point(2)]);
    assert!(fault.hits() > 0);
    daemon.kill();
    fault.end();
    daemon.restart();
    let mut client = daemon.client();
    let found = get(&mut client, "cpu");
    assert_eq!(found[..2], [point(1), point(2)]);
    assert!(found[2..].iter().all(|found| [point(3), point(4), point(5)].contains(found)), "{found:?}");
    put_all(&mut client, &[point(6)]);
    assert_eq!(get(&mut client, "cpu").last(), Some(&point(6)));
}

/// With write-behind `ok` promises less, but a read does not leave out acknowledged points.
#[test]
fn buffered_points_are_written_after_the_disk_recovers() {
    let fault = Fault::new();
    let mut daemon = fault.daemon().args(["--metrics-durability", "memory"]).start();
    let mut client = daemon.client();
    put_all(&mut client, &[point(1)]);
    fault.begin("");
    put_all(&mut client, &[point(2), point(3)]);
    daemon.wait_for_log("points wait to be written");
    let error = try_get(&mut client, "cpu").expect_err("two points are not in the store");
    assert!(["store unavailable", "outcome unknown", "busy"].contains(&error.as_str()), "{error}");
    put_all(&mut client, &[point(4)]);
    fault.end();
    assert_eq!(get(&mut client, "cpu"), [point(1), point(2), point(3), point(4)]);
    daemon.kill();
    daemon.restart();
    assert_eq!(get(&mut daemon.client(), "cpu"), [point(1), point(2), point(3), point(4)]);
}
