//! The registry of a store: reads of VMs, disks, logins and tokens.

use super::{ChangesPage, ChangesPosition, StoreError};
use crate::clock::UnixSeconds;
use crate::ids::{DiskId, ServerId, VmId};
use crate::limits;
use crate::model::{AccessToken, Credentials, DiskOfVm, Login, Reader, TokenHash, Vm, VmName};

/// The reads of the registry, on one connection.
pub trait RegistryStore {
    /// Reads from the store, to learn whether that succeeds.
    fn ping(&mut self) -> Result<(), StoreError>;

    /// The credentials of the VM `name`; `None` if there is no such VM.
    fn credentials(&mut self, name: &VmName) -> Result<Option<Credentials>, StoreError>;

    /// Like [`RegistryStore::credentials`], by id.
    fn credentials_by_id(&mut self, id: VmId) -> Result<Option<Credentials>, StoreError>;

    /// The distinct prefixes of the stored PHC password hashes, up to the `$` before the salt; at most
    /// `count_max`. Scans all VMs.
    fn password_hash_prefixes(&mut self, count_max: usize) -> Result<Vec<String>, StoreError>;

    /// The owner of `token`; `None` if it is unknown or has expired at `now`.
    fn token_owner(&mut self, token: &TokenHash, now: UnixSeconds) -> Result<Option<Login>, StoreError>;

    /// Like [`RegistryStore::token_owner`] for each of `tokens`, in order.
    fn token_owners(
        &mut self,
        tokens: &[(TokenHash, UnixSeconds)],
    ) -> Result<Vec<Option<Login>>, StoreError> {
        tokens.iter().map(|(token, now)| self.token_owner(token, *now)).collect()
    }

    /// Whether `token` is the hash of an access token for verbs that is enabled.
    fn is_access_token(&mut self, token: &TokenHash) -> Result<bool, StoreError>;

    /// The reader that the access token `token` stands for; `None` if it is unknown, disabled or for verbs.
    ///
    /// A store without readers needs none.
    fn reader(&mut self, token: &TokenHash) -> Result<Option<Reader>, StoreError> {
        let _ = token;
        Ok(None)
    }

    /// All access tokens, in ascending order of id: at most [`limits::ACCESS_TOKENS_MAX`].
    fn access_tokens(&mut self) -> Result<Vec<AccessToken>, StoreError>;

    /// The number of VMs.
    ///
    /// This reads all VMs. A store can do better.
    fn vm_count(&mut self) -> Result<u64, StoreError> {
        let (mut count, mut after) = (0, VmId(0));
        loop {
            let page = self.vms_after(after, limits::PAGE_ROWS_MAX)?;
            count += page.vms.len() as u64;
            match page.vms.last() {
                Some(last) if !page.is_last => after = last.id,
                _ => return Ok(count),
            }
        }
    }

    /// Begins a group of reads that ends with [`RegistryStore::end_reads`]. A store may run them in one
    /// transaction, so that they see one state.
    fn begin_reads(&mut self) {}

    /// Ends the group that [`RegistryStore::begin_reads`] began.
    fn end_reads(&mut self) {}

    /// Whether the VM of `login` still exists and still has the same password.
    fn is_current(&mut self, login: &Login) -> Result<bool, StoreError>;

    /// VMs with an id above `after`, in ascending order: as many as fit in `rows_max` rows (each VM and
    /// each disk is a row), but at least one if there is one.
    fn vms_after(&mut self, after: VmId, rows_max: usize) -> Result<VmPage, StoreError>;

    /// Like [`RegistryStore::vms_after`], of VMs that have ever been connected.
    fn ever_connected_after(&mut self, after: VmId, rows_max: usize) -> Result<VmPage, StoreError>;

    /// The VMs with these ids that exist, in no particular order.
    fn vms(&mut self, ids: &[VmId]) -> Result<Vec<Vm>, StoreError>;

    /// At most `count_max` changes by other processes after `position`. `None` is where the store is now: there are no
    /// changes after it yet.
    ///
    /// A store that no other process changes has none.
    fn changes_after(
        &mut self,
        position: Option<&ChangesPosition>,
        count_max: usize,
    ) -> Result<ChangesPage, StoreError> {
        let _ = (position, count_max);
        Ok(ChangesPage::default())
    }

    /// The names of the VMs that `server` manages, in no particular order; at most `count_max`.
    ///
    /// This reads all VMs. A store can do better.
    fn managed_vms(&mut self, server: ServerId, count_max: usize) -> Result<Vec<VmName>, StoreError> {
        let (mut names, mut after) = (Vec::new(), VmId(0));
        loop {
            let page = self.vms_after(after, limits::PAGE_ROWS_MAX)?;
            for vm in page.vms {
                after = vm.id;
                let is_of_server = vm.is_managed
                    && self.credentials(&vm.name)?.is_some_and(|found| found.managed_by == Some(server));
                if is_of_server && names.len() < count_max {
                    names.push(vm.name);
                }
            }
            if page.is_last || names.len() >= count_max {
                return Ok(names);
            }
        }
    }

    /// Disks with an id above `after`, in ascending order, at most `count_max`. A shorter result is the
    /// last.
    fn disks_after(&mut self, after: DiskId, count_max: usize) -> Result<Vec<DiskOfVm>, StoreError>;
}

/// A page of VMs.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct VmPage {
    /// The VMs, in ascending order of id.
    pub vms: Vec<Vm>,
    /// Whether this is the last page.
    pub is_last: bool,
}

impl VmPage {
    /// As many of `vms` as fit in `rows_max` rows, but at least one if there is one.
    pub(super) fn fill<E>(
        vms: impl IntoIterator<Item = Result<Vm, E>>,
        rows_max: usize,
    ) -> Result<VmPage, E> {
        let (mut page, mut rows) = (VmPage { vms: Vec::new(), is_last: true }, 0);
        for vm in vms {
            let vm = vm?;
            rows += 1 + vm.disks.len();
            if rows > rows_max && !page.vms.is_empty() {
                page.is_last = false;
                break;
            }
            page.vms.push(vm);
        }
        Ok(page)
    }
}

/// Adds the prefix of `hash` to `prefixes`: the parameters, without salt and output. Ignores text that is not a PHC
/// string, and prefixes beyond `count_max`.
pub(super) fn add_hash_prefix(prefixes: &mut Vec<String>, hash: &str, count_max: usize) {
    let Some(prefix) = hash.rsplitn(3, '$').nth(2) else { return };
    if prefixes.len() < count_max && !prefixes.iter().any(|known| known == prefix) {
        prefixes.push(prefix.to_owned());
    }
}

/// Returns the name in `last` if it is that of the VM `id`, and otherwise the result of `read`. Disks of one VM
/// usually follow each other and so share one copy.
pub(super) fn reuse_name<E>(
    last: &mut Option<(VmId, VmName)>,
    id: VmId,
    read: impl FnOnce() -> Result<VmName, E>,
) -> Result<VmName, E> {
    match last {
        Some((of, name)) if *of == id => Ok(name.clone()),
        _ => Ok(last.insert((id, read()?)).1.clone()),
    }
}
