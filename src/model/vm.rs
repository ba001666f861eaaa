//! Virtual machines and their disks.

use super::name::VmName;
use super::peer::PeerIp;
use super::secret::TokenHash;
use crate::clock::UnixSeconds;
use crate::ids::{DiskId, ServerId, VmId};

/// A registered VM, as lists show it. Never holds a password or its hash.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Vm {
    /// The id in the store.
    pub id: VmId,
    /// Its `vm_id` text.
    pub name: VmName,
    /// Memory and processors.
    pub shape: VmShape,
    /// Whether it has a password. Only a VM without one can be authorized for all clients.
    pub has_password: bool,
    /// Whether a server runs it, from its creation to its end. Such a VM has no password.
    pub is_managed: bool,
    /// When it last sent a request or ended its last connection, as far as the store knows; `None`: never.
    pub last_seen: Option<UnixSeconds>,
    /// From where it was last seen, as far as the store knows. A proxy has its own address.
    pub last_address: Option<PeerIp>,
    /// Its disks, in ascending order of id.
    pub disks: Vec<Disk>,
}

/// When a VM was last seen, and from where.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SeenVm {
    /// The VM.
    pub vm: VmId,
    /// When.
    pub at: UnixSeconds,
    /// The address of its client; `None`: it has none, and the one before stays.
    pub address: Option<PeerIp>,
}

/// Memory and processors of a VM.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VmShape {
    /// Memory in MiB.
    pub ram_mib: u32,
    /// Processors.
    pub cpus: u16,
}

/// A disk of a VM.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Disk {
    /// The id in the store.
    pub id: DiskId,
    /// Its size in GiB.
    pub size_gib: u64,
}

/// A disk and the VM it belongs to, as lists of disks show it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DiskOfVm {
    /// The disk.
    pub disk: Disk,
    /// The VM's number.
    pub vm_id: VmId,
    /// The VM's name.
    pub vm_name: VmName,
}

/// A VM to register.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewVm {
    /// Its name; must be free.
    pub name: VmName,
    /// Memory and processors.
    pub shape: VmShape,
    /// The sizes of its disks in GiB.
    pub disk_sizes_gib: Vec<u64>,
    /// The PHC hash of its password.
    pub password_hash: Option<String>,
    /// Set for a VM that a server runs; it has no password.
    pub management: Option<Management>,
}

/// What only a VM has that a server runs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Management {
    /// The server.
    pub server: ServerId,
    /// A token of the VM, which does not expire.
    pub token: Option<TokenHash>,
}

/// Changes to a VM; `None` leaves a value unchanged.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct VmChange {
    /// Memory in MiB.
    pub ram_mib: Option<u32>,
    /// Processors.
    pub cpus: Option<u16>,
    /// The disks.
    pub disks: Option<DiskChange>,
}

/// How to change a VM's disks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DiskChange {
    /// Replaces all disks with these sizes (GiB): existing disks keep their ids in order, surplus disks are removed,
    /// additional ones get new ids.
    Replace(Vec<u64>),
    /// Resizes these disks (GiB) and leaves the others unchanged. Each id occurs once.
    Resize(Vec<(DiskId, u64)>),
}

impl VmChange {
    /// Whether there is nothing to change.
    pub fn is_empty(&self) -> bool {
        self.ram_mib.is_none() && self.cpus.is_none() && self.disks.is_none()
    }

    /// Number of disks in the change.
    pub fn rows(&self) -> usize {
        match &self.disks {
            Some(DiskChange::Replace(sizes)) => sizes.len(),
            Some(DiskChange::Resize(sizes)) => sizes.len(),
            None => 0,
        }
    }
}
