//! Lists: `list`.

use std::fmt;

use super::family::{CommandSpec, VM_FIELDS};
use super::server::write_address;
use crate::dialect::fields::{JsonFields, JsonPath, read_string};
use crate::dialect::json_writer::{
    write_disk, write_items, write_json, write_member, write_raw, write_vm_shape,
};
use crate::dialect::page_progress::PageProgress;
use crate::ids::VmId;
use crate::model::{Command, CommandName, Failure, Items, List, Page, PeerEntry, Vm, VmName, VmPresence};

pub(super) static COMMANDS: [CommandSpec; 1] =
    [CommandSpec::new(CommandName::List, &["list_type", "token"], VM_FIELDS, read_list)];

/// The lists and their names.
const LISTS: [(&str, List); 4] = [
    ("active_vms", List::ActiveVms),
    ("authenticated_vms", List::AuthenticatedVms),
    ("all_vms", List::AllVms),
    ("all_disks", List::AllDisks),
];

fn read_list(data: &JsonFields<'_>) -> Result<Command, Failure> {
    data.check_missing(&["list_type"])?;
    let bad = |was: &dyn fmt::Display| {
        let names = LISTS.map(|(name, _)| name).join(", ");
        JsonPath::Root.invalid("list_type", was, format!("one of {names}"))
    };
    let text = read_string(data.value_or_null("list_type"), bad)?;
    let known = LISTS.iter().find(|(name, _)| *name == text);
    known.map(|&(_, list)| Command::List(list)).ok_or(Failure::UnknownList)
}

/// Writes one page of a list: its name with the first page, the end of the array with the last.
pub(super) fn write_page(
    list: List,
    page: &Page,
    is_first: bool,
    progress: &mut PageProgress,
    output: &mut Vec<u8>,
) {
    if is_first {
        let name = LISTS.iter().find(|(_, known)| *known == list).map_or("", |&(name, _)| name);
        write_json(output, name);
        write_raw(output, ":[");
    }
    match &page.items {
        Items::Vms(vms) => write_items(vms, &mut progress.has_items, output, write_vm),
        Items::Disks(disks) => write_items(disks, &mut progress.has_items, output, |of_vm, output| {
            write_disk(&of_vm.disk, Some(of_vm.vm_name.as_str()), SIZE, output);
        }),
        Items::Peers(peers) => write_items(peers, &mut progress.has_items, output, write_peer),
        Items::ObservedVms(vms) => {
            write_items(vms, &mut progress.has_items, output, |(vm, presence), output| {
                write_observed_vm(vm, presence, true, output);
            });
        }
        Items::ObservedPeers(peers) => {
            write_items(peers, &mut progress.has_items, output, |(entry, presence), output| {
                write_observed_peer(entry, presence, output);
            });
        }
        Items::Points(_) | Items::Metrics(_) => debug_assert!(false, "no list has them"),
    }
    if page.next.is_none() {
        write_raw(output, "]");
    }
}

fn write_peer(entry: &PeerEntry, output: &mut Vec<u8>) {
    write_raw(output, "{\"addr\":");
    write_address(&entry.peer, output);
    if let Some(vm) = &entry.vm {
        write_raw(output, ",\"vm_info\":");
        write_vm(vm, output);
    }
    write_raw(output, "}");
}

fn write_vm(vm: &Vm, output: &mut Vec<u8>) {
    write_member(output, "{\"vm_id\":", vm.name.as_str());
    write_vm_shape(vm, output, |disk, output| write_disk(disk, Some(vm.name.as_str()), SIZE, output));
}

/// Writes a connection as an operator sees it.
fn write_observed_peer(entry: &PeerEntry, presence: &VmPresence, output: &mut Vec<u8>) {
    write_raw(output, "{\"addr\":");
    write_address(&entry.peer, output);
    write_member(output, ",\"connected_since\":", &entry.connected_since.0);
    if let Some(vm) = &entry.vm {
        write_raw(output, ",\"vm_info\":");
        write_observed_vm(vm, presence, false, output);
    }
    write_raw(output, "}");
}

/// Writes a VM as an operator sees it: what follows `id` up to the next of these fields is what others see.
pub(super) fn write_observed_vm(vm: &Vm, presence: &VmPresence, with_addresses: bool, output: &mut Vec<u8>) {
    write_presence(vm.id, &vm.name, presence, with_addresses, output);
    write_vm_shape(vm, output, |disk, output| write_disk(disk, Some(vm.name.as_str()), SIZE, output));
}

/// Writes the beginning of a VM as an operator sees it: the fields that its connections change, and its name.
pub(super) fn write_presence(
    id: VmId,
    name: &VmName,
    presence: &VmPresence,
    with_addresses: bool,
    output: &mut Vec<u8>,
) {
    write_member(output, "{\"id\":", &id.0);
    let VmPresence { connected_since, last_seen, .. } = presence;
    let offline_since = last_seen.filter(|_| connected_since.is_none());
    write_member(output, ",\"connected_since\":", &connected_since.map(|since| since.0));
    write_member(output, ",\"last_seen\":", &last_seen.map(|seen| seen.0));
    write_member(output, ",\"offline_since\":", &offline_since.map(|since| since.0));
    if with_addresses {
        write_raw(output, ",\"addrs\":[");
        write_items(&presence.peers, &mut false, output, write_address);
        write_raw(output, "]");
    }
    write_member(output, ",\"vm_id\":", name.as_str());
}

const SIZE: &str = ",\"disk_size\":";
