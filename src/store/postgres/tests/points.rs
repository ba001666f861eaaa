//! Metrics in a database: locks, removals and counts of concurrent sessions.

use std::sync::atomic::{AtomicI64, Ordering};

use super::super::super::contract::points::{
    ALL, DONE, all, assert_points, of_key, older_than, put, put_up_to, removed,
};
use super::super::super::{PointPosition, PointRemoval, RemovedPoints};
use super::failures::until;
use super::proxy::{Cut, Proxy};
use super::*;
use crate::ids::SeriesId;
use crate::model::PointFilter;

#[test]
fn a_registry_only_database_is_migrated() {
    let database = Cluster::shared().database();
    let mut before = store(&database.url());
    let login = register(&mut before, "a", &[1, 2]);
    let vms = all_vms(&mut before);
    // The state that a version without metrics left.
    database
        .client()
        .batch_execute(
            "ALTER TABLE vms DROP COLUMN managed_by, DROP COLUMN last_seen, DROP COLUMN last_address;
             DROP TABLE changes; DROP TABLE points; DROP TABLE series; DROP TABLE series_total;
             DROP TABLE access_tokens; DELETE FROM vmherd_schema WHERE version > 1",
        )
        .unwrap();
    drop(before);
    let mut after = store(&database.url());
    assert_eq!(number(&database, "SELECT max(version) FROM vmherd_schema"), 6);
    assert_eq!(all_vms(&mut after), vms);
    assert_eq!(credentials(&mut after, "a").unwrap().login, login);
    assert_eq!(run(&mut after, put(&[("b", 1, 1.0), ("a", 1, -0.0)])), DONE);
    assert_points(&all(&mut store(&database.url())), &[("b", 1, 1.0), ("a", 1, -0.0)]);
}

#[test]
fn a_series_being_removed_makes_only_its_writers_busy() {
    let database = Cluster::shared().database();
    let mut store = store(&with_short_lock_timeout(&database.url()));
    assert_eq!(run(&mut store, put(&[("a", 1, 1.0), ("b", 1, 1.0)])), DONE);
    let mut other = database.client();
    other.batch_execute("BEGIN; SELECT FROM series WHERE key = 'a' FOR UPDATE").unwrap();
    let busy = || Err(StoreError::Busy);
    let puts = [
        put(&[("a", 2, 1.0)]),
        put(&[("b", 2, 1.0)]),
        put(&[("b", 3, 1.0), ("a", 3, 1.0)]),
        put(&[("c", 1, 1.0)]),
        // It must not be done before the one that is busy.
        put(&[("b", 3, 2.0)]),
    ];
    assert_eq!(store.write_all(&puts), [busy(), DONE, busy(), DONE, busy()]);
    // Nor does it block the removal of other points.
    assert_eq!(store.remove_points(older_than(10)), removed(4, &["b", "c"]));
    assert_eq!(number(&database, "SELECT count(*) FROM series WHERE key = 'a'"), 1);
    other.batch_execute("ROLLBACK").unwrap();

    // The number of series: a put of known keys does not need it.
    assert_eq!(run(&mut store, put(&[("a", 1, 1.0)])), DONE);
    other.batch_execute("BEGIN; SELECT FROM series_total FOR UPDATE").unwrap();
    let puts = [put(&[("d", 1, 1.0)]), put(&[("a", 2, 1.0)]), put(&[("a", 3, 1.0), ("e", 1, 1.0)])];
    assert_eq!(store.write_all(&puts), [busy(), DONE, busy()]);
    assert_eq!(store.remove_points(older_than(10)), Err(StoreError::Busy));
    other.batch_execute("ROLLBACK").unwrap();
    assert_points(&all(&mut store), &[("a", 1, 1.0), ("a", 2, 1.0)]);
}

#[test]
fn a_locked_point_makes_only_puts_busy() {
    let database = Cluster::shared().database();
    let mut store = store(&with_short_lock_timeout(&database.url()));
    assert_eq!(run(&mut store, put(&[("a", 1, 1.0)])), DONE);
    let mut other = database.client();
    other.batch_execute("BEGIN; UPDATE points SET value = 2").unwrap();
    let writes = [put(&[("a", 1, 3.0)]), registration("web", &[])];
    assert_eq!(store.write_all(&writes), [Err(StoreError::Busy), Ok(Written::Registered(VmId(2)))]);
    assert_eq!(store.remove_points(older_than(5)), removed(0, &[]));
    other.batch_execute("ROLLBACK").unwrap();
    assert_eq!(store.write_all(&writes[..1]), [DONE]);
    assert_eq!(store.remove_points(older_than(5)), removed(1, &["a"]));
}

