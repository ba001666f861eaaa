//! Opening a file: who makes it, whose it is, and who may read it.

use std::env;
use std::os::unix::fs::PermissionsExt;
use std::process::{self, Child, Command, Stdio};
use std::sync::Barrier;

use super::*;
use crate::store::migration_records::checksum;

fn refusal(path: &Path) -> String {
    match SqliteFactory::open(path) {
        Err(StoreError::Refused(why)) => {
            assert!(why.starts_with(&*path.to_string_lossy()), "does not name the file: {why}");
            why
        }
        other => panic!("not refused: {:?}", other.err()),
    }
}

#[test]
fn data_survives_reopening() {
    let directory = Directory::new();
    let path = directory.path("vmherd.db");
    let mut before = store(&path);
    let login = register(&mut before, "a", &[1, 2]);
    run(&mut before, issue(&login, token(1), NOW.0 + 10)).unwrap();
    register(&mut before, "gone", &[3]);
    run(&mut before, Write::Remove(name("gone"))).unwrap();
    let vms = all_vms(&mut before);
    drop(before);

    let mut after = store(&path);
    assert_eq!(all_vms(&mut after), vms);
    assert_eq!(after.registry().token_owner(&token(1), NOW), Ok(Some(login.clone())));
    assert_eq!(credentials(&mut after, "a").unwrap().login, login);
    // Ids are not reused.
    let next = register(&mut after, "next", &[4]);
    assert_eq!(next.id, VmId(3));
    assert_eq!(after.registry().disks_after(DiskId(2), 10).unwrap()[0].disk.id, DiskId(4));
}

