//! Brings a PostgreSQL database up to what this program expects: numbered steps, forward only, each once.
//!
//! Owns the table `vmherd_schema`, which tells what was done to a database. Everything lives in the
//! connection's own schema (the first of its `search_path`); tables of others are never taken over. A
//! database that is up to date is only looked at: that takes no rights but to read and write its tables.

use super::super::StoreError;
use super::super::migration_records::{check_recorded, checksum, version};
use super::pg_error::PgError;
use super::pg_session::PgSession;
use crate::limits;

/// The steps, in order; the first has number 1. One that was released is never edited: the next is added.
const MIGRATIONS: &[&str] = &[
    include_str!("../../../sql/postgres/0001_registry.sql"),
    include_str!("../../../sql/postgres/0002_metrics.sql"),
];

/// What to do instead of using a database of somebody else.
const ELSEWHERE: &str = "give vmherd a database of its own (--store postgresql://…/DATABASE) or a schema of its \
                         own in this one (CREATE SCHEMA herd, and ?options=-csearch_path%3Dherd in the URL)";

/// What all daemons lock that bring a database up to date: "vmherd" in ASCII.
const LOCK: i64 = 0x766d_6865_7264;

/// Checks that the database is ours, or has nothing of that name and so becomes ours, and does what is
/// missing.
pub(super) fn migrate(session: &mut PgSession) -> Result<(), StoreError> {
    run(session, MIGRATIONS)?;
    for total in &TOTALS {
        if let Err(failure) = check_total(session, total) {
            // Others may be at work, or there is more to count than time: no reason not to serve.
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
    // Looked at again: another daemon may have been faster.
    for (index, text) in migrations.iter().enumerate().skip(count_done(session, migrations)?) {
        session.run(text).map_err(|error| refuse_step(PgError::from_statement(&error)))?;
        let sql = "INSERT INTO vmherd_schema (version, checksum, applied_at)
                   VALUES ($1, $2, extract(epoch FROM clock_timestamp())::bigint)";
        session.query(sql, &[&version(index), &checksum(text)]).map_err(|error| refuse(error.into()))?;
        log::info!("the database's schema version {} is in place", version(index));
    }
    session.run("COMMIT").map_err(|error| refuse(PgError::from_commit(&error)))
}

/// Begins a transaction that has the database's schema to itself.
fn begin(session: &mut PgSession) -> Result<(), PgError> {
    // Not at the database's own isolation level: each statement has to see what was done while this
    // waited for the lock. Another daemon's migration may take longer than a lock in daily life.
    let wait_ms = limits::POSTGRES_MIGRATION.as_millis();
    session.run(&format!(
        "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL lock_timeout = {wait_ms}; \
         SET LOCAL statement_timeout = {wait_ms}; SELECT pg_advisory_xact_lock({LOCK})"
    ))?;
    Ok(())
}

/// What has to be true of a database before anything is made in it.
fn check_database(session: &mut PgSession) -> Result<(), StoreError> {
    let sql = "SELECT current_setting('server_encoding'), current_schema()::text, pg_is_in_recovery()";
    let rows = session.query(sql, &[]).map_err(|error| refuse(error.into()))?;
    let row = rows.first().ok_or_else(|| StoreError::Refused("the database says nothing".to_owned()))?;
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

/// How many of `migrations` have been done to the database. An error if anything else has.
fn count_done(session: &mut PgSession, migrations: &[&str]) -> Result<usize, StoreError> {
    // In the connection's own schema only: one further down the path is somebody else's. By its name, not
    // as regnamespace, which takes a name for an identifier and folds its case.
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

/// A table of one row that says how many rows another has.
struct CountedRows {
    table: &'static str,
    /// Whether it is wrong.
    check: &'static str,
    /// Counts anew. Nobody adds or removes a row meanwhile: whoever does holds the lock that this takes.
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

/// Sets such a number right where somebody has changed a table by hand. One statement sees one state, in which
/// the two agree; so it is only written where it was wrong before.
fn check_total(session: &mut PgSession, total: &CountedRows) -> Result<(), PgError> {
    let rows = session.query(total.check, &[])?;
    if rows.first().map(|row| row.try_get(0)).transpose()?.unwrap_or(false) {
        log::warn!("{} does not say how many rows there are: they are counted anew", total.table);
        session.run(total.count)?;
    }
    Ok(())
}

fn get<'r, T: postgres::types::FromSql<'r>>(row: &'r postgres::Row, column: usize) -> Result<T, StoreError> {
    row.try_get(column).map_err(|error| refuse(error.into()))
}

/// A step that fails meets something that is in its way.
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
