//! The in-memory store: for tests, and for setups that keep no data.
//!
//! All connections share one set of tables behind one lock. Every write is checked completely before it changes
//! anything, so there is no rollback. Columns that no command reads (registration and login times) are not
//! stored.

mod access_tokens;
mod chunked_points;
mod series;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::{Arc, Mutex, MutexGuard};

use super::registry::add_hash_prefix;
use super::write::{sizes_after, unnamed};
use super::{
    PointPage, PointRemoval, PointStore, RegistryStore, RemovedPoints, ScanRange, Store, StoreError,
    StoreFactory, TokenProof, VmPage, Write, WriteOutcome, Written, token_sweep,
};
use crate::clock::UnixSeconds;
use crate::ids::{DiskId, ServerId, VmId};
use crate::limits;
use crate::model::{
    AccessToken, Credentials, Disk, DiskOfVm, Login, Management, NewVm, Reader, TokenHash, Vm, VmChange,
    VmName,
};
use access_tokens::AccessTokens;
use series::SeriesTable;

/// A connection, which makes more connections to the same tables.
#[derive(Clone, Default)]
pub(super) struct MemoryStore {
    tables: Arc<Mutex<Tables>>,
}

/// All tables. They are consistent with each other.
#[derive(Default)]
struct Tables {
    vms: BTreeMap<VmId, VmRow>,
    names: HashMap<VmName, VmId>,
    disk_owners: BTreeMap<DiskId, VmId>,
    tokens: HashMap<TokenHash, Token>,
    tokens_by_expiry: BTreeSet<(UnixSeconds, TokenHash)>,
    last_vm_id: i64,
    last_disk_id: i64,
    series: SeriesTable,
    access_tokens: AccessTokens,
}

struct VmRow {
    vm: Vm,
    password_hash: Option<String>,
    managed_by: Option<ServerId>,
    epoch: i64,
    was_connected: bool,
    /// Oldest first.
    tokens: VecDeque<TokenHash>,
}

struct Token {
    vm: VmId,
    expires: UnixSeconds,
}

impl StoreFactory for MemoryStore {
    fn connect(&self) -> Result<Box<dyn Store>, StoreError> {
        Ok(Box::new(self.clone()))
    }

    fn answers_at_once(&self) -> bool {
        true
    }
}

impl MemoryStore {
    /// A panic may have left a change incomplete; then the tables are unusable.
    fn lock(&self) -> Result<MutexGuard<'_, Tables>, StoreError> {
        self.tables.lock().map_err(|_| StoreError::Unavailable("a panic ended a change half-way".to_owned()))
    }
}

impl Store for MemoryStore {
    fn write(&mut self, writes: &[&Write]) -> Vec<WriteOutcome> {
        match self.lock() {
            Ok(mut tables) => {
                let run = |write: &&Write| {
                    let outcome = tables.run(write);
                    tables.check_invariants();
                    outcome
                };
                writes.iter().map(run).collect()
            }
            Err(error) => vec![Err(error); writes.len()],
        }
    }

    fn remove_points(&mut self, removal: PointRemoval) -> Result<RemovedPoints, StoreError> {
        let mut tables = self.lock()?;
        let removed = tables.series.remove(removal);
        tables.check_invariants();
        Ok(removed)
    }

    fn registry(&mut self) -> &mut dyn RegistryStore {
        self
    }

    fn points(&mut self) -> &mut dyn PointStore {
        self
    }
}

impl RegistryStore for MemoryStore {
    fn ping(&mut self) -> Result<(), StoreError> {
        self.lock().map(drop)
    }

    fn credentials(&mut self, name: &VmName) -> Result<Option<Credentials>, StoreError> {
        let tables = self.lock()?;
        let row = tables.names.get(name).and_then(|id| tables.vms.get(id));
        Ok(row.map(VmRow::credentials))
    }

    fn credentials_by_id(&mut self, id: VmId) -> Result<Option<Credentials>, StoreError> {
        Ok(self.lock()?.vms.get(&id).map(VmRow::credentials))
    }

    fn password_hash_prefixes(&mut self, count_max: usize) -> Result<Vec<String>, StoreError> {
        let mut prefixes = Vec::new();
        for hash in self.lock()?.vms.values().flat_map(|row| &row.password_hash) {
            add_hash_prefix(&mut prefixes, hash, count_max);
        }
        Ok(prefixes)
    }