/// A put while its series is being removed either keeps the series or creates it again.
#[test]
fn a_point_put_during_removal_of_its_series_is_kept() {
    for is_warm in [false, true] {
        let database = Cluster::shared().database();
        let mut store = store(&database.url());
        let waiting = || until("it waits", || number(&database, WAITS) > 0);
        assert_eq!(run(&mut store, put(&[("a", 1, 1.0), ("b", 1, 1.0)])), DONE);
        // Another session removes it, as the store does, and commits when the put waits for that.
        let mut other = database.client();
        let remove = "BEGIN; SELECT FROM series_total FOR UPDATE; DELETE FROM points WHERE second < 5;
                  SELECT FROM series WHERE key = 'a' FOR UPDATE;
                  DELETE FROM series WHERE key = 'a'; UPDATE series_total SET series = series - 1";
        other.batch_execute(remove).unwrap();
        thread::scope(|scope| {
            if is_warm {
                warm(&mut store);
            }
            let putting = scope.spawn(|| run(&mut store, put(&[("a", 7, 1.0), ("b", 7, 1.0)])));
            waiting();
            other.batch_execute("COMMIT").unwrap();
            assert_eq!(putting.join().unwrap(), DONE);
        });
        assert_points(&all(&mut store), &[("b", 7, 1.0), ("a", 7, 1.0)]);
        // Another session puts into it, as the store does, and commits after the remover has read it.
        other
        .batch_execute(
            "BEGIN; SELECT FROM series WHERE key = 'a' FOR KEY SHARE; INSERT INTO points VALUES (3, 9, 1.0)",
        )
        .unwrap();
        assert_eq!(store.remove_points(older_than(8)), removed(2, &["b"]));
        other.batch_execute("COMMIT").unwrap();
        assert_points(&all(&mut store), &[("a", 9, 1.0)]);
        assert_eq!(number(&database, "SELECT series FROM series_total"), 1);
    }
}

/// The statement has seen the series by then, and cannot lock it.
#[test]
fn a_put_that_started_before_the_removal_of_its_series_is_kept() {
    let database = Cluster::shared().database();
    let mut store = store(&database.url());
    assert_eq!(run(&mut store, put(&[("a", 1, 1.0), ("b", 1, 1.0)])), DONE);
    // A reader of a series waits for the test.
    let mut other = database.client();
    let gate = "ALTER TABLE series RENAME TO kept;
                CREATE VIEW series AS SELECT id, key FROM kept WHERE pg_advisory_xact_lock_shared(7)::text = ''";
    other.batch_execute(gate).unwrap();
    store.begin_anew();
    assert_eq!(run(&mut store, put(&[("a", 2, 1.0)])), DONE);
    other.batch_execute("SELECT pg_advisory_lock(7)").unwrap();
    thread::scope(|scope| {
        let putting = scope.spawn(|| run(warm(&mut store), put(&[("a", 7, 1.0), ("b", 7, 1.0)])));
        until("it waits", || number(&database, WAITS) > 0);
        assert!(last_statement(&database).contains("INSERT INTO points"));
        let remove = "BEGIN; DELETE FROM points WHERE second < 5; DELETE FROM kept WHERE key = 'a';
                      UPDATE series_total SET series = series - 1; COMMIT; SELECT pg_advisory_unlock(7)";
        other.batch_execute(remove).unwrap();
        assert_eq!(putting.join().unwrap(), DONE);
    });
    assert_points(&all(&mut store), &[("b", 7, 1.0), ("a", 7, 1.0)]);
    assert_eq!(number(&database, "SELECT count(*) FROM points"), 2);
}

