//! Live changes: `watch` and `unwatch`.

use super::family::CommandSpec;
use crate::dialect::fields::FieldNames;
use crate::model::{Command, CommandName};

pub(super) static COMMANDS: [CommandSpec; 2] = [
    CommandSpec::new(CommandName::Watch, &["from", "what", "token"], FieldNames::new(&KEYS), |_| {
        Ok(Command::Watch)
    }),
    CommandSpec::new(CommandName::Unwatch, &["token"], FieldNames::new(&KEYS), |_| Ok(Command::Unwatch)),
];

/// The fields of both.
const KEYS: [&str; 3] = ["from", "what", "token"];
