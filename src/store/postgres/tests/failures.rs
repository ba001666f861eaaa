//! Held locks, servers that stop, and connections that are cut.

use std::time::{Duration, Instant};

use super::proxy::{Cut, Proxy};
use super::*;

#[test]
fn a_locked_row_makes_only_its_writers_busy() {
    let database = Cluster::shared().database();
    let mut store = store(&with_short_lock_timeout(&database.url()));
    let (a, b) = (register(&mut store, "a", &[]), register(&mut store, "b", &[]));
    let mut other = database.client();
    other.batch_execute("BEGIN; UPDATE vms SET cpus = 7 WHERE name = 'a'").unwrap();
    assert_eq!(run(&mut store, ram(&a, 5)), Err(StoreError::Busy));
    let outcomes = store.write_all(&[
        ram(&a, 5),
        ram(&b, 5),
        issue(&a, token(1), NOW.0 + 10),
        registration("c", &[1]),
        issue(&b, token(2), NOW.0 + 10),
        Write::Remove(name("a")),
    ]);
    let busy = || Err(StoreError::Busy);
    assert_eq!(
        outcomes,
        [busy(), Ok(Written::Done), busy(), Ok(Written::Registered(VmId(3))), Ok(Written::Done), busy()]
    );
    assert_eq!(vm(&mut store, a.id).shape.ram_mib, 2048);
    assert_eq!(vm(&mut store, b.id).shape.ram_mib, 5);
    other.batch_execute("ROLLBACK").unwrap();
    assert_eq!(run(&mut store, ram(&a, 5)), Ok(Written::Done));

    // The number of VMs, which another daemon may hold.
    other.batch_execute("BEGIN; SELECT vms FROM vm_total FOR UPDATE").unwrap();
    assert_eq!(store.write_all(&[registration("d", &[]), ram(&a, 6)]), [busy(), Ok(Written::Done)]);
    other.batch_execute("ROLLBACK").unwrap();
    register(&mut store, "d", &[]);
}

#[test]
fn a_locked_table_is_busy_and_a_short_lock_is_waited_out() {
    let database = Cluster::shared().database();
    let mut store = store(&with_short_lock_timeout(&database.url()));
    let login = register(&mut store, "a", &[]);
    let mut other = database.client();
    other.batch_execute("BEGIN; LOCK TABLE vms IN ACCESS EXCLUSIVE MODE").unwrap();
    assert_eq!(store.registry().ping(), Err(StoreError::Busy));
    assert_eq!(store.registry().credentials(&name("a")), Err(StoreError::Busy));
    assert_eq!(store.registry().vms_after(VmId(0), 10), Err(StoreError::Busy));
    assert_eq!(
        store.write_all(&[ram(&login, 5), registration("b", &[])]),
        [Err(StoreError::Busy), Err(StoreError::Busy)]
    );
    other.batch_execute("COMMIT").unwrap();
    assert!(store.registry().credentials(&name("a")).unwrap().is_some());

    let mut with_default_timeout = super::store(&database.url());
    other.batch_execute("BEGIN; LOCK TABLE vms IN ACCESS EXCLUSIVE MODE").unwrap();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| run(&mut with_default_timeout, ram(&login, 6)));
        let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted
                     AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        until("it waits", || number(&database, waits) > 0);
        other.batch_execute("COMMIT").unwrap();
        assert_eq!(waiting.join().unwrap(), Ok(Written::Done));
    });
}

#[test]
fn a_statement_cancelled_while_waiting_for_a_lock_is_busy() {
    let database = Cluster::shared().database();
    let mut store = store(&database.url());
    let (a, b) = (register(&mut store, "a", &[]), register(&mut store, "b", &[]));
    let mut other = database.client();
    other.batch_execute("BEGIN; UPDATE vms SET cpus = 7 WHERE name = 'a'").unwrap();
    // Materialized: no condition may be evaluated after the cancel itself.
    let cancel = "WITH waiting AS MATERIALIZED (SELECT pid FROM pg_stat_activity
                  WHERE datname = current_database() AND wait_event_type = 'Lock')
                  SELECT count(*) FROM waiting WHERE pg_cancel_backend(pid)";
    thread::scope(|scope| {
        let writing = scope.spawn(|| run(&mut store, ram(&a, 5)));
        until("it waits for the row and is cancelled", || number(&database, cancel) > 0);
        assert_eq!(writing.join().unwrap(), Err(StoreError::Busy));
    });
    assert_eq!(run(&mut store, ram(&b, 5)), Ok(Written::Done));
    other.batch_execute("ROLLBACK").unwrap();
    assert_eq!(run(&mut store, ram(&a, 5)), Ok(Written::Done));
}

