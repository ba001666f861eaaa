//! The store of VMs and access tokens as the operator of its host sees it, with or without a server that uses the same
//! store.
//!
//! What the operator changes is written to the audit log of the host.

mod host_audit;

use std::fmt;
use std::io;
use std::iter;

use crate::app::audit::Subject;
use crate::app::token::{self, SystemRandom};
use crate::clock::unix_now;
use crate::config::Config;
use crate::ids::{AccessTokenId, VmId};
use crate::limits;
use crate::model::{AccessToken, AccessTokenChange, NewVm, Reader, Secret, Vm, VmChange, VmName, VmShape};
use crate::store::{self, Store, StoreError, Write, Written, write_one};
use crate::work::password::Hasher;
use host_audit::log_change;

/// Manages VMs and access tokens directly in the store. These operations are not available over the network. They block, and each is
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
    /// The system has no random bytes for a token.
    Random(String),
}

impl Registry {
    /// Opens the store of `config`, and creates a file that does not exist, but no folder. Of the other settings, the
    /// number of VMs and the cost of hashes count. With `memory:` this is a new, empty store of its own; the other stores
    /// are shared with a server that uses them, also while it runs.
    pub fn open(config: &Config) -> Result<Registry, RegistryError> {
        let store = store::open(&config.store)?.connect()?;
        Ok(Registry { store, hasher: Hasher::new(config.argon2), vms_max: config.vms_max })
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

    /// The VM `name`; `None` if there is no such VM.
    pub fn find(&mut self, name: &VmName) -> Result<Option<Vm>, RegistryError> {
        let registry = self.store.registry();
        match registry.credentials(name)? {
            Some(credentials) => Ok(registry.vms(&[credentials.login.id])?.pop()),
            None => Ok(None),
        }
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
        log_change("register", "add", &Subject::Name(name));
        Ok(())
    }

    /// Changes the memory, the processors or the disks of a VM. A VM that a server runs is not changed:
    /// [`StoreError::Managed`]. A disk that the VM does not have: [`StoreError::UnknownDisk`].
    pub fn update(&mut self, name: &VmName, change: VmChange) -> Result<(), RegistryError> {
        let credentials = self.store.registry().credentials(name)?.ok_or(StoreError::UnknownVm)?;
        self.write(Write::Update { login: credentials.login, token: None, change })?;
        log_change("change", "update", &Subject::Name(name.clone()));
        Ok(())
    }

    /// Removes a VM with its disks and tokens. Its points stay. A VM that a server runs is not removed:
    /// [`StoreError::Managed`].
    pub fn remove(&mut self, name: &VmName) -> Result<(), RegistryError> {
        self.write(Write::Remove(name.clone()))?;
        log_change("remove", "remove", &Subject::Name(name.clone()));
        Ok(())
    }

    /// Changes a VM's password; its tokens are no longer valid. A VM that a server runs has none:
    /// [`StoreError::Managed`].
    pub fn change_password(&mut self, name: &VmName, password: &Secret) -> Result<(), RegistryError> {
        let password_hash = self.hash(password)?;
        self.write(Write::ChangePassword { name: name.clone(), password_hash })?;
        log_change("change", "passwd", &Subject::Name(name.clone()));
        Ok(())
    }

    /// All access tokens, in the order in which they were added.
    pub fn access_tokens(&mut self) -> Result<Vec<AccessToken>, RegistryError> {
        Ok(self.store.registry().access_tokens()?)
    }

    /// Adds an access token for verbs, which is valid at once if it `is_enabled`. Only its SHA-256 is stored: nothing
    /// returns the token again.
    pub fn add_access_token(&mut self, is_enabled: bool) -> Result<(AccessTokenId, Secret), RegistryError> {
        let token = token::base64url::<{ limits::ACCESS_TOKEN_BYTES }>(&mut SystemRandom)?;
        let id = self.add_token(&token, None, is_enabled)?;
        log_change("change", "token_add", &Subject::AccessToken(id));
        Ok((id, token))
    }

    /// As [`Registry::add_access_token`], but a token of the reader `name`: it gives the right to read everything, and to
    /// change nothing. A reader may have several.
    pub fn add_reader_token(
        &mut self,
        name: &VmName,
        is_enabled: bool,
    ) -> Result<(AccessTokenId, Secret), RegistryError> {
        let token = token::issue(&mut SystemRandom)?;
        let id = self.add_token(&token, Some(name.clone()), is_enabled)?;
        log_change("change", "token_add", &Subject::Reader(Reader { token: id, name: name.clone() }));
        Ok((id, token))
    }

    /// Makes an access token valid, or not valid; it holds for the next request. An unknown id:
    /// [`StoreError::UnknownAccessToken`].
    pub fn enable_access_token(&mut self, id: AccessTokenId, is_enabled: bool) -> Result<(), RegistryError> {
        self.write(Write::ChangeAccessTokens(AccessTokenChange::SetEnabled { id, is_enabled }))?;
        let command = if is_enabled { "token_enable" } else { "token_disable" };
        log_change("change", command, &Subject::AccessToken(id));
        Ok(())
    }

    /// Removes an access token. An unknown id: [`StoreError::UnknownAccessToken`].
    pub fn remove_access_token(&mut self, id: AccessTokenId) -> Result<(), RegistryError> {
        self.write(Write::ChangeAccessTokens(AccessTokenChange::Remove(id)))?;
        log_change("remove", "token_remove", &Subject::AccessToken(id));
        Ok(())
    }

    fn add_token(
        &mut self,
        token: &Secret,
        reader_name: Option<VmName>,
        is_enabled: bool,
    ) -> Result<AccessTokenId, RegistryError> {
        let token = token::hash(token);
        let (count_max, now) = (limits::ACCESS_TOKENS_MAX, unix_now());
        let change = AccessTokenChange::Add { token, is_enabled, reader_name, count_max, now };
        match self.write(Write::ChangeAccessTokens(change))? {
            Written::AccessTokenAdded(id) => Ok(id),
            _ => Err(StoreError::Unavailable("an access token was added without an id".to_owned()).into()),
        }
    }

    fn hash(&mut self, password: &Secret) -> Result<String, RegistryError> {
        self.hasher.hash(password).map_err(|error| RegistryError::Hash(error.0.to_string()))
    }

    fn write(&mut self, write: Write) -> Result<Written, RegistryError> {
        // Retry: an operator can wait, and a daemon that writes constantly leaves few gaps.
        let attempt = |_| write_one(self.store.as_mut(), &write);
        let mut attempts = (0..limits::REGISTRY_ATTEMPTS).map(attempt);
        Ok(attempts.find(|answer| *answer != Err(StoreError::Busy)).unwrap_or(Err(StoreError::Busy))?)
    }
}

impl fmt::Display for RegistryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RegistryError::Store(error) => error.fmt(f),
            RegistryError::Hash(why) => write!(f, "can't hash the password: {why}"),
            RegistryError::Random(why) => write!(f, "can't get random bytes for a token: {why}"),
        }
    }
}

impl std::error::Error for RegistryError {}

impl From<io::Error> for RegistryError {
    fn from(error: io::Error) -> RegistryError {
        RegistryError::Random(error.to_string())
    }
}

impl From<StoreError> for RegistryError {
    fn from(error: StoreError) -> RegistryError {
        RegistryError::Store(error)
    }
}
