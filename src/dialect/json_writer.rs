//! JSON output that the dialects have in common.

use serde::Serialize;

use crate::model::{Disk, RequestId, Vm};

/// Writes `value` as JSON.
pub(super) fn write_json<T: Serialize + ?Sized>(output: &mut Vec<u8>, value: &T) {
    serde_json::to_writer(output, value).expect("texts and numbers can be written to a Vec");
}

/// Writes text that is already JSON.
pub(super) fn write_raw(output: &mut Vec<u8>, text: &str) {
    output.extend_from_slice(text.as_bytes());
}

/// Writes a member of an object: its name, with all punctuation before and after it, and its value.
pub(super) fn write_member<T: Serialize + ?Sized>(output: &mut Vec<u8>, name: &str, value: &T) {
    write_raw(output, name);
    write_json(output, value);
}

/// Opens the object of a reply and writes the request's id, if it has one.
pub(super) fn begin_reply(id: Option<&RequestId>, output: &mut Vec<u8>) {
    write_raw(output, "{");
    if let Some(RequestId(id)) = id {
        write_raw(output, "\"request_id\":");
        write_raw(output, id);
        write_raw(output, ",");
    }
}

/// Appends `items` to an array that already has some if `has_items`.
pub(super) fn write_items<T>(
    items: &[T],
    has_items: &mut bool,
    output: &mut Vec<u8>,
    write: impl Fn(&T, &mut Vec<u8>),
) {
    for item in items {
        if *has_items {
            write_raw(output, ",");
        }
        *has_items = true;
        write(item, output);
    }
}

/// Writes a disk; `vm` identifies its VM, and `size` is the name of its size with the punctuation around it.
pub(super) fn write_disk<V: Serialize + ?Sized>(
    disk: &Disk,
    vm: Option<&V>,
    size: &str,
    output: &mut Vec<u8>,
) {
    write_member(output, "{\"id\":", &disk.id.0);
    if let Some(vm) = vm {
        write_member(output, ",\"vm_id\":", vm);
    }
    write_member(output, size, &disk.size_gib);
    write_raw(output, "}");
}

/// Writes the fields of a VM that follow its id, and the brace that closes it. Only a managed VM has the last field.
pub(super) fn write_vm_shape(vm: &Vm, output: &mut Vec<u8>, write_disk: impl Fn(&Disk, &mut Vec<u8>)) {
    write_member(output, ",\"ram\":", &vm.shape.ram_mib);
    write_member(output, ",\"cpu\":", &vm.shape.cpus);
    write_raw(output, ",\"disks\":[");
    write_items(&vm.disks, &mut false, output, write_disk);
    write_raw(output, if vm.is_managed { "],\"managed\":true}" } else { "]}" });
}