#[test]
fn a_new_file_is_readable_by_its_owner_only() {
    let directory = Directory::new();
    let path = directory.path("vmherd.db");
    let mut store = store(&path);
    register(&mut store, "a", &[]);
    for suffix in ["", "-wal", "-shm"] {
        let file = format!("{}{suffix}", path.display());
        let mode = fs::metadata(&file).expect(&file).permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
}

#[test]
fn concurrent_connections_can_create_the_same_file() {
    const THREADS: usize = 8;
    for _ in 0..5 {
        let directory = Directory::new();
        let path = directory.path("vmherd.db");
        let start = Barrier::new(THREADS);
        thread::scope(|scope| {
            for thread in 0..THREADS {
                let (path, start) = (&path, &start);
                scope.spawn(move || {
                    start.wait();
                    let mut store = store(path);
                    register(&mut store, &format!("vm-{thread}"), &[1]);
                });
            }
        });
        let mut store = store(&path);
        assert_eq!(all_vms(&mut store).len(), THREADS);
        assert_eq!(number(&store.connection, "SELECT count(*) FROM schema"), 6);
    }
}

#[test]
fn concurrent_processes_can_create_the_same_file() {
    const PROCESSES: usize = 4;
    let directory = Directory::new();
    let path = directory.path("vmherd.db");
    let children: Vec<Child> = (0..PROCESSES)
        .map(|_| {
            Command::new(env::current_exe().expect("this test"))
                .args(["--exact", "store::sqlite::tests::opening::one_process_of_many", "--ignored"])
                .env(FILE_FOR_PROCESS, &path)
                .stdout(Stdio::piped())
                .spawn()
                .expect("a process")
        })
        .collect();
    for child in children {
        let ended = child.wait_with_output().expect("its end");
        let report = String::from_utf8_lossy(&ended.stdout);
        assert!(ended.status.success() && report.contains("test result: ok. 1 passed;"), "{report}");
    }
    let mut store = store(&path);
    assert_eq!(all_vms(&mut store).len(), PROCESSES * VMS_OF_PROCESS);
    assert_eq!(number(&store.connection, "SELECT count(*) FROM schema"), 6);
}

const FILE_FOR_PROCESS: &str = "VMHERD_TEST_FILE";
const VMS_OF_PROCESS: usize = 20;

#[test]
#[ignore = "another test runs it, several times at once"]
fn one_process_of_many() {
    let path = env::var(FILE_FOR_PROCESS).expect("the file to make");
    let mut store = store(Path::new(&path));
    for n in 0..VMS_OF_PROCESS {
        register(&mut store, &format!("vm-{}-{n}", process::id()), &[1]);
    }
}

/// The migrations of version 2, as they were released.
const VERSION_2: [&str; 2] = [
    include_str!("../../../../sql/sqlite/0001_registry.sql"),
    include_str!("../../../../sql/sqlite/0002_metrics.sql"),
];

#[test]
fn a_file_of_version_2_keeps_its_rows() {
    let directory = Directory::new();
    let path = directory.path("vmherd.db");
    let before = Connection::open(&path).unwrap();
    for (version, text) in (1..).zip(VERSION_2) {
        let record = "INSERT INTO schema VALUES (?1, ?2, 0)";
        before.execute_batch(text).unwrap();
        before.execute(record, rusqlite::params![version, checksum(text)]).unwrap();
    }
    let rows = "PRAGMA application_id = 0x766d6864;
        INSERT INTO vms (name, ram_mib, cpus, password_hash, registered_at) VALUES ('web', 1, 1, 'hash', 0);
        INSERT INTO disks (vm, size_gib) VALUES (1, 7);";
    before.execute_batch(rows).unwrap();
    drop(before);
    for _ in 0..2 {
        let mut store = store(&path);
        let vms = all_vms(&mut store);
        assert_eq!((vms.len(), vms[0].is_managed, vms[0].disks[0].size_gib), (1, false, 7));
        assert_eq!(credentials(&mut store, "web").unwrap().managed_by, None);
        assert_eq!(store.registry().access_tokens(), Ok(Vec::new()));
        assert_eq!(number(&store.connection, "SELECT max(version) FROM schema"), 6);
    }
}

#[test]
fn a_database_of_a_newer_program_is_refused() {
    let directory = Directory::new();
    let path = directory.path("vmherd.db");
    let store = store(&path);
    store.connection.execute("INSERT INTO schema VALUES (7, 'x', 0)", []).unwrap();
    let why = refusal(&path);
    assert!(why.contains("a newer vmherd") && why.contains("version 7"), "{why}");
}

#[test]
fn a_database_with_other_migration_checksums_is_refused() {
    let directory = Directory::new();
    let path = directory.path("vmherd.db");
    let store = store(&path);
    let recorded: String =
        store.connection.query_row("SELECT checksum FROM schema", [], |row| row.get(0)).unwrap();
    assert_eq!(recorded.len(), 64);
    store.connection.execute("UPDATE schema SET checksum = 'other'", []).unwrap();
    let why = refusal(&path);
    assert!(why.contains("checksum other") && why.contains(&recorded), "{why}");
}

#[test]
fn foreign_files_are_refused_and_left_unchanged() {
    let directory = Directory::new();
    let foreign = directory.path("foreign.db");
    Connection::open(&foreign)
        .and_then(|connection| connection.execute_batch("CREATE TABLE vms (id); INSERT INTO vms VALUES (1)"))
        .unwrap();
    // Another program may have a table of that name, or an empty file with its own application id.
    let named = directory.path("named.db");
    Connection::open(&named)
        .and_then(|connection| connection.execute_batch("CREATE TABLE schema (version, checksum)"))
        .unwrap();
    let marked = directory.path("marked.db");
    Connection::open(&marked)
        .and_then(|connection| connection.execute_batch("PRAGMA application_id = 42"))
        .unwrap();
    let short = directory.path("short.txt");
    fs::write(&short, "hello\n").unwrap();
    let long = directory.path("long.bin");
    fs::write(&long, [0x5a; 20_000]).unwrap();

    for (path, expected) in [
        (&foreign, "another program"),
        (&named, "another program"),
        (&marked, "another program"),
        (&short, "no SQLite database"),
        (&long, "no SQLite database"),
    ] {
        let before = fs::read(path).unwrap();
        let why = refusal(path);
        assert!(why.contains(expected) && why.contains("--store sqlite:PATH"), "{why}");
        assert_eq!(fs::read(path).unwrap(), before, "{}", path.display());
    }
}

#[test]
fn a_file_that_cannot_be_created_is_refused() {
    let directory = Directory::new();
    let why = refusal(&directory.path("no/such/directory/vmherd.db"));
    assert!(why.contains("directory must exist"), "{why}");
    fs::create_dir(directory.path("directory.db")).unwrap();
    refusal(&directory.path("directory.db"));
}

#[test]
fn a_path_is_never_parsed_as_a_uri() {
    let directory = Directory::new();
    fs::create_dir(directory.path("file:")).unwrap();
    let path = directory.path("file:/vm?mode=memory#%41.db");
    register(&mut store(&path), "a", &[]);
    assert_eq!(all_vms(&mut store(&path)).len(), 1);
    assert!(path.exists());
}

#[test]
fn a_removed_file_is_not_recreated() {
    let directory = Directory::new();
    let path = directory.path("vmherd.db");
    let factory = SqliteFactory::open(&path).unwrap();
    fs::remove_file(&path).unwrap();
    assert!(matches!(factory.connect(), Err(StoreError::Unavailable(_))));
    assert!(!path.exists());
}
