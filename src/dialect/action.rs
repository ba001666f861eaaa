//! The dialect `action`: requests `{"action": NAME, …}`; the reply is an object that depends on the action, or
//! `{"error": …}`, each after the request's id.
//!
//! Unknown fields are ignored, duplicates included. A known field that is `null` counts as absent, because Python
//! clients send `None` that way; a duplicate known field is an error. Errors in fields become part of the request,
//! because they are reported only after the access check.

use std::borrow::Cow;
use std::collections::HashSet;

use super::envelope::Envelope;
use super::fields::{FieldNames, JsonFields, JsonPath, integer, is_object, read_token, secret, string};
use super::json::{for_each_element, for_each_field};
use super::json_writer::{
    begin_reply, write_disk, write_items, write_json, write_member, write_raw, write_vm_shape,
};
use super::page_progress::PageProgress;
use crate::ids::{DiskId, VmId};
use crate::limits;
use crate::model::{
    ActionAnswer, Answer, BadField, Command, CommandName, Dialect, DiskChange, Failure, Items, List, Page,
    Query, Refusal, Request, RequestId, Secret, Vm, VmChange, VmShape,
};

/// Parses a request whose envelope has an `action`.
pub(super) fn decode(envelope: &mut Envelope<'_>) -> Result<Request, Refusal> {
    let refuse = |failure| Refusal { dialect: Dialect::Action, ..envelope.refuse(failure) };
    let known = find_action(envelope.fields.value_or_null("action"));
    let known = known.ok_or_else(|| refuse(Failure::UnknownCommand))?;
    let fields = envelope.fields_by(FieldNames::new(&KEYS));
    let token = token(envelope);
    let command = (known.read)(&fields);
    Ok(Request { id: envelope.id.take(), token, ..Request::new(Dialect::Action, known.name, command) })
}

fn find_action(value: &str) -> Option<&'static ActionSpec> {
    let text = string(value).ok()??;
    ACTIONS.iter().find(|known| known.text == text)
}

/// The token in the request's `data`, which may have any other content or type.
fn token(envelope: &Envelope<'_>) -> Result<Option<Secret>, BadField> {
    let mut fields = JsonFields::empty(JsonPath::Root, FieldNames::new(&["token"]));
    if envelope.read_data(&mut fields).is_err() {
        return Ok(None);
    }
    fields.unique_value("token")?.map_or(Ok(None), read_token)
}

/// An action: its name in requests, its command and its parser.
struct ActionSpec {
    text: &'static str,
    name: CommandName,
    read: Reader,
}

static ACTIONS: [ActionSpec; 10] = [
    ActionSpec::new("add_vm", CommandName::AddVm, |fields| add_vm(fields).ok_or(Failure::InvalidVmShape)),
    ActionSpec::list("list_all_vms", |_| Ok(Command::ActionList(List::AllVms))),
    ActionSpec::list("list_all_disks", |_| Ok(Command::ActionList(List::AllDisks))),
    ActionSpec::new("authenticate", CommandName::AuthorizeVm, |fields| {
        Ok(Command::AuthorizeVm { vm: vm_id(fields)?, password: password(fields) })
    }),
    ActionSpec::new("connect", CommandName::ConnectVm, |fields| {
        Ok(Command::ConnectVm { vm: vm_id(fields)?, password: password(fields) })
    }),
    ActionSpec::list("list_authorized_vms", |_| Ok(Command::ActionList(List::AuthorizedVms))),
    ActionSpec::list("list_connected_vms", |_| Ok(Command::ActionList(List::ConnectedVms))),
    ActionSpec::list("list_ever_connected", |_| Ok(Command::ActionList(List::EverConnectedVms))),
    ActionSpec::new("logout_vm", CommandName::LogoutVm, |fields| vm_id(fields).map(Command::LogoutVm)),
    ActionSpec::new("update_vm", CommandName::UpdateVm, |fields| {
        Ok(Command::UpdateVm { vm: vm_id(fields)?, change: change(fields) })
    }),
];

/// Reads the fields of an action.
type Reader = fn(&JsonFields<'_>) -> Result<Command, Failure>;

impl ActionSpec {
    const fn new(text: &'static str, name: CommandName, read: Reader) -> ActionSpec {
        ActionSpec { text, name, read }
    }

    const fn list(text: &'static str, read: Reader) -> ActionSpec {
        ActionSpec::new(text, CommandName::ActionList, read)
    }
}

/// `None` if a field is missing or invalid.
fn add_vm(fields: &JsonFields<'_>) -> Option<Command> {
    let ram_mib = optional(fields, "ram", ram)??;
    let disk_sizes_gib = optional(fields, "disks", disk_sizes)?.filter(|sizes| !sizes.is_empty())?;
    let cpus = match optional(fields, "cpu", cpus)? {
        Some(cpus) => cpus,
        None => u16::try_from(disk_sizes_gib.len()).ok()?,
    };
    Some(Command::AddVm { shape: VmShape { ram_mib, cpus }, disk_sizes_gib })
}

/// The change of an update; `None` if it is empty or a field is invalid.
fn change(fields: &JsonFields<'_>) -> Option<VmChange> {
    let change = VmChange {
        ram_mib: optional(fields, "ram", ram)?,
        cpus: optional(fields, "cpu", cpus)?,
        disks: optional(fields, "disks", changed_disks)?.flatten(),
    };
    Some(change).filter(|change| !change.is_empty())
}

/// The value of an optional field; `null` counts as absent. `None` if it is invalid.
fn optional<T>(
    fields: &JsonFields<'_>,
    name: &'static str,
    read: fn(&str) -> Option<T>,
) -> Option<Option<T>> {
    match fields.unique_value(name).ok()? {
        None | Some("null") => Some(None),
        Some(value) => read(value).map(Some),
    }
}

/// The VM's id. An integer that does not fit into an id is treated as an unknown VM.
fn vm_id(fields: &JsonFields<'_>) -> Result<VmId, Failure> {
    let value = fields.unique_value("vm_id").ok().flatten().ok_or(Failure::MissingVmId)?;
    let digits = value.strip_prefix('-').unwrap_or(value);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Failure::MissingVmId);
    }
    Ok(VmId(value.parse().unwrap_or(NO_VM)))
}

