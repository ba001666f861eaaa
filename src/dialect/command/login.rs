//! Logins: `authenticate`, `logout` and `end_sessions`.

use std::fmt;

use super::family::{CommandSpec, SUCCESS, VM_FIELDS, write_done_with_name, write_head};
use crate::dialect::fields::{Excerpt, JsonFields, JsonPath, read_secret, read_string};
use crate::dialect::json_writer::{write_member, write_raw};
use crate::limits;
use crate::model::{Answer, BadField, Command, CommandName, Failure, NameError, Secret, VmName, VmOperation};

pub(super) static COMMANDS: [CommandSpec; 3] = [
    CommandSpec::new(
        CommandName::Authenticate,
        &["vm_id", "password", "token"],
        VM_FIELDS,
        read_authenticate,
    ),
    CommandSpec::new(CommandName::Logout, &["token"], VM_FIELDS, read_logout).with_vm(&["vm_id", "token"]),
    CommandSpec::new(CommandName::EndSessions, &["vm_id", "token"], VM_FIELDS, read_end_sessions),
];

fn read_logout(data: &JsonFields<'_>) -> Result<Command, Failure> {
    Ok(match data.value("vm_id") {
        None => Command::Logout,
        Some(vm) => Command::OfVm { name: read_name(vm, VmName::parse)?, operation: VmOperation::LogOut },
    })
}

fn read_end_sessions(data: &JsonFields<'_>) -> Result<Command, Failure> {
    data.check_missing(&["vm_id"])?;
    let name = read_name(data.value_or_null("vm_id"), VmName::parse)?;
    Ok(Command::OfVm { name, operation: VmOperation::EndSessions })
}

fn read_authenticate(data: &JsonFields<'_>) -> Result<Command, Failure> {
    data.check_missing(&["vm_id", "password"])?;
    let name = read_name(data.value_or_null("vm_id"), VmName::parse)?;
    let password = read_password(data.value_or_null("password"))?;
    Ok(Command::Authenticate { name, password })
}

/// Reads a VM's name.
pub(super) fn read_name(
    value: &str,
    parse: fn(&str) -> Result<VmName, NameError>,
) -> Result<VmName, BadField> {
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

/// Reads a password.
pub(super) fn read_password(value: &str) -> Result<Secret, BadField> {
    let (min, max) = (limits::PASSWORD_BYTES_MIN, limits::PASSWORD_BYTES_MAX);
    let bad = |was: &dyn fmt::Display| {
        JsonPath::Root.invalid("password", was, format_args!("a string of {min} to {max} bytes"))
    };
    let secret = read_secret(value, bad)?;
    match secret.expose().len() {
        bytes if (min..=max).contains(&bytes) => Ok(secret),
        bytes => Err(bad(&format_args!("a string of {bytes} bytes"))),
    }
}

/// Writes the status, the message and the data of an answer; returns false if no command here has it.
pub(super) fn write_answer(answer: &Answer, output: &mut Vec<u8>) -> bool {
    match answer {
        Answer::Authenticated(token) => {
            write_head(SUCCESS, Some("Authentication successful"), output);
            write_member(output, "{\"token\":", token.expose());
            write_raw(output, "}");
        }
        Answer::SessionsEnded(name, count) => {
            write_head(SUCCESS, Some(&format!("Sessions of VM ({name}) ended")), output);
            write_member(output, "{\"ended\":", count);
            write_raw(output, "}");
        }
        Answer::LoggedOut(name) => {
            write_done_with_name(&format!("VM ({name}) logged out successfully"), output)
        }
        _ => return false,
    }
    true
}
