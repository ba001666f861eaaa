//! The dialect `command`: `{"command": NAME, "data": {…}}` and its replies
//! `{"status": …, "message": …, "data": {…}}`.
//!
//! Each family of commands has a file, which reads their data and writes their answers. Errors are found in a fixed
//! order: the shape, the command's name, the token, the data. Errors in the last two become part of the request,
//! because they are reported only after the access check.
//!
//! Replies are written directly into the output; only the messages of rare errors are allocated.

mod family;
mod lists;
mod login;
mod points;
mod server;
mod vms;
pub(super) mod watch;

use std::borrow::Cow;
use std::fmt;

use super::envelope::{COMMAND_KEYS, Envelope};
use super::fields::{FieldNames, JsonFields, JsonPath, read_string, read_token};
use super::json_writer::{begin_reply, write_raw};
use super::page_progress::PageProgress;
use crate::ids::CustomId;
use crate::model::{
    Answer, BadField, Command, CommandName, CustomCommands, CustomKind, Dialect, Failure, LongText, Page,
    Query, Refusal, Request, RequestId, Scope, Secret,
};
use family::{CommandSpec, SUCCESS, write_head};

/// The commands of all families; the most frequent first.
static FAMILIES: [&[CommandSpec]; 6] = [
    &server::COMMANDS,
    &points::COMMANDS,
    &vms::COMMANDS,
    &lists::COMMANDS,
    &login::COMMANDS,
    &watch::COMMANDS,
];

/// Parses a request whose envelope has a `command`.
pub(super) fn decode(envelope: &mut Envelope<'_>, customs: &CustomCommands) -> Result<Request, Refusal> {
    let found = find_command(&envelope.fields, customs).map_err(|failure| envelope.refuse(failure))?;
    let known = match found {
        Found::Own(known) => known,
        Found::Custom(id) => return Ok(decode_custom(id, envelope)),
    };
    let mut data = JsonFields::empty(JsonPath::Root, known.known);
    let (token, (command, vm_field)) = match envelope.read_data(&mut data) {
        Ok(()) => (token(&data, known.name), known.read(&data)),
        Err(bad) => (Ok(None), (Err(bad.into()), None)),
    };
    // A token gives the right to watch, and does not make the VM online.
    let scope = match known.name {
        CommandName::Watch | CommandName::Unwatch => Scope::Request,
        _ => Scope::Connection,
    };
    let request = Request::new(Dialect::Command, known.name, command);
    Ok(Request { id: envelope.id.take(), token, vm_field, scope, ..request })
}

/// Parses a request for a command of the embedding program, which reads the data itself.
fn decode_custom(id: CustomId, envelope: &mut Envelope<'_>) -> Request {
    let mut data = JsonFields::empty(JsonPath::Root, FieldNames::new(&["token"]));
    let name = CommandName::Custom(id);
    let (token, command) = match envelope.read_data(&mut data) {
        Ok(()) => {
            let parameters = LongText::new(envelope.fields.value("data").unwrap_or("{}").as_bytes());
            (token(&data, name), Ok(Command::Custom { id, parameters }))
        }
        Err(bad) => (Ok(None), Err(bad.into())),
    };
    Request { id: envelope.id.take(), token, ..Request::new(Dialect::Command, name, command) }
}

/// A command of the server, or of the embedding program.
enum Found {
    Own(&'static CommandSpec),
    Custom(CustomId),
}

/// The requested command.
fn find_command(envelope: &JsonFields<'_>, customs: &CustomCommands) -> Result<Found, Failure> {
    envelope.check_unknown(COMMAND_KEYS)?;
    let bad = |was: &dyn fmt::Display| JsonPath::Root.invalid("command", was, "a string");
    let text = read_string(envelope.value_or_null("command"), bad)?;
    let mut commands = FAMILIES.iter().copied().flatten();
    let own = commands.find(|known| known.name.as_str() == text).map(Found::Own);
    own.or_else(|| customs.find(CustomKind::Command, &text).map(Found::Custom)).ok_or(Failure::UnknownCommand)
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
    read_token(value)
}

/// Writes a complete reply.
pub(super) fn encode_answer(id: Option<&RequestId>, answer: &Answer, output: &mut Vec<u8>) {
    begin_reply(id, output);
    let is_written = server::write_answer(answer, output)
        || points::write_answer(answer, output)
        || vms::write_answer(answer, output)
        || login::write_answer(answer, output)
        || watch::write_answer(answer, output);
    if !is_written {
        write_head("error", Some(&error_message(answer)), output);
        write_raw(output, "{}");
    }
    write_raw(output, "}");
}

fn error_message(answer: &Answer) -> Cow<'static, str> {
    match answer {
        Answer::Failed(Failure::AuthenticationRequired) => {
            "You have to authenticate to run this operation".into()
        }
        Answer::Failed(failure) => failure.message(),
        _ => {
            debug_assert!(false, "no command has this answer");
            Failure::Internal.message()
        }
    }
}

/// Writes one page of a list or of points; one of a snapshot is a message of its own.
pub(super) fn encode_page(
    id: Option<&RequestId>,
    page: &Page,
    progress: &mut PageProgress,
    output: &mut Vec<u8>,
) {
    let is_first = progress.begin();
    if let Query::Snapshot(revision) = page.listing.query {
        return watch::write_page(id, revision, page, output);
    }
    if is_first {
        begin_reply(id, output);
        write_head(SUCCESS, None, output);
        write_raw(output, "{");
    }
    match page.listing.query {
        Query::List(list) => lists::write_page(list, page, is_first, progress, output),
        Query::Points(_) => points::write_page(page, progress, output),
        Query::VmTable(_) | Query::Metrics | Query::Targets { .. } => {
            debug_assert!(false, "it is of another dialect");
        }
        Query::Snapshot(_) => {}
    }
    if page.next.is_none() {
        write_raw(output, "}}");
    }
}

#[cfg(test)]
mod tests;
