//! `--metrics-durability memory`: points are acknowledged before they are on the disk, and are written within a second.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::common::{Builder, DEADLINE, Daemon, DaemonFate, require, wait_until};
use crate::points::{Point, PointHistory, PointWriters, get, put_all};

/// The promised delay of a write.
const WRITE_DELAY_MAX: Duration = Duration::from_secs(1);
/// The delay that a busy machine adds.
const SLACK: Duration = Duration::from_secs(20);

fn memory() -> Builder {
    Daemon::builder().args(["--metrics-durability", "memory"])
}

fn points(seconds: std::ops::Range<i64>) -> Vec<Point> {
    let point = |second| Point { key: format!("key-{}", second % 3), second, value: second as f64 / 7.0 };
    seconds.map(point).collect()
}

/// The same in the order of a `get`: by key, then by time.
fn by_key(mut points: Vec<Point>) -> Vec<Point> {
    points.sort_by(|one, other| (&one.key, one.second).cmp(&(&other.key, other.second)));
    points
}

#[test]
fn the_daemon_logs_that_it_uses_write_behind() {
    let daemon = memory().start();
    assert!(daemon.log().contains("points are acknowledged before they are on disk"), "{}", daemon.log());
    put_all(&mut daemon.client(), &points(0..30));
    let counters = daemon.operator().succeed("stats", json!({}));
    assert_eq!(counters["points_written_behind"], json!(1));
    daemon.wait_for_counter("points_unwritten", |count| count == 0);

    let daemon = Daemon::start();
    assert!(!daemon.log().contains("before they are on the disk"), "{}", daemon.log());
    let counters = daemon.operator().succeed("stats", json!({}));
    assert_eq!((&counters["points_written_behind"], &counters["points_unwritten"]), (&json!(0), &json!(0)));
}

#[test]
fn a_get_after_a_put_sees_the_point() {
    let daemon = memory().start();
    let (mut client, mut other) = (daemon.client(), daemon.client());
    for round in 0..50 {
        put_all(&mut client, &points(10 * round..10 * round + 10));
        let expected = by_key(points(0..10 * round + 10));
        assert_eq!(get(&mut client, "*"), expected);
        assert_eq!(get(&mut other, "*"), expected);
    }
}

#[test]
fn a_stopping_daemon_writes_all_buffered_points() {
    let mut daemon = memory().start();
    for round in 0..5 {
        put_all(&mut daemon.client(), &points(1000 * round..1000 * round + 1000));
        daemon.restart();
        assert_eq!(get(&mut daemon.client(), "*"), by_key(points(0..1000 * round + 1000)));
    }
}

/// The same while clients go on.
#[test]
fn a_stop_under_load_loses_no_acknowledged_point() {
    let (mut daemon, mut history) = (memory().start(), PointHistory::new());
    for _ in 0..5 {
        let writers = PointWriters::start(daemon.address(), 4, &history, DaemonFate::Dies);
        writers.wait_done(100);
        daemon.stop();
        writers.finish(&mut history);
        daemon.restart();
        let found = get(&mut daemon.client(), "*");
        history.check_promised_for(&found, Duration::ZERO, Instant::now());
    }
    println!("5 stops with write-behind: {}", history.counts);
}

/// Another program sees the points in the file, although no client reads them.
#[test]
fn points_are_written_within_a_second() {
    require("python3", "python3");
    let daemon = memory().start();
    let mut client = daemon.client();
    // So that the keys exist.
    put_all(&mut client, &points(0..3));
    let script = "import sqlite3, sys, time\n\
                  connection = sqlite3.connect(sys.argv[1], isolation_level=None)\n\
                  count = lambda: connection.execute('SELECT count(*) FROM points').fetchone()[0]\n\
                  print(count(), flush=True)\n\
                  end = time.monotonic() + 10\n\
                  while count() < 33 and time.monotonic() < end: time.sleep(0.002)\n\
                  print(count(), flush=True)\n";
    let mut command = Command::new("python3");
    command.args(["-c", script]).arg(file_of(&daemon)).stdout(Stdio::piped());
    let mut reader = command.spawn().expect("python3 can be run");
    let mut lines = BufReader::new(reader.stdout.take().expect("piped")).lines();
    let mut line = || lines.next().expect("a line").expect("a line");
    assert_eq!(line(), "3", "this test needs python3 with its sqlite3 module");
    let begin = Instant::now();
    put_all(&mut client, &points(3..33));
    let answered = begin.elapsed();
    assert_eq!(line(), "33");
    let written = begin.elapsed();
    reader.wait().expect("it ends");
    assert!(written <= WRITE_DELAY_MAX + SLACK, "written after {written:?}");
    println!("answered after {answered:?}, written after {written:?}");
}

fn file_of(daemon: &Daemon) -> PathBuf {
    daemon.state_dir().join("vmherd.sqlite3")
}

/// A kill loses at most the points of the last second, and none from the middle of a series.
#[test]
fn a_kill_loses_at_most_one_second_of_points() {
    let (mut daemon, mut history) = (memory().start(), PointHistory::new());
    let writers = PointWriters::start(daemon.address(), 4, &history, DaemonFate::Dies);
    let begin = Instant::now();
    wait_until("there are points that are old enough", DEADLINE, || begin.elapsed() > 2 * WRITE_DELAY_MAX);
    let end = Instant::now();
    daemon.kill();
    writers.finish(&mut history);
    history.check_answers(&[]);
    daemon.restart();
    let found = get(&mut daemon.client(), "*");
    history.check_promised_for(&found, WRITE_DELAY_MAX + SLACK, end);
    println!("killed with write-behind: acked={} recovered={}", history.counts.acked, found.len());
}
