//! Changes to a store, and their results.

use std::sync::Arc;

use super::{Store, StoreError};
use crate::clock::UnixSeconds;
use crate::ids::{AccessTokenId, ServerId, VmId};
use crate::model::{
    AccessTokenChange, Disk, DiskChange, Login, NewPoint, NewVm, SeenVm, TokenHash, VmChange, VmName, VmShape,
};

/// A change to the store.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Write {
    /// Adds a VM, with its token if it is a managed one; at most `vms_max` may exist.
    Register {
        /// The VM.
        vm: NewVm,
        /// The most VMs that the store may hold.
        vms_max: u64,
        /// When.
        now: UnixSeconds,
    },
    /// Adds a VM without a password whose name is its number; at most `vms_max` may exist.
    AddVm {
        /// Memory and processors.
        shape: VmShape,
        /// The sizes of its disks in GiB.
        disk_sizes_gib: Vec<u64>,
        /// The most VMs that the store may hold.
        vms_max: u64,
        /// When.
        now: UnixSeconds,
    },
    /// Changes the VM `login`, unless it is managed: [`StoreError::Managed`].
    Update {
        /// Whose request it is: must be current.
        login: Login,
        /// The token on which the request relies; `None`: on none, or it was looked up before.
        token: Option<TokenProof>,
        /// What to change.
        change: VmChange,
    },
    /// Adds a token for a VM that has just given its password, and records that the VM has been connected.
    /// Also removes up to [`crate::limits::TOKENS_SWEPT_PER_ISSUE`] expired tokens and the VM's oldest
    /// tokens beyond [`crate::limits::TOKENS_PER_VM_MAX`].
    IssueToken {
        /// The VM: must be current.
        login: Login,
        /// The new token.
        token: TokenHash,
        /// When it expires.
        expires: UnixSeconds,
        /// The token that the new one replaces.
        replaces: Option<TokenHash>,
        /// A stronger hash of the same password, to store instead of the old one. Does not change the
        /// epoch.
        rehash: Option<String>,
        /// When.
        now: UnixSeconds,
    },
    /// Records that a VM has been connected.
    Connect {
        /// The VM: must be current.
        login: Login,
        /// As with [`Write::IssueToken`].
        rehash: Option<String>,
        /// When.
        now: UnixSeconds,
    },
    /// Revokes tokens of any owner: one connection may hold tokens of several logins. Unknown tokens are
    /// ignored.
    RevokeTokens {
        /// Whose request it is: must be current.
        login: Login,
        /// The tokens.
        tokens: Vec<TokenHash>,
    },
    /// Revokes a VM's tokens and makes its logins stale; its password stays, and so does the token of a managed VM. For
    /// the operator.
    EndLogins {
        /// The VM: must be current.
        login: Login,
    },
    /// Records when VMs were last seen and from where, unless the store has a later time. Those that do not exist are
    /// ignored.
    Seen {
        /// The VMs, each once.
        vms: Vec<SeenVm>,
    },
    /// Stores points; each replaces the point of the same key and time. At most `keys_max` keys may exist.
    Put {
        /// The login of the request, which must be current; `None` if the request needs no login.
        login: Option<Login>,
        /// The points; of two with the same key and time, the later wins.
        points: Arc<Vec<NewPoint>>,
        /// The maximum number of keys; [`Write::KEYS_UNBOUNDED`] for points that were acknowledged
        /// before.
        keys_max: u64,
        /// Whether to store all points or none: [`StoreError::KeyLimitReached`]. Otherwise only the
        /// points whose key would exceed the limit are refused.
        is_atomic: bool,
    },
    /// Removes a VM with its disks and tokens, unless it is managed: [`StoreError::Managed`]. For the operator.
    Remove(VmName),
    /// Removes those of the named VMs that `server` manages, with their disks and tokens.
    RemoveManaged {
        /// Whose request it is.
        server: ServerId,
        /// The VMs. Those that do not exist, or that `server` does not manage, are ignored.
        names: Vec<VmName>,
    },
    /// Changes a VM's password: revokes its tokens and makes its logins stale. A managed VM has none:
    /// [`StoreError::Managed`]. For the operator.
    ChangePassword {
        /// The VM.
        name: VmName,
        /// The PHC hash of the new password.
        password_hash: String,
    },
    /// Changes the access tokens. For the operator.
    ChangeAccessTokens(AccessTokenChange),
}

impl Write {
    /// For points that were acknowledged before: they are stored regardless of the key limit.
    pub const KEYS_UNBOUNDED: u64 = u64::MAX;

    /// The points that it writes.
    pub(super) fn points(&self) -> &[NewPoint] {
        match self {
            Write::Put { points, .. } => points,
            _ => &[],
        }
    }

    /// Whether it writes points.
    pub fn is_put(&self) -> bool {
        matches!(self, Write::Put { .. })
    }

