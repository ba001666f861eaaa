//! The verbs of the dialect `verb`, and their paths over HTTP.

use super::custom::{CustomCommands, CustomKind};
use super::verbs;
use crate::ids::CustomId;

/// A known verb.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verb {
    /// Return the server's status.
    Stat,
    /// Create a container.
    Create,
    /// Destroy a container.
    Destroy,
    /// A verb that the embedding program handles.
    Custom(CustomId),
}

/// A path that names a verb, and the body of whose requests is not a whole message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VerbPath {
    /// `/VERB` in any case: the body is the parameters of the verb.
    Of(Verb),
    /// Below such a path. Its requests have no meaning, unless the body is a whole message.
    Below,
}

impl Verb {
    /// The server's own verbs, with their names.
    const OWN: [(&str, Verb); 3] =
        [(verbs::STAT, Verb::Stat), (verbs::CREATE, Verb::Create), (verbs::DESTROY, Verb::Destroy)];

    /// The verb `name`, which is in capital letters.
    pub fn parse(name: &str, customs: &CustomCommands) -> Option<Verb> {
        let custom = customs.find(CustomKind::Verb, name).map(Verb::Custom);
        custom.or_else(|| Verb::OWN.iter().find(|(own, _)| *own == name).map(|(_, verb)| *verb))
    }

    fn parse_in_any_case(name: &str, customs: &CustomCommands) -> Option<Verb> {
        let custom = customs.find_verb_in_any_case(name).map(Verb::Custom);
        custom.or_else(|| {
            Verb::OWN.iter().find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, verb)| *verb)
        })
    }
}

impl VerbPath {
    /// What `path` means; `None` if it has nothing to do with verbs.
    pub fn parse(path: &str, customs: &CustomCommands) -> Option<VerbPath> {
        let name = path.strip_prefix('/')?;
        match name.split_once('/') {
            None => Verb::parse_in_any_case(name, customs).map(VerbPath::Of),
            Some((name, _)) => Verb::parse_in_any_case(name, customs).map(|_| VerbPath::Below),
        }
    }

    /// The paths of all verbs, in lower case: the server's own, then the added ones.
    pub fn all(customs: &CustomCommands) -> Vec<String> {
        let is_own = |name: &str| Verb::OWN.iter().any(|(own, _)| *own == name);
        let added = customs.all().iter().filter(|command| command.kind == CustomKind::Verb);
        let added = added.map(|command| &*command.name).filter(|name| !is_own(name));
        let names = Verb::OWN.iter().map(|(name, _)| *name).chain(added);
        names.map(|name| format!("/{}", name.to_ascii_lowercase())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Access;

    #[test]
    fn a_path_names_a_verb_in_any_case_or_is_below_one() {
        let mut customs = CustomCommands::default();
        let reboot = customs.add(CustomKind::Verb, "REBOOT", Access::Public).expect("a verb");
        let create = customs.add(CustomKind::Verb, "CREATE", Access::Public).expect("a verb");
        customs.add(CustomKind::Command, "halt", Access::Public).expect("a command");
        for (path, wanted) in [
            ("/stat", Some(VerbPath::Of(Verb::Stat))),
            ("/Destroy", Some(VerbPath::Of(Verb::Destroy))),
            ("/create", Some(VerbPath::Of(Verb::Custom(create)))),
            ("/reBoot", Some(VerbPath::Of(Verb::Custom(reboot)))),
            ("/stat/", Some(VerbPath::Below)),
            ("/REBOOT/now/or/later", Some(VerbPath::Below)),
            ("/", None),
            ("//stat", None),
            ("/any/stat", None),
            ("/halt", None),
            ("stat", None),
            ("*", None),
        ] {
            assert_eq!(VerbPath::parse(path, &customs), wanted, "{path}");
        }
        assert_eq!(VerbPath::all(&customs), ["/stat", "/create", "/destroy", "/reboot"]);
    }
}
