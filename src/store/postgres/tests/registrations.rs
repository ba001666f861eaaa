//! Registrations beside other sessions that add and remove VMs.

use super::failures::until;
use super::proxy::{Cut, Proxy};
use super::*;
use crate::model::VmShape;

const ALREADY: WriteOutcome = Err(StoreError::AlreadyRegistered);
const FULL: WriteOutcome = Err(StoreError::VmLimitReached);

fn registered(id: i64) -> WriteOutcome {
    Ok(Written::Registered(VmId(id)))
}

fn unnamed() -> Write {
    let shape = VmShape { ram_mib: 1, cpus: 1 };
    Write::AddVm { shape, disk_sizes_gib: vec![7], vms_max: 9, now: NOW }
}

/// Whether the last registrations were one statement, which is a transaction of its own.
fn is_one_statement(database: &Database<'_>) -> bool {
    last_statement(database).contains("INSERT INTO vms")
}

#[test]
fn registrations_alone_are_one_statement() {
    let database = Cluster::shared().database();
    let mut store = store(&database.url());
    register(&mut store, "old", &[1]);
    assert!(!is_one_statement(&database), "its connection is new");
    let new = |text, sizes| registration_up_to(text, sizes, 4);
    let batch = [
        new("a", &[2, 3]),
        new("old", &[9]),
        new("a", &[9]),
        new("b", &[]),
        new("c", &[4]),
        new("d", &[9]),
        new("d", &[9]),
    ];
    let outcomes = warm(&mut store).write_all(&batch);
    assert_eq!(outcomes, [registered(2), ALREADY, ALREADY, registered(3), registered(4), FULL, FULL]);
    assert!(is_one_statement(&database));
    assert_eq!(names(&mut store), ["old", "a", "b", "c"]);
    let disks = store.registry().disks_after(DiskId(0), 9).unwrap();
    let disks: Vec<(i64, u64)> = disks.iter().map(|of| (of.vm_id.0, of.disk.size_gib)).collect();
    assert_eq!(disks, [(1, 1), (2, 2), (2, 3), (4, 4)]);
    assert_eq!(number(&database, "SELECT vms FROM vm_total"), 4);
    let logged = "SELECT count(*) FROM (SELECT subject, name, lag(subject) OVER (ORDER BY seq) AS before FROM changes) c
                  JOIN vms ON id = subject AND vms.name = c.name WHERE before IS NULL OR before < subject";
    assert_eq!(number(&database, logged), 4);
    // No id was used for a VM that was refused.
    assert_eq!(run(warm(&mut store), registration("e", &[])), registered(5));
    assert!(is_one_statement(&database));
}

#[test]
fn registrations_among_other_writes_share_a_transaction() {
    let database = Cluster::shared().database();
    let mut store = store(&database.url());
    let a = register(&mut store, "a", &[]);
    let new = |text| registration_up_to(text, &[1], 4);
    let batch = [
        new("b"),
        ram(&a, 5),
        Write::Remove(name("a")),
        Write::Remove(name("a")),
        new("a"),
        unnamed(),
        new("c"),
        new("d"),
        Write::Remove(name("b")),
    ];
    let done = || Ok(Written::Done);
    let unknown = Err(StoreError::UnknownVm);
    let outcomes = warm(&mut store).write_all(&batch);
    let wanted =
        [registered(2), done(), done(), unknown, registered(3), registered(4), registered(5), FULL, done()];
    assert_eq!(outcomes, wanted);
    assert!(!is_one_statement(&database));
    assert_eq!(names(&mut store), ["a", "4", "c"]);
    assert_eq!(number(&database, "SELECT vms FROM vm_total"), 3);
    // With another limit, and one without a name.
    let others = [new("d"), registration_up_to("e", &[], 9)];
    assert_eq!(warm(&mut store).write_all(&others), [registered(6), registered(7)]);
    assert!(!is_one_statement(&database));
    assert_eq!(
        warm(&mut store).write_all(&[unnamed(), registration_up_to("f", &[], 9)]),
        [registered(8), registered(9)]
    );
    assert!(!is_one_statement(&database));
    assert_eq!(number(&database, "SELECT vms FROM vm_total"), 7);
}

#[test]
fn refused_registrations_write_nothing() {
    let database = Cluster::shared().database();
    let mut store = store(&database.url());
    register(&mut store, "a", &[]);
    // A lock is written into the row, too.
    let rows = || {
        let sql = "SELECT string_agg(xmin || ' ' || xmax, ' ') FROM (SELECT xmin, xmax FROM vm_total
                   UNION ALL SELECT xmin, xmax FROM vms UNION ALL SELECT xmin, xmax FROM changes) r";
        database.client().query_one(sql, &[]).unwrap().get::<_, String>(0)
    };
    let before = rows();
    let batch = [registration_up_to("a", &[1], 9), registration_up_to("a", &[1], 9)];
    assert_eq!(warm(&mut store).write_all(&batch), [ALREADY, ALREADY]);
    let batch = [registration_up_to("a", &[1], 1), registration_up_to("b", &[1], 1)];
    assert_eq!(warm(&mut store).write_all(&batch), [ALREADY, FULL]);
    assert!(is_one_statement(&database));
    assert_eq!(rows(), before);
}

