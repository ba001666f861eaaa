//! Metrics in a file: the cache is never outdated, and the order survives the process.

use super::super::super::contract::points::{ALL, DONE, all, assert_points, put, put_up_to, remove};
use super::*;
use crate::ids::SeriesId;

#[test]
fn a_registry_only_file_is_migrated() {
    let directory = Directory::new();
    let path = directory.path("vmherd.db");
    let mut before = store(&path);
    let login = register(&mut before, "a", &[1, 2]);
    run(&mut before, issue(&login, token(1), NOW.0 + 10)).unwrap();
    let vms = all_vms(&mut before);
    // The state that a version without metrics left.
    before
        .connection
        .execute_batch(
            "DROP INDEX vms_managed; ALTER TABLE vms DROP COLUMN managed_by; ALTER TABLE vms DROP COLUMN last_seen;
             ALTER TABLE vms DROP COLUMN last_address; DROP TABLE changes; DROP TABLE points; DROP TABLE series; DROP TABLE access_tokens; DELETE FROM schema WHERE version > 1",
        )
        .unwrap();
    drop(before);
    let mut after = store(&path);
    assert_eq!(number(&after.connection, "SELECT count(*) FROM schema"), 6);
    assert_eq!(all_vms(&mut after), vms);
    assert_eq!(after.registry().token_owner(&token(1), NOW), Ok(Some(login)));
    assert_eq!(run(&mut after, put(&[("a", 1, 1.0)])), DONE);
    assert_points(&all(&mut after), &[("a", 1, 1.0)]);
}

#[test]
fn points_and_their_order_survive_reopening() {
    let directory = Directory::new();
    let path = directory.path("vmherd.db");
    let mut before = store(&path);
    assert_eq!(run(&mut before, put(&[("gone", 1, 1.0), ("z", 9, -0.0), ("b", 9, 1.0)])), DONE);
    assert_eq!(run(&mut before, put(&[("last", 2, 1.0)])), DONE);
    assert_eq!(remove(&mut before, 5, 10), 2);
    drop(before);
    let mut after = store(&path);
    assert_eq!(run(&mut after, put(&[("gone", 3, 1.0), ("b", 8, 2.0), ("a", 1, 1.0)])), DONE);
    assert_points(
        &all(&mut after),
        &[("z", 9, -0.0), ("b", 8, 2.0), ("b", 9, 1.0), ("gone", 3, 1.0), ("a", 1, 1.0)],
    );
    // Ids of removed series are not reused, not even the highest.
    assert!(after.points().points_after(&ALL, None, 10).unwrap().series[2].id > SeriesId(4));
    assert!(all(&mut after)[0].2.is_sign_negative());
    let types = "SELECT count(*) FROM points WHERE typeof(value) = 'real'";
    assert_eq!(number(&after.connection, types), 5);
}

#[test]
fn the_series_cache_is_dropped_on_foreign_commits_and_rollbacks() {
    let directory = Directory::new();
    let path = directory.path("vmherd.db");
    let (mut store, mut other) = (store(&path), store(&path));
    assert_eq!(run(&mut store, put_up_to(2, &[("a", 1, 1.0)])), DONE);
    // Another process has removed it and given its id to another series.
    assert_eq!(remove(&mut other, 2, 10), 1);
    assert_eq!(run(&mut other, put(&[("b", 5, 1.0)])), DONE);
    assert_eq!(run(&mut store, put_up_to(2, &[("a", 6, 1.0)])), DONE);
    assert_points(&all(&mut store), &[("b", 5, 1.0), ("a", 6, 1.0)]);
    // The transaction fails: the disk is full.
    let pages = number(&store.connection, "PRAGMA page_count");
    number(&store.connection, &format!("PRAGMA max_page_count = {pages}"));
    let many: Vec<(&str, i64, f64)> = (0..2000).map(|second| ("c", second, 1.0)).collect();
    assert!(matches!(run(&mut store, put(&many)), Err(StoreError::Unavailable(_))));
    number(&store.connection, "PRAGMA max_page_count = 1000000");
    assert_eq!(run(&mut other, put(&[("d", 1, 1.0)])), DONE);
    assert_eq!(run(&mut store, put_up_to(4, &[("c", 7, 1.0)])), DONE);
    assert_points(&all(&mut store), &[("b", 5, 1.0), ("a", 6, 1.0), ("d", 1, 1.0), ("c", 7, 1.0)]);
    // Nor does the cache keep additions that were rolled back.
    number(
        &store.connection,
        &format!("PRAGMA max_page_count = {}", number(&store.connection, "PRAGMA page_count")),
    );
    let many: Vec<(&str, i64, f64)> = (0..2000).map(|second| ("e", second, 1.0)).collect();
    assert!(matches!(run(&mut store, put(&many)), Err(StoreError::Unavailable(_))));
    number(&store.connection, "PRAGMA max_page_count = 1000000");
    assert_eq!(run(&mut store, put_up_to(5, &[("e", 8, 1.0)])), DONE);
    assert_eq!(run(&mut store, put_up_to(5, &[("f", 8, 1.0)])), Ok(Written::Put { refused: vec![0] }));
    assert_points(&all(&mut other)[4..], &[("e", 8, 1.0)]);
}

#[test]
fn puts_of_a_batch_are_one_commit() {
    let directory = Directory::new();
    let path = directory.path("vmherd.db");
    let mut store = store(&path);
    assert_eq!(run(&mut store, put(&[("a", 0, 1.0)])), DONE);
    let before = commits_in_log(&path);
    let batch: Vec<Write> = (1..50).map(|second| put(&[("a", second, 1.0), ("b", second, 1.0)])).collect();
    assert!(store.write_all(&batch).into_iter().all(|outcome| outcome == DONE));
    assert_eq!(commits_in_log(&path) - before, 1);
}

#[test]
fn point_queries_and_removals_use_the_primary_key() {
    let directory = Directory::new();
    let store = store(&directory.path("vmherd.db"));
    for sql in super::super::points::STATEMENTS {
        let mut plan = store.connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let none = vec![None::<i64>; plan.parameter_count()];
        let steps = plan.query_map(rusqlite::params_from_iter(none), |row| row.get::<_, String>(3)).unwrap();
        for step in steps.map(Result::unwrap) {
            assert!(!step.contains("TEMP B-TREE"), "{sql}: {step}");
            let is_search =
                step.starts_with("SEARCH") || step.contains("SUBQUERY") || step.contains("CO-ROUTINE");
            // A subquery returns few rows.
            assert!(is_search || step.starts_with("SCAN (subquery"), "{sql}: {step}");
        }
    }
}
