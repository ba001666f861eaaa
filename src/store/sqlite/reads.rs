//! Reads from the file.
//!
//! No transaction, lock or statement stays open when a method returns, except between `begin_reads` and
//! `end_reads`. Two statements of one method see one state because they overlap: SQLite's read transaction
//! lasts from the first row of the one to the last row of the other.

use rusqlite::{Connection, Result, Row, ToSql, params};

use super::super::registry::{RegistryStore, VmPage, add_hash_prefix, reuse_name};
use super::super::{ChangesPage, ChangesPosition, StoreError, as_i64};
use super::statements::{execute, query, query_value};
use super::store::SqliteStore;
use super::{access_tokens, changes};
use crate::clock::UnixSeconds;
use crate::ids::{DiskId, ServerId, VmId};
use crate::model::{
    AccessToken, Credentials, Disk, DiskOfVm, Login, PeerIp, Reader, TokenHash, Vm, VmName, VmShape,
};

type StoreResult<T> = std::result::Result<T, StoreError>;

impl RegistryStore for SqliteStore {
    fn ping(&mut self) -> StoreResult<()> {
        self.read_row("SELECT EXISTS (SELECT 1 FROM vms)", [], |_| Ok(())).map(drop)
    }

    fn credentials(&mut self, name: &VmName) -> StoreResult<Option<Credentials>> {
        let sql = "SELECT id, epoch, name, password_hash, managed_by FROM vms WHERE name = ?1";
        self.read_row(sql, [name.as_str()], credentials)
    }

    fn credentials_by_id(&mut self, id: VmId) -> StoreResult<Option<Credentials>> {
        let sql = "SELECT id, epoch, name, password_hash, managed_by FROM vms WHERE id = ?1";
        self.read_row(sql, [id.0], credentials)
    }

    fn password_hash_prefixes(&mut self, count_max: usize) -> StoreResult<Vec<String>> {
        self.read(|connection| {
            // Not cached: it runs once.
            let mut statement =
                connection.prepare("SELECT password_hash FROM vms WHERE password_hash IS NOT NULL")?;
            let (mut rows, mut prefixes) = (statement.query([])?, Vec::new());
            while let Some(row) = rows.next()? {
                add_hash_prefix(&mut prefixes, row.get_ref(0)?.as_str()?, count_max);
            }
            Ok(prefixes)
        })
    }

    fn token_owner(&mut self, token: &TokenHash, now: UnixSeconds) -> StoreResult<Option<Login>> {
        self.read_row(TOKEN_OWNER, params![token.0, now.0], login)
    }

    fn is_access_token(&mut self, token: &TokenHash) -> StoreResult<bool> {
        self.read(|connection| access_tokens::contains(connection, token))
    }

    fn reader(&mut self, token: &TokenHash) -> StoreResult<Option<Reader>> {
        self.read(|connection| access_tokens::reader(connection, token))
    }

    fn access_tokens(&mut self) -> StoreResult<Vec<AccessToken>> {
        self.read(access_tokens::all)
    }

    /// Only the first read of the group takes locks and checks the file, which is half the cost of finding one row.
    fn begin_reads(&mut self) {
        // Each read then has its own transaction: slower, but correct.
        if let Err(error) = execute(&self.connection, "BEGIN", []) {
            log::debug!("reads do not share a transaction: {error}");
        }
    }

    fn end_reads(&mut self) {
        if self.connection.is_autocommit() {
            return;
        }
        if let Err(error) = execute(&self.connection, "COMMIT", []) {
            log::warn!("ending a read transaction failed: {error}");
            // Later reads must not see its old state.
            let _ = self.connection.execute_batch("ROLLBACK");
        }
    }

    fn is_current(&mut self, login: &Login) -> StoreResult<bool> {
        self.read(|connection| query(connection, IS_CURRENT)?.exists(params![login.id.0, login.epoch]))
    }

    fn vm_count(&mut self) -> StoreResult<u64> {
        self.read(|connection| query_value(connection, "SELECT count(*) FROM vms"))
    }

    fn vms_after(&mut self, after: VmId, rows_max: usize) -> StoreResult<VmPage> {
        let vms =
            "SELECT id, name, ram_mib, cpus, password_hash IS NOT NULL, managed_by IS NOT NULL, last_seen,
             last_address
         FROM vms
         WHERE id > ?1 ORDER BY id";
        let disks = "SELECT vm, id, size_gib FROM disks WHERE vm > ?1 ORDER BY vm, id";
        self.read(|connection| page(connection, vms, disks, after.0, rows_max))
    }

    fn ever_connected_after(&mut self, after: VmId, rows_max: usize) -> StoreResult<VmPage> {
        // CROSS JOIN: SQLite scans the VMs and looks up only their disks.
        let vms =
            "SELECT id, name, ram_mib, cpus, password_hash IS NOT NULL, managed_by IS NOT NULL, last_seen,
             last_address
         FROM vms
         WHERE id > ?1 AND ever_connected = 1 ORDER BY id";
        let disks = "SELECT disks.vm, disks.id, disks.size_gib FROM vms CROSS JOIN disks ON disks.vm = vms.id
         WHERE vms.id > ?1 AND vms.ever_connected = 1 ORDER BY vms.id, disks.id";
        self.read(|connection| page(connection, vms, disks, after.0, rows_max))
    }

