//! What a family of commands consists of, and how it reads lists and begins replies.

use std::fmt;
use std::ops::RangeInclusive;

use crate::dialect::fields::{AllowedFields, Excerpt, FieldNames, JsonFields, JsonPath};
use crate::dialect::json::{Element, for_each_element};
use crate::dialect::json_writer::{write_json, write_raw};
use crate::model::{BadField, Command, CommandName, Failure, VmField};

/// A command: the fields of its data and its parser. Requests name it as the table of commands does.
pub(super) struct CommandSpec {
    pub(super) name: CommandName,
    /// The fields that it allows.
    fields: AllowedFields,
    /// The fields with `vm_id`, where an operator names the VM that a VM is itself.
    fields_with_vm: Option<AllowedFields>,
    /// The fields of all commands of the family: one that this command does not allow must not occur twice either.
    pub(super) known: FieldNames,
    read: fn(&JsonFields<'_>) -> Result<Command, Failure>,
}

impl CommandSpec {
    pub(super) const fn new(
        name: CommandName,
        fields: &'static [&'static str],
        known: FieldNames,
        read: fn(&JsonFields<'_>) -> Result<Command, Failure>,
    ) -> CommandSpec {
        assert!(known.contains("token"), "the token is read from every command");
        CommandSpec { name, fields: known.allow(fields), fields_with_vm: None, known, read }
    }

    /// The same command, in which an operator names a VM; `fields` are those of an operator.
    pub(super) const fn with_vm(self, fields: &'static [&'static str]) -> CommandSpec {
        CommandSpec { fields_with_vm: Some(self.known.allow(fields)), ..self }
    }

    /// Reads the command with its data.
    pub(super) fn read(&self, data: &JsonFields<'_>) -> (Result<Command, Failure>, Option<VmField>) {
        if let Err(bad) = data.check_repeated() {
            return (Err(bad.into()), None);
        }
        let unknown = data.check_unknown(self.fields);
        let (unknown, vm_field) = match self.fields_with_vm {
            None => (unknown, None),
            Some(_) if data.value(VM_FIELD).is_none() => (unknown, Some(VmField::Missing(VM_FIELD))),
            Some(fields) => (data.check_unknown(fields), unknown.err().map(VmField::Given)),
        };
        (unknown.map_err(Failure::from).and_then(|()| (self.read)(data)), vm_field)
    }
}

/// Where an operator names a VM.
const VM_FIELD: &str = "vm_id";

/// A list of objects in the data of a request.
pub(super) struct ObjectList {
    pub(super) name: &'static str,
    /// How many objects it may have.
    pub(super) counts: RangeInclusive<usize>,
    /// The format of an object, for error messages.
    pub(super) shape: &'static str,
    /// The known fields of an object.
    pub(super) known: FieldNames,
}

impl ObjectList {
    /// Reads the list `value`; `read` reads each object.
    pub(super) fn read<T>(
        &self,
        value: &str,
        read: impl Fn(JsonPath, &JsonFields<'_>) -> Result<T, BadField>,
    ) -> Result<Vec<T>, BadField> {
        let (min, max) = (*self.counts.start(), *self.counts.end());
        let bad = |was: &dyn fmt::Display| {
            let allowed = format_args!("a list of {min} to {max} objects {}", self.shape);
            JsonPath::Root.invalid(self.name, was, allowed)
        };
        let (mut objects, mut first_bad, mut count) = (Vec::new(), None, 0);
        let walk = for_each_element(value, |index, element| {
            count = index + 1;
            // After an error or the limit, the rest is only counted.
            if first_bad.is_none() && count <= max {
                match self.read_object(index, element, &read) {
                    Ok(object) => objects.push(object),
                    Err(bad_field) => first_bad = Some(bad_field),
                }
            }
        });
        walk.ok_or_else(|| bad(&Excerpt(value)))?;
        if !self.counts.contains(&count) {
            return Err(bad(&format_args!("a list of {count}")));
        }
        first_bad.map_or(Ok(objects), Err)
    }

    fn read_object<T>(
        &self,
        index: usize,
        element: &mut Element<'_>,
        read: impl Fn(JsonPath, &JsonFields<'_>) -> Result<T, BadField>,
    ) -> Result<T, BadField> {
        let path = JsonPath::Entry(self.name, index);
        if !element.is_object() {
            let (was, shape) = (Excerpt(element.text()), self.shape);
            return Err(BadField(format!("{path}{was} is not allowed; it must be an object {shape}")));
        }
        let mut fields = JsonFields::empty(path, self.known);
        element.for_each_field(|key, value| fields.add(key, value));
        fields.check_repeated()?;
        read(path, &fields)
    }
}

/// Writes the status, the message and the beginning of the data.
pub(super) fn write_head(status: &str, message: Option<&str>, output: &mut Vec<u8>) {
    write_raw(output, "\"status\":\"");
    write_raw(output, status);
    write_raw(output, "\",\"message\":");
    write_json(output, &message);
    write_raw(output, ",\"data\":");
}

/// Writes the status, the message and the data of a success without data. JSON escapes nothing in `message`.
pub(super) fn write_done(message: &'static str, output: &mut Vec<u8>) {
    debug_assert!(!message.contains(|char: char| matches!(char, '"' | '\\') || char.is_control()));
    write_raw(output, "\"status\":\"success\",\"message\":\"");
    write_raw(output, message);
    write_raw(output, "\",\"data\":{}");
}

/// As [`write_done`], for a message with the name of a VM.
pub(super) fn write_done_with_name(message: &str, output: &mut Vec<u8>) {
    write_head(SUCCESS, Some(message), output);
    write_raw(output, "{}");
}

/// The status of a request that succeeded.
pub(super) const SUCCESS: &str = "success";

/// The fields of all commands about VMs.
pub(super) const VM_FIELDS: FieldNames =
    FieldNames::new(&["vm_id", "ram", "cpu", "password", "disks", "list_type", "token"]);
