//! The VMs of this host's registry: through its daemon where one runs, otherwise in the store.
//!
//! A daemon knows which VMs are connected, and what it does is valid at once for every client.

use std::fmt;
use std::io;

use vmherd::client::{self, Client, ClientError, ListedVm, PeerAddress, VmUpdate};
use vmherd::custom_store::{DiskChange, VmChange};
use vmherd::{
    DiskId, Escaped, Registry, RegistryError, SOCKET_NAME, Secret, StoreError, Vm, VmName, VmShape,
};

use crate::limits;
use crate::open_registry::open_registry;
use crate::settings::ToolSettings;
use crate::tool::{Tool, ToolError};

/// The VMs of this host.
pub enum VmRegistry {
    /// Through the daemon.
    Daemon(Client),
    /// In the store.
    Store(Registry),
}

/// The reason a command about a VM failed; nothing was changed.
#[derive(Debug)]
pub enum VmError {
    /// There is no such VM.
    UnknownVm,
    /// The VM has no disk with this id.
    UnknownDisk(i64),
    /// A server runs the VM.
    Managed,
    /// Anything else.
    Other(ToolError),
}

/// A VM as the tools print it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VmEntry {
    pub name: String,
    pub id: u64,
    pub ram_mib: u64,
    pub cpus: u64,
    /// Id and size in GiB of each disk.
    pub disks: Vec<(u64, u64)>,
    pub is_managed: bool,
    pub last_seen: Option<i64>,
    /// Its connections, if a daemon was asked.
    pub presence: Option<VmPresence>,
}

/// The connections of a VM. Times are in seconds since 1970.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VmPresence {
    pub connected_since: Option<i64>,
    pub offline_since: Option<i64>,
    pub addresses: Vec<PeerAddress>,
}