    /// Whether other processes are to know of it: it is one of their [`super::ChangesPage`].
    pub(super) fn is_recorded(&self) -> bool {
        match self {
            Write::Register { .. }
            | Write::AddVm { .. }
            | Write::Update { .. }
            | Write::EndLogins { .. }
            | Write::Remove(_)
            | Write::RemoveManaged { .. }
            | Write::ChangePassword { .. } => true,
            Write::ChangeAccessTokens(change) => change.ended().is_some(),
            _ => false,
        }
    }

    /// The number of points or disks that it writes, or of VMs that it changes together.
    pub fn rows(&self) -> usize {
        match self {
            Write::Register { vm, .. } => vm.disk_sizes_gib.len(),
            Write::AddVm { disk_sizes_gib, .. } => disk_sizes_gib.len(),
            Write::Update { change, .. } => change.rows(),
            Write::Put { points, .. } => points.len(),
            Write::RemoveManaged { names, .. } => names.len(),
            Write::Seen { vms } => vms.len(),
            _ => 0,
        }
    }

    /// The total size of the keys of its points, in bytes.
    pub fn bytes(&self) -> usize {
        self.points().iter().map(|new| new.key.as_bytes().len()).sum()
    }
}

/// A token that must be one of the login's VM, and not expired; otherwise the login is not current.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TokenProof {
    /// The token.
    pub token: TokenHash,
    /// When it must not be expired.
    pub now: UnixSeconds,
}

/// The result of a [`Write`].
pub type WriteOutcome = Result<Written, StoreError>;

/// The result of a [`Write`] that succeeded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Written {
    /// The VM was added with this id.
    Registered(VmId),
    /// The points at the indexes `refused` (ascending) exceeded the key limit; the others are stored.
    #[allow(missing_docs)]
    Put { refused: Vec<usize> },
    /// The access token was added with this id.
    AccessTokenAdded(AccessTokenId),
    /// Any other write.
    Done,
}

/// Runs each of `writes` with `run`. After an error of the store the rest is not tried: each would wait for the same
/// lock, disk or server again.
pub(super) fn write_separately(
    writes: &[&Write],
    mut run: impl FnMut(&Write) -> Result<WriteOutcome, StoreError>,
) -> Vec<WriteOutcome> {
    let mut store_error: Option<StoreError> = None;
    let run_unless_failed = |write: &&Write| match &store_error {
        Some(error) => Err(error.clone().of_untried()),
        None => run(write).unwrap_or_else(|error| Err(store_error.insert(error).clone())),
    };
    writes.iter().map(run_unless_failed).collect()
}

/// Runs the writes that have no outcome yet together, with `run`, and adds their outcomes.
pub(super) fn write_rest(
    writes: &[&Write],
    outcomes: Vec<Option<WriteOutcome>>,
    run: impl FnOnce(&[&Write]) -> Vec<WriteOutcome>,
) -> Vec<WriteOutcome> {
    let rest = writes.iter().zip(&outcomes).filter(|(_, outcome)| outcome.is_none());
    let rest: Vec<&Write> = rest.map(|(write, _)| *write).collect();
    let results = if rest.is_empty() { Vec::new() } else { run(&rest) };
    let mut results = results.into_iter();
    let add = |outcome: Option<_>| outcome.or_else(|| results.next()).unwrap_or_else(no_outcome);
    outcomes.into_iter().map(add).collect()
}

/// Runs one write.
pub fn write_one(store: &mut dyn Store, write: &Write) -> WriteOutcome {
    store.write(&[write]).pop().unwrap_or_else(no_outcome)
}

fn no_outcome() -> WriteOutcome {
    Err(StoreError::Unavailable("a write had no outcome".to_owned()))
}

/// The sizes of a VM's disks after `change`; `present` are its disks, by id.
pub(super) fn sizes_after(change: &DiskChange, present: &[Disk]) -> Result<Vec<u64>, StoreError> {
    let changes = match change {
        DiskChange::Replace(sizes) => return Ok(sizes.clone()),
        DiskChange::Resize(changes) => changes,
    };
    let mut sizes: Vec<u64> = present.iter().map(|disk| disk.size_gib).collect();
    for (id, size_gib) in changes {
        let index = present.binary_search_by_key(id, |disk| disk.id);
        sizes[index.map_err(|_| StoreError::UnknownDisk(*id))?] = *size_gib;
    }
    Ok(sizes)
}

/// A VM without a password, whose id becomes its name. The id is known only after it is added; no VM keeps the empty
/// name.
pub(super) fn unnamed(shape: VmShape, disk_sizes_gib: &[u64]) -> NewVm {
    NewVm {
        name: VmName::from_store(""),
        shape,
        disk_sizes_gib: disk_sizes_gib.to_vec(),
        password_hash: None,
        management: None,
    }
}
