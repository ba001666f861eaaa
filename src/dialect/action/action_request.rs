//! From the fields of a request to a [`Request`].
//!
//! Unknown fields are ignored, duplicates included. A known field that is `null` counts as absent, because Python
//! clients send `None` that way; a duplicate known field is an error. Errors in fields become part of the request,
//! because they are reported only after the access check.

use std::borrow::Cow;
use std::collections::HashSet;

use crate::dialect::envelope::Envelope;
use crate::dialect::fields::{
    FieldNames, JsonFields, JsonPath, Redacted, for_each_element, for_each_field, integer, is_object, secret,
    string,
};
use crate::ids::{DiskId, VmId};
use crate::limits;
use crate::model::{
    BadField, Command, CommandName, Dialect, DiskChange, Failure, List, Refusal, Request, Scope, Secret,
    VmChange, VmShape,
};

/// Parses a request whose envelope has an `action`.
pub(in crate::dialect) fn decode(envelope: Envelope<'_>) -> Result<Request, Refusal> {
    let known = match find_action(envelope.fields.value("action").unwrap_or("null")) {
        Some(known) => known,
        None => return Err(refusal(envelope, Failure::UnknownCommand)),
    };
    let fields = match JsonFields::read(JsonPath::Root, envelope.text, FieldNames::new(&KEYS)) {
        Ok(fields) => fields,
        Err(error) => return Err(refusal(envelope, Failure::InvalidJson(error.to_string()))),
    };
    Ok(Request {
        dialect: Dialect::Action,
        scope: Scope::Connection,
        is_forwarded: false,
        token: token(envelope.fields.value("data")),
        id: envelope.id,
        name: known.name,
        command: (known.read)(&fields),
    })
}

fn refusal(envelope: Envelope<'_>, failure: Failure) -> Refusal {
    Refusal { dialect: Dialect::Action, id: envelope.id, failure }
}

fn find_action(value: &str) -> Option<&'static ActionSpec> {
    let text = string(value).ok()??;
    ACTIONS.iter().find(|known| known.text == text)
}

/// The token in the request's `data`, which may have any other content or type.
fn token(data: Option<&str>) -> Result<Option<Secret>, BadField> {
    let Some(data) = data.filter(|data| is_object(data)) else { return Ok(None) };
    let Ok(fields) = JsonFields::read(JsonPath::Root, data, FieldNames::new(&["token"])) else {
        return Ok(None);
    };
    let value = match fields.unique_value("token")? {
        None | Some("null" | "\"\"") => return Ok(None),
        Some(value) => value,
    };
    let bad = |was: &dyn std::fmt::Display| JsonPath::Root.invalid("token", was, "a string or null");
    secret(value).map_err(|fault| bad(&fault))?.ok_or_else(|| bad(&Redacted(value))).map(Some)
}

fn add_vm(fields: &JsonFields<'_>) -> Result<Command, Failure> {
    let [Some(ram_mib), Some(disks)] = [value(fields, "ram")?, value(fields, "disks")?] else {
        return Err(Failure::InvalidVmShape);
    };
    let disk_sizes_gib = match disk_sizes(disks) {
        Some(sizes) if !sizes.is_empty() => sizes,
        _ => return Err(Failure::InvalidVmShape),
    };
    let cpus = match value(fields, "cpu")? {
        Some(cpu) => cpus(cpu),
        None => u16::try_from(disk_sizes_gib.len()).ok(),
    };
    match (ram(ram_mib), cpus) {
        (Some(ram_mib), Some(cpus)) => {
            Ok(Command::AddVm { shape: VmShape { ram_mib, cpus }, disk_sizes_gib })
        }
        _ => Err(Failure::InvalidVmShape),
    }
}

fn authenticate(fields: &JsonFields<'_>) -> Result<Command, Failure> {
    Ok(Command::AuthorizeVm { vm: vm(fields)?, password: password(fields) })
}

fn connect(fields: &JsonFields<'_>) -> Result<Command, Failure> {
    Ok(Command::ConnectVm { vm: vm(fields)?, password: password(fields) })
}

fn logout_vm(fields: &JsonFields<'_>) -> Result<Command, Failure> {
    vm(fields).map(Command::LogoutVm)
}

fn update_vm(fields: &JsonFields<'_>) -> Result<Command, Failure> {
    let vm = vm(fields)?;
    let change = change(fields).ok().filter(|change| !change.is_empty());
    Ok(Command::UpdateVm { vm, change })
}

