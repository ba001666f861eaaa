//! From an [`Answer`] or a [`Page`] to the text of a reply: `{"status": …}`, the list by its name, or
//! `{"error": …}`, each behind the request's id.

use std::borrow::Cow;

use crate::dialect::PageProgress;
use crate::dialect::json_writer::{write_json, write_raw};
use crate::model::{
    ActionAnswer, Answer, Disk, DiskOfVm, Failure, Items, List, Listing, Page, RequestId, Vm,
};

/// Writes a whole reply.
pub(in crate::dialect) fn encode_answer(id: Option<&RequestId>, answer: &Answer, output: &mut Vec<u8>) {
    head(id, output);
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
        Answer::Pong(_)
        | Answer::Registered(_)
        | Answer::Authenticated(_)
        | Answer::LoggedOut(_)
        | Answer::Statistics(_)
        | Answer::Converted(_)
        | Answer::Put { .. }
        | Answer::Healthy => {
            debug_assert!(false, "no action has this answer");
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
    let Listing::List(list) = page.listing else {
        debug_assert!(false, "no action asks for points");
        return;
    };
    if !progress.has_begun {
        progress.has_begun = true;
        head(id, output);
        write_json(output, list_name(list));
        write_raw(output, ":[");
    }
    match &page.items {
        Items::Vms(vms) => items(vms, progress, output, vm),
        Items::Disks(disks) => items(disks, progress, output, disk_of_vm),
        Items::Peers(_) | Items::Points(_) => {
            debug_assert!(false, "no list of this dialect has connections or points");
        }
    }
    if page.next.is_none() {
        write_raw(output, "]}");
    }
}

fn head(id: Option<&RequestId>, output: &mut Vec<u8>) {
    write_raw(output, "{");
    if let Some(RequestId(id)) = id {
        write_raw(output, "\"request_id\":");
        write_raw(output, id);
        write_raw(output, ",");
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

/// What a failure is called.
fn message(failure: &Failure) -> Cow<'static, str> {
    Cow::Borrowed(match failure {
        Failure::InvalidJson(why) => return format!("Invalid JSON: {why}").into(),
        Failure::NotARequest(why) => return why.clone().into(),
        Failure::BadField(bad_field) => return bad_field.to_string().into(),
        Failure::UnknownCommand | Failure::UnknownList => "invalid action",
        Failure::MissingVmId => "required data: vm_id",
        Failure::UnknownVm => "VM ID does not exist",
        Failure::NotAuthorized => "vm not authenticated",
        Failure::InvalidVmShape | Failure::EmptyUpdate | Failure::UnknownDisk(_) => {
            "required data: ram, disks"
        }
        Failure::AuthenticationRequired => "authentication required",
        Failure::InvalidCredentials => "Invalid credentials",
        Failure::InvalidToken => "Invalid access token. Try refreshing with the 'authenticate' command",
        Failure::TokenOfAnotherVm => "Token belongs to another VM",
        Failure::AlreadyRegistered => "VM is already registered",
        Failure::RegistrationClosed => "registration is closed",
        Failure::VmLimitReached => "VM limit reached",
        Failure::Busy => "busy",
        Failure::RequestMemoryFull => Failure::REQUEST_MEMORY_FULL,
        Failure::StoreUnavailable => "store unavailable",
        Failure::OutcomeUnknown => "outcome unknown",
        Failure::Internal => "internal error",
        Failure::TooLarge(bytes_max) => {
            return format!("Request too large: it may have at most {bytes_max} bytes").into();
        }
        Failure::TimedOut => "Request timeout: the request did not end in time",
        Failure::UnexpectedEnd => "Invalid JSON: the input ended inside a request",
        Failure::KeyLimitReached(_) => "key limit reached",
        Failure::UnknownTextCommand | Failure::JsonLine => "wrong command",
        Failure::TimeOutOfRange => "timestamp out of range",
        Failure::LineTooLong => "line too long",
        Failure::BadText => "bad text",
    })
}

fn list_name(list: List) -> &'static str {
    match list {
        List::AllVms | List::ManagedVms => "all_vms",
        List::AllDisks | List::ManagedDisks => "all_disks",
        List::AuthorizedVms | List::AuthenticatedVms => "authorized_vms",
        List::ConnectedVms | List::ActiveVms => "connected_vms",
        List::EverConnectedVms => "all_connected_vms",
    }
}

fn items<T>(items: &[T], progress: &mut PageProgress, output: &mut Vec<u8>, write: fn(&T, &mut Vec<u8>)) {
    for item in items {
        if progress.has_items {
            write_raw(output, ",");
        }
        progress.has_items = true;
        write(item, output);
    }
}

fn vm(vm: &Vm, output: &mut Vec<u8>) {
    write_raw(output, "{\"id\":");
    write_json(output, &vm.id.0);
    write_raw(output, ",\"ram\":");
    write_json(output, &vm.shape.ram_mib);
    write_raw(output, ",\"cpu\":");
    write_json(output, &vm.shape.cpus);
    write_raw(output, ",\"disks\":[");
    for (index, of_vm) in vm.disks.iter().enumerate() {
        if index > 0 {
            write_raw(output, ",");
        }
        disk(of_vm, output);
    }
    write_raw(output, "]}");
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
