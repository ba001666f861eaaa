//! Migrates an SQLite database: numbered steps, forward only, each once.
//!
//! Uses the table `schema`, which records the applied steps, and the application id in the file's header.
//! Refuses databases of other programs, of newer versions, and those made by migrations with other text, and
//! leaves them unchanged.

use std::path::Path;

use rusqlite::{Connection, ErrorCode, TransactionBehavior, params};

use super::super::migration_records::{checksum, count_recorded, version};

/// The migrations, in order, numbered from 1. A released one is never edited: the next is added.
const MIGRATIONS: &[&str] = &[
    include_str!("../../../sql/sqlite/0001_registry.sql"),
    include_str!("../../../sql/sqlite/0002_metrics.sql"),
    include_str!("../../../sql/sqlite/0003_managed.sql"),
    include_str!("../../../sql/sqlite/0004_access_tokens.sql"),
    include_str!("../../../sql/sqlite/0005_last_seen.sql"),
    include_str!("../../../sql/sqlite/0006_watch.sql"),
];

/// The application id in the header of our files: "vmhd" in ASCII.
const APPLICATION_ID: i64 = 0x766d_6864;

/// Advice for a database of another program.
const ELSEWHERE: &str = "use another file with --store sqlite:PATH";

/// Why a database cannot be opened. The caller adds the name of the file to the text.
#[derive(Debug)]
pub(super) enum OpenError {
    /// It is locked; trying again may help.
    Busy,
    /// It cannot be used now; the text says what to do.
    Failed(String),
    /// It cannot be used at all; the text says what to do.
    Refused(String),
}

/// Checks that the database is ours or empty, and applies missing migrations.
pub(super) fn migrate(connection: &mut Connection, path: &Path) -> Result<(), OpenError> {
    run(connection, path, MIGRATIONS)
}

fn run(connection: &mut Connection, path: &Path, migrations: &[&str]) -> Result<(), OpenError> {
    // Checked before anything is written: switching to WAL changes the file.
    let looking = connection.transaction_with_behavior(TransactionBehavior::Deferred)?;
    let mut done = count_done(&looking, migrations)?;
    drop(looking);
    switch_to_wal(connection)?;
    if done == migrations.len() {
        return Ok(());
    }

    let changing = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Checked again: another process may have migrated it.
    done = count_done(&changing, migrations)?;
    for (index, text) in migrations.iter().enumerate().skip(done) {
        changing.execute_batch(text)?;
        changing.execute(
            "INSERT INTO schema (version, checksum, applied_at) VALUES (?1, ?2, unixepoch())",
            params![version(index), checksum(text)],
        )?;
        log::info!("{}: schema version {} is in place", path.display(), version(index));
    }
    changing.pragma_update(None, "application_id", APPLICATION_ID)?;
    changing.commit()?;
    Ok(())
}

/// The number of applied `migrations`; an error if the records differ.
fn count_done(connection: &Connection, migrations: &[&str]) -> Result<usize, OpenError> {
    let objects: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let application: i64 = connection.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    let ours = has_schema_table(connection)? && application == APPLICATION_ID;
    if objects == 0 && application == 0 {
        return Ok(0);
    }
    if !ours {
        return Err(OpenError::Refused(
            "this is a database of another program: give vmherd a file of its own with --store sqlite:PATH"
                .to_owned(),
        ));
    }

    let mut statement = connection.prepare("SELECT version, checksum FROM schema ORDER BY version")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let recorded: Vec<(i64, String)> = rows.collect::<Result<_, _>>()?;
    count_recorded(&recorded, migrations, ELSEWHERE).map_err(OpenError::Refused)
}

fn has_schema_table(connection: &Connection) -> rusqlite::Result<bool> {
    connection
        .prepare("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'schema'")
        .and_then(|mut statement| statement.exists([]))
}

/// Enables the write-ahead log, so that readers and the writer do not block each other. The setting persists in
/// the file.
fn switch_to_wal(connection: &Connection) -> Result<(), OpenError> {
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if mode == "wal" {
        return Ok(());
    }
    Err(OpenError::Refused(format!(
        "SQLite's write-ahead log does not work here (journal mode stays {mode}): use a local file system"
    )))
}

