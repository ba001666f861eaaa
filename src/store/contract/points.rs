//! Series of metrics and their points.

use super::*;
use crate::ids::SeriesId;
use crate::model::{MetricKey, MetricValue, NewPoint, Point, PointFilter};
use crate::store::{PointPage, PointPosition, PointRemoval, RemovedPoints};

contract! {
    points_are_ordered_by_series_then_time,
    a_later_point_replaces_an_earlier_one,
    values_and_timestamps_read_back_unchanged,
    keys_are_compared_byte_by_byte,
    keys_respect_the_limit,
    an_atomic_put_stores_all_points_or_none,
    pages_of_points_have_no_gaps_or_duplicates,
    a_page_scans_at_most_as_many_series_as_it_holds_points,
    points_are_found_by_key_and_time,
    old_points_are_removed_in_steps,
    a_key_reused_after_removal_gets_a_new_series,
    a_scan_continues_after_its_series_was_removed,
    put_needs_a_current_login,
    puts_of_a_batch_apply_in_order,
}

const KEYS_MAX: u64 = 1000;
pub(in super::super) const ALL: PointFilter =
    PointFilter { key: None, prefix: None, from: None, to: None, is_latest: false };
pub(in super::super) const DONE: WriteOutcome = Ok(Written::Put { refused: Vec::new() });

pub(in super::super) fn key(text: &str) -> MetricKey {
    MetricKey::parse(text).expect(text)
}

fn value(number: f64) -> MetricValue {
    MetricValue::new(number).expect("a finite number")
}

fn points(points: &[(&str, i64, f64)]) -> Arc<Vec<NewPoint>> {
    let point = |(text, second, number): &(&str, i64, f64)| NewPoint {
        key: key(text),
        point: Point { timestamp: *second, value: value(*number) },
    };
    Arc::new(points.iter().map(point).collect())
}

pub(in super::super) fn put(new: &[(&str, i64, f64)]) -> Write {
    put_up_to(KEYS_MAX, new)
}

pub(in super::super) fn put_up_to(keys_max: u64, new: &[(&str, i64, f64)]) -> Write {
    Write::Put { login: None, points: points(new), keys_max, is_atomic: false }
}

fn put_together(keys_max: u64, new: &[(&str, i64, f64)]) -> Write {
    Write::Put { login: None, points: points(new), keys_max, is_atomic: true }
}

pub(in super::super) fn of_key(text: &str) -> PointFilter {
    PointFilter { key: Some(key(text)), ..ALL }
}

fn between(from: i64, to: i64) -> PointFilter {
    PointFilter { from: Some(from), to: Some(to), ..ALL }
}

/// The points that match `filter`, read in pages of `count_max`.
pub(super) fn read(store: &mut dyn Store, filter: &PointFilter, count_max: usize) -> Vec<(String, i64, f64)> {
    let mut found = Vec::new();
    let mut after = None;
    for _ in 0..10_000 {
        let page = store.points().points_after(filter, after, count_max).expect("a working store");
        assert!(page.series.iter().all(|series| !series.points.is_empty()));
        assert!(page.series.iter().map(|series| series.points.len()).sum::<usize>() <= count_max);
        found.extend(page.series.iter().flat_map(|series| {
            let of = |point: &Point| (series.key.to_string(), point.timestamp, point.value.get());
            series.points.iter().map(of)
        }));
        after = page.next;
        if after.is_none() {
            return found;
        }
    }
    panic!("pages have no end");
}

pub(in super::super) fn all(store: &mut dyn Store) -> Vec<(String, i64, f64)> {
    read(store, &ALL, 1000)
}

#[track_caller]
pub(in super::super) fn assert_points(found: &[(String, i64, f64)], expected: &[(&str, i64, f64)]) {
    let found: Vec<(&str, i64, f64)> =
        found.iter().map(|(key, at, value)| (key.as_str(), *at, *value)).collect();
    assert_eq!(found, expected);
}

