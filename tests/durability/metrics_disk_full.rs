//! A disk that is full while points are put: they are refused and say that nothing was done, reads go on, and
//! when there is room again everything goes on.

use crate::common::{Client, Daemon};
use crate::disk_full::SmallDisk;
use crate::points::{Counts, Ledger, May, Order, Point, Putters, get, put, put_all};

/// Puts points until one is refused, and says why; those that were acknowledged are added to `points`.
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
    // Reads go on.
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

/// The disk fills up while many put at once: each of them gets the truth.
#[test]
fn points_that_share_a_commit_share_its_failure() {
    let builder = Daemon::builder();
    // Those that put don't rest while there is room, however fast the machine is.
    let disk = SmallDisk::mount(&builder, 256);
    let mut daemon = disk.daemon(builder).start();
    let (mut ledger, mut total) = (Ledger::new(), Counts::default());
    let putters = Putters::start(daemon.address(), 4, &ledger, May::Live);
    for _ in 0..3 {
        putters.wait_done(1);
        disk.fill();
        putters.wait_failed(50);
        get(&mut daemon.client(), "*");
        disk.free();
        putters.wait_done(4);
    }
    putters.finish(&mut ledger);
    ledger.check_answers(&["store unavailable"]);
    ledger.check(&get(&mut daemon.client(), "*"), Order::OfClient);
    daemon.kill();
    daemon.restart();
    ledger.check(&get(&mut daemon.client(), "*"), Order::OfClient);
    total.add(ledger.counts);
    println!("3 full disks: {total}");
}
