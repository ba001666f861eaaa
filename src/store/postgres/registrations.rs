//! Registrations: those that follow each other in a commit share one statement, which is a transaction of its own if
//! nothing else is in the commit.

use std::collections::{HashMap, HashSet};

use postgres::Row;

use super::super::write::unnamed;
use super::super::{StoreError, Write, WriteOutcome, Written};
use super::parameters::{Parameters, Unlogged, disk_sizes};
use super::pg_error::PgError;
use super::pg_session::PgSession;
use crate::clock::UnixSeconds;
use crate::ids::VmId;
use crate::limits;
use crate::model::NewVm;

/// The VMs of some registrations, column by column; their disks beside them.
#[derive(Default)]
struct NewVms {
    /// The name of each registration's VM. The columns have each name once.
    name_of: Vec<String>,
    names: Vec<String>,
    ram_mib: Vec<i64>,
    cpus: Vec<i32>,
    password_hashes: Vec<Option<String>>,
    registered_at: Vec<i64>,
    servers: Vec<Option<String>>,
    tokens: Vec<Option<Vec<u8>>>,
    /// The name of each disk's VM.
    disks_of: Vec<String>,
    disk_sizes: Vec<i64>,
    /// The most VMs that the store may hold.
    vms_max: u64,
}

/// The limit on VMs of a registration; `None`: `write` is none.
pub(super) fn limit_of(write: &Write) -> Option<u64> {
    match write {
        Write::Register { vms_max, .. } | Write::AddVm { vms_max, .. } => Some(*vms_max),
        _ => None,
    }
}

/// Registers the VMs of `writes`, which have the same limit, in order, in a transaction that has locked the number of VMs.
pub(super) fn register(
    session: &mut PgSession,
    writes: &[&Write],
    origin: i64,
) -> Result<Vec<WriteOutcome>, PgError> {
    let new = NewVms::of(writes)?;
    let rows = new.insert(origin, |sql, parameters| Ok(session.query(sql, parameters)?))?;
    let outcomes = new.outcomes(&rows)?;
    let unnamed = writes.iter().zip(&outcomes).filter_map(|(write, outcome)| match (write, outcome) {
        (Write::AddVm { .. }, Ok(Written::Registered(id))) => Some(id.0),
        _ => None,
    });
    let unnamed: Vec<i64> = unnamed.collect();
    if !unnamed.is_empty() {
        session.query(NAME_BY_ID, &[&unnamed, &origin])?;
    }
    Ok(outcomes)
}

/// Registers the VMs of `writes` with one statement that is its own transaction. Does nothing and returns `None` if a write
/// is something else or a VM without a name, if the limits differ, or if the statement meets the work of another session.
/// It waits for the number of VMs, as a transaction would: without it none of `writes` can be done.
pub(super) fn register_autocommit(
    session: &mut PgSession,
    writes: &[&Write],
    origin: i64,
) -> Result<Option<Vec<WriteOutcome>>, PgError> {
    let Some(Write::Register { vms_max: limit, .. }) = writes.first() else { return Ok(None) };
    let is_alike = |write: &&Write| matches!(write, Write::Register { vms_max, .. } if vms_max == limit);
    if !session.recently_used() || !writes.iter().all(is_alike) {
        return Ok(None);
    }
    let new = NewVms::of(writes)?;
    match new.insert(origin, |sql, parameters| session.query_autocommit(sql, parameters)) {
        // Now an error does not mean that nothing was done.
        Ok(rows) => new.outcomes(&rows).map(Some).map_err(PgError::from_commit),
        // A name was registered after it had been looked up, while the statement waited. Or the database's default is
        // stricter than READ COMMITTED.
        Err(PgError::Rejected(_) | PgError::Conflict(_)) => Ok(None),
        Err(failure) => Err(failure),
    }
}

impl NewVms {
    fn of(writes: &[&Write]) -> Result<NewVms, PgError> {
        let (mut new, mut known) = (NewVms::default(), HashSet::new());
        for (index, write) in writes.iter().enumerate() {
            let (name, vm, vms_max, now) = match write {
                Write::Register { vm, vms_max, now } => (vm.name.to_string(), vm, vms_max, now),
                Write::AddVm { shape, disk_sizes_gib, vms_max, now } => {
                    (format!("{UNNAMED}{index}"), &unnamed(*shape, disk_sizes_gib), vms_max, now)
                }
                _ => return Err(PgError::Failed("another write among registrations".to_owned())),
            };
            if known.insert(name.clone()) {
                new.add(&name, vm, *now)?;
            }
            new.name_of.push(name);
            new.vms_max = *vms_max;
        }
        Ok(new)
    }

    fn add(&mut self, name: &str, vm: &NewVm, now: UnixSeconds) -> Result<(), PgError> {
        let (server, token) = match &vm.management {
            Some(management) => (Some(management.server.to_string()), management.token),
            None => (None, None),
        };
        self.names.push(name.to_owned());
        self.ram_mib.push(vm.shape.ram_mib.into());
        self.cpus.push(vm.shape.cpus.into());
        self.password_hashes.push(vm.password_hash.clone());
        self.registered_at.push(now.0);
        self.servers.push(server);
        self.tokens.push(token.map(|token| token.0.to_vec()));
        self.disk_sizes.extend(disk_sizes(vm.disk_sizes_gib.iter().copied())?);
        self.disks_of.resize(self.disk_sizes.len(), name.to_owned());
        Ok(())
    }