fn points_are_ordered_by_series_then_time(fixture: &Fixture) {
    let mut store = fixture.connect();
    assert_eq!(store.points().points_after(&ALL, None, 10), Ok(PointPage::default()));
    assert_eq!(
        run(&mut *store, put(&[("palm.cpu", 20, 2.0), ("eardrum.cpu", 10, 3.0), ("palm.cpu", 10, 1.0)])),
        DONE
    );
    assert_eq!(run(&mut *store, put(&[("a", 5, 4.0), ("eardrum.cpu", -7, 5.0)])), DONE);
    assert_points(
        &all(&mut *store),
        &[
            ("palm.cpu", 10, 1.0),
            ("palm.cpu", 20, 2.0),
            ("eardrum.cpu", -7, 5.0),
            ("eardrum.cpu", 10, 3.0),
            ("a", 5, 4.0),
        ],
    );
    let page = store.points().points_after(&ALL, None, 10).unwrap();
    let ids: Vec<SeriesId> = page.series.iter().map(|series| series.id).collect();
    assert!(page.next.is_none() && ids.is_sorted() && ids.len() == 3, "{page:?}");
    assert_eq!(run(&mut *store, put(&[])), DONE);
}

fn a_later_point_replaces_an_earlier_one(fixture: &Fixture) {
    let mut store = fixture.connect();
    assert_eq!(run(&mut *store, put(&[("a", 1, 1.0), ("b", 1, 9.0), ("a", 1, 2.0), ("a", 1, 3.0)])), DONE);
    assert_points(&all(&mut *store), &[("a", 1, 3.0), ("b", 1, 9.0)]);
    assert_eq!(run(&mut *store, put(&[("a", 1, 4.0)])), DONE);
    let outcomes = store.write_all(&[put(&[("b", 1, 5.0)]), put(&[("b", 1, 6.0)]), put(&[("c", 0, 1.0)])]);
    assert_eq!(outcomes, [DONE, DONE, DONE]);
    assert_points(&all(&mut *store), &[("a", 1, 4.0), ("b", 1, 6.0), ("c", 0, 1.0)]);
}

fn values_and_timestamps_read_back_unchanged(fixture: &Fixture) {
    let mut store = fixture.connect();
    let numbers = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        10.0,
        0.1 + 0.2,
        1e300,
        f64::MAX,
        f64::MIN,
        f64::MIN_POSITIVE,
        5e-324,
        -5e-324,
        9_007_199_254_740_993.0,
        1e18,
        9.3e18,
        std::f64::consts::PI,
    ];
    let seconds = [i64::MIN, i64::MIN + 1, -1, 0, 1, i64::MAX - 1, i64::MAX];
    let new: Vec<(&str, i64, f64)> = seconds
        .iter()
        .map(|second| ("time", *second, 1.0))
        .chain(numbers.iter().zip(0..).map(|(number, second)| ("value", second, *number)))
        .collect();
    assert_eq!(run(&mut *store, put(&new)), DONE);
    for count_max in [1, 2, 100] {
        let found = read(&mut *store, &ALL, count_max);
        assert_points(&found, &new);
        let bits = |value: &f64| value.to_bits();
        let found: Vec<u64> = found.iter().skip(seconds.len()).map(|(_, _, value)| bits(value)).collect();
        assert_eq!(found, numbers.iter().map(bits).collect::<Vec<_>>());
    }
    assert_points(&read(&mut *store, &between(i64::MAX, i64::MAX), 10), &[("time", i64::MAX, 1.0)]);
    assert_points(&read(&mut *store, &between(i64::MIN, i64::MIN), 10), &[("time", i64::MIN, 1.0)]);
    assert_points(&read(&mut *store, &between(1, 0), 10), &[]);
    assert_points(&read(&mut *store, &between(i64::MAX, i64::MIN), 10), &[]);
}

