//! Reads from the file.
//!
//! No transaction, lock or statement stays open when a function returns, except between [`begin_snapshot`] and
//! [`end_snapshot`]. Two statements of one function see one state because they overlap: SQLite's read
//! transaction lasts from the first row of the one to the last row of the other.

use std::fmt::Write as _;

use rusqlite::{Connection, OptionalExtension, Result, Row, params};

use super::super::hash_prefixes::HashPrefixes;
use super::super::registry::{VmPage, reuse_name};
use crate::clock::UnixSeconds;
use crate::ids::{DiskId, VmId};
use crate::model::{Credentials, Disk, DiskOfVm, Login, TokenHash, Vm, VmName, VmShape};

/// Reads until [`end_snapshot`] see the state of the first one. Only that one takes locks and checks the file,
/// which is half the cost of finding one row.
pub(super) fn begin_snapshot(connection: &Connection) {
    // Each read then has its own transaction: slower, but correct.
    if let Err(error) = connection.prepare_cached("BEGIN").and_then(|mut begin| begin.execute([])) {
        log::debug!("reads do not share a transaction: {error}");
    }
}

pub(super) fn end_snapshot(connection: &Connection) {
    if connection.is_autocommit() {
        return;
    }
    if let Err(error) = connection.prepare_cached("COMMIT").and_then(|mut commit| commit.execute([])) {
        log::warn!("ending a read transaction failed: {error}");
        // Later reads must not see its old state.
        let _ = connection.execute_batch("ROLLBACK");
    }
}

pub(super) fn ping(connection: &Connection) -> Result<()> {
    connection.prepare_cached("SELECT EXISTS (SELECT 1 FROM vms)")?.query_row([], |_| Ok(()))
}

pub(super) fn credentials(connection: &Connection, name: &VmName) -> Result<Option<Credentials>> {
    connection
        .prepare_cached("SELECT id, epoch, name, password_hash FROM vms WHERE name = ?1")?
        .query_row([name.as_str()], credentials_row)
        .optional()
}

pub(super) fn credentials_by_id(connection: &Connection, id: VmId) -> Result<Option<Credentials>> {
    connection
        .prepare_cached("SELECT id, epoch, name, password_hash FROM vms WHERE id = ?1")?
        .query_row([id.0], credentials_row)
        .optional()
}

pub(super) fn password_hash_starts(connection: &Connection, count_max: usize) -> Result<Vec<String>> {
    // Not cached: it runs once.
    let mut statement =
        connection.prepare("SELECT password_hash FROM vms WHERE password_hash IS NOT NULL")?;
    let (mut rows, mut starts) = (statement.query([])?, HashPrefixes::default());
    while let Some(row) = rows.next()? {
        starts.add(row.get_ref(0)?.as_str()?, count_max);
    }
    Ok(starts.into_vec())
}

pub(super) fn token_owner(
    connection: &Connection,
    token: &TokenHash,
    now: UnixSeconds,
) -> Result<Option<Login>> {
    connection.prepare_cached(TOKEN_OWNER)?.query_row(params![token.0, now.0], login).optional()
}

pub(super) const TOKEN_OWNER: &str = "SELECT vms.id, vms.epoch, vms.name
    FROM tokens CROSS JOIN vms ON vms.id = tokens.vm WHERE tokens.hash = ?1 AND tokens.expires > ?2";

pub(super) fn is_current(connection: &Connection, login: &Login) -> Result<bool> {
    connection
        .prepare_cached("SELECT 1 FROM vms WHERE id = ?1 AND epoch = ?2")?
        .exists(params![login.id.0, login.epoch])
}

pub(super) fn vms_after(connection: &Connection, after: VmId, rows_max: usize) -> Result<VmPage> {
    // Both return rows in key order as they are fetched: rows that are not needed are not read.
    let mut vms = connection.prepare_cached(
        "SELECT id, name, ram_mib, cpus, password_hash IS NOT NULL FROM vms WHERE id > ?1 ORDER BY id",
    )?;
    let mut disks =
        connection.prepare_cached("SELECT vm, id, size_gib FROM disks WHERE vm > ?1 ORDER BY vm, id")?;
    with_disks(vms.query_map([after.0], vm)?, disks.query_map([after.0], owner_and_disk)?, rows_max)
}

pub(super) fn ever_connected_after(connection: &Connection, after: VmId, rows_max: usize) -> Result<VmPage> {
    // CROSS JOIN: SQLite scans the VMs and looks up only their disks.
    let mut vms = connection.prepare_cached(
        "SELECT id, name, ram_mib, cpus, password_hash IS NOT NULL FROM vms
         WHERE id > ?1 AND ever_connected = 1 ORDER BY id",
    )?;
    let mut disks = connection.prepare_cached(
        "SELECT disks.vm, disks.id, disks.size_gib FROM vms CROSS JOIN disks ON disks.vm = vms.id
         WHERE vms.id > ?1 AND vms.ever_connected = 1 ORDER BY vms.id, disks.id",
    )?;
    with_disks(vms.query_map([after.0], vm)?, disks.query_map([after.0], owner_and_disk)?, rows_max)
}

