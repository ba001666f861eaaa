//! Tests of what only a database server has: locks of other sessions, other daemons, and connections that end.

mod changes;
mod failures;
mod opening;
mod points;
#[path = "../../../tests/common/proxy.rs"]
mod proxy;
mod registrations;

use std::thread;

use super::super::contract::cluster::{Cluster, Database};
use super::super::contract::{NOW, WriteAll, all_vms, credentials, issue, name, register, registration};
use super::super::contract::{registration_up_to, run, token, vm};
use super::super::{Location, Write, WriteOutcome, Written, open};
use super::*;
use crate::ids::{DiskId, VmId};
use crate::model::{DiskChange, Login, VmChange};

/// A store with one connection, whose fields the test can see.
fn store(url: &str) -> PostgresStore {
    store_of(url, 1)
}

/// Like [`store`], with at most `connections_max` connections.
fn store_of(url: &str, connections_max: usize) -> PostgresStore {
    let factory = PostgresFactory::new(&PostgresUrl::parse(url).expect("a URL"), connections_max);
    factory.open().expect("a usable database");
    factory.store(WaitMode::Long).expect("it is open")
}

impl PostgresStore {
    /// Runs `sql` on the connection that is used next.
    fn run_aside(&self, sql: &str) {
        let mut session = self.pool.acquire(self.borrower).expect("a connection");
        session.run(sql).expect(sql);
        session.release();
    }

    /// Closes the connection, so that the next work uses a new one.
    fn begin_anew(&self) {
        self.pool.acquire(self.borrower).expect("a connection").invalidate();
    }
}

/// `url` with a lock timeout that tests can wait for.
fn with_short_lock_timeout(url: &str) -> String {
    format!("{url}?options=-c%20lock_timeout%3D50")
}

/// The number of sessions of a database that wait for a lock.
const WAITS: &str = "SELECT count(*) FROM pg_stat_activity
                     WHERE datname = current_database() AND wait_event_type = 'Lock'";

/// `store`, whose connection counts as recently used for the whole test.
fn warm(store: &mut PostgresStore) -> &mut PostgresStore {
    let mut session = store.pool.acquire(store.borrower).expect("a connection");
    session.pretend_recently_used();
    session.release();
    store
}

/// The last statement of the only store's connection.
fn last_statement(database: &Database<'_>) -> String {
    let sql = "SELECT query FROM pg_stat_activity
               WHERE datname = current_database() AND application_name = 'vmherd'";
    database.client().query_one(sql, &[]).expect("one connection").get(0)
}

fn number(database: &Database<'_>, sql: &str) -> i64 {
    database.client().query_one(sql, &[]).expect(sql).get(0)
}

fn ram(login: &Login, mib: u32) -> Write {
    Write::Update {
        login: login.clone(),
        token: None,
        change: VmChange { ram_mib: Some(mib), ..VmChange::default() },
    }
}

fn names(store: &mut dyn Store) -> Vec<String> {
    all_vms(store).iter().map(|vm| vm.name.to_string()).collect()
}

#[test]
fn every_session_gets_its_timeouts() {
    let database = Cluster::shared().database();
    let store = store(&database.url());
    let mut session = store.pool.acquire(store.borrower).unwrap();
    for (setting, expected) in [
        ("statement_timeout", "5s"),
        ("lock_timeout", "2s"),
        ("idle_in_transaction_session_timeout", "5s"),
        ("application_name", "vmherd"),
        ("client_encoding", "UTF8"),
    ] {
        let found = session.query_text(&format!("SHOW {setting}")).unwrap();
        assert_eq!(found.as_deref(), Some(expected), "{setting}");
    }
}

#[test]
fn a_batch_is_one_transaction() {
    let database = Cluster::shared().database();
    let mut store = store(&database.url());
    let batch: Vec<Write> = (0..50).map(|n| registration(&format!("vm-{n}"), &[1, 2])).collect();
    assert!(store.write_all(&batch).iter().all(Result::is_ok));
    // Each row has the id of the transaction that wrote it.
    let made_by = "SELECT count(DISTINCT xmin::text) FROM vms";
    assert_eq!(number(&database, made_by), 1);
    register(&mut store, "alone", &[]);
    assert_eq!(number(&database, made_by), 2);
    assert_eq!(number(&database, "SELECT vms FROM vm_total"), 51);
}

