//! From an [`Answer`] or a [`Page`] to the text of a reply: `{"status": …}`, the list by its name, or
//! `{"error": …}`, each after the request's id.

use std::borrow::Cow;

use crate::dialect::PageProgress;
use crate::dialect::json_writer::{begin_reply, write_items, write_json, write_raw, write_vm_shape};
use crate::model::{ActionAnswer, Answer, Disk, DiskOfVm, Failure, Items, List, Page, Query, RequestId, Vm};

/// Writes a complete reply.
pub(in crate::dialect) fn encode_answer(id: Option<&RequestId>, answer: &Answer, output: &mut Vec<u8>) {
    begin_reply(id, output);
    match answer {
        Answer::Action(ActionAnswer::Added(vm)) => {
            write_raw(output, "\"status\":\"vm added\",\"vm_id\":");
            write_json(output, &vm.0);
        }
        Answer::Action(ActionAnswer::Authorized) => status("authenticated", output),
        Answer::Action(ActionAnswer::Connected) => status("connected and authenticated", output),
        Answer::Action(ActionAnswer::LoggedOut) => status("logged out", output),
        Answer::Updated => status("vm updated", output),
        Answer::Failed(failure) => error(&message(failure), output),
        _ => {
            debug_assert!(false, "this dialect has no such answer");
            error("internal error", output);
        }
    }
    write_raw(output, "}");
}

/// Writes one page of a list.
pub(in crate::dialect) fn encode_page(
    id: Option<&RequestId>,
    page: &Page,
    progress: &mut PageProgress,
    output: &mut Vec<u8>,
) {
    let Query::List(list) = page.listing.query else {
        debug_assert!(false, "no action asks for points");
        return;
    };
    if !progress.has_begun {
        progress.has_begun = true;
        begin_reply(id, output);
        write_json(output, list_name(list));
        write_raw(output, ":[");
    }
    match &page.items {
        Items::Vms(vms) => write_items(vms, &mut progress.has_items, output, vm),
        Items::Disks(disks) => write_items(disks, &mut progress.has_items, output, disk_of_vm),
        Items::Peers(_) | Items::Points(_) => {
            debug_assert!(false, "no list of this dialect has connections or points");
        }
    }
    if page.next.is_none() {
        write_raw(output, "]}");
    }
}

fn status(words: &str, output: &mut Vec<u8>) {
    write_raw(output, "\"status\":");
    write_json(output, words);
}

fn error(words: &str, output: &mut Vec<u8>) {
    write_raw(output, "\"error\":");
    write_json(output, words);
}

/// The message of a failure, where this dialect has its own.
fn message(failure: &Failure) -> Cow<'static, str> {
    Cow::Borrowed(match failure {
        Failure::UnknownCommand | Failure::UnknownList => "invalid action",
        Failure::EmptyUpdate | Failure::UnknownDisk(_) => "required data: ram, disks",
        Failure::RegistrationClosed => "registration is closed",
        Failure::KeyLimitReached(_) => "key limit reached",
        other => return other.message(),
    })
}

fn list_name(list: List) -> &'static str {
    match list {
        List::AllVms => "all_vms",
        List::AllDisks => "all_disks",
        List::AuthorizedVms | List::AuthenticatedVms => "authorized_vms",
        List::ConnectedVms | List::ActiveVms => "connected_vms",
        List::EverConnectedVms => "all_connected_vms",
    }
}

fn vm(vm: &Vm, output: &mut Vec<u8>) {
    write_raw(output, "{\"id\":");
    write_json(output, &vm.id.0);
    write_vm_shape(vm, output, disk);
}

fn disk(disk: &Disk, output: &mut Vec<u8>) {
    write_raw(output, "{\"id\":");
    write_json(output, &disk.id.0);
    write_raw(output, ",\"size\":");
    write_json(output, &disk.size_gib);
    write_raw(output, "}");
}

fn disk_of_vm(of_vm: &DiskOfVm, output: &mut Vec<u8>) {
    write_raw(output, "{\"id\":");
    write_json(output, &of_vm.disk.id.0);
    write_raw(output, ",\"vm_id\":");
    write_json(output, &of_vm.vm_id.0);
    write_raw(output, ",\"size\":");
    write_json(output, &of_vm.disk.size_gib);
    write_raw(output, "}");
}

#[cfg(test)]
#[path = "action_response_tests.rs"]
mod tests;