    /// Adds them with the statement that `query` runs; returns its rows.
    fn insert(
        &self,
        origin: i64,
        query: impl FnOnce(&'static str, Parameters<'_>) -> Result<Vec<Row>, PgError>,
    ) -> Result<Vec<Row>, PgError> {
        query(
            REGISTER,
            &[
                &self.names,
                &self.ram_mib,
                &self.cpus,
                &Unlogged(&self.password_hashes),
                &self.registered_at,
                &self.servers,
                &Unlogged(&self.tokens),
                &self.disks_of,
                &self.disk_sizes,
                &i64::try_from(self.vms_max).unwrap_or(i64::MAX),
                &limits::TOKEN_EXPIRY_OF_MANAGED,
                &origin,
                &UNNAMED.to_string(),
            ],
        )
    }

    /// The outcome of each registration; `rows` are those of the statement.
    fn outcomes(&self, rows: &[Row]) -> Result<Vec<WriteOutcome>, postgres::Error> {
        let ids = rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?)));
        let mut ids: HashMap<&str, Option<i64>> = ids.collect::<Result<_, postgres::Error>>()?;
        let outcome = |name: &String| match ids.get_mut(name.as_str()).map(Option::take) {
            // The id is for the first of this name.
            Some(Some(id)) => Ok(Written::Registered(VmId(id))),
            Some(None) => Err(StoreError::AlreadyRegistered),
            None => Err(StoreError::VmLimitReached),
        };
        Ok(self.name_of.iter().map(outcome).collect())
    }
}

/// The first character of what a VM is called until its id is known: one that no name has.
const UNNAMED: char = '\u{1}';

/// Returns the names of the VMs that were added, with their ids, and those that were taken; there is no room for the others.
/// If it adds none, it locks and writes nothing. An id is used only for an added row. A name is looked up by a subquery with
/// one row, which uses the index whatever the size of the table.
///
/// The number of VMs is the newest, after a wait for its lock; names are looked up before.
///
/// The arrays come through subqueries, so that the planner does not see their lengths: it would plan anew each time for
/// few VMs, which takes longer than adding them.
const REGISTER: &str = r#"
    WITH new AS MATERIALIZED (
        SELECT *, (SELECT id FROM vms WHERE vms.name = n.name) IS NOT NULL AS is_known
        FROM unnest(
            (SELECT $1::text[]), (SELECT $2::bigint[]), (SELECT $3::integer[]), (SELECT $4::text[]),
            (SELECT $5::bigint[]), (SELECT $6::text[]), (SELECT $7::bytea[]))
        WITH ORDINALITY AS n (name, ram_mib, cpus, password_hash, registered_at, managed_by, token, place)),
    total AS MATERIALIZED (
        SELECT vms FROM vm_total WHERE vms < $10 AND EXISTS (SELECT FROM new WHERE NOT is_known) FOR UPDATE),
    added AS (
        INSERT INTO vms (name, ram_mib, cpus, password_hash, registered_at, managed_by)
        SELECT name, ram_mib, cpus, password_hash, registered_at, managed_by FROM new WHERE NOT is_known
        ORDER BY place LIMIT coalesce((SELECT $10 - vms FROM total), 0)
        RETURNING id, name),
    counted AS (
        UPDATE vm_total SET vms = vms + (SELECT count(*) FROM added) WHERE EXISTS (SELECT FROM added)),
    tokens AS (
        INSERT INTO tokens (hash, vm, number, expires)
        SELECT token, id, 1, $11 FROM added JOIN new USING (name) WHERE token IS NOT NULL),
    disks AS (
        INSERT INTO disks (vm, size_gib)
        SELECT added.id, d.size
        FROM unnest((SELECT $8::text[]), (SELECT $9::bigint[])) WITH ORDINALITY AS d (name, size, disk)
        JOIN added USING (name)
        ORDER BY d.disk),
    logged AS (
        INSERT INTO changes (origin, kind, subject, name)
        SELECT $12, 'registered', id, name FROM added WHERE NOT starts_with(name, $13) ORDER BY id)
    SELECT name, id FROM added UNION ALL SELECT name, NULL FROM new WHERE is_known"#;

/// Names VMs by their ids. By ctid: a plan for a small table would read all of a large one.
const NAME_BY_ID: &str = "
    WITH vm AS (
        UPDATE vms SET name = id::text
        WHERE ctid = ANY (ARRAY (
            SELECT (SELECT ctid FROM vms WHERE id = new.id) FROM unnest((SELECT $1::bigint[])) AS new (id)))
        RETURNING id, name)
    INSERT INTO changes (origin, kind, subject, name) SELECT $2, 'registered', id, name FROM vm ORDER BY id";
