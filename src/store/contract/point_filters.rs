//! The contract of reads of points by prefix, and of the latest points.

use super::points::{ALL, DONE, assert_points, key, put, read};
use super::{Fixture, contract, run};
use crate::model::PointFilter;

contract! {
    points_are_found_by_prefix,
    only_the_latest_points_are_found,
}

fn points_are_found_by_prefix(fixture: &Fixture) {
    let mut store = fixture.connect();
    let new =
        [("a.x", 1, 1.0), ("a.y", 2, 2.0), ("b.x", 3, 3.0), ("a%", 4, 4.0), ("a", 5, 5.0), ("a.x", 6, 6.0)];
    assert_eq!(run(&mut *store, put(&new)), DONE);
    for (prefix, expected) in [
        ("a.", vec![new[0], new[5], new[1]]),
        ("a%", vec![new[3]]),
        ("a", vec![new[0], new[5], new[1], new[3], new[4]]),
        ("A", vec![]),
    ] {
        let filter = PointFilter { prefix: Some(key(prefix)), ..ALL };
        for count_max in [1, 2, 100] {
            assert_points(&read(&mut *store, &filter, count_max), &expected);
        }
        let late = PointFilter { from: Some(9), ..filter };
        assert_points(&read(&mut *store, &late, 1), &[]);
    }
}

fn only_the_latest_points_are_found(fixture: &Fixture) {
    let mut store = fixture.connect();
    let new = [("a.x", 5, 1.0), ("a.x", 3, 2.0), ("b", -1, 3.0), ("a.y", 7, 4.0), ("a.y", 8, 5.0)];
    assert_eq!(run(&mut *store, put(&new)), DONE);
    let latest = PointFilter { is_latest: true, ..ALL };
    let all = [new[0], new[2], new[4]];
    for (filter, expected) in [
        (latest.clone(), &all[..]),
        (PointFilter { prefix: Some(key("a.")), ..latest.clone() }, &[new[0], new[4]]),
        (PointFilter { key: Some(key("a.x")), ..latest.clone() }, &all[..1]),
        (PointFilter { to: Some(7), ..latest.clone() }, &[new[0], new[2], new[3]]),
        (PointFilter { from: Some(0), to: Some(4), ..latest.clone() }, &[new[1]]),
        (PointFilter { from: Some(9), ..latest.clone() }, &[]),
    ] {
        for count_max in [1, 2, 100] {
            assert_points(&read(&mut *store, &filter, count_max), expected);
        }
    }
    // A point that is put between two pages gives its series no second latest one.
    let next = store.points().points_after(&latest, None, 1).unwrap().next;
    assert_eq!(run(&mut *store, put(&[("a.x", 6, 6.0)])), DONE);
    assert_eq!(store.points().points_after(&latest, next, 9).unwrap().series.len(), 2);
}