#[test]
fn a_failing_write_does_not_fail_its_batch() {
    let database = Cluster::shared().database();
    let mut store = store(&database.url());
    let login = register(&mut store, "a", &[1]);
    // The layers above reject these; the database does too.
    let no_size = VmChange { disks: Some(DiskChange::Replace(vec![5, 0])), ..VmChange::default() };
    let outcomes = store.write_all(&[
        registration("b", &[1]),
        registration("c", &[u64::MAX]),
        ram(&login, 0),
        registration("b", &[2]),
        Write::Update { login, token: None, change: no_size },
        registration("d", &[3]),
    ]);
    assert!(
        matches!(
            outcomes[..],
            [
                Ok(Written::Registered(_)),
                Err(StoreError::Unavailable(_)),
                Err(StoreError::Unavailable(_)),
                Err(StoreError::AlreadyRegistered),
                Err(StoreError::Unavailable(_)),
                Ok(Written::Registered(_)),
            ]
        ),
        "{outcomes:?}"
    );
    assert_eq!(names(&mut store), ["a", "b", "d"]);
    assert_eq!(all_vms(&mut store)[0].disks.len(), 1);
    assert_eq!(number(&database, "SELECT vms FROM vm_total"), 3);
}

#[test]
fn errors_do_not_repeat_row_contents() {
    let database = Cluster::shared().database();
    let mut store = store(&database.url());
    let outcome = run(&mut store, registration("a", &[0]));
    let Err(StoreError::Unavailable(why)) = outcome else { panic!("{outcome:?}") };
    assert!(why.contains("check constraint") && why.contains("23514"), "{why}");
    let Write::Register { mut vm, vms_max, now } = registration("a", &[]) else { unreachable!() };
    vm.shape.ram_mib = 0;
    let outcome = run(&mut store, Write::Register { vm, vms_max, now });
    let Err(StoreError::Unavailable(why)) = outcome else { panic!("{outcome:?}") };
    assert!(why.contains("23514") && !why.contains("hash of a"), "{why}");
}

#[test]
fn columns_that_no_command_reads_are_stored() {
    let database = Cluster::shared().database();
    let mut store = store(&database.url());
    let login = register(&mut store, "a", &[]);
    let sql = format!(
        "SELECT (CASE WHEN ever_connected THEN 10 ELSE 0 END
                 + CASE WHEN last_login_at = {now} THEN 1 ELSE 0 END)::bigint
         FROM vms WHERE registered_at = {now}",
        now = NOW.0
    );
    assert_eq!(number(&database, &sql), 0);
    run(&mut store, issue(&login, token(1), NOW.0 + 10)).unwrap();
    assert_eq!(number(&database, &sql), 11);
}

#[test]
fn concurrent_registrations_respect_the_vm_limit() {
    const THREADS: usize = 4;
    const ROOM: u64 = 25;
    let database = Cluster::shared().database();
    let url = database.url();
    drop(store(&url));
    let registered: usize = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let mut store = store(&url);
                scope.spawn(move || {
                    let batches = (0..10).map(|batch| {
                        let writes: Vec<Write> = (0..2)
                            .map(|n| registration_up_to(&format!("{thread}-{batch}-{n}"), &[1], ROOM))
                            .collect();
                        let outcomes = store.write_all(&writes);
                        let is_expected =
                            |one: &WriteOutcome| matches!(one, Ok(_) | Err(StoreError::VmLimitReached));
                        assert!(outcomes.iter().all(is_expected), "{outcomes:?}");
                        outcomes.iter().filter(|outcome| outcome.is_ok()).count()
                    });
                    batches.sum::<usize>()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
    });
    assert_eq!(registered as u64, ROOM);
    assert_eq!(number(&database, "SELECT count(*) FROM vms"), ROOM as i64);
    assert_eq!(number(&database, "SELECT vms FROM vm_total"), ROOM as i64);
}

/// Several daemons use the same few VMs concurrently: no client gets an error that a retry could have avoided, and
/// the stored state matches the results.
fn all_at_once(database: &Database<'_>) {
    const THREADS: u8 = 4;
    const ROUNDS: u8 = 15;
    let url = database.url();
    let mut first = store(&url);
    let logins: Vec<Login> = ["a", "b", "c"].map(|text| register(&mut first, text, &[1])).into();
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (mut store, logins) = (store(&url), &logins);
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    let disks = Some(DiskChange::Replace(vec![1; usize::from(round % 4)]));
                    let change = VmChange { disks, ..VmChange::default() };
                    let mut writes = vec![
                        registration(&format!("{thread}-{round}"), &[1, 2]),
                        issue(&logins[0], token(thread * ROUNDS + round), NOW.0 + 10),
                        ram(&logins[1], u32::from(round) + 1),
                        Write::Update { login: logins[2].clone(), token: None, change },
                        Write::RevokeTokens { login: logins[1].clone(), tokens: vec![token(round)] },
                        Write::Remove(name(&format!("{thread}-{round}"))),
                    ];
                    // In different orders: locking in the given order would deadlock.
                    writes[1..5].rotate_left(usize::from(thread));
                    let outcomes = store.write_all(&writes);
                    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
                    assert!(store.registry().vms_after(VmId(0), 100).is_ok());
                }
            });
        }
    });
    assert_eq!(names(&mut first), ["a", "b", "c"]);
    assert_eq!(number(database, "SELECT vms FROM vm_total"), 3);
}

