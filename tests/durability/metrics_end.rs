//! The end of a daemon that writes points behind, while somebody keeps its store locked: what was answered is
//! written as long as there is time for it, and what could not be is said.

use std::time::{Duration, Instant};

use crate::common::{DEADLINE, Daemon, wait_until};
use crate::lock::Locked;
use crate::points::{FIRST_SECOND, Point, get, put_all};

/// Longer than most of what is to be written may take, and well within the time to stop.
const LOCKED: Duration = Duration::from_millis(6500);
const COUNT: i64 = 50;
const LOST: &str = "points that were acknowledged could not be written to the store and are lost: 50";

fn points() -> Vec<Point> {
    (0..COUNT).map(|at| Point { key: "key".to_owned(), second: FIRST_SECOND + at, value: 0.5 }).collect()
}

/// A daemon that has answered points and can't write them.
fn locked() -> (Daemon, Locked) {
    let daemon = Daemon::builder().args(["--metrics-durability", "memory"]).start();
    let mut client = daemon.client();
    put_all(&mut client, &points()[..1]);
    let lock = Locked::new(&daemon.state_dir().join("vmherd.sqlite3"));
    put_all(&mut client, &points());
    (daemon, lock)
}

#[test]
fn the_whole_grace_is_there_for_points_that_wait() {
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
fn points_that_could_not_be_written_in_time_are_counted_and_the_end_is_a_failure() {
    let (mut daemon, _lock) = locked();
    let begin = Instant::now();
    daemon.signal("TERM");
    let status = daemon.wait();
    assert_eq!(status.code(), Some(1), "{}", daemon.log());
    assert!(begin.elapsed() > LOCKED, "it gave up after {:?}", begin.elapsed());
    assert_eq!(daemon.log().matches(LOST).count(), 1, "{}", daemon.log());
}

#[test]
fn points_that_a_second_signal_costs_are_counted() {
    let (mut daemon, _lock) = locked();
    daemon.signal("TERM");
    daemon.wait_for_log("stopping, within");
    daemon.signal("TERM");
    let status = daemon.wait();
    assert_eq!(status.code(), Some(128 + 15), "{}", daemon.log());
    assert_eq!(daemon.log().matches(LOST).count(), 1, "{}", daemon.log());
}
