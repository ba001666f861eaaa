//! The stop of a daemon with write-behind while another process locks its store, or the store is away: acknowledged points
//! are written within the grace period, and the others are counted in the log.

use std::fs;
use std::time::{Duration, Instant};

use crate::common::{DEADLINE, Daemon, wait_until};
use crate::lock::Locked;
use crate::points::{FIRST_SECOND, Point, get, put_all};

/// Longer than writes usually wait, and well within the grace period.
const LOCKED: Duration = Duration::from_millis(6500);
const COUNT: i64 = 50;
const LOST: &str = "points that were acknowledged could not be written to the store and are lost: 50";

fn points() -> Vec<Point> {
    (0..COUNT).map(|at| Point { key: "key".to_owned(), second: FIRST_SECOND + at, value: 0.5 }).collect()
}

/// A daemon that has acknowledged points and cannot write them.
fn locked() -> (Daemon, Locked) {
    let daemon = Daemon::builder().args(["--metrics-durability", "memory"]).start();
    let mut client = daemon.client();
    put_all(&mut client, &points()[..1]);
    let lock = Locked::new(&daemon.state_dir().join("vmherd.sqlite3"));
    put_all(&mut client, &points());
    (daemon, lock)
}

#[test]
fn buffered_points_get_the_whole_grace_period() {
    let (mut daemon, lock) = locked();
    let begin = Instant::now();
    daemon.signal("TERM");
    wait_until("the lock goes", DEADLINE, || begin.elapsed() > LOCKED);
    drop(lock);
    let status = daemon.wait();
    assert_eq!(status.code(), Some(0), "{}", daemon.log());
    daemon.restart();
    assert_eq!(get(&mut daemon.client(), "*"), points());
}

#[test]
fn points_unwritten_at_the_deadline_are_counted_and_fail_the_exit() {
    let (mut daemon, _lock) = locked();
    let begin = Instant::now();
    daemon.signal("TERM");
    let status = daemon.wait();
    assert_eq!(status.code(), Some(1), "{}", daemon.log());
    assert!(begin.elapsed() > LOCKED, "it gave up after {:?}", begin.elapsed());
    assert_eq!(daemon.log().matches(LOST).count(), 1, "{}", daemon.log());
}

#[test]
fn points_of_a_store_that_is_away_are_counted_and_fail_the_exit() {
    let (mut daemon, lock) = locked();
    let store = daemon.state_dir().join("vmherd.sqlite3");
    let away = daemon.state_dir().join("away");
    fs::rename(&store, &away).expect("renamed");
    drop(lock);
    daemon.signal("TERM");
    let status = daemon.wait();
    assert_eq!(status.code(), Some(1), "{}", daemon.log());
    let log = daemon.log();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains(LOST)).collect();
    assert!(lines.len() == 1 && lines[0].contains(" ERROR "), "{log}");
    // Points that were written before are in it.
    fs::rename(&away, &store).expect("renamed");
    daemon.restart();
    assert_eq!(get(&mut daemon.client(), "*"), points()[..1]);
}

#[test]
fn points_lost_to_a_second_signal_are_counted() {
    let (mut daemon, _lock) = locked();
    daemon.signal("TERM");
    daemon.wait_for_log("stopping, within");
    daemon.signal("TERM");
    let status = daemon.wait();
    assert_eq!(status.code(), Some(128 + 15), "{}", daemon.log());
    assert_eq!(daemon.log().matches(LOST).count(), 1, "{}", daemon.log());
}
