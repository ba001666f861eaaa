//! VMs: `register`, `update` and `stop`; and an operator's `add`, `remove` and `passwd`.

use std::fmt;

use super::family::{
    CommandSpec, ObjectList, SUCCESS, VM_FIELDS, write_done, write_done_with_name, write_head,
};
use super::login::{read_name, read_password};
use crate::dialect::fields::{AllowedFields, Excerpt, FieldNames, JsonFields, JsonPath, integer};
use crate::dialect::json_writer::{write_member, write_raw};
use crate::ids::DiskId;
use crate::limits;
use crate::model::{
    Answer, BadField, Command, CommandName, DiskChange, Failure, VmChange, VmName, VmOperation, VmShape,
};

pub(super) static COMMANDS: [CommandSpec; 6] = [
    CommandSpec::new(
        CommandName::Register,
        &["vm_id", "ram", "cpu", "password", "disks", "token"],
        VM_FIELDS,
        read_register,
    ),
    CommandSpec::new(CommandName::Update, &["ram", "cpu", "disks", "token"], VM_FIELDS, read_update)
        .with_vm(&["vm_id", "ram", "cpu", "disks", "token"]),
    CommandSpec::new(
        CommandName::Add,
        &["vm_id", "ram", "cpu", "password", "disks", "token"],
        VM_FIELDS,
        read_add,
    ),
    CommandSpec::new(CommandName::Remove, &["vm_id", "token"], VM_FIELDS, read_remove),
    CommandSpec::new(CommandName::Passwd, &["vm_id", "password", "token"], VM_FIELDS, read_passwd),
    CommandSpec::new(CommandName::Stop, &["vm_id", "token"], VM_FIELDS, read_stop),
];

const DISKS: ObjectList = ObjectList {
    name: "disks",
    counts: 0..=limits::DISKS_PER_VM_MAX,
    shape: "{\"disk_size\": GIB}",
    known: FieldNames::new(&["id", "disk_size"]),
};

const NEW_DISK: AllowedFields = DISKS.known.allow(&["disk_size"]);
const CHANGED_DISK: AllowedFields = DISKS.known.allow(&["id", "disk_size"]);

fn read_register(data: &JsonFields<'_>) -> Result<Command, Failure> {
    data.check_missing(&["vm_id", "ram", "cpu", "password", "disks"])?;
    let (name, shape) = read_new_vm(data)?;
    let password = read_password(data.value_or_null("password"))?;
    Ok(Command::Register { name, shape, disk_sizes_gib: read_new_disks(data)?, password })
}

fn read_add(data: &JsonFields<'_>) -> Result<Command, Failure> {
    data.check_missing(&["vm_id", "ram", "cpu", "disks"])?;
    let (name, shape) = read_new_vm(data)?;
    let password = data.value("password").map(read_password).transpose()?;
    Ok(Command::Add { name, shape, disk_sizes_gib: read_new_disks(data)?, password })
}

fn read_new_vm(data: &JsonFields<'_>) -> Result<(VmName, VmShape), BadField> {
    let name = read_name(data.value_or_null("vm_id"), VmName::parse_new)?;
    let ram_mib = read_ram(data.value_or_null("ram"))?;
    let cpus = read_cpu(data.value_or_null("cpu"))?;
    Ok((name, VmShape { ram_mib, cpus }))
}

fn read_new_disks(data: &JsonFields<'_>) -> Result<Vec<u64>, BadField> {
    let disks = read_disks(data.value_or_null("disks"), NEW_DISK)?;
    Ok(disks.into_iter().map(|(_, size_gib)| size_gib).collect())
}

fn read_remove(data: &JsonFields<'_>) -> Result<Command, Failure> {
    data.check_missing(&["vm_id"])?;
    let name = read_name(data.value_or_null("vm_id"), VmName::parse)?;
    Ok(Command::OfVm { name, operation: VmOperation::Remove })
}

