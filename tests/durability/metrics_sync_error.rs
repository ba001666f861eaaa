//! A disk that refuses to sync while points are put: nobody is told `ok`, reads go on, and after a restart what
//! had been acknowledged is there and nothing that nobody sent.

use crate::points::{Counts, Ledger, May, Order, Point, Putters, get, put, put_all, try_get};
use crate::sync_error::Fault;

/// What a client may be told of points that were not synced.
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
        let mut ledger = Ledger::new();
        let putters = Putters::start(daemon.address(), 3, &ledger, May::Live);
        putters.wait_failed(1);
        // Who reads meanwhile is not told of it, and writing goes on.
        get(&mut daemon.client(), "*");
        putters.wait_done(10);
        putters.finish(&mut ledger);
        assert_eq!(fault.end(), 1, "of sync {number}");
        ledger.check_answers(&ERRORS);
        ledger.check(&get(&mut daemon.client(), "*"), Order::OfClient);
        daemon.kill();
        daemon.restart();
        ledger.check(&get(&mut daemon.client(), "*"), Order::OfClient);
        total.add(ledger.counts);
    }
    println!("20 failed syncs: {total}");
}

/// Killed while every sync fails: what was not acknowledged may be there or not.
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

/// With points that are written behind `ok` promises less, but who reads is not told less than the truth.
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
