//! What is read from the database: each method one statement, and so one state of it.
//!
//! No transaction, lock or cursor is held when one of these returns.

use postgres::Row;

use super::super::VmPage;
use super::failure::Failure;
use super::session::Session;
use super::values::{Unlogged, as_i64};
use crate::clock::UnixSeconds;
use crate::ids::{DiskId, VmId};
use crate::limits;
use crate::model::{Credentials, Disk, DiskOfVm, Login, TokenHash, Vm, VmName, VmShape};

type Result<T> = std::result::Result<T, Failure>;

pub(super) fn credentials(session: &mut Session, name: &VmName) -> Result<Option<Credentials>> {
    let sql = "SELECT id, epoch, name, password_hash FROM vms WHERE name = $1";
    let rows = session.query(sql, &[&name.as_str()])?;
    rows.first().map(of_login).transpose()
}

pub(super) fn credentials_by_id(session: &mut Session, id: VmId) -> Result<Option<Credentials>> {
    let sql = "SELECT id, epoch, name, password_hash FROM vms WHERE id = $1";
    let rows = session.query(sql, &[&id.0])?;
    rows.first().map(of_login).transpose()
}

pub(super) fn token_owner(
    session: &mut Session,
    token: &TokenHash,
    now: UnixSeconds,
) -> Result<Option<Login>> {
    let sql = "SELECT vms.id, vms.epoch, vms.name FROM tokens JOIN vms ON vms.id = tokens.vm
               WHERE tokens.hash = $1 AND tokens.expires > $2";
    let rows = session.query(sql, &[&Unlogged(&token.0[..]), &now.0])?;
    rows.first().map(login).transpose()
}

pub(super) fn is_current(session: &mut Session, login: &Login) -> Result<bool> {
    let sql = "SELECT 1 FROM vms WHERE id = $1 AND epoch = $2";
    Ok(!session.query(sql, &[&login.id.0, &login.epoch])?.is_empty())
}

pub(super) fn vms_after(session: &mut Session, after: VmId, rows_max: usize) -> Result<VmPage> {
    // The inner limit keeps the plan from reading further than the page, whatever the planner guesses.
    let sql = "SELECT v.id, v.name, v.ram_mib, v.cpus, d.id, d.size_gib, v.has_password
               FROM (SELECT id, name, ram_mib, cpus, password_hash IS NOT NULL AS has_password
                     FROM vms WHERE id > $1 ORDER BY id LIMIT $2) v
               LEFT JOIN LATERAL (SELECT id, size_gib FROM disks WHERE vm = v.id ORDER BY id) d ON true
               ORDER BY v.id, d.id LIMIT $2";
    page(session, sql, after, rows_max)
}

pub(super) fn ever_connected_after(session: &mut Session, after: VmId, rows_max: usize) -> Result<VmPage> {
    let sql = "SELECT v.id, v.name, v.ram_mib, v.cpus, d.id, d.size_gib, v.has_password
               FROM (SELECT id, name, ram_mib, cpus, password_hash IS NOT NULL AS has_password
                     FROM vms WHERE id > $1 AND ever_connected ORDER BY id LIMIT $2) v
               LEFT JOIN LATERAL (SELECT id, size_gib FROM disks WHERE vm = v.id ORDER BY id) d ON true
               ORDER BY v.id, d.id LIMIT $2";
    page(session, sql, after, rows_max)
}

/// A page of the VMs that `sql` selects behind `after`.
fn page(session: &mut Session, sql: &'static str, after: VmId, rows_max: usize) -> Result<VmPage> {
    // Each VM has a row for each disk, or one. A row more than may be on the page shows where to cut it,
    // unless one VM takes them all; then there have to be more.
    let mut count = rows_max.saturating_add(1);
    loop {
        let rows = session.query(sql, &[&after.0, &as_i64(count)])?;
        let is_all = rows.len() < count;
        let vms = with_disks(&rows)?;
        if is_all || vms.len() > 1 {
            return Ok(cut(vms, is_all, rows_max));
        }
        count = count.saturating_mul(2).max(limits::DISKS_PER_VM_MAX + 2);
    }
}

