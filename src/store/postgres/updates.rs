//! Updates of a VM: each is one statement that does everything or nothing.

use super::super::{StoreError, WriteOutcome, Written};
use super::parameters::disk_sizes;
use super::pg_error::PgError;
use super::pg_session::PgSession;
use crate::ids::DiskId;
use crate::model::{DiskChange, Login, VmChange};

/// Changes the VM of `login` if it is current and the VM is not managed; `origin` makes the change.
pub(super) fn update(
    session: &mut PgSession,
    login: &Login,
    change: &VmChange,
    origin: i64,
) -> Result<WriteOutcome, PgError> {
    let (id, epoch) = (&login.id.0, &login.epoch);
    let (ram, cpus) = (&change.ram_mib.map(i64::from), &change.cpus.map(i32::from));
    let rows = match &change.disks {
        None => {
            let sql = "WITH vm AS (
                    UPDATE vms SET ram_mib = coalesce($3, ram_mib), cpus = coalesce($4, cpus)
                    WHERE id = $1 AND epoch = $2 AND managed_by IS NULL RETURNING id, name),
                 logged AS (
                    INSERT INTO changes (origin, kind, subject, name) SELECT $5, 'updated', id, name FROM vm)
                 SELECT null::bigint FROM vm";
            session.query(sql, &[id, epoch, ram, cpus, &origin])?
        }
        Some(DiskChange::Replace(wanted)) => {
            let sizes = disk_sizes(wanted.iter().copied())?;
            session.query(REPLACE_DISKS, &[id, epoch, ram, cpus, &sizes, &origin])?
        }
        Some(DiskChange::Resize(changes)) => {
            let disks: Vec<i64> = changes.iter().map(|(disk, _)| disk.0).collect();
            let sizes = disk_sizes(changes.iter().map(|(_, size)| *size))?;
            session.query(RESIZE_DISKS, &[id, epoch, ram, cpus, &disks, &sizes, &origin])?
        }
    };
    Ok(match rows.first().map(|row| row.try_get::<_, Option<i64>>(0)).transpose()? {
        None => {
            let sql = "SELECT FROM vms WHERE id = $1 AND epoch = $2";
            let is_current = !session.query(sql, &[id, epoch])?.is_empty();
            Err(if is_current { StoreError::Managed } else { StoreError::NotCurrent })
        }
        Some(Some(unknown)) => Err(StoreError::UnknownDisk(DiskId(unknown))),
        Some(None) => Ok(Written::Done),
    })
}

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
