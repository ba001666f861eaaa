//! Reads from the database: each method is one statement and so sees one state.
//!
//! No transaction, lock or cursor stays open when a method returns.

use std::collections::HashMap;

use postgres::Row;

use super::super::registry::{RegistryStore, VmPage, reuse_name};
use super::super::{ChangesPage, ChangesPosition, StoreError, as_i64};
use super::parameters::Unlogged;
use super::pg_error::PgError;
use super::pg_session::PgSession;
use super::store::PostgresStore;
use super::{access_tokens, changes};
use crate::clock::UnixSeconds;
use crate::ids::{DiskId, ServerId, VmId};
use crate::limits;
use crate::model::{
    AccessToken, Credentials, Disk, DiskOfVm, Login, PeerIp, Reader, TokenHash, Vm, VmName, VmShape,
};

type Result<T> = std::result::Result<T, PgError>;
type StoreResult<T> = std::result::Result<T, StoreError>;
/// A disk and the VM that has it.
type OwnedDisk = (VmId, Disk);

impl RegistryStore for PostgresStore {
    /// Needs the locks and rights of a look-up, but reads no row.
    fn ping(&mut self) -> StoreResult<()> {
        self.read_row("SELECT FROM tokens, vms LIMIT 0", &[], |_| Ok(())).map(drop)
    }

    fn credentials(&mut self, name: &VmName) -> StoreResult<Option<Credentials>> {
        let sql = "SELECT id, epoch, name, password_hash, managed_by FROM vms WHERE name = $1";
        self.read_row(sql, &[&name.as_str()], credentials)
    }

    fn credentials_by_id(&mut self, id: VmId) -> StoreResult<Option<Credentials>> {
        let sql = "SELECT id, epoch, name, password_hash, managed_by FROM vms WHERE id = $1";
        self.read_row(sql, &[&id.0], credentials)
    }

    fn password_hash_prefixes(&mut self, count_max: usize) -> StoreResult<Vec<String>> {
        // All but the last two parts, found from the end: half the cost of a regular expression.
        let sql = "SELECT DISTINCT left(whole, -(length(split_part(back, '$', 1)) + length(split_part(back, '$', 2)) + 2))
               FROM (SELECT password_hash AS whole, reverse(password_hash) AS back
                     FROM vms WHERE password_hash LIKE '%$%$%') hashes
               LIMIT $1";
        self.run(|session| {
            let rows = session.query(sql, &[&as_i64(count_max)])?;
            rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
        })
    }

    fn token_owner(&mut self, token: &TokenHash, now: UnixSeconds) -> StoreResult<Option<Login>> {
        let sql = "SELECT vms.id, vms.epoch, vms.name FROM tokens JOIN vms ON vms.id = tokens.vm
               WHERE tokens.hash = $1 AND tokens.expires > $2";
        self.read_row(sql, &[&Unlogged(&token.0[..]), &now.0], login)
    }

    fn token_owners(&mut self, tokens: &[(TokenHash, UnixSeconds)]) -> StoreResult<Vec<Option<Login>>> {
        let sql = "SELECT vms.id, vms.epoch, vms.name, tokens.hash, tokens.expires
               FROM tokens JOIN vms ON vms.id = tokens.vm WHERE tokens.hash = ANY ($1)";
        self.run(|session| {
            let hashes: Vec<&[u8]> = tokens.iter().map(|(token, _)| &token.0[..]).collect();
            let rows = session.query(sql, &[&Unlogged(hashes)])?;
            let mut found: HashMap<&[u8], (&Row, i64)> = HashMap::with_capacity(rows.len());
            for row in &rows {
                found.insert(row.try_get(3)?, (row, row.try_get(4)?));
            }
            let owner = |(token, now): &(TokenHash, UnixSeconds)| {
                let found = found.get(&token.0[..]).filter(|(_, expires)| *expires > now.0);
                found.map(|(row, _)| login(row)).transpose()
            };
            tokens.iter().map(owner).collect()
        })
    }

    fn is_access_token(&mut self, token: &TokenHash) -> StoreResult<bool> {
        self.run(|session| access_tokens::contains(session, token))
    }

    fn reader(&mut self, token: &TokenHash) -> StoreResult<Option<Reader>> {
        self.run(|session| access_tokens::reader(session, token))
    }

    fn access_tokens(&mut self) -> StoreResult<Vec<AccessToken>> {
        self.run(access_tokens::all)
    }

