//! Registrations: those that follow each other in a commit share one statement.

use std::collections::HashMap;

use super::super::write::unnamed;
use super::super::{StoreError, Write, WriteOutcome, Written};
use super::locking::RowTotal;
use super::parameters::{Parameters, Unlogged, disk_sizes};
use super::pg_error::PgError;
use super::pg_session::PgSession;
use crate::clock::UnixSeconds;
use crate::ids::VmId;
use crate::limits;
use crate::model::NewVm;

/// The new VMs, column by column; their disks beside them.
#[derive(Default)]
struct Columns {
    names: Vec<String>,
    ram_mib: Vec<i64>,
    cpus: Vec<i32>,
    password_hashes: Vec<Option<String>>,
    registered_at: Vec<i64>,
    servers: Vec<Option<String>>,
    tokens: Vec<Option<Vec<u8>>>,
    /// The place of each disk's VM, from 1.
    disks_of: Vec<i64>,
    disk_sizes: Vec<i64>,
}

/// The limit on VMs of a registration; `None`: `write` is none.
pub(super) fn limit_of(write: &Write) -> Option<u64> {
    match write {
        Write::Register { vms_max, .. } | Write::AddVm { vms_max, .. } => Some(*vms_max),
        _ => None,
    }
}

/// Registers the VMs of `writes`, which have the same limit, in order; `total` is the number of VMs.
pub(super) fn register(
    session: &mut PgSession,
    writes: &[&Write],
    total: &mut RowTotal,
    origin: i64,
) -> Result<Vec<WriteOutcome>, PgError> {
    let (mut columns, mut places) = (Columns::default(), HashMap::new());
    // The index in the columns of each write: a name that comes again shares that of the first.
    let mut indexes = Vec::with_capacity(writes.len());
    for write in writes {
        let index = columns.names.len();
        match write {
            Write::Register { vm, now, .. } => {
                let first = *places.entry(&vm.name).or_insert(index);
                if first == index {
                    columns.add(vm.name.to_string(), vm, *now)?;
                }
                indexes.push((first, first == index));
            }
            Write::AddVm { shape, disk_sizes_gib, now, .. } => {
                columns.add(format!("{UNNAMED}{index}"), &unnamed(*shape, disk_sizes_gib), *now)?;
                indexes.push((index, true));
            }
            _ => return Err(PgError::Failed("another write among registrations".to_owned())),
        }
    }
    let limit = writes.first().and_then(|write| limit_of(write)).unwrap_or(0);
    let results = columns.insert(session, limit, total, origin)?;
    let results_of_unnamed = columns.names.iter().zip(&results).filter(|(name, _)| name.starts_with(UNNAMED));
    let added = results_of_unnamed.filter_map(|(_, result)| match result {
        Ok(Written::Registered(id)) => Some(id.0),
        _ => None,
    });
    let added: Vec<i64> = added.collect();
    if !added.is_empty() {
        session.query(NAME_BY_ID, &[&added, &origin])?;
    }
    Ok(indexes
        .into_iter()
        .map(|(index, is_first)| match &results[index] {
            Ok(_) if !is_first => Err(StoreError::AlreadyRegistered),
            result => result.clone(),
        })
        .collect())
}

impl Columns {
    fn add(&mut self, name: String, vm: &NewVm, now: UnixSeconds) -> Result<(), PgError> {
        let (server, token) = match &vm.management {
            Some(management) => (Some(management.server.to_string()), management.token),
            None => (None, None),
        };
        self.names.push(name);
        self.ram_mib.push(vm.shape.ram_mib.into());
        self.cpus.push(vm.shape.cpus.into());
        self.password_hashes.push(vm.password_hash.clone());
        self.registered_at.push(now.0);
        self.servers.push(server);
        self.tokens.push(token.map(|token| token.0.to_vec()));
        self.disk_sizes.extend(disk_sizes(vm.disk_sizes_gib.iter().copied())?);
        self.disks_of.resize(self.disk_sizes.len(), self.names.len() as i64);
        Ok(())
    }

    fn insert(
        &self,
        session: &mut PgSession,
        limit: u64,
        total: &mut RowTotal,
        origin: i64,
    ) -> Result<Vec<WriteOutcome>, PgError> {
        let room = limit.saturating_sub(total.now.unsigned_abs());
        let parameters: Parameters<'_> = &[
            &self.names,
            &self.ram_mib,
            &self.cpus,
            &Unlogged(&self.password_hashes),
            &self.registered_at,
            &self.servers,
            &Unlogged(&self.tokens),
            &self.disks_of,
            &self.disk_sizes,
            &i64::try_from(room).unwrap_or(i64::MAX),
            &limits::TOKEN_EXPIRY_OF_MANAGED,
            &origin,
            &UNNAMED.to_string(),
        ];
        let mut outcomes = Vec::with_capacity(self.names.len());
        for row in session.query(REGISTER, parameters)? {
            outcomes.push(match (row.try_get(0)?, row.try_get(1)?) {
                (Some(id), _) => {
                    total.now += 1;
                    Ok(Written::Registered(VmId(id)))
                }
                (None, true) => Err(StoreError::AlreadyRegistered),
                (None, false) => Err(StoreError::VmLimitReached),
            });
        }
        match outcomes.len() == self.names.len() {
            true => Ok(outcomes),
            false => Err(PgError::Failed("registrations have other results than rows".to_owned())),
        }
    }
}

/// The first character of what a VM is called until its id is known: one that no name has.
const UNNAMED: char = '\u{1}';

/// Returns a row for each new VM, in order: its id if it was added, and whether its name was taken. An id is used only for
/// an added row. A name is looked up by a subquery with one row, which uses the index whatever the size of the table.
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
    fresh AS (SELECT *, row_number() OVER (ORDER BY place) AS nth FROM new WHERE NOT is_known),
    added AS (
        INSERT INTO vms (name, ram_mib, cpus, password_hash, registered_at, managed_by)
        SELECT name, ram_mib, cpus, password_hash, registered_at, managed_by FROM fresh
        WHERE nth <= $10 ORDER BY place
        RETURNING id, name),
    numbered AS MATERIALIZED (
        SELECT added.id, new.name, new.token, new.place FROM added JOIN new ON new.name = added.name),
    tokens AS (
        INSERT INTO tokens (hash, vm, number, expires)
        SELECT token, id, 1, $11 FROM numbered WHERE token IS NOT NULL),
    disks AS (
        INSERT INTO disks (vm, size_gib)
        SELECT numbered.id, d.size
        FROM unnest((SELECT $8::bigint[]), (SELECT $9::bigint[])) WITH ORDINALITY AS d (place, size, disk)
        JOIN numbered USING (place)
        ORDER BY d.disk),
    logged AS (
        INSERT INTO changes (origin, kind, subject, name)
        SELECT $12, 'registered', id, name FROM numbered WHERE NOT starts_with(name, $13) ORDER BY place)
    SELECT numbered.id, new.is_known FROM new LEFT JOIN numbered USING (place) ORDER BY new.place"#;

/// Names VMs by their ids. By ctid: a plan for a small table would read all of a large one.
const NAME_BY_ID: &str = "
    WITH vm AS (
        UPDATE vms SET name = id::text
        WHERE ctid = ANY (ARRAY (
            SELECT (SELECT ctid FROM vms WHERE id = new.id) FROM unnest((SELECT $1::bigint[])) AS new (id)))
        RETURNING id, name)
    INSERT INTO changes (origin, kind, subject, name) SELECT $2, 'registered', id, name FROM vm ORDER BY id";