fn keys_are_compared_byte_by_byte(fixture: &Fixture) {
    let mut store = fixture.connect();
    let longest = "k".repeat(crate::limits::METRIC_KEY_BYTES_MAX);
    let keys = [
        "a", "A", "a.", "*", "ä", "a\u{308}", "%", "_", "'", "\"", "\\", "{}", "NULL", "1", "01", "1.0",
        &longest,
    ];
    let new: Vec<(&str, i64, f64)> = keys.iter().zip(0..).map(|(key, n)| (*key, n, n as f64)).collect();
    assert_eq!(run(&mut *store, put(&new)), DONE);
    assert_points(&all(&mut *store), &new);
    for one in &new {
        assert_points(&read(&mut *store, &of_key(one.0), 10), &[*one]);
    }
    assert_points(&read(&mut *store, &of_key("b"), 10), &[]);
}

fn keys_respect_the_limit(fixture: &Fixture) {
    let mut store = fixture.connect();
    let refused = |places: &[usize]| Ok(Written::Put { refused: places.to_vec() });
    let new = [("a", 1, 1.0), ("b", 1, 1.0), ("c", 1, 1.0), ("b", 2, 1.0), ("d", 1, 1.0), ("c", 2, 1.0)];
    assert_eq!(run(&mut *store, put_up_to(2, &new)), refused(&[2, 4, 5]));
    assert_points(&all(&mut *store), &[("a", 1, 1.0), ("b", 1, 1.0), ("b", 2, 1.0)]);
    // Existing keys still work, even when more exist than are allowed.
    for keys_max in [2, 1, 0] {
        assert_eq!(run(&mut *store, put_up_to(keys_max, &[("b", 3, 1.0), ("a", 1, 2.0)])), DONE);
        assert_eq!(run(&mut *store, put_up_to(keys_max, &[("b", 4, 1.0), ("c", 1, 2.0)])), refused(&[1]));
    }
    let outcomes = store.write_all(&[
        put_up_to(3, &[("c", 1, 1.0)]),
        put_up_to(3, &[("d", 1, 1.0), ("c", 2, 1.0)]),
        put_up_to(4, &[("e", 1, 1.0)]),
        put_up_to(4, &[("f", 1, 1.0)]),
    ]);
    assert_eq!(outcomes, [DONE, refused(&[0]), DONE, refused(&[0])]);
    let keys: Vec<String> = all(&mut *store).into_iter().map(|(key, _, _)| key).collect();
    assert_eq!(keys, ["a", "b", "b", "b", "b", "c", "c", "e"]);
    assert_eq!(run(&mut *fixture.connect(), put_up_to(4, &[("g", 1, 1.0)])), refused(&[0]));
    assert_eq!(run(&mut *fixture.connect(), put_up_to(5, &[("g", 1, 1.0)])), DONE);
}

fn an_atomic_put_stores_all_points_or_none(fixture: &Fixture) {
    let mut store = fixture.connect();
    let too_many = |place| Err(StoreError::KeyLimitReached(place));
    assert_eq!(
        run(&mut *store, put_together(1, &[("a", 1, 1.0), ("a", 2, 1.0), ("b", 1, 1.0)])),
        too_many(2)
    );
    assert_points(&all(&mut *store), &[]);
    assert_eq!(run(&mut *store, put_together(1, &[("a", 1, 1.0), ("a", 2, 1.0)])), DONE);
    let outcomes = store.write_all(&[
        put_together(2, &[("a", 3, 1.0), ("b", 1, 1.0), ("c", 1, 1.0)]),
        put_together(2, &[("a", 1, 7.0), ("b", 1, 2.0)]),
        put_together(2, &[("a", 1, 8.0), ("d", 1, 2.0), ("e", 1, 2.0)]),
        put_up_to(2, &[("d", 1, 2.0), ("b", 2, 3.0)]),
    ]);
    assert_eq!(outcomes, [too_many(2), DONE, too_many(1), Ok(Written::Put { refused: vec![0] })]);
    assert_points(&all(&mut *store), &[("a", 1, 7.0), ("a", 2, 1.0), ("b", 1, 2.0), ("b", 2, 3.0)]);
}