/// The password; one of invalid type or length counts as absent.
fn password(fields: &JsonFields<'_>) -> Option<Secret> {
    let secret = secret(fields.unique_value("password").ok()??).ok()??;
    let allowed = limits::PASSWORD_BYTES_MIN..=limits::PASSWORD_BYTES_MAX;
    allowed.contains(&secret.expose().len()).then_some(secret)
}

fn ram(value: &str) -> Option<u32> {
    integer(value, limits::RAM_MIB_MAX)
}

fn cpus(value: &str) -> Option<u16> {
    integer(value, limits::CPUS_MAX)
}

/// The sizes in a list of them.
fn disk_sizes(value: &str) -> Option<Vec<u64>> {
    let mut sizes = Some(Vec::new());
    for_each_element(value, |index, element| {
        let size = integer(element.text(), limits::DISK_GIB_MAX).filter(|_| index < limits::DISKS_PER_VM_MAX);
        sizes = sizes.take().zip(size).map(|(mut sizes, size)| {
            sizes.push(size);
            sizes
        });
    })?;
    sizes
}

/// The disk change: a list of sizes replaces all disks, an object resizes the named ones. `Some(None)` for no change,
/// `None` if invalid.
fn changed_disks(value: &str) -> Option<Option<DiskChange>> {
    if !is_object(value) {
        return disk_sizes(value).map(|sizes| Some(DiskChange::Replace(sizes)));
    }
    let (mut disks, mut seen, mut is_bad) = (Vec::new(), HashSet::new(), false);
    for_each_field(value, |key, size| {
        // After an error or the limit, the rest is not stored.
        match (disk_id(key), integer(size, limits::DISK_GIB_MAX)) {
            (Some(id), Some(size))
                if !is_bad && disks.len() < limits::DISKS_PER_VM_MAX && seen.insert(id) =>
            {
                disks.push((id, size));
            }
            _ => is_bad = true,
        }
    });
    if is_bad {
        return None;
    }
    Some((!disks.is_empty()).then_some(DiskChange::Resize(disks)))
}

fn disk_id(key: &str) -> Option<DiskId> {
    let text = string(key).ok()??;
    // `integer` alone would take a plus sign.
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    integer(&text, i64::MAX).filter(|_| is_plain).map(DiskId)
}

/// Writes a complete reply.
pub(super) fn encode_answer(id: Option<&RequestId>, answer: &Answer, output: &mut Vec<u8>) {
    begin_reply(id, output);
    match answer {
        Answer::Action(ActionAnswer::Added(vm)) => {
            write_member(output, "\"status\":\"vm added\",\"vm_id\":", &vm.0);
        }
        Answer::Action(ActionAnswer::Authorized) => write_member(output, STATUS, "authenticated"),
        Answer::Action(ActionAnswer::Connected) => {
            write_member(output, STATUS, "connected and authenticated")
        }
        Answer::Action(ActionAnswer::LoggedOut) => write_member(output, STATUS, "logged out"),
        Answer::Updated => write_member(output, STATUS, "vm updated"),
        Answer::Failed(failure) => write_member(output, ERROR, &message(failure)),
        _ => {
            debug_assert!(false, "this dialect has no such answer");
            write_member(output, ERROR, "internal error");
        }
    }
    write_raw(output, "}");
}

/// Writes one page of a list.
pub(super) fn encode_page(
    id: Option<&RequestId>,
    page: &Page,
    progress: &mut PageProgress,
    output: &mut Vec<u8>,
) {
    let Query::List(list) = page.listing.query else {
        debug_assert!(false, "no action asks for points");
        return;
    };
    if progress.begin() {
        begin_reply(id, output);
        write_json(output, list_name(list));
        write_raw(output, ":[");
    }
    match &page.items {
        Items::Vms(vms) => write_items(vms, &mut progress.has_items, output, vm),
        Items::Disks(disks) => write_items(disks, &mut progress.has_items, output, |of_vm, output| {
            write_disk(&of_vm.disk, Some(&of_vm.vm_id.0), SIZE, output);
        }),
        Items::Peers(_)
        | Items::Points(_)
        | Items::ObservedVms(_)
        | Items::ObservedPeers(_)
        | Items::Metrics(_) => {
            debug_assert!(false, "no list of this dialect has connections or points");
        }
    }
    if page.next.is_none() {
        write_raw(output, "]}");
    }
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
    write_member(output, "{\"id\":", &vm.id.0);
    write_vm_shape(vm, output, |disk, output| write_disk(disk, None::<&i64>, SIZE, output));
}

/// The fields of all actions.
const KEYS: [&str; 5] = ["vm_id", "ram", "cpu", "disks", "password"];

/// The id of no VM: ids start at 1.
const NO_VM: i64 = 0;

const STATUS: &str = "\"status\":";
const ERROR: &str = "\"error\":";
const SIZE: &str = ",\"size\":";

#[cfg(test)]
#[path = "action_tests.rs"]
mod tests;