/// A worker gets the results at once if some writes were done, and waits briefly only if none was.
#[test]
fn a_worker_connection_uses_a_short_lock_timeout() {
    let database = Cluster::shared().database();
    let factory = open(&Location::parse(&database.url()).unwrap()).unwrap();
    let mut store = factory.connect_worker().unwrap();
    let (a, b) = (register(&mut *store, "a", &[]), register(&mut *store, "b", &[]));
    let mut other = database.client();
    other.batch_execute("BEGIN; UPDATE vms SET cpus = 7 WHERE name = 'a'").unwrap();
    let busy = || Err(StoreError::Busy);
    let begin = Instant::now();
    assert_eq!(store.write_all(&[ram(&a, 5), ram(&b, 5)]), [busy(), Ok(Written::Done)]);
    let mixed = begin.elapsed();
    assert_eq!(store.write_all(&[ram(&a, 5), ram(&a, 6)]), [busy(), busy()]);
    let held = begin.elapsed() - mixed;
    assert!(limits::POSTGRES_LOCK_ATTEMPT <= held, "{held:?}");
    assert!(mixed + held < limits::POSTGRES_LOCK_TIMEOUT, "{mixed:?}, {held:?}");
    other.batch_execute("ROLLBACK").unwrap();
    assert_eq!(store.write_all(&[ram(&a, 5), ram(&b, 6)]), [Ok(Written::Done), Ok(Written::Done)]);
}

#[test]
fn a_deadlock_is_retried() {
    let database = Cluster::shared().database();
    // PostgreSQL checks a waiting session once, after this time, and cancels the session whose check finds the deadlock.
    // So the deadlock must exist by then; the store's lock timeout is two seconds.
    let sql = format!("ALTER DATABASE {} SET deadlock_timeout = '1s'", database.name());
    database.client().batch_execute(&sql).unwrap();
    let mut store = store(&database.url());
    let login = register(&mut store, "a", &[]);
    let mut other = database.client();
    let disks = Some(DiskChange::Replace(vec![1]));
    let update = Write::Update { login, token: None, change: VmChange { disks, ..VmChange::default() } };
    let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    until("the deadlock exists in time", || {
        other
            .batch_execute("SET deadlock_timeout = '10s'; BEGIN; LOCK TABLE disks IN ACCESS EXCLUSIVE MODE")
            .unwrap();
        let outcome = thread::scope(|scope| {
            let writing = scope.spawn(|| run(&mut store, update.clone()));
            let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted
                         AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
            until("it waits for the table", || writing.is_finished() || number(&database, waits) > 0);
            // The store has the row, this session the table; now this session requests the row as well.
            other.batch_execute("UPDATE vms SET cpus = 7; COMMIT").unwrap();
            writing.join().unwrap()
        });
        // On a slow machine the store has waited for the table too long by then.
        let is_late = outcome == Err(StoreError::Busy);
        assert!(is_late || outcome == Ok(Written::Done), "{outcome:?}");
        !is_late
    });
    until("the deadlock is counted", || number(&database, deadlocks) > 0);
    assert_eq!(number(&database, "SELECT count(*) FROM disks"), 1);
}

#[test]
fn a_terminated_connection_is_replaced() {
    let database = Cluster::shared().database();
    let (mut store, mut other) = (store(&database.url()), database.client());
    let login = register(&mut store, "a", &[]);
    for round in 1..=3 {
        let sql = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
                   WHERE datname = current_database() AND application_name = 'vmherd'";
        assert_eq!(other.query(sql, &[]).unwrap().len(), 1);
        if round == 2 {
            assert_eq!(store.registry().is_current(&login), Ok(true));
        } else {
            assert_eq!(run(&mut store, ram(&login, round)), Ok(Written::Done));
        }
    }
    assert_eq!(vm(&mut store, login.id).shape.ram_mib, 3);
}

