//! Writes to the file: many writes share one transaction and so one sync.
//!
//! Each write checks everything before it changes anything, so a refused one leaves nothing to roll back.
//! Success is reported only after SQLite has confirmed the commit. No transaction is open when a write
//! returns or panics.

use std::sync::Arc;

use rusqlite::{OptionalExtension, Params, ffi, params};

use super::super::write::{sizes_after, unnamed, write_separately};
use super::super::{
    PointRemoval, PointStore, RegistryStore, RemovedPoints, Store, StoreError, TokenProof, Write,
    WriteOutcome, Written, as_i64, token_sweep,
};
use super::cache::Cache;
use super::changes::{self, Change};
use super::connection::to_store_error;
use super::served_file::ServedFile;
use super::statements::{Statements, WriteError};
use super::store::SqliteStore;
use super::transaction::{Transaction, is_store_failure, to_commit_error};
use super::{access_tokens, points, reads};
use crate::clock::UnixSeconds;
use crate::ids::{DiskId, VmId};
use crate::limits;
use crate::model::{Disk, DiskChange, Login, NewVm, SeenVm, TokenHash, VmChange, VmName};

/// Why a transaction failed.
struct TransactionError {
    error: StoreError,
    /// Whether the data of one write caused it: others may succeed.
    is_of_one_write: bool,
}

impl From<StoreError> for TransactionError {
    fn from(error: StoreError) -> TransactionError {
        TransactionError { error, is_of_one_write: false }
    }
}

impl Store for SqliteStore {
    /// Runs `writes` in one transaction, or separately if one of them fails it.
    fn write(&mut self, writes: &[&Write]) -> Vec<WriteOutcome> {
        if writes.is_empty() {
            return Vec::new();
        }
        let ticket_lock = Arc::clone(&self.ticket_lock);
        let _guard = ticket_lock.lock();
        match self.run_transaction(|writer| writes.iter().map(|write| writer.write(write)).collect()) {
            Ok(outcomes) => outcomes,
            Err(failed) if failed.is_of_one_write && writes.len() > 1 => {
                write_separately(writes, |write| match self.run_transaction(|writer| writer.write(write)) {
                    Err(failed) if failed.is_of_one_write => Ok(Err(failed.error)),
                    outcome => outcome.map_err(|failed| failed.error),
                })
            }
            Err(failed) => vec![Err(failed.error); writes.len()],
        }
    }

    fn remove_points(&mut self, removal: PointRemoval) -> Result<RemovedPoints, StoreError> {
        let ticket_lock = Arc::clone(&self.ticket_lock);
        let _guard = ticket_lock.lock();
        self.run_transaction(|writer| points::remove(&mut writer.statements, writer.cache, removal))
            .map_err(|failed| failed.error)
    }

    fn registry(&mut self) -> &mut dyn RegistryStore {
        self
    }

    fn points(&mut self) -> &mut dyn PointStore {
        self
    }
}

impl SqliteStore {
    /// Runs `work` in one transaction and commits it.
    fn run_transaction<T>(
        &mut self,
        work: impl FnOnce(&mut Writer<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, TransactionError> {
        let transaction = Transaction::begin(&self.connection).map_err(to_store_error)?;
        // The cache is updated only if the transaction commits: a rollback invalidates its additions.
        let mut cache = std::mem::take(&mut self.cache);
        cache.refresh(&self.connection).map_err(to_store_error)?;
        let statements = Statements::new(&self.connection);
        let mut writer = Writer { statements, cache: &mut cache, origin: self.origin, changes: Vec::new() };
        let result = work(&mut writer).and_then(|result| writer.record_changes().map(|()| result));
        drop(writer);
        let result = result.map_err(|error| TransactionError {
            is_of_one_write: !is_store_failure(&error),
            error: to_store_error(error),
        })?;
        let served_file = self.served_file.as_deref();
        served_file.map_or(Ok(()), ServedFile::check_now)?;
        transaction.commit().map_err(|error| to_commit_error(&error))?;
        // The file may have been removed during a slow commit.
        served_file
            .map_or(Ok(()), ServedFile::check_last)
            .map_err(|error| StoreError::OutcomeUnknown(error.to_string()))?;
        self.cache = cache;
        Ok(result)
    }
}

/// Runs writes in a transaction.
struct Writer<'t> {
    statements: Statements<'t>,
    cache: &'t mut Cache,
    /// Set if it records its changes.
    origin: Option<i64>,
    /// What it is to record.
    changes: Vec<Change>,
}

type WriteResult<T> = Result<T, WriteError>;

impl Writer<'_> {
    /// Runs one write; one that is refused changes nothing.
    fn write(&mut self, write: &Write) -> rusqlite::Result<WriteOutcome> {
        match self.run(write) {
            Ok(written) => Ok(Ok(written)),
            Err(WriteError::Refused(error)) => Ok(Err(error)),
            Err(WriteError::Sqlite(error)) => Err(error),
        }
    }