fn read_passwd(data: &JsonFields<'_>) -> Result<Command, Failure> {
    data.check_missing(&["vm_id", "password"])?;
    let name = read_name(data.value_or_null("vm_id"), VmName::parse)?;
    let password = read_password(data.value_or_null("password"))?;
    Ok(Command::OfVm { name, operation: VmOperation::ChangePassword(password) })
}

fn read_update(data: &JsonFields<'_>) -> Result<Command, Failure> {
    let name = data.value("vm_id").map(|vm| read_name(vm, VmName::parse)).transpose()?;
    let change = VmChange {
        ram_mib: data.value("ram").map(read_ram).transpose()?,
        cpus: data.value("cpu").map(read_cpu).transpose()?,
        disks: data.value("disks").map(read_changed_disks).transpose()?,
    };
    if change.is_empty() {
        return Err(Failure::EmptyUpdate);
    }
    Ok(match name {
        Some(name) => Command::OfVm { name, operation: VmOperation::Update(change) },
        None => Command::Update(change),
    })
}

fn read_stop(data: &JsonFields<'_>) -> Result<Command, Failure> {
    data.check_missing(&["vm_id"])?;
    Ok(Command::Stop(read_name(data.value_or_null("vm_id"), VmName::parse)?))
}

fn read_ram(value: &str) -> Result<u32, BadField> {
    read_number(JsonPath::Root, "ram", value, limits::RAM_MIB_MAX, "MiB")
}

fn read_cpu(value: &str) -> Result<u16, BadField> {
    read_number(JsonPath::Root, "cpu", value, limits::CPUS_MAX, "processors")
}

/// Reads an integer from 1 to `max`.
fn read_number<N>(path: JsonPath, name: &str, value: &str, max: N, unit: &str) -> Result<N, BadField>
where
    N: TryFrom<u64> + From<u8> + PartialOrd + Copy + fmt::Display,
{
    let allowed = format_args!("an integer from 1 to {max} ({unit})");
    integer(value, max).ok_or_else(|| path.invalid(name, Excerpt(value), allowed))
}

/// Reads the disk change: entries with ids resize those disks, entries without ids replace all disks.
fn read_changed_disks(value: &str) -> Result<DiskChange, BadField> {
    let disks = read_disks(value, CHANGED_DISK)?;
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
            Err(JsonPath::Entry(DISKS.name, second).invalid("id", was, "the id of another disk"))
        }
        None => Ok(()),
    }
}

/// Reads a list of disks; `allowed` are the fields of each.
fn read_disks(value: &str, allowed: AllowedFields) -> Result<Vec<(Option<DiskId>, u64)>, BadField> {
    DISKS.read(value, |path, fields| {
        fields.check_unknown(allowed)?;
        fields.check_missing(&["disk_size"])?;
        let id = fields.value("id").map(|id| read_number(path, "id", id, i64::MAX, "the id of a disk"));
        let size = fields.value_or_null("disk_size");
        let size_gib = read_number(path, "disk_size", size, limits::DISK_GIB_MAX, "GiB");
        Ok((id.transpose()?.map(DiskId), size_gib?))
    })
}

/// Writes the status, the message and the data of an answer; returns false if no command here has it.
pub(super) fn write_answer(answer: &Answer, output: &mut Vec<u8>) -> bool {
    match answer {
        Answer::Registered(name) => {
            write_registered(name, output);
            write_raw(output, "}");
        }
        Answer::Added(name, id) => {
            write_registered(name, output);
            write_member(output, ",\"id\":", &id.0);
            write_raw(output, "}");
        }
        Answer::Removed(name) => write_done_with_name(&format!("VM ({name}) removed successfully"), output),
        Answer::PasswordChanged(name) => {
            write_done_with_name(&format!("Password of VM ({name}) changed successfully"), output);
        }
        Answer::Updated => write_done("VM info updated successfully", output),
        Answer::Destroyed => write_done("VM stopped", output),
        _ => return false,
    }
    true
}

fn write_registered(name: &VmName, output: &mut Vec<u8>) {
    write_head(SUCCESS, Some("Save the vm_id for authentication"), output);
    write_member(output, "{\"auth_id\":", name.as_str());
}