/// Another session registers a VM, as the store does, while registrations wait for it.
#[test]
fn registrations_see_what_they_have_waited_for() {
    for level in ["read committed", "repeatable read", "serializable"] {
        let database = Cluster::shared().database();
        let set = format!("ALTER DATABASE {} SET default_transaction_isolation = '{level}'", database.name());
        database.client().batch_execute(&set).unwrap();
        let mut store = store(&database.url());
        register(&mut store, "old", &[]);
        let mut other = database.client();
        let mut race = |new: &str, batch: &[Write]| {
            let add = format!(
                "BEGIN ISOLATION LEVEL READ COMMITTED; SELECT FROM vm_total FOR UPDATE;
                 INSERT INTO vms (name, ram_mib, cpus, registered_at) VALUES ('{new}', 1, 1, 0);
                 UPDATE vm_total SET vms = vms + 1"
            );
            other.batch_execute(&add).unwrap();
            thread::scope(|scope| {
                let registering = scope.spawn(|| warm(&mut store).write_all(batch));
                until("it waits", || number(&database, WAITS) > 0);
                assert!(is_one_statement(&database), "{level}");
                other.batch_execute("COMMIT").unwrap();
                registering.join().unwrap()
            })
        };
        // The same name.
        let outcomes = race("a", &[registration("a", &[1]), registration("b", &[1])]);
        assert!(matches!(outcomes[..], [ALREADY, Ok(Written::Registered(_))]), "{level}: {outcomes:?}");
        assert_eq!(race("c", &[registration("c", &[1])]), [ALREADY], "{level}");
        // The room that there was for both.
        let new = |text| registration_up_to(text, &[1], 6);
        let outcomes = race("d", &[new("e"), new("f")]);
        assert!(matches!(outcomes[..], [Ok(Written::Registered(_)), FULL]), "{level}: {outcomes:?}");
        // The last room.
        let new = |text| registration_up_to(text, &[1], 7);
        assert_eq!(race("g", &[new("h"), new("i")]), [FULL, FULL], "{level}");
        assert_eq!(number(&database, "SELECT vms FROM vm_total"), 7);
        assert_eq!(names(&mut store).len(), 7);
        assert_eq!(number(&database, "SELECT count(*) FROM disks"), 2);
    }
}

#[test]
fn registrations_are_busy_while_another_session_counts() {
    let database = Cluster::shared().database();
    let mut store = store(&with_short_lock_timeout(&database.url()));
    register(&mut store, "a", &[]);
    let mut other = database.client();
    other.batch_execute("BEGIN; SELECT vms FROM vm_total FOR UPDATE").unwrap();
    let busy = || Err(StoreError::Busy);
    assert_eq!(run(warm(&mut store), registration("b", &[])), busy());
    let batch = [registration("b", &[]), registration("c", &[])];
    assert_eq!(warm(&mut store).write_all(&batch), [busy(), busy()]);
    other.batch_execute("ROLLBACK").unwrap();
    assert!(warm(&mut store).write_all(&batch).iter().all(Result::is_ok));
    assert_eq!(number(&database, "SELECT vms FROM vm_total"), 3);
}

#[test]
fn an_unanswered_registration_is_unknown_and_not_resent() {
    let cluster = Cluster::shared();
    let database = cluster.database();
    let proxy = Proxy::to(cluster.socket());
    let mut store = store(&proxy.url(database.name()));
    for round in 0..6 {
        let text = format!("vm-{round}");
        let (cut, is_done) = match round % 2 {
            0 => (Cut::After("vm-"), true),
            _ => (Cut::Before("vm-"), false),
        };
        // Now the statement is prepared, so that the next cut hits its execution.
        register(&mut store, &format!("before-{round}"), &[]);
        warm(&mut store);
        proxy.cut(cut);
        let outcome = run(&mut store, registration(&text, &[1]));
        assert!(matches!(outcome, Err(StoreError::OutcomeUnknown(_))), "{cut:?}: {outcome:?}");
        assert!(!proxy.is_armed());
        let sql = "SELECT count(*) FROM pg_stat_activity
                   WHERE datname = current_database() AND application_name = 'vmherd'";
        until("its connection has ended", || number(&database, sql) == 0);
        let found = format!("SELECT count(*) FROM vms WHERE name = '{text}'");
        assert_eq!(number(&database, &found), i64::from(is_done), "{cut:?}");
    }
    assert_eq!(number(&database, "SELECT vms - (SELECT count(*) FROM vms) FROM vm_total"), 0);
}