    fn run(&mut self, write: &Write) -> WriteResult<Written> {
        match write {
            Write::Register { vm, vms_max, now } => {
                let id = self.register(vm, *vms_max, *now)?;
                self.record("registered", id.0, Some(vm.name.as_str()));
                return Ok(Written::Registered(id));
            }
            Write::AddVm { shape, disk_sizes_gib, vms_max, now } => {
                let name = (self.cache.last_vm(&mut self.statements)? + 1).to_string();
                let vm = NewVm { name: VmName::from_store(&name), ..unnamed(*shape, disk_sizes_gib) };
                let id = self.register(&vm, *vms_max, *now)?;
                self.record("registered", id.0, Some(&name));
                return Ok(Written::Registered(id));
            }
            Write::Update { login, token, change } => {
                self.update(login, token.as_ref(), change)?;
                self.record("updated", login.id.0, Some(login.name.as_str()));
            }
            Write::IssueToken { login, token, expires, replaces, rehash, now } => {
                self.record_login(login, rehash.as_deref(), *now)?;
                self.sweep_tokens(*now)?;
                if let Some(replaced) = replaces {
                    self.execute("DELETE FROM tokens WHERE hash = ?1", [replaced.0])?;
                }
                self.add_token(login.id, token, *expires)?;
            }
            Write::Connect { login, rehash, now } => self.record_login(login, rehash.as_deref(), *now)?,
            Write::RevokeTokens { login, tokens } => {
                self.require_current(login)?;
                for token in tokens {
                    self.execute("DELETE FROM tokens WHERE hash = ?1", [token.0])?;
                }
            }
            Write::EndLogins { login } => {
                self.require_current(login)?;
                self.execute("UPDATE vms SET epoch = epoch + 1 WHERE id = ?1", [login.id.0])?;
                let sql = "DELETE FROM tokens WHERE vm IN (SELECT id FROM vms WHERE id = ?1 AND managed_by IS NULL)";
                self.execute(sql, [login.id.0])?;
                self.record("logins ended", login.id.0, Some(login.name.as_str()));
            }
            Write::Seen { vms } => {
                let sql = "UPDATE vms SET last_seen = ?2, last_address = coalesce(?3, last_address)
                 WHERE id = ?1 AND (last_seen IS NULL OR last_seen <= ?2)";
                for SeenVm { vm, at, address } in vms {
                    self.execute(sql, params![vm.0, at.0, address.map(|address| address.0.to_string())])?;
                }
            }
            Write::Put { login, points, keys_max, is_atomic } => {
                if let Some(login) = login {
                    self.require_current(login)?;
                }
                return points::put(&mut self.statements, self.cache, points, *keys_max, *is_atomic);
            }
            Write::Remove(name) => {
                let id = self.unmanaged_id_of(name)?;
                self.remove(id, name)?;
            }
            Write::RemoveManaged { server, names } => {
                let sql = "SELECT id FROM vms WHERE managed_by = ?1 AND name = ?2";
                for name in names {
                    let of_server = params![server.to_string(), name.as_str()];
                    let found = self.statements.get(sql)?.query_row(of_server, |row| row.get(0));
                    if let Some(id) = found.optional()? {
                        self.remove(id, name)?;
                    }
                }
            }
            Write::ChangePassword { name, password_hash } => {
                let id = self.unmanaged_id_of(name)?;
                self.execute("DELETE FROM tokens WHERE vm = ?1", [id])?;
                let sql = "UPDATE vms SET password_hash = ?2, epoch = epoch + 1 WHERE id = ?1";
                self.execute(sql, params![id, password_hash])?;
                self.record("logins ended", id, Some(name.as_str()));
            }
            Write::ChangeAccessTokens(change) => {
                let written = access_tokens::change(&mut self.statements, change)?;
                if let Some(id) = change.ended() {
                    self.record("token ended", id.0, None);
                }
                return Ok(written);
            }
        }
        Ok(Written::Done)
    }

    fn execute(&mut self, sql: &'static str, parameters: impl Params) -> rusqlite::Result<usize> {
        self.statements.execute(sql, parameters)
    }

    /// Notes a change for the server that uses the file, if that is another process.
    fn record(&mut self, kind: &'static str, subject: i64, name: Option<&str>) {
        if self.origin.is_some() {
            self.changes.push((kind, subject, name.map(str::to_owned)));
        }
    }

