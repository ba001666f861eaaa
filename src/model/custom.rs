//! The commands and verbs that the embedding program adds to a server.

use super::command_table::{Access, CommandName};
use super::dialect::Dialect;
use crate::ids::CustomId;
use crate::limits;

/// Which dialect has an added command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CustomKind {
    /// A command of the dialect `command`.
    Command,
    /// A verb of the dialect `verb`; it may replace one of the server's own.
    Verb,
}

/// The row of an added command or verb.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CustomCommand {
    /// Its name in requests and logs.
    pub name: Box<str>,
    /// Its dialect.
    pub kind: CustomKind,
    /// Who may run it.
    pub access: Access,
    /// The names of its counters: requests started, done, failed.
    pub counters: [Box<str>; 3],
}

/// The table of added commands and verbs.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CustomCommands(Vec<CustomCommand>);

impl CustomCommands {
    /// Adds a command or a verb. The error is the reason against its name.
    pub fn add(&mut self, kind: CustomKind, name: &str, access: Access) -> Result<CustomId, &'static str> {
        check_name(kind, name)?;
        if self.find(kind, name).is_some() {
            return Err("is given twice");
        }
        if self.0.len() >= limits::CUSTOM_COMMANDS_MAX {
            return Err("is one too many");
        }
        let prefix = match kind {
            CustomKind::Command => "requests_command_",
            CustomKind::Verb => "requests_verb_",
        };
        let counters = ["", "_ok", "_failed"].map(|suffix| format!("{prefix}{name}{suffix}").into());
        self.0.push(CustomCommand { name: name.into(), kind, access, counters });
        Ok(CustomId(self.0.len() as u16 - 1))
    }

    /// The command or verb `name`.
    pub fn find(&self, kind: CustomKind, name: &str) -> Option<CustomId> {
        self.position(|command| command.kind == kind && *command.name == *name)
    }

    /// The verb `name`, in any case.
    pub fn find_verb_in_any_case(&self, name: &str) -> Option<CustomId> {
        self.position(|command| command.kind == CustomKind::Verb && command.name.eq_ignore_ascii_case(name))
    }

    /// The row of an added command.
    pub fn get(&self, id: CustomId) -> &CustomCommand {
        &self.0[id.index()]
    }

    /// All rows, in the order of their ids.
    pub fn all(&self) -> &[CustomCommand] {
        &self.0
    }

    /// Who may run `command`.
    pub fn access(&self, command: CommandName) -> Access {
        match command {
            CommandName::Custom(id) => self.get(id).access,
            command => command.spec().access,
        }
    }

    /// The dialect of `command`.
    pub fn dialect(&self, command: CommandName) -> Dialect {
        match command {
            CommandName::Custom(id) if self.get(id).kind == CustomKind::Verb => Dialect::Verb,
            command => command.spec().dialect,
        }
    }

    /// The name of `command` in logs.
    pub fn name(&self, command: CommandName) -> &str {
        match command {
            CommandName::Custom(id) => &self.get(id).name,
            command => command.as_str(),
        }
    }

    fn position(&self, is_it: impl FnMut(&CustomCommand) -> bool) -> Option<CustomId> {
        self.0.iter().position(is_it).map(|index| CustomId(index as u16))
    }
}

/// Checks that a name has the right form and belongs to nothing else.
fn check_name(kind: CustomKind, name: &str) -> Result<(), &'static str> {
    if !(1..=limits::CUSTOM_NAME_BYTES_MAX).contains(&name.len()) {
        return Err("must have 1 to 64 characters");
    }
    match kind {
        CustomKind::Verb if !name.bytes().all(|byte| byte.is_ascii_uppercase()) => {
            Err("must have capital letters A to Z only")
        }
        CustomKind::Verb if RESERVED_PATHS.contains(&name) => Err("is a reserved path over HTTP"),
        CustomKind::Command if !name.bytes().all(is_command_byte) => {
            Err("must have lower-case letters, digits and underscores only")
        }
        CustomKind::Command if CommandName::ALL.iter().any(|command| command.as_str() == name) => {
            Err("is a command of the server")
        }
        _ => Ok(()),
    }
}

fn is_command_byte(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_'
}

/// The paths of pages, in capitals. A verb has the path of its own name.
const RESERVED_PATHS: [&str; 5] = ["EVENTS", "HEALTHZ", "METRICS", "SD", "UI"];

const _: () = assert!(limits::CUSTOM_NAME_BYTES_MAX == 64, "an error message says 64");
const _: () = assert!(limits::CUSTOM_COMMANDS_MAX <= u16::MAX as usize, "an id has 16 bits");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_their_form_and_are_given_once() {
        let mut table = CustomCommands::default();
        let long = "A".repeat(limits::CUSTOM_NAME_BYTES_MAX + 1);
        for (kind, name, wanted) in [
            (CustomKind::Verb, "REBOOT", Ok(())),
            (CustomKind::Verb, "STAT", Ok(())),
            (CustomKind::Verb, "REBOOT", Err("is given twice")),
            (CustomKind::Verb, "", Err("must have 1 to 64 characters")),
            (CustomKind::Verb, &long, Err("must have 1 to 64 characters")),
            (CustomKind::Verb, "Reboot", Err("must have capital letters A to Z only")),
            (CustomKind::Verb, "REBOOT2", Err("must have capital letters A to Z only")),
            (CustomKind::Verb, "É", Err("must have capital letters A to Z only")),
            (CustomKind::Verb, "METRICS", Err("is a reserved path over HTTP")),
            (CustomKind::Verb, "HEALTHZ", Err("is a reserved path over HTTP")),
            (CustomKind::Command, "snapshot_2", Ok(())),
            (CustomKind::Command, "snapshot_2", Err("is given twice")),
            (CustomKind::Command, "ping", Err("is a command of the server")),
            (
                CustomKind::Command,
                "Snapshot",
                Err("must have lower-case letters, digits and underscores only"),
            ),
        ] {
            assert_eq!(table.add(kind, name, Access::Public).map(drop), wanted, "{name}");
        }
        let found = |kind, name| table.find(kind, name).map(|id| &*table.get(id).name);
        assert_eq!(found(CustomKind::Verb, "REBOOT"), Some("REBOOT"));
        assert_eq!(found(CustomKind::Command, "REBOOT"), None);
        assert!(table.find_verb_in_any_case("rebooT").is_some());
    }

    #[test]
    fn the_number_of_commands_is_limited() {
        let mut table = CustomCommands::default();
        for number in 0..limits::CUSTOM_COMMANDS_MAX {
            table.add(CustomKind::Command, &format!("c{number}"), Access::Public).expect("there is room");
        }
        assert_eq!(table.add(CustomKind::Command, "last", Access::Public), Err("is one too many"));
    }
}
