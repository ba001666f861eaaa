//! Entries of lists.

use serde::de::{Deserialize, Deserializer, Error};
use serde_json::Value;
use serde_json::value::RawValue;

use super::error::ClientError;
use super::reply::{RawReply, parse};

/// A VM in a list.
///
/// What only operators and readers see is `None` for other clients. Times are in whole seconds since 1970.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ListedVm {
    /// Its name.
    pub vm_id: String,
    /// Memory in MiB.
    pub ram: u64,
    /// Processors.
    pub cpu: u64,
    /// Its disks, in ascending order of id.
    pub disks: Vec<ListedDisk>,
    /// Whether the server runs it, as a container, until it ends.
    pub managed: bool,
    /// Its number, by which the dialect `action` knows it. Operators only.
    pub id: Option<u64>,
    /// Since when a connection has been authenticated as it. Operators only; `None` if there is none.
    pub connected_since: Option<i64>,
    /// When it was last seen. Operators only; `None`: never.
    pub last_seen: Option<i64>,
    /// Since when it has been offline. Operators only; `None` while it is connected, and before it ever was.
    pub offline_since: Option<i64>,
    /// The addresses of the connections that are authenticated as it. Operators only, and in the list of all VMs only.
    pub addrs: Option<Vec<PeerAddress>>,
}

/// A disk in a list.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ListedDisk {
    /// Its number.
    pub id: u64,
    /// The name of its VM.
    pub vm_id: String,
    /// Its size in GiB.
    pub disk_size: u64,
}

/// A connection in a list.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ListedConnection {
    /// The address of the client.
    pub addr: PeerAddress,
    /// The VM that it is authenticated as.
    pub vm_info: Option<ListedVm>,
}

/// The address of a client: its IP address and port, or `unix` and 0 for one on a unix socket.
pub type PeerAddress = (String, u16);

/// An entry of a list. Entries are parsed one by one, so that a long list is held once.
struct Entry<T>(T);

pub(super) trait ReadEntry: Sized {
    fn read(value: &Value) -> Option<Self>;
}

/// The entries of the list `name` in `reply`.
pub(super) fn list<T: ReadEntry>(reply: &RawReply<'_>, name: &'static str) -> Result<Vec<T>, ClientError> {
    let entries: Vec<Entry<T>> = reply.data()?.read(name)?;
    Ok(entries.into_iter().map(|entry| entry.0).collect())
}

/// Parses the address of a client.
pub(super) fn address(text: &RawValue) -> Result<PeerAddress, ClientError> {
    parse("addr", text.get())
}

impl<'de, T: ReadEntry> Deserialize<'de> for Entry<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Entry<T>, D::Error> {
        let value = Value::deserialize(deserializer)?;
        T::read(&value).map(Entry).ok_or_else(|| Error::custom("not an entry of this list"))
    }
}

impl ReadEntry for ListedVm {
    fn read(value: &Value) -> Option<ListedVm> {
        Some(ListedVm {
            vm_id: text(value, "vm_id")?,
            ram: value.get("ram")?.as_u64()?,
            cpu: value.get("cpu")?.as_u64()?,
            disks: value.get("disks")?.as_array()?.iter().map(ListedDisk::read).collect::<Option<_>>()?,
            managed: optional(value, "managed", Value::as_bool)?.unwrap_or(false),
            id: optional(value, "id", Value::as_u64)?,
            connected_since: optional(value, "connected_since", Value::as_i64)?,
            last_seen: optional(value, "last_seen", Value::as_i64)?,
            offline_since: optional(value, "offline_since", Value::as_i64)?,
            addrs: optional(value, "addrs", |addrs| addrs.as_array()?.iter().map(read_address).collect())?,
        })
    }
}

impl ReadEntry for ListedDisk {
    fn read(value: &Value) -> Option<ListedDisk> {
        Some(ListedDisk {
            id: value.get("id")?.as_u64()?,
            vm_id: text(value, "vm_id")?,
            disk_size: value.get("disk_size")?.as_u64()?,
        })
    }
}

impl ReadEntry for ListedConnection {
    fn read(value: &Value) -> Option<ListedConnection> {
        let vm_info = optional(value, "vm_info", ListedVm::read)?;
        Some(ListedConnection { addr: read_address(value.get("addr")?)?, vm_info })
    }
}

fn read_address(value: &Value) -> Option<PeerAddress> {
    match value.as_array()?.as_slice() {
        [host, port] => Some((host.as_str()?.to_owned(), u16::try_from(port.as_u64()?).ok()?)),
        _ => None,
    }
}

fn text(value: &Value, name: &str) -> Option<String> {
    Some(value.get(name)?.as_str()?.to_owned())
}

/// The member `name`, which may be absent or null; the outer `None`: it has another type.
fn optional<T>(value: &Value, name: &str, read: fn(&Value) -> Option<T>) -> Option<Option<T>> {
    match value.get(name) {
        None | Some(Value::Null) => Some(None),
        Some(value) => read(value).map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vms(entries: &str) -> Result<Vec<ListedVm>, ClientError> {
        let line = format!("{{\"data\":{{\"all_vms\":{entries}}}}}");
        list(&RawReply::parse(&line)?, "all_vms")
    }

    #[test]
    fn entries_have_what_the_client_may_see() {
        let bare = r#"[{"vm_id":"a","ram":1,"cpu":2,"disks":[{"id":3,"vm_id":"a","disk_size":4}]}]"#;
        let vm = vms(bare).unwrap().remove(0);
        assert_eq!((vm.ram, vm.cpu, vm.disks[0].id, vm.id, vm.addrs), (1, 2, 3, None, None));
        let full = r#"[{"vm_id":"a","ram":1,"cpu":2,"disks":[],"id":9,"connected_since":5,"last_seen":6,
            "offline_since":null,"managed":true,"addrs":[["127.0.0.1",80]],"more":1}]"#;
        let vm = vms(full).unwrap().remove(0);
        assert_eq!(
            (vm.id, vm.connected_since, vm.last_seen, vm.offline_since),
            (Some(9), Some(5), Some(6), None)
        );
        assert!(vm.managed);
        assert_eq!(vm.addrs, Some(vec![("127.0.0.1".to_owned(), 80)]));
    }

    #[test]
    fn other_entries_are_bad_replies() {
        for wrong in [
            "{}",
            "[1]",
            "[{}]",
            r#"[{"vm_id":1,"ram":1,"cpu":2,"disks":[]}]"#,
            r#"[{"vm_id":"a","ram":-1,"cpu":2,"disks":[]}]"#,
            r#"[{"vm_id":"a","ram":1,"cpu":2,"disks":[{}]}]"#,
            r#"[{"vm_id":"a","ram":1,"cpu":2,"disks":[],"id":"x"}]"#,
            r#"[{"vm_id":"a","ram":1,"cpu":2,"disks":[],"addrs":[["a"]]}]"#,
        ] {
            assert!(matches!(vms(wrong), Err(ClientError::BadReply(_))), "{wrong}");
        }
    }
}