    fn token_owner(&mut self, token: &TokenHash, now: UnixSeconds) -> Result<Option<Login>, StoreError> {
        let tables = self.lock()?;
        let token = tables.tokens.get(token).filter(|token| token.expires > now);
        Ok(token.and_then(|token| tables.vms.get(&token.vm)).map(VmRow::login))
    }

    fn is_access_token(&mut self, token: &TokenHash) -> Result<bool, StoreError> {
        Ok(self.lock()?.access_tokens.contains(token))
    }

    fn reader(&mut self, token: &TokenHash) -> Result<Option<Reader>, StoreError> {
        Ok(self.lock()?.access_tokens.reader(token))
    }

    fn access_tokens(&mut self) -> Result<Vec<AccessToken>, StoreError> {
        Ok(self.lock()?.access_tokens.all())
    }

    fn is_current(&mut self, login: &Login) -> Result<bool, StoreError> {
        Ok(self.lock()?.vms.get(&login.id).is_some_and(|row| row.epoch == login.epoch))
    }

    fn vm_count(&mut self) -> Result<u64, StoreError> {
        Ok(self.lock()?.vms.len() as u64)
    }

    fn vms_after(&mut self, after: VmId, rows_max: usize) -> Result<VmPage, StoreError> {
        self.lock()?.page(after, rows_max, |_| true)
    }

    fn ever_connected_after(&mut self, after: VmId, rows_max: usize) -> Result<VmPage, StoreError> {
        self.lock()?.page(after, rows_max, |row| row.was_connected)
    }

    fn vms(&mut self, ids: &[VmId]) -> Result<Vec<Vm>, StoreError> {
        let tables = self.lock()?;
        let ids: BTreeSet<&VmId> = ids.iter().collect();
        Ok(ids.into_iter().filter_map(|id| tables.vms.get(id)).map(|row| row.vm.clone()).collect())
    }

    fn managed_vms(&mut self, server: ServerId, count_max: usize) -> Result<Vec<VmName>, StoreError> {
        let tables = self.lock()?;
        let of_server = tables.vms.values().filter(|row| row.managed_by == Some(server));
        Ok(of_server.map(|row| row.vm.name.clone()).take(count_max).collect())
    }

    fn disks_after(&mut self, after: DiskId, count_max: usize) -> Result<Vec<DiskOfVm>, StoreError> {
        let tables = self.lock()?;
        let disks = tables.disk_owners.range((Excluded(after), Unbounded)).filter_map(|(id, owner)| {
            let vm = &tables.vms.get(owner)?.vm;
            let index = vm.disks.binary_search_by_key(id, |disk| disk.id).ok()?;
            Some(DiskOfVm { disk: vm.disks[index], vm_id: vm.id, vm_name: vm.name.clone() })
        });
        Ok(disks.take(count_max).collect())
    }
}

impl PointStore for MemoryStore {
    fn scan(&mut self, range: &ScanRange<'_>, count_max: usize) -> Result<PointPage, StoreError> {
        Ok(self.lock()?.series.scan(range, count_max))
    }
}

impl Tables {
    fn page(&self, after: VmId, rows_max: usize, matches: fn(&VmRow) -> bool) -> Result<VmPage, StoreError> {
        let rows = self.vms.range((Excluded(after), Unbounded)).map(|(_, row)| row);
        VmPage::fill(rows.filter(|row| matches(row)).map(|row| Ok(row.vm.clone())), rows_max)
    }