fn change(fields: &JsonFields<'_>) -> Result<VmChange, Failure> {
    let checked = |value: Option<&str>, read: fn(&str) -> Option<u64>| match value {
        Some(value) => read(value).map(Some).ok_or(Failure::InvalidVmShape),
        None => Ok(None),
    };
    let ram_mib = checked(value(fields, "ram")?, |value| ram(value).map(u64::from))?;
    let cpus = checked(value(fields, "cpu")?, |value| cpus(value).map(u64::from))?;
    let disks = match value(fields, "disks")? {
        Some(value) => changed_disks(value).ok_or(Failure::InvalidVmShape)?,
        None => None,
    };
    let ram_mib = ram_mib.and_then(|number| u32::try_from(number).ok());
    let cpus = cpus.and_then(|number| u16::try_from(number).ok());
    Ok(VmChange { ram_mib, cpus, disks })
}

/// The value of an optional field; `null` counts as absent.
fn value<'a>(fields: &JsonFields<'a>, name: &'static str) -> Result<Option<&'a str>, Failure> {
    let value = fields.unique_value(name).map_err(|_| Failure::InvalidVmShape)?;
    Ok(value.filter(|value| *value != "null"))
}

/// The VM's id. An integer that does not fit into an id is treated as an unknown VM.
fn vm(fields: &JsonFields<'_>) -> Result<VmId, Failure> {
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
    let number = u32::try_from(integer(value)?).ok()?;
    (1..=limits::RAM_MIB_MAX).contains(&number).then_some(number)
}

fn cpus(value: &str) -> Option<u16> {
    let number = u16::try_from(integer(value)?).ok()?;
    (1..=limits::CPUS_MAX).contains(&number).then_some(number)
}

fn disk_size(value: &str) -> Option<u64> {
    integer(value).filter(|size| (1..=limits::DISK_GIB_MAX).contains(size))
}

/// The sizes in a list of them.
fn disk_sizes(value: &str) -> Option<Vec<u64>> {
    if !value.starts_with('[') {
        return None;
    }
    let mut sizes = Some(Vec::new());
    let walk = for_each_element(value, |index, element| {
        let size = disk_size(element).filter(|_| index < limits::DISKS_PER_VM_MAX);
        sizes = sizes.take().zip(size).map(|(mut sizes, size)| {
            sizes.push(size);
            sizes
        });
    });
    walk.ok().and(sizes)
}

/// The disk change: a list of sizes replaces all disks, an object resizes the named ones. `Some(None)` for no change,
/// `None` if invalid.
fn changed_disks(value: &str) -> Option<Option<DiskChange>> {
    if !is_object(value) {
        return disk_sizes(value).map(|sizes| Some(DiskChange::Replace(sizes)));
    }
    let (mut disks, mut seen, mut is_bad) = (Vec::new(), HashSet::new(), false);
    let walk = for_each_field(value, |key, size| {
        // After an error or the limit, the rest is not stored.
        match (disk_id(key), disk_size(size)) {
            (Some(id), Some(size))
                if !is_bad && disks.len() < limits::DISKS_PER_VM_MAX && seen.insert(id) =>
            {
                disks.push((id, size));
            }
            _ => is_bad = true,
        }
    });
    if walk.is_err() || is_bad {
        return None;
    }
    Some((!disks.is_empty()).then_some(DiskChange::Resize(disks)))
}

fn disk_id(key: &str) -> Option<DiskId> {
    let text: Cow<'_, str> = string(key).ok()??;
    // `parse` alone would take a plus sign.
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|id| is_plain && *id > 0).map(DiskId)
}

/// An action: its name in requests, its command and its parser.
struct ActionSpec {
    text: &'static str,
    name: CommandName,
    read: fn(&JsonFields<'_>) -> Result<Command, Failure>,
}

static ACTIONS: [ActionSpec; 10] = {
    const fn known(
        text: &'static str,
        name: CommandName,
        read: fn(&JsonFields<'_>) -> Result<Command, Failure>,
    ) -> ActionSpec {
        ActionSpec { text, name, read }
    }
    use CommandName::{ActionList, AddVm, AuthorizeVm, ConnectVm, LogoutVm, UpdateVm};
    [
        known("add_vm", AddVm, add_vm),
        known("list_all_vms", ActionList, |_| Ok(Command::ActionList(List::AllVms))),
        known("list_all_disks", ActionList, |_| Ok(Command::ActionList(List::AllDisks))),
        known("authenticate", AuthorizeVm, authenticate),
        known("connect", ConnectVm, connect),
        known("list_authorized_vms", ActionList, |_| Ok(Command::ActionList(List::AuthorizedVms))),
        known("list_connected_vms", ActionList, |_| Ok(Command::ActionList(List::ConnectedVms))),
        known("list_ever_connected", ActionList, |_| Ok(Command::ActionList(List::EverConnectedVms))),
        known("logout_vm", LogoutVm, logout_vm),
        known("update_vm", UpdateVm, update_vm),
    ]
};

/// The fields of all actions.
const KEYS: [&str; 5] = ["vm_id", "ram", "cpu", "disks", "password"];

/// The id of no VM: ids start at 1.
const NO_VM: i64 = 0;

#[cfg(test)]
#[path = "action_request_tests.rs"]
mod tests;
