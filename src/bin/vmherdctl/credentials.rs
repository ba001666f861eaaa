//! The credentials of the VMs that `create` has made, by server, in a file that only its user can read.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;

use serde_json::{Map, Value};

use crate::failure::Failure;
use crate::limits;
use crate::settings::own_folder;

/// The file. Its lock is held as long as this lives.
pub struct Credentials {
    path: PathBuf,
    servers: BTreeMap<String, BTreeMap<String, Value>>,
    _lock: File,
}

impl Credentials {
    /// Opens the file, which need not exist.
    pub fn open() -> Result<Credentials, Failure> {
        let folder = own_folder()?;
        let path = folder.join("vms.json");
        let failure = |error: io::Error| Failure::failed(format!("{}: {error}", path.display()));
        DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(failure)?;
        // A file of its own: the other one is replaced as a whole.
        let lock = private_file().create(true).truncate(false).write(true).open(folder.join("vms.lock"));
        let lock = lock.map_err(failure)?;
        lock.lock().map_err(failure)?;
        let servers = match fs::read_to_string(&path) {
            Ok(text) => serde_json::from_str::<Value>(&text)
                .ok()
                .and_then(read_servers)
                .ok_or_else(|| failure(io::Error::other("it is not a file of credentials")))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(failure(error)),
        };
        Ok(Credentials { path, servers, _lock: lock })
    }

    /// What CREATE answered for the VM `name` of `server`.
    pub fn find(&self, server: &str, name: &str) -> Option<&Value> {
        self.servers.get(server)?.get(name)
    }

    /// Adds a VM and writes the file.
    pub fn add(&mut self, server: &str, name: &str, credentials: Value) -> Result<(), Failure> {
        let count: usize = self.servers.values().map(BTreeMap::len).sum();
        if count >= limits::CREDENTIALS_MAX {
            return Err(Failure::failed(format!("{} has {count} VMs: too many", self.path.display())));
        }
        self.servers.entry(server.to_owned()).or_default().insert(name.to_owned(), credentials);
        self.write()
    }

    /// Removes a VM and writes the file.
    pub fn remove(&mut self, server: &str, name: &str) -> Result<(), Failure> {
        if let Some(vms) = self.servers.get_mut(server) {
            vms.remove(name);
        }
        self.servers.retain(|_, vms| !vms.is_empty());
        self.write()
    }

    /// Replaces the file, so that a crash leaves the old one or the new one.
    fn write(&self) -> Result<(), Failure> {
        let object = |vms: &BTreeMap<String, Value>| Value::Object(Map::from_iter(vms.clone()));
        let servers = self.servers.iter().map(|(server, vms)| (server.clone(), object(vms)));
        let text = format!("{:#}\n", Value::Object(servers.collect()));
        let new = self.path.with_extension("new");
        let written = || {
            let mut file = private_file().create(true).truncate(true).write(true).open(&new)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&new, &self.path)
        };
        written().map_err(|error| Failure::failed(format!("{}: {error}", self.path.display())))
    }
}

fn read_servers(value: Value) -> Option<BTreeMap<String, BTreeMap<String, Value>>> {
    let Value::Object(servers) = value else { return None };
    let read = |(server, vms)| match vms {
        Value::Object(vms) => Some((server, vms.into_iter().collect())),
        _ => None,
    };
    servers.into_iter().map(read).collect()
}

/// Options for files that only the user can read.
fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}