#[test]
fn deallocated_statements_are_prepared_again() {
    let database = Cluster::shared().database();
    let mut store = store(&database.url());
    let login = register(&mut store, "a", &[]);
    store.run_aside("DEALLOCATE ALL");
    assert_eq!(run(&mut store, ram(&login, 5)), Ok(Written::Done));
    // As after a change of the schema by a newer program.
    assert!(store.registry().credentials(&name("a")).unwrap().is_some());
    let sql = "ALTER TABLE vms ALTER COLUMN password_hash TYPE varchar";
    database.client().batch_execute(sql).unwrap();
    assert!(store.registry().credentials(&name("a")).unwrap().is_some());
}

#[test]
fn a_read_only_server_is_left_for_a_writable_one() {
    let database = Cluster::shared().database();
    let mut store = store(&database.url());
    let login = register(&mut store, "a", &[]);
    let name = database.name();
    // As on a primary that has become a standby.
    store.run_aside("SET default_transaction_read_only = on");
    assert_eq!(run(&mut store, ram(&login, 5)), Ok(Written::Done));
    // No other server takes writes.
    let all = format!("ALTER DATABASE {name} SET default_transaction_read_only = on");
    database.client().batch_execute(&all).unwrap();
    store.begin_anew();
    let outcome = run(&mut store, ram(&login, 6));
    assert!(matches!(&outcome, Err(StoreError::Unavailable(why)) if why.contains("25006")), "{outcome:?}");
    assert_eq!(store.registry().is_current(&login), Ok(true));
    let mut owner = database.client();
    owner.batch_execute("SET default_transaction_read_only = off").unwrap();
    owner.batch_execute(&format!("ALTER DATABASE {name} RESET ALL")).unwrap();
    store.begin_anew();
    assert_eq!(run(&mut store, ram(&login, 6)), Ok(Written::Done));
}

#[test]
fn an_unanswered_commit_is_unknown_and_not_resent() {
    let cluster = Cluster::shared();
    let database = cluster.database();
    let proxy = Proxy::to(cluster.socket());
    let mut direct = store(&database.url());
    let mut store = store(&proxy.url(database.name()));
    let login = register(&mut store, "a", &[]);
    let open = "SELECT count(*) FROM pg_stat_activity
                WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start IS NOT NULL";
    for round in 0..10 {
        let (cut, is_done) = match round % 2 {
            0 => (Cut::After("COMMIT\0"), true),
            _ => (Cut::Before("COMMIT\0"), false),
        };
        let (before, text) = (proxy.commits(), format!("vm-{round}"));
        let ram_before = vm(&mut direct, login.id).shape.ram_mib;
        proxy.cut(cut);
        let outcomes = store.write_all(&[registration(&text, &[1]), ram(&login, 100 + round)]);
        assert!(!proxy.is_armed());
        for outcome in outcomes {
            assert!(matches!(outcome, Err(StoreError::OutcomeUnknown(_))), "{outcome:?}");
        }
        assert_eq!(proxy.commits() - before, 1, "{cut:?}");
        // All or nothing. The server may still be working: nothing waited for its answer.
        if is_done {
            until("it is there", || names(&mut direct).contains(&text));
            assert_eq!(vm(&mut direct, login.id).shape.ram_mib, 100 + round);
        } else {
            assert!(!names(&mut direct).contains(&text));
            assert_eq!(vm(&mut direct, login.id).shape.ram_mib, ram_before);
            // Its locks, held until the server notices, would make the next round skip writes.
            until("it is rolled back", || number(&database, open) == 0);
        }
    }
    assert_eq!(names(&mut direct).len() as i64, number(&database, "SELECT vms FROM vm_total"));
}