    fn is_current(&mut self, login: &Login) -> StoreResult<bool> {
        let sql = "SELECT 1 FROM vms WHERE id = $1 AND epoch = $2";
        self.run(|session| Ok(!session.query(sql, &[&login.id.0, &login.epoch])?.is_empty()))
    }

    fn vm_count(&mut self) -> StoreResult<u64> {
        let total = self.read_row("SELECT vms FROM vm_total", &[], |row| Ok(row.try_get::<_, i64>(0)?))?;
        Ok(total.unwrap_or(0).unsigned_abs())
    }

    fn vms_after(&mut self, after: VmId, rows_max: usize) -> StoreResult<VmPage> {
        // Two index scans, each with its own limit, whatever the planner estimates: a join takes six times as
        // long.
        let sql = "(SELECT id, name, ram_mib, cpus, null::bigint, null::bigint, password_hash IS NOT NULL,
                        managed_by IS NOT NULL, last_seen, last_address
                FROM vms WHERE id > $1 ORDER BY id LIMIT $2)
               UNION ALL
               (SELECT vm, null, null, null, id, size_gib, null, null, null, null
                FROM disks WHERE vm > $1 ORDER BY vm, id LIMIT $2)";
        self.run(|session| page(session, sql, after, rows_max))
    }

    fn ever_connected_after(&mut self, after: VmId, rows_max: usize) -> StoreResult<VmPage> {
        let sql = "(SELECT id, name, ram_mib, cpus, null::bigint, null::bigint, password_hash IS NOT NULL,
                        managed_by IS NOT NULL, last_seen, last_address
                FROM vms WHERE id > $1 AND ever_connected ORDER BY id LIMIT $2)
               UNION ALL
               (SELECT disks.vm, null, null, null, disks.id, disks.size_gib, null, null, null, null
                FROM disks JOIN vms ON vms.id = disks.vm
                WHERE disks.vm > $1 AND vms.ever_connected ORDER BY disks.vm, disks.id LIMIT $2)";
        self.run(|session| page(session, sql, after, rows_max))
    }

    fn vms(&mut self, ids: &[VmId]) -> StoreResult<Vec<Vm>> {
        let sql = "SELECT v.id, v.name, v.ram_mib, v.cpus, d.id, d.size_gib, v.password_hash IS NOT NULL,
                      v.managed_by IS NOT NULL, v.last_seen, v.last_address
               FROM vms v
               LEFT JOIN LATERAL (SELECT id, size_gib FROM disks WHERE vm = v.id ORDER BY id) d ON true
               WHERE v.id = ANY ($1) ORDER BY v.id, d.id";
        let ids: Vec<i64> = ids.iter().map(|id| id.0).collect();
        self.run(|session| {
            let (mut vms, disks) = vms_and_disks(&session.query(sql, &[&ids])?)?;
            add_disks(&mut vms, disks);
            Ok(vms)
        })
    }

    fn changes_after(
        &mut self,
        position: Option<&ChangesPosition>,
        count_max: usize,
    ) -> StoreResult<ChangesPage> {
        let origin = self.pool.change_log.origin;
        self.run(|session| changes::after(session, position, origin, count_max))
    }

    fn managed_vms(&mut self, server: ServerId, count_max: usize) -> StoreResult<Vec<VmName>> {
        let sql = "SELECT name FROM vms WHERE managed_by = $1 LIMIT $2";
        self.run(|session| {
            let rows = session.query(sql, &[&server.to_string(), &as_i64(count_max)])?;
            rows.iter().map(|row| name(row, 0)).collect()
        })
    }

    fn disks_after(&mut self, after: DiskId, count_max: usize) -> StoreResult<Vec<DiskOfVm>> {
        let sql = "SELECT v.id, v.name, d.id, d.size_gib
               FROM (SELECT id, vm, size_gib FROM disks WHERE id > $1 ORDER BY id LIMIT $2) d
               JOIN vms v ON v.id = d.vm ORDER BY d.id";
        self.run(|session| {
            let rows = session.query(sql, &[&after.0, &as_i64(count_max)])?;
            let mut last = None;
            let disks = rows.iter().map(|row| {
                let size_gib = row.try_get::<_, i64>(3)?.unsigned_abs();
                let disk = Disk { id: DiskId(row.try_get(2)?), size_gib };
                let vm_id = VmId(row.try_get(0)?);
                Ok(DiskOfVm { disk, vm_id, vm_name: reuse_name(&mut last, vm_id, || name(row, 1))? })
            });
            disks.collect()
        })
    }
}

