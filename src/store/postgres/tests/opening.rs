//! Opening a database: whose it is, and migrations.

use std::net::TcpListener;
use std::sync::Barrier;

use super::*;
use crate::store::migration_records::checksum;

fn refusal(url: &str) -> String {
    match open(&Location::parse(url).expect("a URL")) {
        Err(StoreError::Refused(why)) => why,
        other => panic!("not refused: {:?}", other.err()),
    }
}

#[test]
fn data_survives_reopening() {
    let database = Cluster::shared().database();
    let mut before = store(&database.url());
    let login = register(&mut before, "a", &[1, 2]);
    run(&mut before, issue(&login, token(1), NOW.0 + 10)).unwrap();
    let vms = all_vms(&mut before);
    drop(before);

    let mut after = store(&database.url());
    assert_eq!(all_vms(&mut after), vms);
    assert_eq!(after.registry().token_owner(&token(1), NOW), Ok(Some(login.clone())));
    assert_eq!(credentials(&mut after, "a").unwrap().login, login);
    assert_eq!(register(&mut after, "next", &[]).id, VmId(2));
}

#[test]
fn concurrent_opens_of_an_empty_database_succeed() {
    const THREADS: usize = 6;
    let database = Cluster::shared().database();
    let (url, start) = (database.url(), Barrier::new(THREADS));
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (url, start) = (&url, &start);
            scope.spawn(move || {
                start.wait();
                register(&mut store(url), &format!("vm-{thread}"), &[1]);
            });
        }
    });
    assert_eq!(names(&mut store(&url)).len(), THREADS);
    assert_eq!(number(&database, "SELECT count(*) FROM vmherd_schema"), 6);
}

/// The migrations of version 2, as they were released.
const VERSION_2: [&str; 2] = [
    include_str!("../../../../sql/postgres/0001_registry.sql"),
    include_str!("../../../../sql/postgres/0002_metrics.sql"),
];

#[test]
fn a_database_of_version_2_keeps_its_rows() {
    let database = Cluster::shared().database();
    let mut client = database.client();
    for (version, text) in (1_i64..).zip(VERSION_2) {
        client.batch_execute(text).unwrap();
        let record = "INSERT INTO vmherd_schema VALUES ($1, $2, 0)";
        client.execute(record, &[&version, &checksum(text)]).unwrap();
    }
    let rows =
        "INSERT INTO vms (name, ram_mib, cpus, password_hash, registered_at) VALUES ('web', 1, 1, 'hash', 0);
        INSERT INTO disks (vm, size_gib) VALUES (1, 7);
        UPDATE vm_total SET vms = 1;";
    client.batch_execute(rows).unwrap();
    for _ in 0..2 {
        let mut store = store(&database.url());
        let vms = all_vms(&mut store);
        assert_eq!((vms.len(), vms[0].is_managed, vms[0].disks[0].size_gib), (1, false, 7));
        assert_eq!(credentials(&mut store, "web").unwrap().managed_by, None);
        assert_eq!(store.registry().access_tokens(), Ok(Vec::new()));
        assert_eq!(number(&database, "SELECT max(version) FROM vmherd_schema"), 6);
    }
}

#[test]
fn a_database_of_a_newer_program_is_refused() {
    let database = Cluster::shared().database();
    drop(store(&database.url()));
    database.client().batch_execute("INSERT INTO vmherd_schema VALUES (7, 'x', 0)").unwrap();
    let why = refusal(&database.url());
    assert!(why.contains("a newer vmherd") && why.contains("version 7"), "{why}");
}

#[test]
fn a_database_with_other_migration_checksums_is_refused() {
    let database = Cluster::shared().database();
    drop(store(&database.url()));
    database.client().batch_execute("UPDATE vmherd_schema SET checksum = 'other'").unwrap();
    let why = refusal(&database.url());
    assert!(why.contains("checksum other") && why.contains("a schema of its own"), "{why}");
}