    fn vms(&mut self, ids: &[VmId]) -> StoreResult<Vec<Vm>> {
        let ids: Vec<String> = ids.iter().map(|id| id.0.to_string()).collect();
        // One parameter for any number of ids keeps the statement the same.
        let vms =
            "SELECT id, name, ram_mib, cpus, password_hash IS NOT NULL, managed_by IS NOT NULL, last_seen,
             last_address
         FROM vms
         WHERE id IN (SELECT value FROM json_each(?1)) ORDER BY id";
        let disks = "SELECT vm, id, size_gib FROM disks
         WHERE vm IN (SELECT value FROM json_each(?1)) ORDER BY vm, id";
        self.read(|connection| page(connection, vms, disks, format!("[{}]", ids.join(",")), usize::MAX))
            .map(|page| page.vms)
    }

    fn changes_after(
        &mut self,
        position: Option<&ChangesPosition>,
        count_max: usize,
    ) -> StoreResult<ChangesPage> {
        self.read(|connection| changes::after(connection, position, self.origin, count_max))
    }

    fn managed_vms(&mut self, server: ServerId, count_max: usize) -> StoreResult<Vec<VmName>> {
        let sql = "SELECT name FROM vms WHERE managed_by = ?1 LIMIT ?2";
        self.read(|connection| {
            let of_server = params![server.to_string(), as_i64(count_max)];
            query(connection, sql)?.query_map(of_server, |row| name(row, 0))?.collect()
        })
    }

    fn disks_after(&mut self, after: DiskId, count_max: usize) -> StoreResult<Vec<DiskOfVm>> {
        // CROSS JOIN: SQLite keeps this order of tables and scans the disks by id.
        let sql = "SELECT disks.id, disks.size_gib, vms.id, vms.name
             FROM disks CROSS JOIN vms ON vms.id = disks.vm
             WHERE disks.id > ?1 ORDER BY disks.id LIMIT ?2";
        let mut last = None;
        let disk_of_vm = |row: &Row<'_>| {
            let vm_id = VmId(row.get(2)?);
            let vm_name = reuse_name(&mut last, vm_id, || name(row, 3))?;
            Ok(DiskOfVm { disk: disk(row, 0)?, vm_id, vm_name })
        };
        self.read(|connection| {
            query(connection, sql)?.query_map(params![after.0, as_i64(count_max)], disk_of_vm)?.collect()
        })
    }
}

pub(super) const TOKEN_OWNER: &str = "SELECT vms.id, vms.epoch, vms.name
    FROM tokens CROSS JOIN vms ON vms.id = tokens.vm WHERE tokens.hash = ?1 AND tokens.expires > ?2";

pub(super) const IS_CURRENT: &str = "SELECT 1 FROM vms WHERE id = ?1 AND epoch = ?2";

/// The page of the VMs that `vms` selects, with their disks among those that `disks` selects, both in ascending order of
/// the VM's id. Rows after the first VM that does not fit are not read, since both statements return rows in key order
/// as they are fetched.
fn page(
    connection: &Connection,
    vms: &'static str,
    disks: &'static str,
    parameter: impl ToSql,
    rows_max: usize,
) -> Result<VmPage> {
    let (mut vms, mut disks) = (query(connection, vms)?, query(connection, disks)?);
    let vms = vms.query_map([&parameter], vm)?;
    let mut disks = disks.query_map([&parameter], |row| Ok((VmId(row.get(0)?), disk(row, 1)?)))?.peekable();
    let with_disks = |vm: Result<Vm>| -> Result<Vm> {
        let mut vm = vm?;
        let not_of_later_vm = |row: &Result<(VmId, Disk)>| !matches!(row, Ok((owner, _)) if *owner > vm.id);
        while let Some((owner, disk)) = disks.next_if(not_of_later_vm).transpose()? {
            if owner == vm.id {
                vm.disks.push(disk);
            }
        }
        Ok(vm)
    };
    VmPage::fill(vms.map(with_disks), rows_max)
}

fn login(row: &Row<'_>) -> Result<Login> {
    Ok(Login { id: VmId(row.get(0)?), epoch: row.get(1)?, name: name(row, 2)? })
}

fn credentials(row: &Row<'_>) -> Result<Credentials> {
    let managed_by = row.get_ref(4)?.as_str_or_null()?.and_then(ServerId::parse);
    Ok(Credentials { login: login(row)?, password_hash: row.get(3)?, managed_by })
}

fn vm(row: &Row<'_>) -> Result<Vm> {
    Ok(Vm {
        id: VmId(row.get(0)?),
        name: name(row, 1)?,
        shape: VmShape { ram_mib: row.get(2)?, cpus: row.get(3)? },
        has_password: row.get(4)?,
        is_managed: row.get(5)?,
        last_seen: row.get::<_, Option<i64>>(6)?.map(UnixSeconds),
        last_address: row.get_ref(7)?.as_str_or_null()?.and_then(PeerIp::parse),
        disks: Vec::new(),
    })
}

/// The disk whose id is in `column` and whose size in the next.
pub(super) fn disk(row: &Row<'_>, column: usize) -> Result<Disk> {
    Ok(Disk { id: DiskId(row.get(column)?), size_gib: row.get(column + 1)? })
}

fn name(row: &Row<'_>, column: usize) -> Result<VmName> {
    Ok(VmName::from_store(row.get_ref(column)?.as_str()?))
}