    fn run(&mut self, write: &Write) -> WriteOutcome {
        match write {
            Write::Register { vm, vms_max, now: _ } => return self.register(vm, *vms_max),
            Write::AddVm { shape, disk_sizes_gib, vms_max, now: _ } => {
                // No other VM can have this name: names of digits cannot be registered.
                let name = VmName::from_store(&(self.last_vm_id + 1).to_string());
                return self.register(&NewVm { name, ..unnamed(*shape, disk_sizes_gib) }, *vms_max);
            }
            Write::Update { login, token, change } => {
                token.map_or(Ok(()), |proof| self.require_token(login, &proof))?;
                self.update(login, change)?;
            }
            Write::IssueToken { login, token, expires, replaces, rehash, now } => {
                self.require_new_token(token)?;
                self.require_current(login)?.record_login(rehash.as_deref());
                self.sweep_tokens(*now);
                if let Some(replaced) = replaces {
                    self.revoke_token(replaced);
                }
                self.add_token(login.id, *token, *expires);
            }
            Write::Connect { login, rehash, now: _ } => {
                self.require_current(login)?.record_login(rehash.as_deref());
            }
            Write::RevokeTokens { login, tokens } => {
                self.require_current(login)?;
                for token in tokens {
                    self.revoke_token(token);
                }
            }
            Write::EndLogins { login } => {
                let row = self.require_current(login)?;
                row.epoch += 1;
                if !row.vm.is_managed {
                    let tokens = std::mem::take(&mut row.tokens);
                    tokens.iter().for_each(|token| self.revoke_token(token));
                }
            }
            Write::Seen { vms } => {
                for seen in vms {
                    if let Some(row) = self.vms.get_mut(&seen.vm)
                        && row.vm.last_seen <= Some(seen.at)
                    {
                        row.vm.last_seen = Some(seen.at);
                        row.vm.last_address = seen.address.or(row.vm.last_address);
                    }
                }
            }
            Write::Put { login, points, keys_max, is_atomic } => {
                if let Some(login) = login {
                    self.require_current(login)?;
                }
                return self.series.put(points, *keys_max, *is_atomic);
            }
            Write::Remove(name) => {
                self.require_unmanaged(name)?;
                self.remove(name)?;
            }
            Write::RemoveManaged { server, names } => {
                for name in names {
                    if self.by_name(name).is_ok_and(|row| row.managed_by == Some(*server)) {
                        self.remove(name)?;
                    }
                }
            }
            Write::ChangePassword { name, password_hash } => self.change_password(name, password_hash)?,
            Write::ChangeAccessTokens(change) => return self.access_tokens.change(change),
        }
        Ok(Written::Done)
    }

    fn require_current(&mut self, login: &Login) -> Result<&mut VmRow, StoreError> {
        self.vms.get_mut(&login.id).filter(|row| row.epoch == login.epoch).ok_or(StoreError::NotCurrent)
    }

    fn require_token(&self, login: &Login, proof: &TokenProof) -> Result<(), StoreError> {
        let token = self.tokens.get(&proof.token);
        let is_valid = token.is_some_and(|token| token.vm == login.id && token.expires > proof.now);
        if is_valid { Ok(()) } else { Err(StoreError::NotCurrent) }
    }

    fn by_name(&self, name: &VmName) -> Result<&VmRow, StoreError> {
        self.names.get(name).and_then(|id| self.vms.get(id)).ok_or(StoreError::UnknownVm)
    }

    fn require_unmanaged(&self, name: &VmName) -> Result<(), StoreError> {
        if self.by_name(name)?.vm.is_managed { Err(StoreError::Managed) } else { Ok(()) }
    }

    /// Random tokens never collide: a duplicate is a caller's error.
    fn require_new_token(&self, token: &TokenHash) -> Result<(), StoreError> {
        if self.tokens.contains_key(token) {
            return Err(StoreError::Unavailable("the token exists already".to_owned()));
        }
        Ok(())
    }

    fn register(&mut self, new: &NewVm, vms_max: u64) -> WriteOutcome {
        if self.names.contains_key(&new.name) {
            return Err(StoreError::AlreadyRegistered);
        }
        if self.vms.len() as u64 >= vms_max {
            return Err(StoreError::VmLimitReached);
        }
        let (server, token) = match &new.management {
            Some(Management { server, token }) => (Some(*server), *token),
            None => (None, None),
        };
        token.as_ref().map_or(Ok(()), |token| self.require_new_token(token))?;
        self.last_vm_id += 1;
        let id = VmId(self.last_vm_id);
        let disks = self.add_disks(id, &new.disk_sizes_gib);
        let password_hash = new.password_hash.clone();
        let has_password = password_hash.is_some();
        let is_managed = server.is_some();
        let (name, shape, last_seen, last_address) = (new.name.clone(), new.shape, None, None);
        let vm = Vm { id, name, shape, has_password, is_managed, last_seen, last_address, disks };
        let tokens = VecDeque::new();
        let row = VmRow { vm, password_hash, managed_by: server, epoch: 0, was_connected: false, tokens };
        self.vms.insert(id, row);
        self.names.insert(new.name.clone(), id);
        if let Some(token) = token {
            self.add_token(id, token, UnixSeconds(limits::TOKEN_EXPIRY_OF_MANAGED));
        }
        Ok(Written::Registered(id))
    }

    fn update(&mut self, login: &Login, change: &VmChange) -> Result<(), StoreError> {
        let vm = &mut self.require_current(login)?.vm;
        if vm.is_managed {
            return Err(StoreError::Managed);
        }
        let sizes = change.disks.as_ref().map(|disks| sizes_after(disks, &vm.disks)).transpose()?;
        vm.shape.ram_mib = change.ram_mib.unwrap_or(vm.shape.ram_mib);
        vm.shape.cpus = change.cpus.unwrap_or(vm.shape.cpus);
        if let Some(sizes) = sizes {
            self.replace_disks(login.id, &sizes);
        }
        Ok(())
    }