#[test]
fn tables_of_another_program_are_left_alone() {
    for (table, statement) in [
        ("disks", "CREATE TABLE disks (mine text); INSERT INTO disks VALUES ('mine')"),
        (
            "vmherd_schema",
            "CREATE TABLE vmherd_schema (mine text); INSERT INTO vmherd_schema VALUES ('mine')",
        ),
    ] {
        let database = Cluster::shared().database();
        database.client().batch_execute(statement).unwrap();
        let why = refusal(&database.url());
        assert!(why.contains("SQLSTATE"), "{why}");
        assert_eq!(number(&database, &format!("SELECT count(*) FROM {table} WHERE mine = 'mine'")), 1);
        let tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'";
        assert_eq!(number(&database, tables), 1, "nothing was made");

        // A schema of its own works beside the other program's.
        database.client().batch_execute("CREATE SCHEMA herd").unwrap();
        let url = format!("{}?options=-csearch_path%3Dherd,public", database.url());
        register(&mut store(&url), "a", &[1]);
        assert_eq!(number(&database, "SELECT count(*) FROM herd.vms"), 1);
    }
}

#[test]
fn a_schema_name_is_used_verbatim() {
    let database = Cluster::shared().database();
    let url = format!("{}?options=-csearch_path%3D%22MyHerd%22", database.url());
    database.client().batch_execute("CREATE SCHEMA \"MyHerd\"").unwrap();
    for name in ["a", "b"] {
        register(&mut store(&url), name, &[1]);
    }
    assert_eq!(number(&database, "SELECT count(*) FROM \"MyHerd\".vms"), 2);
    assert_eq!(number(&database, "SELECT count(*) FROM \"MyHerd\".vmherd_schema"), 6);
}

#[test]
fn a_role_without_create_rights_can_use_existing_tables() {
    let database = Cluster::shared().database();
    let role = format!("role_of_{}", database.name());
    database.client().batch_execute(&format!("CREATE ROLE {role} LOGIN")).unwrap();
    let url = database.url().replace("//vmherd@", &format!("//{role}@"));
    let why = refusal(&url);
    assert!(why.contains("42501") && why.contains("GRANT CREATE"), "{why}");

    drop(store(&database.url()));
    let grant = format!("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}");
    database.client().batch_execute(&grant).unwrap();
    let mut store = store(&url);
    let login = register(&mut store, "a", &[1]);
    run(&mut store, issue(&login, token(1), NOW.0 + 10)).unwrap();
    run(&mut store, Write::Remove(name("a"))).unwrap();
    drop(store);
    database.client().batch_execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).unwrap();
}

#[test]
fn a_database_that_is_not_utf8_is_refused() {
    let database = Cluster::shared().database();
    let other = format!("latin_of_{}", database.name());
    let sql = format!("CREATE DATABASE {other} ENCODING 'LATIN1' TEMPLATE template0");
    database.client().batch_execute(&sql).unwrap();
    let why = refusal(&database.url().replace(database.name(), &other));
    assert!(why.contains("LATIN1") && why.contains("UTF8"), "{why}");
    database.client().batch_execute(&format!("DROP DATABASE {other}")).unwrap();
}

#[test]
fn connect_errors_name_the_cause_without_the_password() {
    let database = Cluster::shared().database();
    let url = database.url().replace("//vmherd@", "//vmherd:hunter2@");
    for (url, part) in [
        (url.replace(database.name(), "no_such_database"), "3D000"),
        (url.replace("//vmherd:", "//nobody_known:"), "28000"),
        (url.replace("vmherd-pg", "no-such-folder"), "No such file"),
    ] {
        let location = Location::parse(&url).unwrap();
        let error = open(&location).err().expect("it is not there").to_string();
        assert!(error.contains(part), "{error}");
        assert!(!format!("{error} {location} {location:?}").contains("hunter2"), "{error}");
    }
}

#[test]
fn a_silent_host_does_not_hide_the_next() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let database = Cluster::shared().database();
    let first = format!("@{},", silent.local_addr().unwrap());
    let mut store = store(&database.url().replace('@', &first));
    register(&mut store, "a", &[1]);
    assert_eq!(number(&database, "SELECT count(*) FROM vms"), 1);
}

#[test]
fn transient_open_failures_are_unavailable_not_refused() {
    let database = Cluster::shared().database();
    let store = store(&database.url());
    let mut session = store.pool.acquire(store.borrower).unwrap();
    let error = session.run("SET statement_timeout = 1; SELECT pg_sleep(10)").unwrap_err();
    let failure = PgError::from_statement(&error);
    assert!(matches!(failure, PgError::Exhausted(_)), "{failure:?}");
    assert!(failure.is_connection_usable());
}
