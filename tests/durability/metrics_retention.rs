//! `--metrics-retention`: older points are removed, and series without points; by default nothing is removed.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;

use crate::common::{DEADLINE, Daemon, wait_until};
use crate::points::{FIRST_SECOND, Point, get, put, put_all};

/// The key limit.
const KEYS_MAX: usize = 100_000;

fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than 1970");
    now.as_secs().cast_signed()
}

fn point(key: &str, second: i64) -> Point {
    Point { key: key.to_owned(), second, value: 0.1 }
}

/// Also with write-behind, where the answer comes before the write.
#[test]
fn the_key_limit_holds_after_a_series_is_removed() {
    let arguments = ["--metrics-retention", "2s", "--metrics-durability", "memory"];
    let daemon = Daemon::builder().args(arguments).start();
    let mut client = daemon.client();
    put_all(&mut client, &[point("old", FIRST_SECOND)]);
    daemon.wait_for_counter("points_removed", |count| count == 1);
    let later = now() + 3600;
    let others: Vec<Point> = (0..KEYS_MAX).map(|at| point(&format!("key-{at}"), later)).collect();
    others.chunks(4000).for_each(|some| put_all(&mut client, some));
    assert_eq!(put(&mut client, &[point("old", later)]), [Err("key limit reached".to_owned())]);
    assert_eq!(get(&mut client, "old"), []);
    put_all(&mut client, &[point("key-7", later + 1)]);
    assert_eq!(get(&mut client, "key-7"), [point("key-7", later), point("key-7", later + 1)]);
}

#[test]
fn old_points_are_removed_and_new_ones_kept() {
    let mut keeps = Daemon::start();
    let mut removes = Daemon::builder().args(["--metrics-retention", "2s"]).start();
    // More than are removed in one step, in series that lose all, some or none of their points.
    let later = now() + 3600;
    let mut old: Vec<Point> = (0..3000).map(|at| point("old", FIRST_SECOND + at)).collect();
    old.extend((0..50).map(|at| point(&format!("old-{at}"), FIRST_SECOND)));
    old.push(point("both", FIRST_SECOND));
    let new = [point("both", later), point("new", later), point("new", later + 1)];
    let all = [&old[..], &new[..]].concat();
    for daemon in [&keeps, &removes] {
        put_all(&mut daemon.client(), &all);
    }
    let mut client = removes.client();
    wait_until("old points go", DEADLINE, || get(&mut client, "*") == new);
    let removed = |daemon: &Daemon| daemon.operator().succeed("stats", json!({}))["points_removed"].clone();
    assert_eq!(removed(&removes), old.len());
    assert_eq!(get(&mut client, "old"), []);

    // A series without points is removed: its key counts as new, and comes last.
    put_all(&mut client, &[point("old", later)]);
    let expected = [&new[..], &[point("old", later)]].concat();
    assert_eq!(get(&mut client, "*"), expected);
    // A point that grows old is removed as well.
    let soon = point("soon", now());
    put_all(&mut client, std::slice::from_ref(&soon));
    wait_until("a point grows old", DEADLINE, || get(&mut client, "soon").is_empty());
    assert!(now() >= soon.second + 2, "it was not that old");

    // Without the setting nothing is removed in the same time.
    let expected_of_all: Vec<Point> = {
        let mut sorted = all.clone();
        let keys: Vec<String> = all.iter().map(|point| point.key.clone()).collect();
        let index = |key: &str| keys.iter().position(|other| other == key);
        sorted.sort_by_key(|point| (index(&point.key), point.second));
        sorted
    };
    assert_eq!(removed(&keeps), 0);
    assert_eq!(get(&mut keeps.client(), "*"), expected_of_all);
    for daemon in [&mut keeps, &mut removes] {
        daemon.kill();
        daemon.restart();
    }
    assert_eq!(get(&mut keeps.client(), "*"), expected_of_all);
    assert_eq!(get(&mut removes.client(), "*"), expected);
}