/// A page of the VMs that `sql` selects after `after`, and their disks.
fn page(session: &mut PgSession, sql: &'static str, after: VmId, rows_max: usize) -> Result<VmPage> {
    // One extra row shows where to cut the page, unless one VM fills it; then more rows are needed.
    let mut count = rows_max.saturating_add(1);
    loop {
        let rows = session.query(sql, &[&after.0, &as_i64(count)])?;
        let (mut vms, disks) = vms_and_disks(&rows)?;
        let is_all = vms.len() < count && disks.len() < count;
        let last_owner = disks.last().filter(|_| disks.len() == count).map(|(owner, _)| *owner);
        add_disks(&mut vms, disks);
        // The VM of the last disk may have more disks, and later VMs have none yet.
        vms.retain(|vm| last_owner.is_none_or(|last| vm.id < last));
        if is_all || !vms.is_empty() {
            // If these are not all, they exceed the page, and the last may lack disks.
            let page = VmPage::fill(vms.into_iter().map(Ok::<_, PgError>), rows_max)?;
            return Ok(VmPage { is_last: page.is_last && is_all, ..page });
        }
        count = count.saturating_mul(2).max(limits::DISKS_PER_VM_MAX + 2);
    }
}

/// The VMs and the disks, with their owners, of rows that each hold a VM, one of its disks, or both.
fn vms_and_disks(rows: &[Row]) -> Result<(Vec<Vm>, Vec<OwnedDisk>)> {
    let (mut vms, mut disks) = (Vec::<Vm>::new(), Vec::new());
    for row in rows {
        let id = VmId(row.try_get(0)?);
        let has_vm = row.try_get::<_, Option<&str>>(1)?.is_some();
        if has_vm && vms.last().is_none_or(|last| last.id != id) {
            vms.push(vm(row)?);
        }
        if let Some(disk_id) = row.try_get::<_, Option<i64>>(4)? {
            disks.push((id, disk(DiskId(disk_id), row)?));
        }
    }
    Ok((vms, disks))
}

/// Adds each of `disks` to its VM; the VMs are sorted by id.
fn add_disks(vms: &mut [Vm], disks: Vec<OwnedDisk>) {
    for (owner, disk) in disks {
        if let Ok(index) = vms.binary_search_by_key(&owner, |vm| vm.id) {
            vms[index].disks.push(disk);
        }
    }
}

/// The VM in the first four columns and the last four, without disks.
fn vm(row: &Row) -> Result<Vm> {
    let shape =
        VmShape { ram_mib: small(row.try_get::<_, i64>(2)?)?, cpus: small(row.try_get::<_, i32>(3)?)? };
    let (has_password, is_managed) = (row.try_get(6)?, row.try_get(7)?);
    let last_seen = row.try_get::<_, Option<i64>>(8)?.map(UnixSeconds);
    let last_address = row.try_get::<_, Option<&str>>(9)?.and_then(PeerIp::parse);
    let (id, name, disks) = (VmId(row.try_get(0)?), name(row, 1)?, Vec::new());
    Ok(Vm { id, name, shape, has_password, is_managed, last_seen, last_address, disks })
}

/// The disk `id`, whose size is in the sixth column.
fn disk(id: DiskId, row: &Row) -> Result<Disk> {
    Ok(Disk { id, size_gib: row.try_get::<_, i64>(5)?.unsigned_abs() })
}

fn login(row: &Row) -> Result<Login> {
    Ok(Login { id: VmId(row.try_get(0)?), epoch: row.try_get(1)?, name: name(row, 2)? })
}

fn credentials(row: &Row) -> Result<Credentials> {
    let managed_by = row.try_get::<_, Option<&str>>(4)?.and_then(ServerId::parse);
    Ok(Credentials { login: login(row)?, password_hash: row.try_get(3)?, managed_by })
}

fn name(row: &Row, column: usize) -> Result<VmName> {
    Ok(VmName::from_store(row.try_get(column)?))
}

/// Converts a number whose range the table's checks ensure.
fn small<T: TryInto<U>, U>(number: T) -> Result<U> {
    number.try_into().map_err(|_| PgError::Failed("a number in the database is out of range".to_owned()))
}
