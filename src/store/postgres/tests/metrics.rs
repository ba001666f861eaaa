//! Metrics in a database: what others hold, remove and count at the same time.

use super::super::super::contract::metrics::{ALL, DONE, all, assert_points, of_key, put, put_up_to};
use super::bad_days::until;
use super::*;
use crate::ids::SeriesId;

fn removal(before: i64) -> Write {
    Write::RemovePoints { before, after: SeriesId(0), count_max: 10 }
}

#[test]
fn a_database_of_the_registry_alone_is_brought_up_to_date() {
    let database = Cluster::shared().database();
    let mut before = store(&database.url());
    let login = register(&mut before, "a", &[1, 2]);
    let vms = all_vms(&mut before);
    // As the program left it that knew no metrics.
    database
        .client()
        .batch_execute(
            "DROP TABLE points; DROP TABLE series; DROP TABLE series_total;
             DELETE FROM vmherd_schema WHERE version = 2",
        )
        .unwrap();
    drop(before);
    let mut after = store(&database.url());
    assert_eq!(number(&database, "SELECT max(version) FROM vmherd_schema"), 2);
    assert_eq!(all_vms(&mut after), vms);
    assert_eq!(credentials(&mut after, "a").unwrap().login, login);
    assert_eq!(run(&mut after, put(&[("b", 1, 1.0), ("a", 1, -0.0)])), DONE);
    assert_points(&all(&mut store(&database.url())), &[("b", 1, 1.0), ("a", 1, -0.0)]);
}

#[test]
fn a_series_that_somebody_removes_is_busy_for_those_who_put_into_it_and_for_nobody_else() {
    let database = Cluster::shared().database();
    let mut store = store(&impatient(&database.url()));
    assert_eq!(run(&mut store, put(&[("a", 1, 1.0), ("b", 1, 1.0)])), DONE);
    let mut other = database.client();
    other.batch_execute("BEGIN; SELECT FROM series WHERE key = 'a' FOR UPDATE").unwrap();
    let busy = || Err(StoreError::Busy);
    let puts = [
        put(&[("a", 2, 1.0)]),
        put(&[("b", 2, 1.0)]),
        put(&[("b", 3, 1.0), ("a", 3, 1.0)]),
        put(&[("c", 1, 1.0)]),
    ];
    assert_eq!(store.write(&puts), [busy(), DONE, busy(), DONE]);
    // Nor is it in the way of who removes others.
    assert_eq!(store.write(&[removal(10)]), [Ok(Written::PointsRemoved { count: 4, next: None })]);
    assert_eq!(number(&database, "SELECT count(*) FROM series WHERE key = 'a'"), 1);
    other.batch_execute("ROLLBACK").unwrap();

    // The number of series: whose key is known does not need it.
    assert_eq!(run(&mut store, put(&[("a", 1, 1.0)])), DONE);
    other.batch_execute("BEGIN; SELECT FROM series_total FOR UPDATE").unwrap();
    let puts =
        [put(&[("d", 1, 1.0)]), put(&[("a", 2, 1.0)]), removal(10), put(&[("a", 3, 1.0), ("e", 1, 1.0)])];
    assert_eq!(store.write(&puts), [busy(), DONE, busy(), busy()]);
    other.batch_execute("ROLLBACK").unwrap();
    assert_points(&all(&mut store), &[("a", 1, 1.0), ("a", 2, 1.0)]);
}

#[test]
fn a_point_that_somebody_writes_is_busy_for_puts_alone() {
    let database = Cluster::shared().database();
    let mut store = store(&impatient(&database.url()));
    assert_eq!(run(&mut store, put(&[("a", 1, 1.0)])), DONE);
    let mut other = database.client();
    other.batch_execute("BEGIN; UPDATE points SET value = 2").unwrap();
    let writes = [put(&[("a", 1, 3.0)]), registration("web", &[]), removal(5)];
    let removed = |count| Ok(Written::PointsRemoved { count, next: None });
    assert_eq!(store.write(&writes), [Err(StoreError::Busy), Ok(Written::Registered(VmId(2))), removed(0)]);
    other.batch_execute("ROLLBACK").unwrap();
    assert_eq!(store.write(&writes[..1]), [DONE]);
    assert_eq!(run(&mut store, removal(5)), removed(1));
}

/// What is put while its series is about to go either keeps it or makes it anew, whoever comes first.
#[test]
fn a_point_put_while_its_series_is_removed_is_kept() {
    let database = Cluster::shared().database();
    let mut store = store(&database.url());
    let waits = "SELECT count(*) FROM pg_stat_activity
                 WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let waiting = || until("it waits", || number(&database, waits) > 0);
    assert_eq!(run(&mut store, put(&[("a", 1, 1.0), ("b", 1, 1.0)])), DONE);
    // Somebody removes it, as the store does, and commits when the put waits for that.
    let mut other = database.client();
    let remove = "BEGIN; SELECT FROM series_total FOR UPDATE; DELETE FROM points WHERE second < 5;
                  SELECT FROM series WHERE key = 'a' FOR UPDATE;
                  DELETE FROM series WHERE key = 'a'; UPDATE series_total SET series = series - 1";
    other.batch_execute(remove).unwrap();
    thread::scope(|scope| {
        let putting = scope.spawn(|| run(&mut store, put(&[("a", 7, 1.0), ("b", 7, 1.0)])));
        waiting();
        other.batch_execute("COMMIT").unwrap();
        assert_eq!(putting.join().unwrap(), DONE);
    });
    assert_points(&all(&mut store), &[("b", 7, 1.0), ("a", 7, 1.0)]);
    // Somebody puts into it, as the store does, and commits when it was looked at.
    other
        .batch_execute(
            "BEGIN; SELECT FROM series WHERE key = 'a' FOR KEY SHARE; INSERT INTO points VALUES (3, 9, 1.0)",
        )
        .unwrap();
    assert_eq!(run(&mut store, removal(8)), Ok(Written::PointsRemoved { count: 2, next: None }));
    other.batch_execute("COMMIT").unwrap();
    assert_points(&all(&mut store), &[("a", 9, 1.0)]);
    assert_eq!(number(&database, "SELECT series FROM series_total"), 1);
}

