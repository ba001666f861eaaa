//! From the fields of a request to a [`Request`].
//!
//! Errors are found in a fixed order: the shape, the command's name, the token, the data. Errors in the last two
//! become part of the request, because they are reported only after the access check.

use std::fmt;

use super::{LISTS, points};
use crate::dialect::envelope::Envelope;
use crate::dialect::fields::{
    Excerpt, FieldNames, JsonFields, JsonPath, Redacted, for_each_element, integer, is_object, read_string,
    secret,
};
use crate::ids::DiskId;
use crate::limits;
use crate::model::{
    BadField, Command, CommandName, Dialect, DiskChange, Failure, NameError, Refusal, Request, Scope, Secret,
    VmChange, VmName, VmShape,
};

/// Parses a request whose envelope has a `command`.
pub(in crate::dialect) fn decode(envelope: Envelope<'_>) -> Result<Request, Refusal> {
    let known = match find_command(&envelope.fields) {
        Ok(Some(known)) => known,
        Ok(None) => return Err(envelope.refuse(Failure::UnknownCommand)),
        Err(bad_field) => return Err(envelope.refuse(Failure::BadField(bad_field))),
    };
    let mut data = JsonFields::empty(JsonPath::Root, data_field_names(known.name));
    let (token, command) = match read_data(&envelope.fields, &mut data) {
        Ok(()) => (token(&data, known.name), command(&data, known)),
        Err(failure) => (Ok(None), Err(failure)),
    };
    Ok(Request {
        dialect: Dialect::Command,
        scope: Scope::Connection,
        is_forwarded: false,
        id: envelope.id,
        token,
        name: known.name,
        command,
    })
}

/// The requested command; `None` if it is unknown.
fn find_command(envelope: &JsonFields<'_>) -> Result<Option<&'static CommandSpec>, BadField> {
    envelope.check_unknown(&["command", "data", "request_id"])?;
    let bad = |was: &dyn fmt::Display| JsonPath::Root.invalid("command", was, "a string");
    let text = read_string(envelope.value_or_null("command"), bad)?;
    Ok(COMMANDS.iter().find(|known| known.text == text))
}

/// Reads the fields of `data`.
fn read_data<'a>(envelope: &JsonFields<'a>, fields: &mut JsonFields<'a>) -> Result<(), Failure> {
    let data = envelope.value("data").unwrap_or("{}");
    if !is_object(data) {
        return Err(Failure::BadField(JsonPath::Root.invalid("data", Redacted(data), "an object")));
    }
    fields.fill(data).map_err(|error| Failure::InvalidJson(error.to_string()))
}

/// The token of the request, unless the command ignores tokens.
fn token(data: &JsonFields<'_>, name: CommandName) -> Result<Option<Secret>, BadField> {
    let Some(value) = data.value("token") else { return Ok(None) };
    if name.ignores_token() {
        return Ok(None);
    }
    if data.is_repeated("token") {
        data.check_repeated()?;
    }
    if matches!(value, "null" | "\"\"") {
        return Ok(None);
    }
    let bad = |was: &dyn fmt::Display| JsonPath::Root.invalid("token", was, "a string or null");
    secret(value).map_err(|fault| bad(&fault))?.ok_or_else(|| bad(&Redacted(value))).map(Some)
}

/// The command with its data.
fn command(data: &JsonFields<'_>, known: &CommandSpec) -> Result<Command, Failure> {
    data.check_repeated().map_err(Failure::BadField)?;
    data.check_unknown(known.fields).map_err(Failure::BadField)?;
    (known.read)(data)
}

fn register(data: &JsonFields<'_>) -> Result<Command, Failure> {
    read_registration(data).map_err(Failure::BadField)
}

fn read_registration(data: &JsonFields<'_>) -> Result<Command, BadField> {
    data.check_missing(&["vm_id", "ram", "cpu", "password", "disks"])?;
    let name = vm_name(data.value_or_null("vm_id"), VmName::parse_new)?;
    let shape = VmShape { ram_mib: ram(data.value_or_null("ram"))?, cpus: cpu(data.value_or_null("cpu"))? };
    let password = password(data.value_or_null("password"))?;
    let disk_sizes_gib = new_disks(data.value_or_null("disks"))?;
    Ok(Command::Register { name, shape, disk_sizes_gib, password })
}

fn authenticate(data: &JsonFields<'_>) -> Result<Command, Failure> {
    read_credentials(data).map_err(Failure::BadField)
}

fn read_credentials(data: &JsonFields<'_>) -> Result<Command, BadField> {
    data.check_missing(&["vm_id", "password"])?;
    let name = vm_name(data.value_or_null("vm_id"), VmName::parse)?;
    let password = password(data.value_or_null("password"))?;
    Ok(Command::Authenticate { name, password })
}