    fn replace_disks(&mut self, id: VmId, sizes: &[u64]) {
        let Some(row) = self.vms.get_mut(&id) else { return };
        let mut disks = std::mem::take(&mut row.vm.disks);
        for surplus in disks.drain(sizes.len().min(disks.len())..) {
            self.disk_owners.remove(&surplus.id);
        }
        for (disk, size) in disks.iter_mut().zip(sizes) {
            disk.size_gib = *size;
        }
        disks.extend(self.add_disks(id, &sizes[disks.len()..]));
        if let Some(row) = self.vms.get_mut(&id) {
            row.vm.disks = disks;
        }
    }

    fn add_disks(&mut self, owner: VmId, sizes: &[u64]) -> Vec<Disk> {
        let add = |size_gib: &u64| {
            self.last_disk_id += 1;
            let id = DiskId(self.last_disk_id);
            self.disk_owners.insert(id, owner);
            Disk { id, size_gib: *size_gib }
        };
        sizes.iter().map(add).collect()
    }

    fn sweep_tokens(&mut self, now: UnixSeconds) {
        let mut count = 0;
        while count < limits::TOKENS_SWEPT_PER_ISSUE
            && let Some((expires, token)) = self.tokens_by_expiry.first()
            && *expires <= now
        {
            self.revoke_token(&token.clone());
            count += 1;
        }
        token_sweep::record_removed(count, now);
    }

    fn add_token(&mut self, vm: VmId, token: TokenHash, expires: UnixSeconds) {
        let Some(row) = self.vms.get_mut(&vm) else { return };
        row.tokens.push_back(token);
        let too_many = row.tokens.len().saturating_sub(limits::TOKENS_PER_VM_MAX);
        let oldest: Vec<TokenHash> = row.tokens.iter().take(too_many).copied().collect();
        self.tokens.insert(token, Token { vm, expires });
        self.tokens_by_expiry.insert((expires, token));
        oldest.iter().for_each(|token| self.revoke_token(token));
    }

    fn revoke_token(&mut self, hash: &TokenHash) {
        let Some(token) = self.tokens.remove(hash) else { return };
        self.tokens_by_expiry.remove(&(token.expires, *hash));
        if let Some(row) = self.vms.get_mut(&token.vm) {
            row.tokens.retain(|of_vm| of_vm != hash);
        }
    }

    fn remove(&mut self, name: &VmName) -> Result<(), StoreError> {
        let id = self.names.remove(name).ok_or(StoreError::UnknownVm)?;
        let row = self.vms.remove(&id).ok_or(StoreError::UnknownVm)?;
        for disk in &row.vm.disks {
            self.disk_owners.remove(&disk.id);
        }
        row.tokens.iter().for_each(|token| self.revoke_token(token));
        Ok(())
    }

    fn change_password(&mut self, name: &VmName, password_hash: &str) -> Result<(), StoreError> {
        self.require_unmanaged(name)?;
        let id = self.names.get(name).ok_or(StoreError::UnknownVm)?;
        let row = self.vms.get_mut(id).ok_or(StoreError::UnknownVm)?;
        row.password_hash = Some(password_hash.to_owned());
        row.vm.has_password = true;
        row.epoch += 1;
        let tokens = std::mem::take(&mut row.tokens);
        tokens.iter().for_each(|token| self.revoke_token(token));
        Ok(())
    }

    fn check_invariants(&self) {
        debug_assert_eq!(self.vms.len(), self.names.len());
        debug_assert_eq!(self.tokens.len(), self.tokens_by_expiry.len());
        debug_assert!(self.series.is_consistent());
        debug_assert!(self.access_tokens.is_consistent());
    }
}

impl VmRow {
    fn login(&self) -> Login {
        Login { id: self.vm.id, epoch: self.epoch, name: self.vm.name.clone() }
    }

    fn credentials(&self) -> Credentials {
        let (password_hash, managed_by) = (self.password_hash.clone(), self.managed_by);
        Credentials { login: self.login(), password_hash, managed_by }
    }

    /// Records that the VM has connected, and a stronger hash of its password.
    fn record_login(&mut self, rehash: Option<&str>) {
        self.was_connected = true;
        if let Some(rehash) = rehash {
            self.password_hash = Some(rehash.to_owned());
        }
    }
}