#[test]
fn the_number_of_series_is_put_right_at_the_start() {
    let database = Cluster::shared().database();
    assert_eq!(run(&mut store(&database.url()), put(&[("a", 1, 1.0)])), DONE);
    for damage in ["UPDATE series_total SET series = 77", "DELETE FROM series_total"] {
        database.client().batch_execute(damage).unwrap();
        let mut store = store(&database.url());
        assert_eq!(number(&database, "SELECT series FROM series_total"), 1, "{damage}");
        let refused = Ok(Written::Put { refused: vec![0] });
        assert_eq!(run(&mut store, put_up_to(1, &[("b", 1, 1.0)])), refused, "{damage}");
    }
}

#[test]
fn puts_of_a_batch_are_one_transaction() {
    let database = Cluster::shared().database();
    let mut store = store(&database.url());
    let batch: Vec<Write> = (0..50).map(|n| put(&[("a", n, 1.0), ("b", n / 2, n as f64)])).collect();
    assert!(store.write(&batch).into_iter().all(|outcome| outcome == DONE));
    assert_eq!(number(&database, "SELECT count(DISTINCT xmin::text) FROM points"), 1);
    assert_eq!(number(&database, "SELECT count(*) FROM points"), 75);
}

#[test]
fn more_points_than_a_statement_takes_are_written_as_well() {
    const KEYS: usize = 5;
    let database = Cluster::shared().database();
    let mut store = store(&database.url());
    let batch: Vec<Write> = (0..KEYS)
        .map(|n| {
            let text = format!("key-{n}");
            let new: Vec<(&str, i64, f64)> = (0..limits::POINTS_PER_REQUEST_MAX as i64)
                .map(|second| (text.as_str(), second, 1.0))
                .collect();
            put(&new)
        })
        .collect();
    assert!(store.write(&batch).into_iter().all(|outcome| outcome == DONE));
    let count = KEYS * limits::POINTS_PER_REQUEST_MAX;
    assert!(count > limits::POSTGRES_POINTS_PER_STATEMENT);
    assert_eq!(number(&database, "SELECT count(*) FROM points") as usize, count);
}

#[test]
fn pages_and_removals_of_points_do_not_read_the_whole_table() {
    const SERIES: i64 = 400;
    const POINTS: i64 = 500;
    for is_analyzed in [false, true] {
        let database = Cluster::shared().database();
        let mut store = store(&database.url());
        let mut client = database.client();
        client
            .batch_execute(&format!(
                "INSERT INTO series (key) SELECT 'key-' || n FROM generate_series(1, {SERIES}) AS n ORDER BY n;
                 UPDATE series_total SET series = {SERIES};
                 INSERT INTO points SELECT id, second, 1.0 FROM series, generate_series(1, {POINTS}) AS second"
            ))
            .unwrap();
        if is_analyzed {
            client.batch_execute("ANALYZE").unwrap();
        }
        client.query("SELECT pg_stat_reset()", &[]).unwrap();
        // More often than it takes until the planner may settle for a plan for all parameters.
        const ROUNDS: i64 = 12;
        let late = PointFilter { from: Some(POINTS - 1), ..ALL };
        for round in 0..ROUNDS {
            let after = Some(PointAt { series: SeriesId(round * 10 + 1), second: POINTS / 2 });
            for (filter, series) in [(&ALL, 1), (&late, 50), (&of_key(&format!("key-{}", round * 10 + 1)), 1)]
            {
                let page = store.points_after(filter, after, 100).unwrap();
                assert_eq!(page.series.len(), series);
            }
            assert_eq!(run(&mut store, put(&[(&format!("key-{}", round + 1), round, 2.0)])), DONE);
            let after = SeriesId(10 * round + 20);
            let outcome = run(&mut store, Write::RemovePoints { before: 50, after, count_max: 100 });
            let next = Some(SeriesId(after.0 + 2));
            assert_eq!(outcome, Ok(Written::PointsRemoved { count: 100, next }));
        }
        // A connection's counts are there for others once it has ended.
        drop(store);
        drop(client);
        let read = "SELECT coalesce(sum(seq_tup_read), 0)::bigint + coalesce(sum(idx_tup_fetch), 0)::bigint
                    FROM pg_stat_user_tables WHERE relname IN ('series', 'points')";
        let rows = number(&database, read);
        assert!(rows < ROUNDS * 2000, "{rows} rows were read in {ROUNDS} rounds (analyzed: {is_analyzed})");
    }
}
