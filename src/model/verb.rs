//! The verbs of the dialect `verb`.

use super::custom::{CustomCommands, CustomKind};
use crate::ids::CustomId;

/// A known verb.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verb {
    /// Return the server's status.
    Stat,
    /// A verb that the embedding program handles.
    Custom(CustomId),
}

impl Verb {
    /// The verb `name`, which is in capital letters.
    pub fn parse(name: &str, customs: &CustomCommands) -> Option<Verb> {
        let custom = customs.find(CustomKind::Verb, name).map(Verb::Custom);
        custom.or_else(|| (name == "STAT").then_some(Verb::Stat))
    }

    /// The verb that the path of a request names, in any case.
    pub fn of_path(path: &str, customs: &CustomCommands) -> Option<Verb> {
        let name = path.strip_prefix('/')?;
        let custom = customs.find_verb_in_any_case(name).map(Verb::Custom);
        custom.or_else(|| name.eq_ignore_ascii_case("STAT").then_some(Verb::Stat))
    }
}