pub(super) fn vms(session: &mut Session, ids: &[VmId]) -> Result<Vec<Vm>> {
    let sql = "SELECT v.id, v.name, v.ram_mib, v.cpus, d.id, d.size_gib, v.password_hash IS NOT NULL
               FROM vms v
               LEFT JOIN LATERAL (SELECT id, size_gib FROM disks WHERE vm = v.id ORDER BY id) d ON true
               WHERE v.id = ANY ($1) ORDER BY v.id, d.id";
    let ids: Vec<i64> = ids.iter().map(|id| id.0).collect();
    with_disks(&session.query(sql, &[&ids])?)
}

pub(super) fn disks_after(session: &mut Session, after: DiskId, count_max: usize) -> Result<Vec<DiskOfVm>> {
    let sql = "SELECT v.id, v.name, d.id, d.size_gib
               FROM (SELECT id, vm, size_gib FROM disks WHERE id > $1 ORDER BY id LIMIT $2) d
               JOIN vms v ON v.id = d.vm ORDER BY d.id";
    let rows = session.query(sql, &[&after.0, &as_i64(count_max)])?;
    let disks = rows.iter().map(|row| {
        let size_gib = row.try_get::<_, i64>(3)?.unsigned_abs();
        let disk = Disk { id: DiskId(row.try_get(2)?), size_gib };
        Ok(DiskOfVm { disk, vm_id: VmId(row.try_get(0)?), vm_name: name(row, 1)? })
    });
    disks.collect()
}

/// As many of `vms` as fit in `rows_max` rows, at least one. Where `vms` are not all that there are, they
/// are too many, and the last of them may lack disks.
fn cut(mut vms: Vec<Vm>, is_all: bool, rows_max: usize) -> VmPage {
    let mut rows = 0_usize;
    let rows_with = vms.iter().map(|vm| {
        rows = rows.saturating_add(1 + vm.disks.len());
        rows
    });
    let fitting = rows_with.take_while(|rows| *rows <= rows_max).count().max(1);
    let is_last = is_all && fitting >= vms.len();
    vms.truncate(fitting);
    VmPage { vms, is_last }
}

/// VMs out of rows that each hold a VM and one of its disks, or none.
fn with_disks(rows: &[Row]) -> Result<Vec<Vm>> {
    let mut vms: Vec<Vm> = Vec::new();
    for row in rows {
        let id = VmId(row.try_get(0)?);
        if vms.last().is_none_or(|last| last.id != id) {
            let shape = VmShape { ram_mib: small(row.try_get::<_, i64>(2)?)?, cpus: cpus(row, 3)? };
            let has_password = row.try_get(6)?;
            vms.push(Vm { id, name: name(row, 1)?, shape, has_password, disks: Vec::new() });
        }
        if let (Some(vm), Some(disk)) = (vms.last_mut(), row.try_get::<_, Option<i64>>(4)?) {
            let size_gib = row.try_get::<_, i64>(5)?.unsigned_abs();
            vm.disks.push(Disk { id: DiskId(disk), size_gib });
        }
    }
    Ok(vms)
}

fn login(row: &Row) -> Result<Login> {
    Ok(Login { id: VmId(row.try_get(0)?), epoch: row.try_get(1)?, name: name(row, 2)? })
}

fn of_login(row: &Row) -> Result<Credentials> {
    Ok(Credentials { login: login(row)?, password_hash: row.try_get(3)? })
}

fn name(row: &Row, column: usize) -> Result<VmName> {
    Ok(VmName::stored(row.try_get(column)?))
}

fn cpus(row: &Row, column: usize) -> Result<u16> {
    small(row.try_get::<_, i32>(column)?)
}

/// A number that the table's checks keep in range.
fn small<T: TryInto<U>, U>(number: T) -> Result<U> {
    number.try_into().map_err(|_| Failure::Failed("a number in the database is out of range".to_owned()))
}
