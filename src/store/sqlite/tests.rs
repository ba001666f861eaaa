//! Tests of what only a file has: its log, locks of other connections, and errors of the disk.

mod changes;
mod opening;
mod points;

use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ffi};

use super::super::contract::{
    Directory, NOW, WriteAll, all_vms, credentials, issue, name, register, registration, registration_up_to,
    run, token,
};
use super::*;
use crate::clock::UnixSeconds;
use crate::ids::{DiskId, VmId};
use crate::model::{DiskChange, VmChange};
use crate::store::{Write, Written};

/// A store whose fields the test can see.
fn store(path: &Path) -> SqliteStore {
    let factory = SqliteFactory::open(path).expect("a usable file");
    let connection = connect(&factory.path, limits::SQLITE_BUSY_TIMEOUT).unwrap();
    let (cache, ticket_lock) = (Cache::default(), Arc::default());
    SqliteStore { connection, cache, ticket_lock, origin: None, served_file: None }
}

fn number(connection: &Connection, sql: &str) -> i64 {
    connection.query_row(sql, [], |row| row.get(0)).expect(sql)
}

/// The number of transactions in SQLite's log, counted in the log itself: the last frame of each has
/// the size of the database (https://www.sqlite.org/fileformat2.html#walformat).
fn commits_in_log(path: &Path) -> usize {
    let log = fs::read(format!("{}-wal", path.display())).expect("a log");
    let field = |at: usize| u32::from_be_bytes(log[at..at + 4].try_into().unwrap());
    let (page_bytes, salts) = (field(8) as usize, [field(16), field(20)]);
    (32..log.len())
        .step_by(24 + page_bytes)
        .take_while(|frame| [field(frame + 8), field(frame + 12)] == salts)
        .filter(|frame| field(frame + 4) != 0)
        .count()
}

#[test]
fn columns_that_no_command_reads_are_stored() {
    let directory = Directory::new();
    let mut store = store(&directory.path("vmherd.db"));
    let login = register(&mut store, "a", &[]);
    let sql = "SELECT ever_connected * 10 + (last_login_at IS ?1) FROM vms WHERE registered_at = ?1";
    let read =
        |store: &SqliteStore| -> i64 { store.connection.query_row(sql, [NOW.0], |row| row.get(0)).unwrap() };
    assert_eq!(read(&store), 0);
    run(&mut store, issue(&login, token(1), NOW.0 + 10)).unwrap();
    assert_eq!(read(&store), 11);
}

#[test]
fn a_statement_is_prepared_once_for_all_parameters() {
    let directory = Directory::new();
    let mut store = store(&directory.path("vmherd.db"));
    let login = register(&mut store, "a", &[]);
    run(&mut store, issue(&login, token(1), NOW.0 + 10)).unwrap();
    for (number, now) in [(1, NOW.0), (2, NOW.0 + 1), (1, NOW.0 + 2)] {
        store.registry().token_owner(&token(number), UnixSeconds(now)).unwrap();
    }
    let statement = store.connection.prepare_cached(reads::TOKEN_OWNER).unwrap();
    assert_eq!(statement.get_status(rusqlite::StatementStatus::RePrepare), 0);
    assert!(statement.get_status(rusqlite::StatementStatus::Run) >= 3);
}

#[test]
fn a_ping_reads_the_file() {
    let directory = Directory::new();
    let path = directory.path("vmherd.db");
    let mut store = store(&path);
    assert_eq!(store.registry().ping(), Ok(()));
    Connection::open(&path).unwrap().execute_batch("ALTER TABLE vms RENAME TO gone").unwrap();
    let ping = store.registry().ping();
    assert!(matches!(ping, Err(StoreError::Unavailable(_))), "{ping:?}");
}

#[test]
fn reads_in_a_snapshot_see_one_state() {
    let directory = Directory::new();
    let (path, count) = (directory.path("vmherd.db"), |store: &mut SqliteStore| all_vms(store).len());
    let (mut reader, mut writer) = (store(&path), store(&path));
    register(&mut writer, "a", &[]);
    reader.registry().begin_reads();
    assert_eq!(count(&mut reader), 1);
    register(&mut writer, "b", &[]);
    assert_eq!(count(&mut reader), 1);
    reader.registry().end_reads();
    assert_eq!(count(&mut reader), 2);
    reader.registry().end_reads();
    assert_eq!(count(&mut reader), 2, "an end too many does no harm");
}