#[test]
fn puts_into_existing_series_use_one_statement() {
    let database = Cluster::shared().database();
    let mut store = store(&database.url());
    let is_one = || last_statement(&database).contains("INSERT INTO points");
    let batch = [put(&[("a", 1, 1.0), ("b", 1, 1.0)]), put(&[("b", 1, 2.0), ("a", 2, 1.0), ("a", 2, 3.0)])];
    assert_eq!(store.write_all(&batch), [DONE, DONE]);
    assert!(!is_one(), "nothing is known");
    database.client().batch_execute("TRUNCATE points").unwrap();
    assert_eq!(warm(&mut store).write_all(&batch), [DONE, DONE]);
    assert!(is_one());
    assert_points(&all(&mut store), &[("a", 1, 1.0), ("a", 2, 3.0), ("b", 1, 2.0)]);
    assert_eq!(run(warm(&mut store), batch[1].clone()), DONE);
    assert!(is_one());

    // Nothing of a refused put is stored, even points of known keys; all of the others is.
    let together = |keys_max| {
        let Write::Put { login, points, .. } = put(&[("a", 1, 9.0), ("c", 1, 9.0)]) else { unreachable!() };
        Write::Put { login, points, keys_max, is_atomic: true }
    };
    assert_eq!(run(warm(&mut store), together(2)), Err(StoreError::KeyLimitReached(1)));
    assert_points(&all(&mut store), &[("a", 1, 1.0), ("a", 2, 3.0), ("b", 1, 2.0)]);
    let batch = [put(&[("b", 1, 5.0)]), together(2), put_up_to(2, &[("d", 1, 1.0), ("a", 3, 1.0)])];
    let refused = Ok(Written::Put { refused: vec![0] });
    assert_eq!(warm(&mut store).write_all(&batch), [DONE, Err(StoreError::KeyLimitReached(1)), refused]);
    assert_eq!(run(warm(&mut store), together(3)), DONE);
    assert!(!is_one());
    let wanted = [("a", 1, 9.0), ("a", 2, 3.0), ("a", 3, 1.0), ("b", 1, 5.0), ("c", 1, 9.0)];
    assert_points(&all(&mut store), &wanted);
}

#[test]
fn an_unanswered_autocommit_put_is_unknown_and_not_resent() {
    let cluster = Cluster::shared();
    let database = cluster.database();
    let proxy = Proxy::to(cluster.socket());
    let mut store = store(&proxy.url(database.name()));
    let mut other = database.client();
    for round in 0..6 {
        let (cut, count) = match round % 2 {
            0 => (Cut::After("known"), 1),
            _ => (Cut::Before("known"), 0),
        };
        // Now the statement is prepared, so that the next cut hits its execution.
        assert_eq!(run(&mut store, put(&[("known", 0, 1.0)])), DONE);
        assert_eq!(run(warm(&mut store), put(&[("known", 1, 1.0)])), DONE);
        assert_eq!(number(&database, "SELECT count(*) FROM points WHERE second < 2"), 2);
        warm(&mut store);
        proxy.cut(cut);
        let outcome = run(&mut store, put(&[("known", 2, 1.0)]));
        assert!(matches!(outcome, Err(StoreError::OutcomeUnknown(_))), "{cut:?}: {outcome:?}");
        assert!(!proxy.is_armed());
        let sql = "SELECT count(*) FROM pg_stat_activity
                   WHERE datname = current_database() AND application_name = 'vmherd'";
        until("its connection has ended", || number(&database, sql) == 0);
        assert_eq!(number(&database, "SELECT count(*) FROM points WHERE second = 2"), count, "{cut:?}");
        other.batch_execute("DELETE FROM points").unwrap();
    }
}

#[test]
fn a_closed_connection_does_not_fail_later_puts() {
    let database = Cluster::shared().database();
    let mut store = store(&database.url());
    let end = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
               WHERE datname = current_database() AND application_name = 'vmherd'";
    for second in 0..3 {
        assert_eq!(run(&mut store, put(&[("a", second, 1.0)])), DONE);
        assert_eq!(database.client().query(end, &[]).unwrap().len(), 1);
        let is_warm = || {
            let session = store.pool.acquire(store.borrower).expect("a connection");
            let is_warm = session.recently_used();
            session.release();
            is_warm
        };
        until("time has passed", || !is_warm());
    }
    // Work that the server reports as not done is done on another connection.
    for setting in ["DEALLOCATE ALL", "SET default_transaction_read_only = on"] {
        for second in [4, 5] {
            assert_eq!(run(warm(&mut store), put(&[("a", second, 1.0)])), DONE);
        }
        warm(&mut store).run_aside(setting);
        assert_eq!(run(&mut store, put(&[("a", 6, 1.0)])), DONE, "{setting}");
    }
}