impl From<rusqlite::Error> for OpenError {
    fn from(error: rusqlite::Error) -> OpenError {
        let advice = match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => return OpenError::Busy,
            Some(ErrorCode::NotADatabase) => {
                "this is no SQLite database: move it away, or use another file with --store sqlite:PATH"
            }
            Some(ErrorCode::DatabaseCorrupt) => "the database is damaged: restore a copy of it",
            Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::ReadOnly) => {
                "its directory must exist, and it and the file must be writable for this user"
            }
            Some(ErrorCode::DiskFull) => {
                return OpenError::Failed(format!("make room on the disk ({error})"));
            }
            Some(ErrorCode::SystemIoFailure | ErrorCode::OutOfMemory) => {
                return OpenError::Failed(format!("check the file and its disk ({error})"));
            }
            _ => "check the file and its disk",
        };
        OpenError::Refused(format!("{advice} ({error})"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: &str = "CREATE TABLE schema (version INTEGER PRIMARY KEY, checksum TEXT NOT NULL, \
                        applied_at INTEGER NOT NULL) STRICT;";

    fn open(directory: &super::super::super::contract::Directory) -> (Connection, std::path::PathBuf) {
        let path = directory.path("steps.db");
        (Connection::open(&path).expect("a new file"), path)
    }

    #[test]
    fn transient_errors_are_not_refusals() {
        use rusqlite::ffi;
        let open_error = |code| OpenError::from(rusqlite::Error::SqliteFailure(ffi::Error::new(code), None));
        for code in [ffi::SQLITE_FULL, ffi::SQLITE_IOERR, ffi::SQLITE_NOMEM] {
            assert!(matches!(open_error(code), OpenError::Failed(_)), "{code}");
        }
        for code in [ffi::SQLITE_NOTADB, ffi::SQLITE_CORRUPT, ffi::SQLITE_CANTOPEN, ffi::SQLITE_ERROR] {
            assert!(matches!(open_error(code), OpenError::Refused(_)), "{code}");
        }
    }

    fn refusal(result: Result<(), OpenError>) -> String {
        match result {
            Err(OpenError::Refused(why)) => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_migration_runs_once_and_sees_earlier_ones() {
        let directory = super::super::super::contract::Directory::new();
        let (mut connection, path) = open(&directory);
        let (add, fill) = ("CREATE TABLE extra (n INTEGER);", "INSERT INTO extra VALUES (1);");
        run(&mut connection, &path, &[STEP, add]).expect("from nothing");
        run(&mut connection, &path, &[STEP, add, fill]).expect("one more");
        run(&mut connection, &path, &[STEP, add, fill]).expect("nothing to do");
        let rows: i64 = connection.query_row("SELECT count(*) FROM extra", [], |row| row.get(0)).unwrap();
        assert_eq!(rows, 1);
        assert!(refusal(run(&mut connection, &path, &[STEP, add])).contains("newer vmherd"));
    }

    #[test]
    fn a_failing_migration_rolls_back_its_whole_batch() {
        let directory = super::super::super::contract::Directory::new();
        let (mut connection, path) = open(&directory);
        run(&mut connection, &path, &[STEP]).expect("from nothing");
        let steps =
            [STEP, "CREATE TABLE extra (n INTEGER);", "CREATE TABLE half (n INTEGER); SELECT nonsense;"];
        refusal(run(&mut connection, &path, &steps));
        let tables: i64 =
            connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).unwrap();
        assert_eq!(tables, 1);
        assert_eq!(count_done(&connection, &steps).unwrap(), 1);
    }

    #[test]
    fn a_gap_in_the_migration_records_is_refused() {
        let directory = super::super::super::contract::Directory::new();
        let (mut connection, path) = open(&directory);
        run(&mut connection, &path, &[STEP, "CREATE TABLE extra (n INTEGER);"]).expect("from nothing");
        connection.execute("DELETE FROM schema WHERE version = 1", []).unwrap();
        let why = refusal(run(&mut connection, &path, &[STEP, "CREATE TABLE extra (n INTEGER);"]));
        assert!(why.contains("version 1 is missing"), "{why}");
    }
}