fn pages_of_points_have_no_gaps_or_duplicates(fixture: &Fixture) {
    let mut store = fixture.connect();
    let keys: Vec<String> = (0..7).map(|n| format!("key-{n}")).collect();
    let new: Vec<(&str, i64, f64)> = keys
        .iter()
        .enumerate()
        .flat_map(|(n, key)| (0..(n * n) as i64 % 11 + 1).map(move |at| (key.as_str(), at - 3, n as f64)))
        .collect();
    assert_eq!(run(&mut *store, put(&new)), DONE);
    let is_between = |from: i64, to: i64| {
        new.iter().filter(move |(_, at, _)| from <= *at && *at <= to).copied().collect::<Vec<_>>()
    };
    for count_max in (1..=new.len() + 2).chain([usize::MAX]) {
        assert_points(&read(&mut *store, &ALL, count_max), &new);
        assert_points(&read(&mut *store, &between(0, 2), count_max), &is_between(0, 2));
        assert_points(&read(&mut *store, &between(3, 100), count_max), &is_between(3, 100));
        assert_points(&read(&mut *store, &between(100, 200), count_max), &[]);
        for key in &keys {
            let of_it: Vec<_> = new.iter().filter(|(of, _, _)| of == key).copied().collect();
            assert_points(&read(&mut *store, &of_key(key), count_max), &of_it);
        }
    }
    // A scan that starts after each of the points.
    let first = store.points().points_after(&ALL, None, new.len()).unwrap();
    let places = first.series.iter().flat_map(|series| {
        series.points.iter().map(|point| PointPosition { series: series.id, timestamp: point.timestamp })
    });
    for (place, skipped) in places.zip(1..) {
        let rest = store.points().points_after(&ALL, Some(place), usize::MAX).unwrap();
        let count: usize = rest.series.iter().map(|series| series.points.len()).sum();
        assert_eq!((count, rest.next), (new.len() - skipped, None));
    }
    let end = PointPosition { series: SeriesId(i64::MAX), timestamp: i64::MAX };
    assert_eq!(store.points().points_after(&ALL, Some(end), 10), Ok(PointPage::default()));
    assert_eq!(store.points().points_after(&of_key("key-1"), Some(end), 10), Ok(PointPage::default()));
}

