//! The store of VMs as the operator of its host sees it, with or without a server that uses the same store.
//!
//! What the operator changes is written to the audit log of the host.

mod host_audit;

use std::fmt;
use std::iter;

use crate::clock::unix_now;
use crate::config::Config;
use crate::ids::VmId;
use crate::limits;
use crate::model::{NewVm, Secret, Vm, VmName, VmShape};
use crate::store::{self, Store, StoreError, Write, write_one};
use crate::work::password::Hasher;
use host_audit::log_change;

/// Manages VMs directly in the store. These operations are not available over the network. They block, and each is
/// committed when it returns.
pub struct Registry {
    store: Box<dyn Store>,
    hasher: Hasher,
    vms_max: u64,
}

/// The reason an operation of a [`Registry`] failed; nothing was changed.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum RegistryError {
    /// The store refused it, or failed.
    Store(StoreError),
    /// The password can't be hashed.
    Hash(String),
}

impl Registry {
    /// Opens the store of `config`, and creates a file that does not exist, but no folder. Of the other settings, the
    /// number of VMs and the cost of hashes count. With `memory:` this is a new, empty store of its own; the other stores
    /// are shared with a server that uses them, also while it runs.
    pub fn open(config: &Config) -> Result<Registry, RegistryError> {
        let store = store::open(&config.store)?.connect()?;
        Ok(Registry { store, hasher: Hasher::new(config.argon2), vms_max: config.vms_max })
    }

    /// Whether there is a VM `name`.
    pub fn contains(&mut self, name: &VmName) -> Result<bool, RegistryError> {
        Ok(self.store.registry().credentials(name)?.is_some())
    }

    /// All VMs in the order of their registration, page by page: a store may have more than fit into memory. There is
    /// at least one page; none follows an error.
    pub fn pages(&mut self) -> impl Iterator<Item = Result<Vec<Vm>, RegistryError>> {
        let mut after = Some(VmId(0));
        iter::from_fn(move || {
            let page = self.store.registry().vms_after(after.take()?, limits::PAGE_ROWS_MAX);
            Some(page.map_err(RegistryError::Store).map(|page| {
                after = page.vms.last().map(|vm| vm.id).filter(|_| !page.is_last);
                page.vms
            }))
        })
    }

    /// Adds a VM.
    pub fn add(
        &mut self,
        name: VmName,
        shape: VmShape,
        disk_sizes_gib: Vec<u64>,
        password: &Secret,
    ) -> Result<(), RegistryError> {
        let password_hash = Some(self.hash(password)?);
        let vm = NewVm { name: name.clone(), shape, disk_sizes_gib, password_hash, management: None };
        self.write(Write::Register { vm, vms_max: self.vms_max, now: unix_now() })?;
        log_change("register", "add", &name);
        Ok(())
    }

    /// Removes a VM with its disks and tokens. Its points stay. A VM that a server runs is not removed:
    /// [`StoreError::Managed`].
    pub fn remove(&mut self, name: &VmName) -> Result<(), RegistryError> {
        self.write(Write::Remove(name.clone()))?;
        log_change("remove", "remove", name);
        Ok(())
    }

    /// Changes a VM's password; its tokens are no longer valid. A VM that a server runs has none:
    /// [`StoreError::Managed`].
    pub fn change_password(&mut self, name: &VmName, password: &Secret) -> Result<(), RegistryError> {
        let password_hash = self.hash(password)?;
        self.write(Write::ChangePassword { name: name.clone(), password_hash })?;
        log_change("change", "passwd", name);
        Ok(())
    }

    fn hash(&mut self, password: &Secret) -> Result<String, RegistryError> {
        self.hasher.hash(password).map_err(|error| RegistryError::Hash(error.0.to_string()))
    }

    fn write(&mut self, write: Write) -> Result<(), RegistryError> {
        // Retry: an operator can wait, and a daemon that writes constantly leaves few gaps.
        let attempt = |_| write_one(self.store.as_mut(), &write);
        let mut attempts = (0..limits::REGISTRY_ATTEMPTS).map(attempt);
        attempts.find(|answer| *answer != Err(StoreError::Busy)).unwrap_or(Err(StoreError::Busy))?;
        Ok(())
    }
}

impl fmt::Display for RegistryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RegistryError::Store(error) => error.fmt(f),
            RegistryError::Hash(why) => write!(f, "can't hash the password: {why}"),
        }
    }
}

impl std::error::Error for RegistryError {}

impl From<StoreError> for RegistryError {
    fn from(error: StoreError) -> RegistryError {
        RegistryError::Store(error)
    }
}