#[test]
fn a_transaction_cut_before_its_commit_is_retried() {
    let cluster = Cluster::shared();
    let database = cluster.database();
    let proxy = Proxy::to(cluster.socket());
    let mut store = store(&proxy.url(database.name()));
    let login = register(&mut store, "a", &[]);
    assert!(store.registry().token_owner(&token(1), NOW).unwrap().is_none());
    let cuts = [Cut::Before("BEGIN"), Cut::After("BEGIN"), Cut::After("UPDATE vms")];
    for (ram_mib, cut) in (1..).zip(cuts) {
        // Statements are prepared, and so sent as text, on new connections only.
        store.begin_anew();
        proxy.cut(cut);
        assert_eq!(run(&mut store, ram(&login, ram_mib)), Ok(Written::Done), "{cut:?}");
        assert!(!proxy.is_armed());
        assert_eq!(vm(&mut store, login.id).shape.ram_mib, ram_mib);
    }
    store.begin_anew();
    proxy.cut(Cut::After("FROM tokens"));
    assert_eq!(store.registry().token_owner(&token(1), NOW), Ok(None));
    assert!(!proxy.is_armed());
}

#[test]
fn an_unreachable_server_fails_fast_and_recovers_within_a_second() {
    let cluster = Cluster::start();
    let database = cluster.database();
    let factory = open(&Location::parse(&database.url()).unwrap()).unwrap();
    let mut store = factory.connect().unwrap();
    let login = register(&mut *store, "a", &[]);
    for is_killed in [false, true] {
        if is_killed {
            cluster.kill()
        } else {
            cluster.stop()
        }
        let begin = Instant::now();
        for _ in 0..200 {
            let ping = store.registry().ping();
            assert!(matches!(ping, Err(StoreError::Unavailable(_))), "{ping:?}");
            let read = store.registry().is_current(&login);
            assert!(matches!(read, Err(StoreError::Unavailable(_))), "{read:?}");
            let outcome = run(&mut *store, ram(&login, 5));
            assert!(matches!(outcome, Err(StoreError::Unavailable(_))), "{outcome:?}");
            assert!(factory.connect().is_err());
        }
        assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
        cluster.restart();
        let begin = Instant::now();
        until("it is back", || run(&mut *store, ram(&login, 5)).is_ok());
        assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
        assert_eq!(store.registry().is_current(&login), Ok(true));
    }
}

#[test]
fn a_standby_that_is_promoted_takes_over() {
    let primary = Cluster::start();
    let database = primary.database();
    let standby = primary.standby();
    let url = format!("postgresql://vmherd@{},{}/{}", primary.host(), standby.host(), database.name());
    let mut store = store(&url);
    let login = register(&mut store, "a", &[]);
    let mut follower =
        postgres::Client::connect(&url.replace(&format!("{},", primary.host()), ""), postgres::NoTls)
            .expect("a standby answers");
    until("the standby has it", || {
        follower.query("SELECT FROM vms WHERE name = 'a'", &[]).is_ok_and(|rows| rows.len() == 1)
    });
    primary.kill();
    // The standby answers, but takes no writes.
    let outcome = run(&mut store, ram(&login, 5));
    assert!(matches!(outcome, Err(StoreError::Unavailable(_))), "{outcome:?}");
    standby.promote();
    let begin = Instant::now();
    until("it takes writes", || run(&mut store, ram(&login, 5)).is_ok());
    assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
    assert_eq!(vm(&mut store, login.id).shape.ram_mib, 5);
}

/// Waits until `condition` holds.
#[track_caller]
pub(super) fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < end, "waited in vain: {what}");
        thread::park_timeout(Duration::from_millis(2));
    }
}

#[test]
fn a_column_type_mismatch_keeps_the_connection() {
    let database = Cluster::shared().database();
    let mut store = store(&database.url());
    register(&mut store, "a", &[]);
    let backend = |store: &mut PostgresStore| {
        store.run(|session| Ok(session.query_text("SELECT pg_backend_pid()")?)).unwrap()
    };
    let before = backend(&mut store);
    database.client().batch_execute("ALTER TABLE vms ALTER COLUMN cpus TYPE bigint").unwrap();
    let outcome = store.registry().vms_after(VmId(0), 10);
    let Err(StoreError::Unavailable(why)) = outcome else { panic!("{outcome:?}") };
    assert!(why.contains("deserializing"), "{why}");
    assert!(before.is_some() && backend(&mut store) == before, "it was of use still");
    // The opposite direction.
    let outcome = store.run(|session| {
        session.query("SELECT $1::integer", &[&"text"])?;
        Ok(())
    });
    let Err(StoreError::Unavailable(why)) = outcome else { panic!("{outcome:?}") };
    assert!(why.contains("serializing") && backend(&mut store) == before, "{why}");
}