#[test]
fn every_connection_is_durable_and_hardened() {
    let directory = Directory::new();
    let store = store(&directory.path("vmherd.db"));
    let connection = &store.connection;
    let mode: String = connection.query_row("PRAGMA journal_mode", [], |row| row.get(0)).unwrap();
    assert_eq!(mode, "wal");
    let busy_ms = limits::SQLITE_BUSY_TIMEOUT.as_millis() as i64;
    for (pragma, expected) in [
        ("synchronous", 2),
        ("foreign_keys", 1),
        ("trusted_schema", 0),
        ("busy_timeout", busy_ms),
        ("cache_size", -limits::SQLITE_CACHE_KIB),
        ("secure_delete", 2),
        ("journal_size_limit", limits::SQLITE_WAL_BYTES_KEPT),
        ("application_id", 0x766d_6864),
    ] {
        assert_eq!(number(connection, &format!("PRAGMA {pragma}")), expected, "{pragma}");
    }
    assert!(connection.db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE).unwrap());
    assert!(!connection.db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER).unwrap());
    assert!(connection.execute("DELETE FROM \"no such column\"", []).is_err());
    let orphan = connection.execute("INSERT INTO disks (vm, size_gib) VALUES (99, 1)", []);
    assert!(orphan.is_err(), "foreign keys are checked");
}

#[test]
fn a_batch_is_one_commit() {
    let directory = Directory::new();
    let path = directory.path("vmherd.db");
    let mut store = store(&path);
    register(&mut store, "first", &[]);
    let before = commits_in_log(&path);
    let batch: Vec<Write> = (0..50).map(|n| registration(&format!("vm-{n}"), &[1, 2])).collect();
    assert!(store.write_all(&batch).iter().all(Result::is_ok));
    assert_eq!(commits_in_log(&path) - before, 1);

    // Checks the measurement: separate writes are separate commits; a write without a change is none.
    for n in 0..7 {
        register(&mut store, &format!("alone-{n}"), &[]);
    }
    assert_eq!(commits_in_log(&path) - before, 8);
    run(&mut store, registration("first", &[])).unwrap_err();
    assert_eq!(commits_in_log(&path) - before, 8);
}

#[test]
fn a_failing_write_does_not_fail_its_batch() {
    let directory = Directory::new();
    let mut store = store(&directory.path("vmherd.db"));
    let login = register(&mut store, "a", &[1]);
    // The layers above reject these; the database does too.
    let no_ram = VmChange { ram_mib: Some(0), ..VmChange::default() };
    let no_size = VmChange { disks: Some(DiskChange::Replace(vec![5, 0])), ..VmChange::default() };
    let outcomes = store.write_all(&[
        registration("b", &[1]),
        registration("c", &[u64::MAX]),
        Write::Update { login: login.clone(), token: None, change: no_ram },
        registration("b", &[2]),
        Write::Update { login: login.clone(), token: None, change: no_size },
        registration("d", &[3]),
    ]);
    assert!(matches!(
        outcomes[..],
        [
            Ok(Written::Registered(_)),
            Err(StoreError::Unavailable(_)),
            Err(StoreError::Unavailable(_)),
            Err(StoreError::AlreadyRegistered),
            Err(StoreError::Unavailable(_)),
            Ok(Written::Registered(_)),
        ]
    ));
    let names: Vec<String> = all_vms(&mut store).iter().map(|vm| vm.name.to_string()).collect();
    assert_eq!(names, ["a", "b", "d"]);
    assert_eq!(all_vms(&mut store)[0].disks.len(), 1);
}

