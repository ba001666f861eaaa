//! A full disk while points are put: puts fail and say that nothing was done, reads work, and with free space again
//! everything works.

use crate::common::{Client, Daemon, DaemonFate};
use crate::disk_full::SmallDisk;
use crate::points::{Counts, Order, Point, PointHistory, PointWriters, get, put, put_all};

/// Puts points until one is refused; the error. Adds the acknowledged ones to `points`.
#[track_caller]
fn put_until_refused(client: &mut Client, points: &mut Vec<Point>) -> String {
    for _ in 0..2000 {
        let second = points.len() as i64;
        let point = Point { key: "cpu".to_owned(), second, value: second as f64 / 3.0 };
        match put(client, std::slice::from_ref(&point)).remove(0) {
            Ok(()) => points.push(point),
            Err(error) => return error,
        }
    }
    panic!("a full disk takes point after point");
}

#[test]
fn a_full_disk_rejects_points_and_loses_none() {
    let builder = Daemon::builder();
    let disk = SmallDisk::mount(&builder, 1);
    let mut daemon = disk.daemon(builder).start();
    let (mut client, mut points) = (daemon.client(), Vec::new());
    let first = Point { key: "memory".to_owned(), second: 7, value: 0.5 };
    put_all(&mut client, std::slice::from_ref(&first));

    disk.fill();
    assert_eq!(put_until_refused(&mut client, &mut points), "store unavailable");
    assert_eq!(put_until_refused(&mut client, &mut points), "store unavailable");
    // Reads work.
    assert_eq!(get(&mut client, "cpu"), points);
    assert_eq!(get(&mut daemon.client(), "memory"), [first]);

    disk.free();
    let later = Point { key: "cpu".to_owned(), second: 1_000_000, value: -0.0 };
    put_all(&mut client, std::slice::from_ref(&later));
    assert_eq!(get(&mut client, "cpu"), [&points[..], &[later]].concat());
    disk.fill();
    daemon.kill();
    disk.free();
    daemon.restart();
    assert_eq!(get(&mut daemon.client(), "cpu").len(), points.len() + 1);
}

/// The disk fills up while many clients put at once: each gets the true outcome.
#[test]
fn points_that_share_a_commit_share_its_failure() {
    let builder = Daemon::builder();
    // So large that it is not filled before it should be, however fast the machine is.
    let disk = SmallDisk::mount(&builder, 256);
    let mut daemon = disk.daemon(builder).start();
    let (mut history, mut total) = (PointHistory::new(), Counts::default());
    let writers = PointWriters::start(daemon.address(), 4, &history, DaemonFate::Lives);
    for _ in 0..3 {
        writers.wait_done(1);
        disk.fill();
        writers.wait_failed(50);
        get(&mut daemon.client(), "*");
        disk.free();
        writers.wait_done(4);
    }
    writers.finish(&mut history);
    history.check_answers(&["store unavailable"]);
    history.check(&get(&mut daemon.client(), "*"), Order::OfClient);
    daemon.kill();
    daemon.restart();
    history.check(&get(&mut daemon.client(), "*"), Order::OfClient);
    total.add(history.counts);
    println!("3 full disks: {total}");
}
