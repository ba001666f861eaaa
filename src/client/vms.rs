//! VMs: registration, login, lists and changes.

use std::fmt;

use serde_json::{Map, Value, json};

use super::Client;
use super::entries::{self, ListedConnection, ListedDisk, ListedVm, ReadEntry};
use super::error::ClientError;

/// A VM to register.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct NewVm {
    /// Its name: 1 to 128 bytes without white space, not digits only.
    pub vm_id: String,
    /// Memory in MiB.
    pub ram: u32,
    /// Processors.
    pub cpu: u16,
    /// Its password, 8 to 1024 bytes. Only an operator may [`add`](Client::add) a VM without one.
    pub password: Option<String>,
    /// The sizes of its disks in GiB.
    pub disks: Vec<u64>,
}

/// A change of a VM; `None` leaves a value as it is.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct VmUpdate {
    /// Memory in MiB.
    pub ram: Option<u32>,
    /// Processors.
    pub cpu: Option<u16>,
    /// The disks.
    pub disks: Option<DiskUpdate>,
}

/// A change of a VM's disks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DiskUpdate {
    /// The sizes (GiB) of all disks: the first ones keep their ids, surplus disks are removed, further ones are added.
    Replace(Vec<u64>),
    /// The new sizes (GiB) of disks by their ids; the others stay.
    Resize(Vec<(u64, u64)>),
}

impl Client {
    /// Registers a VM, which must have a password. A server refuses this where registration is closed.
    pub fn register(&mut self, vm: &NewVm) -> Result<(), ClientError> {
        if vm.password.is_none() {
            return Err(ClientError::InvalidArgument("registration needs a password".into()));
        }
        self.call_command("register", vm.data(), |_| Ok(()))
    }

    /// Authenticates this connection as the VM `vm_id`, and returns a token that does the same elsewhere. A wrong
    /// password leaves the connection anonymous.
    pub fn authenticate(&mut self, vm_id: &str, password: &str) -> Result<String, ClientError> {
        let data = json!({"vm_id": vm_id, "password": password});
        self.call_command("authenticate", data, |reply| reply.data()?.read("token"))
    }

    /// The open connections of all clients.
    pub fn active_vms(&mut self) -> Result<Vec<ListedConnection>, ClientError> {
        self.list("active_vms")
    }

    /// The connections that are authenticated.
    pub fn authenticated_vms(&mut self) -> Result<Vec<ListedConnection>, ClientError> {
        self.list("authenticated_vms")
    }

    /// Every registered VM.
    pub fn all_vms(&mut self) -> Result<Vec<ListedVm>, ClientError> {
        self.list("all_vms")
    }

    /// The disks of every VM.
    pub fn all_disks(&mut self) -> Result<Vec<ListedDisk>, ClientError> {
        self.list("all_disks")
    }

    /// Changes the VM that this client is authenticated as.
    pub fn update(&mut self, change: &VmUpdate) -> Result<(), ClientError> {
        self.call_command("update", Value::Object(change.data()), |_| Ok(()))
    }

    /// Ends the authentication of this connection, and every token that came with it or authenticated it. The
    /// client's own token is forgotten.
    pub fn logout(&mut self) -> Result<(), ClientError> {
        self.call_command("logout", Value::Null, |_| Ok(()))?;
        self.set_token(None);
        Ok(())
    }

    fn list<T: ReadEntry>(&mut self, name: &'static str) -> Result<Vec<T>, ClientError> {
        self.call_command("list", json!({"list_type": name}), |reply| entries::list(reply, name))
    }
}

impl NewVm {
    /// The data of the request.
    pub(super) fn data(&self) -> Value {
        let mut data = json!({"vm_id": self.vm_id, "ram": self.ram, "cpu": self.cpu});
        data["disks"] = sizes(&self.disks);
        if let Some(password) = &self.password {
            data["password"] = Value::from(password.as_str());
        }
        data
    }
}

impl VmUpdate {
    /// The data of the request.
    pub(super) fn data(&self) -> Map<String, Value> {
        let disks = self.disks.as_ref().map(|disks| match disks {
            DiskUpdate::Replace(new) => sizes(new),
            DiskUpdate::Resize(changes) => {
                changes.iter().map(|(id, size)| json!({"id": id, "disk_size": size})).collect()
            }
        });
        let members =
            [("ram", self.ram.map(Value::from)), ("cpu", self.cpu.map(Value::from)), ("disks", disks)];
        members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
    }
}

fn sizes(sizes: &[u64]) -> Value {
    sizes.iter().map(|size| json!({"disk_size": size})).collect()
}

/// Shows no password.
impl fmt::Debug for NewVm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewVm")
            .field("vm_id", &self.vm_id)
            .field("ram", &self.ram)
            .field("cpu", &self.cpu)
            .field("disks", &self.disks)
            .finish_non_exhaustive()
    }
}