#[test]
fn a_full_disk_fails_writes_but_not_reads() {
    let directory = Directory::new();
    let path = directory.path("vmherd.db");
    let mut store = store(&path);
    register(&mut store, "a", &[1]);
    let before = all_vms(&mut store);
    let pages = number(&store.connection, "PRAGMA page_count");
    number(&store.connection, &format!("PRAGMA max_page_count = {pages}"));

    let batch: Vec<Write> =
        (0..20).map(|n| registration(&format!("vm-{n}"), if n == 10 { &[1; 1024] } else { &[1] })).collect();
    for outcome in store.write_all(&batch) {
        assert!(matches!(&outcome, Err(StoreError::Unavailable(why)) if why.contains("full")), "{outcome:?}");
    }
    assert!(store.connection.is_autocommit());
    assert_eq!(all_vms(&mut store), before);
    let mut other = self::store(&path);
    assert_eq!(all_vms(&mut other), before);

    number(&store.connection, "PRAGMA max_page_count = 1000000");
    assert!(store.write_all(&batch).iter().all(Result::is_ok));
}

#[test]
fn a_locked_file_makes_writes_busy_but_not_reads() {
    let directory = Directory::new();
    let path = directory.path("vmherd.db");
    let (mut store, other) = (store(&path), store(&path));
    register(&mut store, "a", &[]);
    store.connection.busy_timeout(Duration::from_millis(1)).unwrap();
    other.connection.execute_batch("BEGIN IMMEDIATE; UPDATE vms SET cpus = 7").unwrap();
    let batch = [registration("b", &[]), registration("c", &[])];
    assert_eq!(store.write_all(&batch), [Err(StoreError::Busy), Err(StoreError::Busy)]);
    assert_eq!(all_vms(&mut store)[0].shape.cpus, 2);
    other.connection.execute_batch("ROLLBACK").unwrap();
    assert!(store.write_all(&batch).iter().all(Result::is_ok));
}

#[test]
fn a_failed_commit_is_unknown_unless_its_frame_was_not_written() {
    let failure = |code| rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
    let commit = |code| transaction::to_commit_error(&failure(code));
    for code in
        [ffi::SQLITE_IOERR_FSYNC, ffi::SQLITE_IOERR_WRITE, ffi::SQLITE_IOERR_SHMSIZE, ffi::SQLITE_NOMEM]
    {
        assert!(matches!(commit(code), StoreError::OutcomeUnknown(_)), "{code}");
    }
    assert!(matches!(commit(ffi::SQLITE_FULL), StoreError::Unavailable(_)));
    assert_eq!(commit(ffi::SQLITE_BUSY), StoreError::Busy);
    // Before the commit the outcome is certain.
    for code in [ffi::SQLITE_IOERR_WRITE, ffi::SQLITE_CORRUPT, ffi::SQLITE_CANTOPEN, ffi::SQLITE_FULL] {
        assert!(matches!(to_store_error(failure(code)), StoreError::Unavailable(_)), "{code}");
    }
    assert_eq!(to_store_error(failure(ffi::SQLITE_BUSY_RECOVERY)), StoreError::Busy);
}

#[test]
fn the_vm_count_is_cached_until_another_connection_writes() {
    let directory = Directory::new();
    let path = directory.path("vmherd.db");
    let (mut store, mut other) = (store(&path), store(&path));
    for text in ["a", "b"] {
        run(&mut store, registration_up_to(text, &[], 3)).unwrap();
    }
    assert!(store.cache.vms.is_none(), "far from the limit nothing is counted");
    run(&mut store, Write::Remove(name("a"))).unwrap();
    for text in ["c", "d"] {
        run(&mut store, registration_up_to(text, &[], 3)).unwrap();
    }
    assert_eq!(store.cache.vms.unwrap(), 3);
    assert_eq!(run(&mut store, registration_up_to("e", &[], 3)), Err(StoreError::VmLimitReached));

    // The cached count is valid across the store's own commits, not across those of others.
    store.cache.vms = Some(0);
    run(&mut store, registration_up_to("e", &[], 3)).unwrap();
    assert_eq!(store.cache.vms.unwrap(), 1);
    run(&mut other, Write::Remove(name("c"))).unwrap();
    assert_eq!(run(&mut store, registration_up_to("f", &[], 3)), Err(StoreError::VmLimitReached));
    assert_eq!(store.cache.vms.unwrap(), 3);
}