#[test]
fn concurrent_daemons_run_every_write() {
    all_at_once(&Cluster::shared().database());
}

#[test]
fn concurrent_daemons_run_every_write_when_serializable() {
    let database = Cluster::shared().database();
    let strictest =
        format!("ALTER DATABASE {} SET default_transaction_isolation = serializable", database.name());
    database.client().batch_execute(&strictest).unwrap();
    let store = store(&database.url());
    let mut session = store.pool.acquire(store.borrower).unwrap();
    let level = session.query_text("SHOW transaction_isolation").unwrap();
    assert_eq!(level.as_deref(), Some("serializable"), "the test is about that");
    all_at_once(&database);
}

#[test]
fn page_queries_do_not_scan_the_whole_table() {
    let database = Cluster::shared().database();
    let mut store = store(&database.url());
    database
        .client()
        .batch_execute(
            "INSERT INTO vms (name, ram_mib, cpus, registered_at)
                 SELECT 'vm-' || n, 1, 1, 0 FROM generate_series(1, 20000) AS n ORDER BY n;
             INSERT INTO disks (vm, size_gib) SELECT id, 1 FROM vms, generate_series(1, 2) ORDER BY id;
             ANALYZE",
        )
        .unwrap();
    database.client().query("SELECT pg_stat_reset()", &[]).unwrap();
    // More often than it takes the planner to switch to a generic plan.
    for page in 0..8 {
        let after = 1000 * page;
        let vms = store.registry().vms_after(VmId(after), 30).unwrap();
        assert_eq!((vms.vms.len(), vms.vms[0].id), (10, VmId(after + 1)));
        assert_eq!(store.registry().disks_after(DiskId(after), 30).unwrap().len(), 30);
        assert_eq!(store.registry().vms(&[VmId(after + 7)]).unwrap().len(), 1);
        let login = Login { id: VmId(after + 1), epoch: 0, name: name("x") };
        run(&mut store, ram(&login, 9)).unwrap();
        run(&mut store, issue(&login, token(page as u8), NOW.0 + 10)).unwrap();
        run(&mut store, Write::RevokeTokens { login, tokens: vec![token(page as u8)] }).unwrap();
    }
    // PostgreSQL publishes a session's statistics when the session ends.
    drop(store);
    let read = "SELECT coalesce(sum(seq_tup_read), 0)::bigint FROM pg_stat_user_tables
                WHERE relname IN ('vms', 'disks')";
    let rows = number(&database, read);
    assert!(rows == 0, "{rows} rows were read one after the other");
}

#[test]
fn single_registrations_and_updates_are_not_planned_each_time() {
    let database = Cluster::shared().database();
    let mut store = store(&database.url());
    // More often than it takes the planner to switch to a generic plan.
    for number in 0..8 {
        let login = register(&mut store, &format!("vm-{number}"), &[1]);
        run(&mut store, ram(&login, 9)).unwrap();
    }
    let mut session = store.pool.acquire(store.borrower).unwrap();
    for part in ["INSERT INTO vms", "UPDATE vms"] {
        let sql =
            format!("SELECT generic_plans FROM pg_prepared_statements WHERE strpos(statement, '{part}') > 0");
        assert_eq!(session.query_text(&sql).unwrap().as_deref(), Some("3"), "{part}");
    }
}

#[test]
fn the_vm_count_is_repaired_at_startup() {
    let database = Cluster::shared().database();
    register(&mut store(&database.url()), "a", &[]);
    for damage in ["UPDATE vm_total SET vms = 77", "DELETE FROM vm_total"] {
        database.client().batch_execute(damage).unwrap();
        let mut store = store(&database.url());
        assert_eq!(number(&database, "SELECT vms FROM vm_total"), 1, "{damage}");
        assert_eq!(
            run(&mut store, registration_up_to("b", &[], 1)),
            Err(StoreError::VmLimitReached),
            "{damage}"
        );
    }
}
