//! Migrates a PostgreSQL database: numbered steps, forward only, each once.
//!
//! Uses the table `vmherd_schema`, which records the applied steps. All tables are in the first schema of
//! `search_path`; foreign tables are never taken over. A database that is up to date needs no rights beyond
//! reading and writing its tables.

use super::super::migration_records::{checksum, count_recorded, version};
use super::locking::{SERIES_TOTAL, VM_TOTAL};
use super::pg_error::PgError;
use super::pg_session::PgSession;
use crate::limits;

/// The migrations, in order, numbered from 1. A released one is never edited: the next is added.
const MIGRATIONS: &[&str] = &[
    include_str!("../../../sql/postgres/0001_registry.sql"),
    include_str!("../../../sql/postgres/0002_metrics.sql"),
    include_str!("../../../sql/postgres/0003_managed.sql"),
    include_str!("../../../sql/postgres/0004_access_tokens.sql"),
    include_str!("../../../sql/postgres/0005_last_seen.sql"),
    include_str!("../../../sql/postgres/0006_watch.sql"),
];

/// Advice for a database of another program.
const ELSEWHERE: &str = "give vmherd a database of its own (--store postgresql://…/DATABASE) or a schema of its \
                         own in this one (CREATE SCHEMA herd, and ?options=-csearch_path%3Dherd in the URL)";

/// The advisory lock of migrations: "vmherd" in ASCII.
const LOCK: i64 = 0x766d_6865_7264;

/// Checks that the database is ours or empty, and applies missing migrations.
pub(super) fn migrate(session: &mut PgSession) -> Result<(), PgError> {
    run(session, MIGRATIONS).map_err(|error| refuse(error, ""))?;
    for (total, counted) in [VM_TOTAL, SERIES_TOTAL] {
        if let Err(error) = check_total(session, total, counted) {
            // Another daemon may be writing, or counting takes too long: no reason not to start.
            log::warn!("{total} could not be checked: {}", error.into_store_error());
        }
    }
    Ok(())
}

fn run(session: &mut PgSession, migrations: &[&str]) -> Result<(), PgError> {
    check_database(session)?;
    if count_done(session, migrations)? == migrations.len() {
        return Ok(());
    }
    begin(session)?;
    let advice = format!(
        ": what vmherd needs can't be made here; if tables of another program have the same names, {ELSEWHERE}; \
         if rights are missing, GRANT CREATE ON SCHEMA … TO this role, or have a role that may start vmherd once"
    );
    // Checked again: another daemon may have migrated it.
    for (index, text) in migrations.iter().enumerate().skip(count_done(session, migrations)?) {
        session.run(text).map_err(|error| refuse(error.into(), &advice))?;
        let sql = "INSERT INTO vmherd_schema (version, checksum, applied_at)
                   VALUES ($1, $2, extract(epoch FROM clock_timestamp())::bigint)";
        session.query(sql, &[&version(index), &checksum(text)])?;
        log::info!("the database's schema version {} is in place", version(index));
    }
    session.run("COMMIT").map_err(PgError::from_commit)
}

/// Begins a transaction with an exclusive lock on the schema.
fn begin(session: &mut PgSession) -> Result<(), PgError> {
    // READ COMMITTED: each statement must see what was done while this waited for the lock. Another
    // daemon's migration may take longer than an ordinary lock.
    let wait_ms = limits::POSTGRES_MIGRATION_TIMEOUT.as_millis();
    session.run(&format!(
        "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL lock_timeout = {wait_ms}; \
         SET LOCAL statement_timeout = {wait_ms}; SELECT pg_advisory_xact_lock({LOCK})"
    ))?;
    Ok(())
}

/// Checks the requirements before anything is created.
fn check_database(session: &mut PgSession) -> Result<(), PgError> {
    let sql = "SELECT current_setting('server_encoding'), current_schema()::text, pg_is_in_recovery()";
    let rows = session.query(sql, &[])?;
    let refused = |why: &str| PgError::Refused(why.to_owned());
    let row = rows.first().ok_or_else(|| refused("the database returned no row"))?;
    let (encoding, schema): (String, Option<String>) = (row.try_get(0)?, row.try_get(1)?);
    if encoding != "UTF8" {
        return Err(refused(&format!(
            "its encoding is {encoding}, which can't hold every VM's name: make the database with \
             ENCODING 'UTF8' TEMPLATE template0"
        )));
    }
    if schema.is_none() {
        return Err(refused("none of the schemas in search_path exists, or this role may not use it"));
    }
    if row.try_get(2)? {
        let why = "this server is a standby, which takes no writes: name the primary as well";
        return Err(PgError::Exhausted(why.to_owned()));
    }
    Ok(())
}

/// The number of applied `migrations`; an error if the records differ.
fn count_done(session: &mut PgSession, migrations: &[&str]) -> Result<usize, PgError> {
    // In the first schema only: others may belong to another program. Compared by name, since regnamespace
    // would fold the case.
    let sql = "SELECT EXISTS (SELECT FROM pg_catalog.pg_class c
               JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
               WHERE c.relname = 'vmherd_schema' AND n.nspname = current_schema())";
    let rows = session.query(sql, &[])?;
    if !rows.first().map(|row| row.try_get(0)).transpose()?.unwrap_or(false) {
        return Ok(0);
    }
    let sql = "SELECT version, checksum FROM vmherd_schema ORDER BY version";
    let rows = session.query(sql, &[])?;
    let recorded: Vec<(i64, String)> =
        rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect::<Result<_, PgError>>()?;
    count_recorded(&recorded, migrations, ELSEWHERE).map_err(PgError::Refused)
}

/// Repairs a count after manual changes. One statement sees one state, in which both agree, so it is written
/// only if it was wrong before.
fn check_total(session: &mut PgSession, total: &str, counted: &str) -> Result<(), PgError> {
    let check =
        format!("SELECT (SELECT count(*) FROM {counted}) IS DISTINCT FROM (SELECT {counted} FROM {total})");
    if session.query_text(&check)?.as_deref() == Some("t") {
        log::warn!("{total} holds a wrong number of rows: recounting them");
        // The lock is held by every transaction that adds or removes rows.
        session.run(&format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED; \
             INSERT INTO {total} ({counted}) VALUES (0) ON CONFLICT DO NOTHING; \
             SELECT {counted} FROM {total} FOR UPDATE; \
             UPDATE {total} SET {counted} = (SELECT count(*) FROM {counted}); \
             COMMIT"
        ))?;
    }
    Ok(())
}

/// Refuses a database in which a statement fails permanently.
fn refuse(error: PgError, advice: &str) -> PgError {
    match error {
        PgError::Failed(why) | PgError::Rejected(why) => PgError::Refused(why + advice),
        other => other,
    }
}