fn a_page_scans_at_most_as_many_series_as_it_holds_points(fixture: &Fixture) {
    let mut store = fixture.connect();
    let keys: Vec<String> = (0..20).map(|n| format!("key-{n}")).collect();
    let mut new: Vec<(&str, i64, f64)> = keys.iter().map(|key| (key.as_str(), 1, 1.0)).collect();
    new.push(("key-19", 50, 2.0));
    assert_eq!(run(&mut *store, put(&new)), DONE);
    let filter = between(50, 60);
    let (mut after, mut pages) = (None, Vec::new());
    loop {
        let page = store.points().points_after(&filter, after, 5).unwrap();
        pages.push(page.series.len());
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(pages, [0, 0, 0, 1]);
}

fn points_are_found_by_key_and_time(fixture: &Fixture) {
    let mut store = fixture.connect();
    let new: Vec<(&str, i64, f64)> =
        (0..10).flat_map(|at| [("a", at, at as f64), ("b", at * 10, at as f64)]).collect();
    assert_eq!(run(&mut *store, put(&new)), DONE);
    let filter = |from, to| PointFilter { key: Some(key("a")), from, to, ..ALL };
    for (from, to, expected) in [
        (None, None, 0..10),
        (Some(3), None, 3..10),
        (None, Some(3), 0..4),
        (Some(3), Some(3), 3..4),
        (Some(9), Some(100), 9..10),
        (Some(-5), Some(-1), 0..0),
        (Some(10), None, 0..0),
        (Some(4), Some(3), 0..0),
    ] {
        let expected: Vec<_> = expected.map(|at| ("a", at, at as f64)).collect();
        for count_max in [1, 3, 100] {
            assert_points(&read(&mut *store, &filter(from, to), count_max), &expected);
        }
    }
    assert_points(&read(&mut *store, &between(9, 10), 10), &[("a", 9, 9.0), ("b", 10, 1.0)]);
    assert_points(
        &read(&mut *store, &PointFilter { to: Some(0), ..ALL }, 10),
        &[("a", 0, 0.0), ("b", 0, 0.0)],
    );
}

/// The result of the last step of a removal, which removed `count` points and the series of the keys `gone`.
pub(in super::super) fn removed(count: usize, gone: &[&str]) -> Result<RemovedPoints, StoreError> {
    let gone = gone.iter().map(|key| MetricKey::from_store(key)).collect();
    Ok(RemovedPoints { count, next: None, removed_keys: gone })
}

/// A removal of at most ten points older than `before`.
pub(in super::super) fn older_than(before: i64) -> PointRemoval {
    PointRemoval { before, after: SeriesId(0), count_max: 10 }
}

/// Removes the points older than `before` in steps; returns their number.
pub(in super::super) fn remove(store: &mut dyn Store, before: i64, count_max: usize) -> usize {
    let (mut after, mut sum) = (SeriesId(0), 0);
    for _ in 0..10_000 {
        match store.remove_points(PointRemoval { before, after, count_max }) {
            Ok(RemovedPoints { count, next, .. }) => {
                assert!(count <= count_max);
                sum += count;
                match next {
                    Some(next) => after = next,
                    None => return sum,
                }
            }
            Err(StoreError::Busy) => {}
            other => panic!("{other:?}"),
        }
    }
    panic!("removing has no end");
}

fn old_points_are_removed_in_steps(fixture: &Fixture) {
    let mut store = fixture.connect();
    assert_eq!(remove(&mut *store, i64::MAX, 3), 0);
    let new: Vec<(&str, i64, f64)> = ["a", "b", "c", "d"]
        .iter()
        .enumerate()
        .flat_map(|(n, key)| (0..10).map(move |at| (*key, at + 5 * n as i64, 1.0)))
        .collect();
    for count_max in [1, 2, 3, 5, 10, 19, 1000] {
        assert_eq!(run(&mut *store, put(&new)), DONE);
        for (before, removed) in [(i64::MIN, 0), (0, 0), (1, 1), (7, 8), (7, 0), (12, 10)] {
            assert_eq!(remove(&mut *store, before, count_max), removed, "before {before} by {count_max}");
            let kept: Vec<_> = new.iter().filter(|(_, at, _)| *at >= before).copied().collect();
            assert_points(&all(&mut *store), &kept);
        }
        assert_eq!(remove(&mut *store, i64::MAX, count_max), 21);
        assert_eq!(all(&mut *store), []);
    }
}

fn a_key_reused_after_removal_gets_a_new_series(fixture: &Fixture) {
    let (mut store, mut other) = (fixture.connect(), fixture.connect());
    assert_eq!(run(&mut *store, put_up_to(2, &[("a", 1, 1.0), ("b", 5, 1.0)])), DONE);
    let id = |store: &mut dyn Store, text: &str| {
        store.points().points_after(&of_key(text), None, 1).unwrap().series[0].id
    };
    let old = id(&mut *store, "a");
    assert_eq!(remove(&mut *other, 3, 10), 1);
    // A series removed by any connection no longer counts, and its key gets a new series.
    assert_eq!(run(&mut *store, put_up_to(2, &[("a", 9, 2.0), ("b", 6, 1.0)])), DONE);
    assert_points(&all(&mut *store), &[("b", 5, 1.0), ("b", 6, 1.0), ("a", 9, 2.0)]);
    assert!(id(&mut *store, "a") > old);
    let refused = |places: &[usize]| Ok(Written::Put { refused: places.to_vec() });
    assert_eq!(run(&mut *store, put_up_to(2, &[("c", 1, 1.0)])), refused(&[0]));
    assert_eq!(store.remove_points(older_than(7)), removed(2, &["b"]));
    let new = [("b", 8, 1.0), ("c", 8, 1.0), ("b", 9, 1.0)];
    assert_eq!(run(&mut *store, put_up_to(2, &new)), refused(&[1]));
    assert_points(&all(&mut *store), &[("a", 9, 2.0), ("b", 8, 1.0), ("b", 9, 1.0)]);
    // Ids of removed series are not reused, not even the highest.
    let last = id(&mut *store, "b");
    assert_eq!(remove(&mut *store, i64::MAX, 10), 3);
    assert_eq!(run(&mut *other, put(&[("b", 1, 1.0)])), DONE);
    assert!(id(&mut *store, "b") > last);
}

fn a_scan_continues_after_its_series_was_removed(fixture: &Fixture) {
    let mut store = fixture.connect();
    assert_eq!(run(&mut *store, put(&[("a", 1, 1.0), ("a", 2, 1.0), ("b", 50, 1.0), ("c", 60, 1.0)])), DONE);
    let next = store.points().points_after(&ALL, None, 1).unwrap().next;
    let of_key_next = store.points().points_after(&of_key("a"), None, 1).unwrap().next;
    assert_eq!(remove(&mut *store, 10, 10), 2);
    assert_eq!(run(&mut *store, put(&[("a", 1, 3.0)])), DONE);
    let rest = store.points().points_after(&ALL, next, 10).unwrap();
    let keys: Vec<&str> = rest.series.iter().map(|series| series.key.as_str()).collect();
    assert_eq!((keys.as_slice(), rest.next), (["b", "c", "a"].as_slice(), None));
    let rest = store.points().points_after(&of_key("a"), of_key_next, 10).unwrap();
    assert_eq!(rest.series[0].points, [Point { timestamp: 1, value: value(3.0) }]);
}

fn put_needs_a_current_login(fixture: &Fixture) {
    let mut store = fixture.connect();
    let login = register(&mut *store, "web", &[]);
    let put_by = |login: &Login, second| Write::Put {
        login: Some(login.clone()),
        points: points(&[("a", second, 1.0)]),
        keys_max: KEYS_MAX,
        is_atomic: false,
    };
    let stale = Login { epoch: login.epoch + 1, ..login.clone() };
    let nobody = Login { id: VmId(99), ..login.clone() };
    let outcomes = store.write_all(&[
        put_by(&stale, 1),
        put_by(&login, 2),
        put_by(&nobody, 3),
        password("web", "new"),
        put_by(&login, 4),
        put_by(&stale, 5),
    ]);
    let refused = Err(StoreError::NotCurrent);
    assert_eq!(outcomes, [refused.clone(), DONE, refused.clone(), Ok(Written::Done), refused.clone(), DONE]);
    assert_points(&all(&mut *store), &[("a", 2, 1.0), ("a", 5, 1.0)]);
    assert_eq!(store.write_all(&[Write::Remove(name("web")), put_by(&stale, 6)])[1], refused);
    assert_eq!(run(&mut *store, put_by(&stale, 7)), refused);
}

fn puts_of_a_batch_apply_in_order(fixture: &Fixture) {
    let mut store = fixture.connect();
    let outcomes = store.write_all(&[put(&[("a", 1, 1.0), ("b", 1, 1.0)]), registration("web", &[1])]);
    assert_eq!(outcomes, [DONE, Ok(Written::Registered(VmId(1)))]);
    assert_eq!(store.remove_points(older_than(2)), removed(2, &["a", "b"]));
    let outcomes = store.write_all(&[
        registration("web", &[1]),
        put(&[("b", 1, 2.0), ("c", 1, 1.0)]),
        put(&[("c", 1, 2.0)]),
        put(&[("a", 2, 3.0)]),
    ]);
    assert_eq!(outcomes, [Err(StoreError::AlreadyRegistered), DONE, DONE, DONE]);
    assert_eq!(store.remove_points(older_than(1)), removed(0, &[]));
    assert_points(&all(&mut *fixture.connect()), &[("b", 1, 2.0), ("c", 1, 2.0), ("a", 2, 3.0)]);
}