#[test]
fn serializable_isolation_does_not_fail_waiting_puts() {
    for level in ["read committed", "repeatable read", "serializable"] {
        let database = Cluster::shared().database();
        let set = format!("ALTER DATABASE {} SET default_transaction_isolation = '{level}'", database.name());
        database.client().batch_execute(&set).unwrap();
        let mut store = store(&database.url());
        assert_eq!(run(&mut store, put(&[("a", 1, 1.0)])), DONE);
        let mut other = database.client();
        other.batch_execute("BEGIN; UPDATE points SET value = 2").unwrap();
        thread::scope(|scope| {
            let putting = scope.spawn(|| run(warm(&mut store), put(&[("a", 1, 3.0)])));
            until("it waits", || number(&database, WAITS) > 0);
            other.batch_execute("COMMIT").unwrap();
            assert_eq!(putting.join().unwrap(), DONE, "{level}");
        });
        assert_points(&all(&mut store), &[("a", 1, 3.0)]);
    }
}

/// Points are put while earlier ones are removed, usually together with their series.
#[test]
fn points_survive_concurrent_removal_of_older_points() {
    const ROUNDS: i64 = 300;
    let database = Cluster::shared().database();
    let (mut putter, mut remover) = (store(&database.url()), store(&database.url()));
    let before = AtomicI64::new(0);
    let mut other = database.client();
    let sql = "SELECT FROM series JOIN points ON series = id WHERE second = $1";
    thread::scope(|scope| {
        scope.spawn(|| {
            while before.load(Ordering::Acquire) < ROUNDS {
                let outcome = remover.remove_points(older_than(before.load(Ordering::Acquire)));
                assert!(outcome.is_ok(), "{outcome:?}");
            }
        });
        run(&mut putter, put(&[("a", 0, 1.0), ("b", 0, 1.0)])).expect("a put");
        for second in 1..ROUNDS {
            let outcome = run(warm(&mut putter), put(&[("a", second, 1.0), ("b", second, 1.0)]));
            let count = other.query(sql, &[&second]).unwrap().len();
            // The other thread ends in any case.
            before
                .store(if (&outcome, count) == (&DONE, 2) { second + 1 } else { ROUNDS }, Ordering::Release);
            assert_eq!((outcome, count), (DONE, 2), "{second}");
        }
    });
    let series = number(&database, "SELECT count(*) FROM series");
    assert_eq!(number(&database, "SELECT series FROM series_total"), series);
}

#[test]
fn the_series_count_is_repaired_at_startup() {
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
    assert!(store.write_all(&batch).into_iter().all(|outcome| outcome == DONE));
    assert_eq!(number(&database, "SELECT count(DISTINCT xmin::text) FROM points"), 1);
    assert_eq!(number(&database, "SELECT count(*) FROM points"), 75);
}

#[test]
fn puts_larger_than_one_statement_are_split() {
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
    assert!(store.write_all(&batch).into_iter().all(|outcome| outcome == DONE));
    let count = KEYS * limits::POINTS_PER_REQUEST_MAX;
    assert!(count > limits::POSTGRES_POINTS_PER_STATEMENT);
    assert_eq!(number(&database, "SELECT count(*) FROM points") as usize, count);
}

#[test]
fn point_pages_and_removals_do_not_scan_the_whole_table() {
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
        // More often than it takes the planner to switch to a generic plan.
        const ROUNDS: i64 = 12;
        let late = PointFilter { from: Some(POINTS - 1), ..ALL };
        for round in 0..ROUNDS {
            let after = Some(PointPosition { series: SeriesId(round * 10 + 1), timestamp: POINTS / 2 });
            for (filter, series) in [(&ALL, 1), (&late, 50), (&of_key(&format!("key-{}", round * 10 + 1)), 1)]
            {
                let page = store.points().points_after(filter, after, 100).unwrap();
                assert_eq!(page.series.len(), series);
            }
            assert_eq!(run(&mut store, put(&[(&format!("key-{}", round + 1), round, 2.0)])), DONE);
            let after = SeriesId(10 * round + 20);
            let outcome = store.remove_points(PointRemoval { before: 50, after, count_max: 100 });
            let next = Some(SeriesId(after.0 + 2));
            assert_eq!(outcome, Ok(RemovedPoints { count: 100, next, removed_keys: Vec::new() }));
        }
        // PostgreSQL publishes a session's statistics when the session ends.
        drop(store);
        drop(client);
        let read = "SELECT coalesce(sum(seq_tup_read), 0)::bigint + coalesce(sum(idx_tup_fetch), 0)::bigint
                    FROM pg_stat_user_tables WHERE relname IN ('series', 'points')";
        let rows = number(&database, read);
        assert!(rows < ROUNDS * 2000, "{rows} rows were read in {ROUNDS} rounds (analyzed: {is_analyzed})");
    }
}