fn list(data: &JsonFields<'_>) -> Result<Command, Failure> {
    data.check_missing(&["list_type"]).map_err(Failure::BadField)?;
    let value = data.value_or_null("list_type");
    let bad = |was: &dyn fmt::Display| {
        let names: Vec<&str> = LISTS.iter().map(|&(name, _)| name).collect();
        Failure::BadField(JsonPath::Root.invalid("list_type", was, format!("one of {}", names.join(", "))))
    };
    let text = read_string(value, bad)?;
    let known = LISTS.iter().find(|(name, _)| *name == text);
    known.map(|&(_, list)| Command::List(list)).ok_or(Failure::UnknownList)
}

fn update(data: &JsonFields<'_>) -> Result<Command, Failure> {
    let change = VmChange {
        ram_mib: data.value("ram").map(ram).transpose().map_err(Failure::BadField)?,
        cpus: data.value("cpu").map(cpu).transpose().map_err(Failure::BadField)?,
        disks: data.value("disks").map(changed_disks).transpose().map_err(Failure::BadField)?,
    };
    if change.is_empty() {
        return Err(Failure::EmptyUpdate);
    }
    Ok(Command::Update(change))
}

fn vm_name(value: &str, parse: fn(&str) -> Result<VmName, NameError>) -> Result<VmName, BadField> {
    let bad = |was: &dyn fmt::Display| {
        JsonPath::Root.invalid("vm_id", was, format_args!("a string of {}", NameError::ALLOWED))
    };
    let text = read_string(value, bad)?;
    parse(&text).map_err(|error| match error {
        NameError::Length(bytes) => bad(&format_args!("a string of {bytes} bytes")),
        NameError::DigitsOnly => bad(&Excerpt(value)),
        // The character may be invisible, so the error shows its code point.
        NameError::Character(_) | NameError::NotNormalized(_) => bad(&error),
    })
}

fn ram(value: &str) -> Result<u32, BadField> {
    let number = number(JsonPath::Root, "ram", value, u64::from(limits::RAM_MIB_MAX), "MiB")?;
    Ok(u32::try_from(number).unwrap_or(limits::RAM_MIB_MAX))
}

fn cpu(value: &str) -> Result<u16, BadField> {
    let number = number(JsonPath::Root, "cpu", value, u64::from(limits::CPUS_MAX), "processors")?;
    Ok(u16::try_from(number).unwrap_or(limits::CPUS_MAX))
}

/// Parses an integer from 1 to `max`.
fn number(path: JsonPath, name: &str, value: &str, max: u64, unit: &str) -> Result<u64, BadField> {
    integer(value).filter(|number| (1..=max).contains(number)).ok_or_else(|| {
        path.invalid(name, Excerpt(value), format_args!("an integer from 1 to {max} ({unit})"))
    })
}

fn password(value: &str) -> Result<Secret, BadField> {
    let (min, max) = (limits::PASSWORD_BYTES_MIN, limits::PASSWORD_BYTES_MAX);
    let bad = |was: &dyn fmt::Display| {
        JsonPath::Root.invalid("password", was, format_args!("a string of {min} to {max} bytes"))
    };
    let secret = secret(value).map_err(|fault| bad(&fault))?.ok_or_else(|| bad(&Redacted(value)))?;
    match secret.expose().len() {
        bytes if (min..=max).contains(&bytes) => Ok(secret),
        bytes => Err(bad(&format_args!("a string of {bytes} bytes"))),
    }
}

/// The disk sizes of a new VM.
fn new_disks(value: &str) -> Result<Vec<u64>, BadField> {
    let disks = disks(value, &["disk_size"])?;
    Ok(disks.into_iter().map(|(_, size_gib)| size_gib).collect())
}

/// The disk change: entries with ids resize those disks, entries without ids replace all disks.
fn changed_disks(value: &str) -> Result<DiskChange, BadField> {
    let disks = disks(value, &DISK_KEYS)?;
    let with_id: Vec<(DiskId, u64)> = disks.iter().filter_map(|&(id, size)| Some((id?, size))).collect();
    if with_id.is_empty() {
        return Ok(DiskChange::Replace(disks.into_iter().map(|(_, size_gib)| size_gib).collect()));
    }
    if let Some(index) = disks.iter().position(|(id, _)| id.is_none()) {
        return Err(BadField(format!(
            "disks[{index}]: missing field: id; either all disks have one or none"
        )));
    }
    check_distinct(&with_id)?;
    Ok(DiskChange::Resize(with_id))
}

fn check_distinct(disks: &[(DiskId, u64)]) -> Result<(), BadField> {
    let mut ids: Vec<(DiskId, usize)> =
        disks.iter().enumerate().map(|(index, &(id, _))| (id, index)).collect();
    ids.sort_unstable();
    match ids.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        Some(pair) => {
            let (DiskId(id), first, second) = (pair[0].0, pair[0].1, pair[1].1);
            let was = format_args!("{id}, the id of disks[{first}],");
            Err(JsonPath::Disk(second).invalid("id", was, "the id of another disk"))
        }
        None => Ok(()),
    }
}

