//! Updates of VMs: each does everything or nothing. Those without disks share a statement if they follow each other.

use std::collections::{HashMap, HashSet};

use super::super::{StoreError, Write, WriteOutcome, Written};
use super::parameters::disk_sizes;
use super::pg_error::PgError;
use super::pg_session::PgSession;
use crate::ids::DiskId;
use crate::model::{DiskChange, Login, VmChange};

/// Changes the VM of `login` and its disks if it is current and the VM is not managed; `origin` makes the change.
pub(super) fn update(
    session: &mut PgSession,
    login: &Login,
    change: &VmChange,
    disks: &DiskChange,
    origin: i64,
) -> Result<WriteOutcome, PgError> {
    let (id, epoch) = (&login.id.0, &login.epoch);
    let (ram, cpus) = (&change.ram_mib.map(i64::from), &change.cpus.map(i32::from));
    let rows = match disks {
        DiskChange::Replace(wanted) => {
            let sizes = disk_sizes(wanted.iter().copied())?;
            session.query(REPLACE_DISKS, &[id, epoch, ram, cpus, &sizes, &origin])?
        }
        DiskChange::Resize(changes) => {
            let disks: Vec<i64> = changes.iter().map(|(disk, _)| disk.0).collect();
            let sizes = disk_sizes(changes.iter().map(|(_, size)| *size))?;
            session.query(RESIZE_DISKS, &[id, epoch, ram, cpus, &disks, &sizes, &origin])?
        }
    };
    Ok(match rows.first().map(|row| row.try_get::<_, Option<i64>>(0)).transpose()? {
        None => Err(refusal_of(session, login)?),
        Some(Some(unknown)) => Err(StoreError::UnknownDisk(DiskId(unknown))),
        Some(None) => Ok(Written::Done),
    })
}

/// Whether `write` changes the memory and processors of a VM only.
pub(super) fn is_of_shape(write: &Write) -> bool {
    matches!(write, Write::Update { change: VmChange { disks: None, .. }, .. })
}

/// Runs `writes`, for which [`is_of_shape`] holds; `origin` makes the changes. Those of one login are one change.
pub(super) fn reshape(
    session: &mut PgSession,
    writes: &[&Write],
    origin: i64,
) -> Result<Vec<WriteOutcome>, PgError> {
    let (mut logins, mut ids, mut epochs) = (Vec::new(), Vec::new(), Vec::new());
    let (mut ram_mib, mut cpus): (Vec<Option<i64>>, Vec<Option<i32>>) = Default::default();
    let mut places = HashMap::new();
    for write in writes {
        let Write::Update { login, change } = write else {
            return Err(PgError::Failed("another write among updates".to_owned()));
        };
        let place = *places.entry((login.id.0, login.epoch)).or_insert(ids.len());
        if place == ids.len() {
            ids.push(login.id.0);
            epochs.push(login.epoch);
            ram_mib.push(None);
            cpus.push(None);
        }
        ram_mib[place] = change.ram_mib.map(i64::from).or(ram_mib[place]);
        cpus[place] = change.cpus.map(i32::from).or(cpus[place]);
        logins.push(login);
    }
    let rows = session.query(RESHAPE, &[&ids, &epochs, &ram_mib, &cpus, &origin])?;
    let mut done = HashSet::new();
    for row in rows {
        done.insert((row.try_get(0)?, row.try_get(1)?));
    }
    let outcome = |login: &Login| match done.contains(&(login.id.0, login.epoch)) {
        true => Ok(Ok(Written::Done)),
        false => Ok(Err(refusal_of(session, login)?)),
    };
    logins.into_iter().map(outcome).collect()
}

/// Why the VM of `login` is not to be updated.
fn refusal_of(session: &mut PgSession, login: &Login) -> Result<StoreError, PgError> {
    let sql = "SELECT FROM vms WHERE id = $1 AND epoch = $2";
    let is_current = !session.query(sql, &[&login.id.0, &login.epoch])?.is_empty();
    Ok(if is_current { StoreError::Managed } else { StoreError::NotCurrent })
}

/// Returns the id and the epoch of each login that is current and whose VM is not managed.
const RESHAPE: &str = "
    WITH vm AS (
        UPDATE vms SET ram_mib = coalesce(new.ram_mib, vms.ram_mib), cpus = coalesce(new.cpus, vms.cpus)
        FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::integer[]) AS new (id, epoch, ram_mib, cpus)
        WHERE vms.id = new.id AND vms.epoch = new.epoch AND managed_by IS NULL
        RETURNING vms.id, vms.epoch, vms.name),
    logged AS (INSERT INTO changes (origin, kind, subject, name) SELECT $5, 'updated', id, name FROM vm)
    SELECT id, epoch FROM vm";

/// Returns a row if the login is current, the VM is not managed, and all was done.
const REPLACE_DISKS: &str = "
    WITH vm AS (
        UPDATE vms SET ram_mib = coalesce($3, ram_mib), cpus = coalesce($4, cpus)
        WHERE id = $1 AND epoch = $2 AND managed_by IS NULL RETURNING id, name),
    logged AS (INSERT INTO changes (origin, kind, subject, name) SELECT $6, 'updated', id, name FROM vm),
    present AS (
        SELECT id, row_number() OVER (ORDER BY id) AS place FROM disks WHERE vm IN (SELECT id FROM vm)),
    wanted AS (SELECT size, place FROM unnest($5::bigint[]) WITH ORDINALITY AS wanted (size, place)),
    resized AS (
        UPDATE disks SET size_gib = wanted.size FROM present JOIN wanted USING (place)
        WHERE disks.id = present.id AND disks.vm = $1 AND disks.size_gib <> wanted.size),
    removed AS (
        DELETE FROM disks
        WHERE vm = $1 AND id IN (SELECT id FROM present WHERE place > cardinality($5::bigint[]))),
    added AS (
        INSERT INTO disks (vm, size_gib)
        SELECT vm.id, wanted.size FROM vm, wanted WHERE wanted.place > (SELECT count(*) FROM present)
        ORDER BY wanted.place)
    SELECT null::bigint FROM vm";

/// Returns a row if the login is current and the VM is not managed: the first disk that the VM does not have; null if all was done.
const RESIZE_DISKS: &str = "
    WITH vm AS (SELECT id, name FROM vms WHERE id = $1 AND epoch = $2 AND managed_by IS NULL),
    wanted AS (
        SELECT id, size, place FROM unnest($5::bigint[], $6::bigint[]) WITH ORDINALITY AS w (id, size, place)),
    unknown AS (
        SELECT id FROM wanted WHERE id NOT IN (SELECT id FROM disks WHERE vm = $1) ORDER BY place LIMIT 1),
    logged AS (
        INSERT INTO changes (origin, kind, subject, name)
        SELECT $7, 'updated', id, name FROM vm WHERE NOT EXISTS (SELECT FROM unknown)),
    reshaped AS (
        UPDATE vms SET ram_mib = coalesce($3, ram_mib), cpus = coalesce($4, cpus)
        WHERE id IN (SELECT id FROM vm) AND NOT EXISTS (SELECT FROM unknown)),
    resized AS (
        UPDATE disks SET size_gib = wanted.size FROM wanted
        WHERE disks.id = wanted.id AND disks.vm IN (SELECT id FROM vm) AND NOT EXISTS (SELECT FROM unknown))
    SELECT (SELECT id FROM unknown) FROM vm";
