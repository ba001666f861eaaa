//! Migrates a PostgreSQL database: numbered steps, forward only, each once.
//!
//! Uses the table `vmherd_schema`, which records the applied steps. All tables are in the first schema of
//! `search_path`; foreign tables are never taken over. A database that is up to date needs no rights beyond
//! reading and writing its tables.

use super::super::StoreError;
use super::super::migration_records::{check_recorded, checksum, version};
use super::pg_error::PgError;
use super::pg_session::PgSession;
use crate::limits;

/// The migrations, in order, numbered from 1. A released one is never edited: the next is added.
const MIGRATIONS: &[&str] = &[
    include_str!("../../../sql/postgres/0001_registry.sql"),
    include_str!("../../../sql/postgres/0002_metrics.sql"),
];

/// Advice for a database of another program.
const ELSEWHERE: &str = "give vmherd a database of its own (--store postgresql://…/DATABASE) or a schema of its \
                         own in this one (CREATE SCHEMA herd, and ?options=-csearch_path%3Dherd in the URL)";

/// The advisory lock of migrations: "vmherd" in ASCII.
const LOCK: i64 = 0x766d_6865_7264;

/// Checks that the database is ours or empty, and applies missing migrations.
pub(super) fn migrate(session: &mut PgSession) -> Result<(), StoreError> {
    run(session, MIGRATIONS)?;
    for total in &TOTALS {
        if let Err(failure) = check_total(session, total) {
            // Another daemon may be writing, or counting takes too long: no reason not to start.
            log::warn!("{} could not be checked: {}", total.table, failure.into_store_error());
        }
    }
    Ok(())
}

fn run(session: &mut PgSession, migrations: &[&str]) -> Result<(), StoreError> {
    check_database(session)?;
    if count_done(session, migrations)? == migrations.len() {
        return Ok(());
    }
    begin(session).map_err(refuse)?;
    // Checked again: another daemon may have migrated it.
    for (index, text) in migrations.iter().enumerate().skip(count_done(session, migrations)?) {
        session.run(text).map_err(|error| refuse_step(PgError::from_statement(&error)))?;
        let sql = "INSERT INTO vmherd_schema (version, checksum, applied_at)
                   VALUES ($1, $2, extract(epoch FROM clock_timestamp())::bigint)";
        session.query(sql, &[&version(index), &checksum(text)]).map_err(|error| refuse(error.into()))?;
        log::info!("the database's schema version {} is in place", version(index));
    }
    session.run("COMMIT").map_err(|error| refuse(PgError::from_commit(&error)))
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
fn check_database(session: &mut PgSession) -> Result<(), StoreError> {
    let sql = "SELECT current_setting('server_encoding'), current_schema()::text, pg_is_in_recovery()";
    let rows = session.query(sql, &[]).map_err(|error| refuse(error.into()))?;
    let row = rows.first().ok_or_else(|| StoreError::Refused("the database returned no row".to_owned()))?;
    let (encoding, schema, is_standby): (String, Option<String>, bool) =
        (get(row, 0)?, get(row, 1)?, get(row, 2)?);
    if encoding != "UTF8" {
        return Err(StoreError::Refused(format!(
            "its encoding is {encoding}, which can't hold every VM's name: make the database with \
             ENCODING 'UTF8' TEMPLATE template0"
        )));
    }
    if schema.is_none() {
        return Err(StoreError::Refused(
            "none of the schemas in search_path exists, or this role may not use it".to_owned(),
        ));
    }
    if is_standby {
        return Err(StoreError::Unavailable(
            "this server is a standby, which takes no writes: name the primary as well".to_owned(),
        ));
    }
    Ok(())
}

/// The number of applied `migrations`; an error if the records differ.
fn count_done(session: &mut PgSession, migrations: &[&str]) -> Result<usize, StoreError> {
    // In the first schema only: others may belong to another program. Compared by name, since regnamespace
    // would fold the case.
    let sql = "SELECT EXISTS (SELECT FROM pg_catalog.pg_class c
               JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
               WHERE c.relname = 'vmherd_schema' AND n.nspname = current_schema())";
    let rows = session.query(sql, &[]).map_err(|error| refuse(error.into()))?;
    if !rows.first().map(|row| get::<bool>(row, 0)).transpose()?.unwrap_or(false) {
        return Ok(0);
    }
    let sql = "SELECT version, checksum FROM vmherd_schema ORDER BY version";
    let rows = session.query(sql, &[]).map_err(|error| refuse(error.into()))?;
    let recorded: Vec<(i64, String)> =
        rows.iter().map(|row| Ok((get(row, 0)?, get(row, 1)?))).collect::<Result<_, StoreError>>()?;
    check_recorded(&recorded, migrations, ELSEWHERE).map_err(StoreError::Refused)?;
    Ok(recorded.len())
}

/// A one-row table that holds the number of rows of another.
struct CountedRows {
    table: &'static str,
    /// Selects whether it is wrong.
    check: &'static str,
    /// Recounts. Its lock is held by every transaction that adds or removes rows.
    count: &'static str,
}

const TOTALS: [CountedRows; 2] = [
    CountedRows {
        table: "vm_total",
        check: "SELECT (SELECT count(*) FROM vms) IS DISTINCT FROM (SELECT vms FROM vm_total)",
        count: "BEGIN ISOLATION LEVEL READ COMMITTED; \
                INSERT INTO vm_total (vms) VALUES (0) ON CONFLICT DO NOTHING; \
                SELECT vms FROM vm_total FOR UPDATE; \
                UPDATE vm_total SET vms = (SELECT count(*) FROM vms); \
                COMMIT",
    },
    CountedRows {
        table: "series_total",
        check: "SELECT (SELECT count(*) FROM series) IS DISTINCT FROM (SELECT series FROM series_total)",
        count: "BEGIN ISOLATION LEVEL READ COMMITTED; \
                INSERT INTO series_total (series) VALUES (0) ON CONFLICT DO NOTHING; \
                SELECT series FROM series_total FOR UPDATE; \
                UPDATE series_total SET series = (SELECT count(*) FROM series); \
                COMMIT",
    },
];

/// Repairs a count after manual changes. One statement sees one state, in which both agree, so it is written
/// only if it was wrong before.
fn check_total(session: &mut PgSession, total: &CountedRows) -> Result<(), PgError> {
    let rows = session.query(total.check, &[])?;
    if rows.first().map(|row| row.try_get(0)).transpose()?.unwrap_or(false) {
        log::warn!("{} holds a wrong number of rows: recounting them", total.table);
        session.run(total.count)?;
    }
    Ok(())
}

fn get<'r, T: postgres::types::FromSql<'r>>(row: &'r postgres::Row, column: usize) -> Result<T, StoreError> {
    row.try_get(column).map_err(|error| refuse(error.into()))
}

/// A failing migration has met an obstacle.
fn refuse_step(failure: PgError) -> StoreError {
    match refuse(failure) {
        StoreError::Refused(why) => StoreError::Refused(format!(
            "{why}: what vmherd needs can't be made here; if tables of another program have the same names, \
             {ELSEWHERE}; if rights are missing, GRANT CREATE ON SCHEMA … TO this role, or have a role that \
             may start vmherd once"
        )),
        other => other,
    }
}

fn refuse(error: PgError) -> StoreError {
    match error {
        PgError::Failed(why) | PgError::Rejected(why) => StoreError::Refused(why),
        other => other.into_store_error(),
    }
}