    /// Records the noted changes.
    fn record_changes(&mut self) -> rusqlite::Result<()> {
        self.origin.map_or(Ok(()), |origin| changes::record(&mut self.statements, origin, &self.changes))
    }

    fn require_current(&mut self, login: &Login) -> WriteResult<()> {
        let is_current = self.statements.get(reads::IS_CURRENT)?.exists(params![login.id.0, login.epoch])?;
        if is_current { Ok(()) } else { Err(StoreError::NotCurrent.into()) }
    }

    fn has_name(&mut self, name: &VmName) -> rusqlite::Result<bool> {
        self.statements.get("SELECT 1 FROM vms WHERE name = ?1")?.exists([name.as_str()])
    }

    fn unmanaged_id_of(&mut self, name: &VmName) -> WriteResult<i64> {
        let sql = "SELECT id, managed_by IS NOT NULL FROM vms WHERE name = ?1";
        let row = self
            .statements
            .get(sql)?
            .query_row([name.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        match row {
            None => Err(StoreError::UnknownVm.into()),
            Some((_, true)) => Err(StoreError::Managed.into()),
            Some((id, false)) => Ok(id),
        }
    }

    fn remove(&mut self, id: i64, name: &VmName) -> rusqlite::Result<()> {
        self.execute("DELETE FROM tokens WHERE vm = ?1", [id])?;
        self.execute("DELETE FROM disks WHERE vm = ?1", [id])?;
        self.execute("DELETE FROM vms WHERE id = ?1", [id])?;
        self.cache.remove_vm();
        self.record("removed", id, Some(name.as_str()));
        Ok(())
    }

    fn register(&mut self, vm: &NewVm, vms_max: u64, now: UnixSeconds) -> WriteResult<VmId> {
        if !self.has_room(vms_max)? {
            let is_taken = self.has_name(&vm.name)?;
            return Err(
                if is_taken { StoreError::AlreadyRegistered } else { StoreError::VmLimitReached }.into()
            );
        }
        let id = VmId(self.cache.last_vm(&mut self.statements)? + 1);
        let sql = "INSERT INTO vms (id, name, ram_mib, cpus, password_hash, registered_at, managed_by)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
        let NewVm { name, shape, password_hash, disk_sizes_gib, management } = vm;
        let server = management.as_ref().map(|management| management.server.to_string());
        let (ram, cpus) = (shape.ram_mib, shape.cpus);
        match self.execute(sql, params![id.0, name.as_str(), ram, cpus, password_hash, now.0, server]) {
            Err(error) if is_of_unique_column(&error) => return Err(StoreError::AlreadyRegistered.into()),
            added => added?,
        };
        self.cache.add_vm(id.0);
        self.add_disks(id, disk_sizes_gib)?;
        if let Some(token) = management.as_ref().and_then(|management| management.token) {
            self.add_token(id, &token, UnixSeconds(limits::TOKEN_EXPIRY_OF_MANAGED))?;
        }
        Ok(id)
    }

    /// Whether there are fewer than `vms_max` VMs.
    fn has_room(&mut self, vms_max: u64) -> rusqlite::Result<bool> {
        // Ids are 1, 2, 3 … with gaps after removals, so the highest id bounds the number of VMs.
        if self.cache.last_vm(&mut self.statements)?.unsigned_abs() < vms_max {
            return Ok(true);
        }
        // Counting scans an index.
        Ok(self.cache.vm_count(&mut self.statements)? < vms_max)
    }

    fn update(&mut self, login: &Login, token: Option<&TokenProof>, change: &VmChange) -> WriteResult<()> {
        let has_shape = change.ram_mib.is_some() || change.cpus.is_some();
        // What can refuse the change comes first.
        if change.disks.is_some() || !has_shape {
            self.require_updatable(login, token)?;
        }
        if let Some(disks) = &change.disks {
            self.change_disks(login.id, disks)?;
        }
        if !has_shape {
            return Ok(());
        }
        let VmChange { ram_mib, cpus, .. } = change;
        let (hash, now) = parts(token);
        match self.execute(RESHAPE, params![login.id.0, login.epoch, hash, now, ram_mib, cpus])? {
            0 => self.require_updatable(login, token).and(Err(StoreError::NotCurrent.into())),
            _ => Ok(()),
        }
    }

    /// Checks that `login` is current, with its token if it has one, and that the VM is not managed.
    fn require_updatable(&mut self, login: &Login, token: Option<&TokenProof>) -> WriteResult<()> {
        let (hash, now) = parts(token);
        let of_login = params![login.id.0, login.epoch, hash, now];
        match self.statements.get(UPDATABLE)?.query_row(of_login, |row| row.get(0)).optional()? {
            None => Err(StoreError::NotCurrent.into()),
            Some(true) => Err(StoreError::Managed.into()),
            Some(false) => Ok(()),
        }
    }

    fn change_disks(&mut self, vm: VmId, change: &DiskChange) -> WriteResult<()> {
        let sql = "SELECT id, size_gib FROM disks WHERE vm = ?1 ORDER BY id";
        let present: Vec<Disk> = self
            .statements
            .get(sql)?
            .query_map([vm.0], |row| reads::disk(row, 0))?
            .collect::<Result<_, _>>()?;
        let sizes = sizes_after(change, &present)?;
        for (disk, size) in present.iter().zip(&sizes) {
            if disk.size_gib != *size {
                let sql = "UPDATE disks SET size_gib = ?2 WHERE id = ?1";
                self.execute(sql, params![disk.id.0, size])?;
            }
        }
        for Disk { id: DiskId(surplus), .. } in present.iter().skip(sizes.len()) {
            self.execute("DELETE FROM disks WHERE id = ?1", [surplus])?;
        }
        self.add_disks(vm, sizes.get(present.len()..).unwrap_or_default())
    }

    fn add_disks(&mut self, vm: VmId, sizes: &[u64]) -> WriteResult<()> {
        for size in sizes {
            let sql = "INSERT INTO disks (vm, size_gib) VALUES (?1, ?2)";
            self.execute(sql, params![vm.0, size])?;
        }
        Ok(())
    }

    fn sweep_tokens(&mut self, now: UnixSeconds) -> WriteResult<()> {
        let sql = "DELETE FROM tokens WHERE hash IN
               (SELECT hash FROM tokens WHERE expires <= ?1 ORDER BY expires LIMIT ?2)";
        let count = self.execute(sql, params![now.0, as_i64(limits::TOKENS_SWEPT_PER_ISSUE)])?;
        token_sweep::record_removed(count, now);
        Ok(())
    }

    fn add_token(&mut self, vm: VmId, token: &TokenHash, expires: UnixSeconds) -> WriteResult<()> {
        let sql = "INSERT INTO tokens (hash, vm, number, expires)
         VALUES (?1, ?2, 1 + coalesce((SELECT max(number) FROM tokens WHERE vm = ?2), 0), ?3)";
        self.execute(sql, params![token.0, vm.0, expires.0])?;
        // The subquery finds the newest of the surplus tokens, or nothing.
        let sql = "DELETE FROM tokens WHERE vm = ?1 AND number <=
         (SELECT number FROM tokens WHERE vm = ?1 ORDER BY number DESC LIMIT 1 OFFSET ?2)";
        self.execute(sql, params![vm.0, as_i64(limits::TOKENS_PER_VM_MAX)])?;
        Ok(())
    }

    /// Records that the VM of `login`, which must be current, has connected.
    fn record_login(&mut self, login: &Login, rehash: Option<&str>, now: UnixSeconds) -> WriteResult<()> {
        let sql = "UPDATE vms SET ever_connected = 1, last_login_at = ?3, password_hash = coalesce(?4, password_hash)
         WHERE id = ?1 AND epoch = ?2";
        match self.execute(sql, params![login.id.0, login.epoch, now.0, rehash])? {
            0 => Err(StoreError::NotCurrent.into()),
            _ => Ok(()),
        }
    }
}

/// Whether a row was not written since another has the same value in a unique column that is not the id.
fn is_of_unique_column(error: &rusqlite::Error) -> bool {
    error.sqlite_error().is_some_and(|error| error.extended_code == ffi::SQLITE_CONSTRAINT_UNIQUE)
}

/// The parameters of a token.
fn parts(token: Option<&TokenProof>) -> (Option<[u8; 32]>, Option<i64>) {
    token.map(|proof| (proof.token.0, proof.now.0)).unzip()
}

/// Whether the VM of a login is managed; no row: the login is not current.
const UPDATABLE: &str = "SELECT managed_by IS NOT NULL FROM vms WHERE id = ?1 AND epoch = ?2
    AND (?3 IS NULL OR EXISTS (SELECT 1 FROM tokens WHERE hash = ?3 AND vm = ?1 AND expires > ?4))";

const RESHAPE: &str = "UPDATE vms SET ram_mib = coalesce(?5, ram_mib), cpus = coalesce(?6, cpus)
    WHERE id = ?1 AND epoch = ?2 AND managed_by IS NULL
    AND (?3 IS NULL OR EXISTS (SELECT 1 FROM tokens WHERE hash = ?3 AND vm = ?1 AND expires > ?4))";