impl VmRegistry {
    /// Connects to the daemon of the state directory. Opens the store if none runs, or if the settings name a store, and
    /// creates a new one only if `is_new_allowed`.
    pub fn open(tool: &Tool, settings: &ToolSettings, is_new_allowed: bool) -> Result<VmRegistry, ToolError> {
        if settings.is_default_store {
            let socket = settings.config.state_dir.join(SOCKET_NAME);
            let address = client::ServerAddress::Unix(socket);
            match Client::connect_to(&address, Some(limits::OPERATOR_WAIT)) {
                Ok(client) => return Ok(VmRegistry::Daemon(client)),
                Err(ClientError::Connect { source, .. }) if is_absent(&source) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(VmRegistry::Store(open_registry(tool, settings, is_new_allowed)?))
    }

    /// Calls `each` for every VM, in the order of registration.
    pub fn for_each(
        &mut self,
        mut each: impl FnMut(VmEntry) -> Result<(), ToolError>,
    ) -> Result<(), ToolError> {
        match self {
            VmRegistry::Daemon(client) => {
                client.all_vms()?.into_iter().try_for_each(|vm| each(of_daemon(vm)))
            }
            VmRegistry::Store(registry) => {
                for page in registry.pages() {
                    page?.into_iter().try_for_each(|vm| each(of_store(vm)))?;
                }
                Ok(())
            }
        }
    }

    /// The VM `name`.
    pub fn find(&mut self, name: &VmName) -> Result<Option<VmEntry>, ToolError> {
        match self {
            VmRegistry::Daemon(client) => {
                let vms = client.all_vms()?;
                Ok(vms.into_iter().find(|vm| vm.vm_id == name.as_str()).map(of_daemon))
            }
            VmRegistry::Store(registry) => Ok(registry.find(name)?.map(of_store)),
        }
    }

    /// Adds a VM.
    pub fn add(
        &mut self,
        name: &VmName,
        shape: VmShape,
        disk_sizes_gib: Vec<u64>,
        password: &Secret,
    ) -> Result<(), VmError> {
        match self {
            VmRegistry::Daemon(client) => {
                let password = Some(password.expose().to_owned());
                let vm = client::NewVm {
                    vm_id: name.to_string(),
                    ram: shape.ram_mib,
                    cpu: shape.cpus,
                    password,
                    disks: disk_sizes_gib,
                };
                client.add(&vm)?;
            }
            VmRegistry::Store(registry) => registry.add(name.clone(), shape, disk_sizes_gib, password)?,
        }
        Ok(())
    }

    /// Changes the memory, the processors and the sizes of disks of a VM, as far as given.
    pub fn set(&mut self, name: &VmName, change: &VmUpdate) -> Result<(), VmError> {
        match self {
            VmRegistry::Daemon(client) => client.update_vm(name.as_str(), change)?,
            VmRegistry::Store(registry) => registry.update(name, in_store(change))?,
        }
        Ok(())
    }

    /// Removes a VM.
    pub fn remove(&mut self, name: &VmName) -> Result<(), VmError> {
        match self {
            VmRegistry::Daemon(client) => client.remove(name.as_str())?,
            VmRegistry::Store(registry) => registry.remove(name)?,
        }
        Ok(())
    }

    /// Changes the password of a VM.
    pub fn change_password(&mut self, name: &VmName, password: &Secret) -> Result<(), VmError> {
        match self {
            VmRegistry::Daemon(client) => client.set_password(name.as_str(), password.expose())?,
            VmRegistry::Store(registry) => registry.change_password(name, password)?,
        }
        Ok(())
    }
}

/// Whether no daemon runs, or it is for others only.
fn is_absent(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, NotFound, PermissionDenied};
    matches!(error.kind(), NotFound | ConnectionRefused | PermissionDenied)
}

fn of_daemon(vm: ListedVm) -> VmEntry {
    VmEntry {
        name: vm.vm_id,
        // An operator's entries have it.
        id: vm.id.unwrap_or(0),
        ram_mib: vm.ram,
        cpus: vm.cpu,
        disks: vm.disks.iter().map(|disk| (disk.id, disk.disk_size)).collect(),
        is_managed: vm.managed,
        last_seen: vm.last_seen,
        presence: Some(VmPresence {
            connected_since: vm.connected_since,
            offline_since: vm.offline_since,
            addresses: vm.addrs.unwrap_or_default(),
        }),
    }
}

fn of_store(vm: Vm) -> VmEntry {
    // Ids are positive.
    let number = |id: i64| u64::try_from(id).unwrap_or(0);
    VmEntry {
        name: vm.name.to_string(),
        id: number(vm.id.0),
        ram_mib: vm.shape.ram_mib.into(),
        cpus: vm.shape.cpus.into(),
        disks: vm.disks.iter().map(|disk| (number(disk.id.0), disk.size_gib)).collect(),
        is_managed: vm.is_managed,
        last_seen: vm.last_seen.map(|seen| seen.0),
        presence: None,
    }
}

fn in_store(change: &VmUpdate) -> VmChange {
    let disks = change.disks.as_ref().map(|disks| match disks {
        client::DiskUpdate::Replace(sizes) => DiskChange::Replace(sizes.clone()),
        client::DiskUpdate::Resize(sizes) => {
            let by_id = |&(id, size): &(u64, u64)| (DiskId(i64::try_from(id).unwrap_or(i64::MAX)), size);
            DiskChange::Resize(sizes.iter().map(by_id).collect())
        }
    });
    VmChange { ram_mib: change.ram, cpus: change.cpu, disks }
}

impl VmError {
    /// The error of a command about the VM `name`.
    pub fn of_vm(self, name: &VmName) -> ToolError {
        let name = Escaped(name);
        match self {
            VmError::UnknownVm => unknown_vm(name),
            VmError::UnknownDisk(id) => {
                let why = format!("{name} has no disk {id}; its disks: vmherd vm show {name}");
                ToolError::new(NOT_FOUND, why)
            }
            VmError::Managed => {
                let why = format!("{name} is managed by a server; this ends it: vmherd vm stop {name}");
                ToolError::new(1, why)
            }
            VmError::Other(error) => error,
        }
    }
}

/// The error for a VM that does not exist; `name` is escaped.
pub fn unknown_vm(name: impl fmt::Display) -> ToolError {
    ToolError::new(NOT_FOUND, format!("there is no VM {name}"))
}

impl From<ClientError> for VmError {
    fn from(error: ClientError) -> VmError {
        let message = match &error {
            ClientError::Server { message, .. } => message.as_str(),
            _ => "",
        };
        match message.strip_prefix(UNKNOWN_DISK).and_then(|id| id.parse().ok()) {
            Some(id) => VmError::UnknownDisk(id),
            None if message == UNKNOWN_VM => VmError::UnknownVm,
            None if message == MANAGED => VmError::Managed,
            None => VmError::Other(error.into()),
        }
    }
}

impl From<RegistryError> for VmError {
    fn from(error: RegistryError) -> VmError {
        match error {
            RegistryError::Store(StoreError::UnknownVm) => VmError::UnknownVm,
            RegistryError::Store(StoreError::UnknownDisk(id)) => VmError::UnknownDisk(id.0),
            RegistryError::Store(StoreError::Managed) => VmError::Managed,
            other => VmError::Other(other.into()),
        }
    }
}

impl From<ClientError> for ToolError {
    fn from(error: ClientError) -> ToolError {
        let text = match error {
            ClientError::Server { message, .. } => Escaped(message).to_string(),
            other => other.to_string(),
        };
        ToolError::new(1, text)
    }
}

/// The exit code where there is no such VM or disk.
const NOT_FOUND: u8 = 3;
// Messages of the daemon; for a disk its beginning.
const UNKNOWN_VM: &str = "VM does not exist";
const UNKNOWN_DISK: &str = "disks: the VM has no disk with id ";
const MANAGED: &str = "the VM is managed by a server, which alone changes it";