/// The entries of a list of disks; `names` are the allowed fields.
fn disks(value: &str, names: &'static [&'static str]) -> Result<Vec<(Option<DiskId>, u64)>, BadField> {
    let max = limits::DISKS_PER_VM_MAX;
    let bad = |was: &dyn fmt::Display| {
        JsonPath::Root.invalid(
            "disks",
            was,
            format_args!("a list of 0 to {max} objects {{\"disk_size\": GIB}}"),
        )
    };
    if !value.starts_with('[') {
        return Err(bad(&Excerpt(value)));
    }
    let (mut disks, mut first_bad, mut count) = (Vec::new(), None, 0);
    let walk = for_each_element(value, |index, element| {
        count = index + 1;
        // After an error or the limit, the rest is only counted.
        if first_bad.is_none() && count <= max {
            match disk(index, element, names) {
                Ok(disk) => disks.push(disk),
                Err(bad_field) => first_bad = Some(bad_field),
            }
        }
    });
    walk.map_err(|_| bad(&Excerpt(value)))?;
    if count > max {
        return Err(bad(&format_args!("a list of {count}")));
    }
    first_bad.map_or(Ok(disks), Err)
}

fn disk(
    index: usize,
    value: &str,
    names: &'static [&'static str],
) -> Result<(Option<DiskId>, u64), BadField> {
    let path = JsonPath::Disk(index);
    let no_object = || {
        let was = Excerpt(value);
        BadField(format!("disks[{index}]: {was} is not allowed; it must be an object {{\"disk_size\": GIB}}"))
    };
    if !is_object(value) {
        return Err(no_object());
    }
    let fields = JsonFields::read(path, value, FieldNames::new(&DISK_KEYS)).map_err(|_| no_object())?;
    fields.check_repeated()?;
    fields.check_unknown(names)?;
    fields.check_missing(&["disk_size"])?;
    let id = match fields.value("id") {
        Some(id) => Some(disk_id(path, id)?),
        None => None,
    };
    let size_gib = number(path, "disk_size", fields.value_or_null("disk_size"), limits::DISK_GIB_MAX, "GiB")?;
    Ok((id, size_gib))
}

fn disk_id(path: JsonPath, value: &str) -> Result<DiskId, BadField> {
    let id = number(path, "id", value, i64::MAX as u64, "the id of a disk")?;
    Ok(DiskId(i64::try_from(id).unwrap_or(i64::MAX)))
}

/// A command: its name in requests, the fields of its data and its parser.
struct CommandSpec {
    text: &'static str,
    name: CommandName,
    fields: &'static [&'static str],
    read: fn(&JsonFields<'_>) -> Result<Command, Failure>,
}

static COMMANDS: [CommandSpec; 9] = [
    CommandSpec { text: "ping", name: CommandName::Ping, fields: &["token"], read: |_| Ok(Command::Ping) },
    CommandSpec {
        text: "register",
        name: CommandName::Register,
        fields: &["vm_id", "ram", "cpu", "password", "disks", "token"],
        read: register,
    },
    CommandSpec {
        text: "authenticate",
        name: CommandName::Authenticate,
        fields: &["vm_id", "password", "token"],
        read: authenticate,
    },
    CommandSpec { text: "list", name: CommandName::List, fields: &["list_type", "token"], read: list },
    CommandSpec {
        text: "update",
        name: CommandName::Update,
        fields: &["ram", "cpu", "disks", "token"],
        read: update,
    },
    CommandSpec {
        text: "logout",
        name: CommandName::Logout,
        fields: &["token"],
        read: |_| Ok(Command::Logout),
    },
    CommandSpec { text: "stats", name: CommandName::Stats, fields: &["token"], read: |_| Ok(Command::Stats) },
    CommandSpec { text: "put", name: CommandName::Put, fields: &points::PUT_FIELDS, read: points::put },
    CommandSpec { text: "get", name: CommandName::Get, fields: &points::GET_FIELDS, read: points::get },
];

/// The known fields for the data of a command.
fn data_field_names(name: CommandName) -> FieldNames {
    match name {
        CommandName::Put | CommandName::Get => FieldNames::new(&points::KEYS),
        _ => FieldNames::new(&DATA_KEYS),
    }
}

/// The fields of all commands about VMs.
const DATA_KEYS: [&str; 7] = ["vm_id", "ram", "cpu", "password", "disks", "list_type", "token"];

/// The fields of a disk.
const DISK_KEYS: [&str; 2] = ["id", "disk_size"];

#[cfg(test)]
#[path = "command_request_tests.rs"]
mod tests;