pub(super) fn vms(connection: &Connection, ids: &[VmId]) -> Result<Vec<Vm>> {
    let mut list = String::from("[");
    for (index, id) in ids.iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        write!(list, "{comma}{}", id.0).expect("a String takes everything");
    }
    list.push(']');
    // One parameter for any number of ids keeps the statement the same.
    let mut vms = connection.prepare_cached(
        "SELECT id, name, ram_mib, cpus, password_hash IS NOT NULL FROM vms
         WHERE id IN (SELECT value FROM json_each(?1)) ORDER BY id",
    )?;
    let mut disks = connection.prepare_cached(
        "SELECT vm, id, size_gib FROM disks
         WHERE vm IN (SELECT value FROM json_each(?1)) ORDER BY vm, id",
    )?;
    with_disks(vms.query_map([&list], vm)?, disks.query_map([&list], owner_and_disk)?, usize::MAX)
        .map(|page| page.vms)
}

pub(super) fn disks_after(connection: &Connection, after: DiskId, count_max: usize) -> Result<Vec<DiskOfVm>> {
    let count_max = i64::try_from(count_max).unwrap_or(i64::MAX);
    // CROSS JOIN: SQLite keeps this order of tables and scans the disks by id.
    connection
        .prepare_cached(
            "SELECT disks.id, disks.size_gib, vms.id, vms.name
             FROM disks CROSS JOIN vms ON vms.id = disks.vm
             WHERE disks.id > ?1 ORDER BY disks.id LIMIT ?2",
        )?
        .query_map(params![after.0, count_max], {
            let mut last = None;
            move |row| {
                let vm_id = VmId(row.get(2)?);
                let vm_name = reuse_name(&mut last, vm_id, || name(row, 3))?;
                Ok(DiskOfVm { disk: disk(row, 0)?, vm_id, vm_name })
            }
        })?
        .collect()
}

/// Gives each of `vms` its `disks`, both being in ascending order of the VM's id, until `rows_max` rows
/// are used; a VM that does not fit as a whole is left out, unless it is the first.
fn with_disks(
    vms: impl Iterator<Item = Result<Vm>>,
    disks: impl Iterator<Item = Result<(VmId, Disk)>>,
    rows_max: usize,
) -> Result<VmPage> {
    let mut disks = disks.peekable();
    let mut whole: Vec<Vm> = Vec::new();
    let mut rows = 0;
    for vm in vms {
        if rows >= rows_max && !whole.is_empty() {
            return Ok(VmPage { vms: whole, is_last: false });
        }
        let mut vm = vm?;
        rows += 1;
        let not_of_later_vm = |row: &Result<(VmId, Disk)>| !matches!(row, Ok((owner, _)) if *owner > vm.id);
        while let Some((owner, disk)) = disks.next_if(not_of_later_vm).transpose()? {
            if owner == vm.id {
                rows += 1;
                vm.disks.push(disk);
            }
            if rows > rows_max && !whole.is_empty() {
                return Ok(VmPage { vms: whole, is_last: false });
            }
        }
        whole.push(vm);
    }
    Ok(VmPage { vms: whole, is_last: true })
}

fn login(row: &Row<'_>) -> Result<Login> {
    Ok(Login { id: VmId(row.get(0)?), epoch: row.get(1)?, name: name(row, 2)? })
}

fn credentials_row(row: &Row<'_>) -> Result<Credentials> {
    Ok(Credentials { login: login(row)?, password_hash: row.get(3)? })
}

fn vm(row: &Row<'_>) -> Result<Vm> {
    Ok(Vm {
        id: VmId(row.get(0)?),
        name: name(row, 1)?,
        shape: VmShape { ram_mib: row.get(2)?, cpus: row.get(3)? },
        has_password: row.get(4)?,
        disks: Vec::new(),
    })
}

fn owner_and_disk(row: &Row<'_>) -> Result<(VmId, Disk)> {
    Ok((VmId(row.get(0)?), disk(row, 1)?))
}

/// The disk whose id is in `column` and whose size in the next.
pub(super) fn disk(row: &Row<'_>, column: usize) -> Result<Disk> {
    let size: i64 = row.get(column + 1)?;
    Ok(Disk { id: DiskId(row.get(column)?), size_gib: size.unsigned_abs() })
}

fn name(row: &Row<'_>, column: usize) -> Result<VmName> {
    Ok(VmName::from_store(row.get_ref(column)?.as_str()?))
}
