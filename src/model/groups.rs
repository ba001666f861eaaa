//! Which dialects a listener opens to clients that have not authenticated.

use std::fmt;

/// Requests that a listener opens together.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Group {
    /// The dialect `action`.
    Action,
    /// Metrics, as text and as commands.
    Metrics,
    /// Conversions.
    Convert,
    /// The dialect `verb`.
    Verb,
}

/// A set of [`Group`]s.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Groups([bool; Group::ALL.len()]);

/// A text that names no group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UnknownGroup;

impl Group {
    /// All of them.
    pub const ALL: [Group; 4] = [Group::Action, Group::Metrics, Group::Convert, Group::Verb];

    /// Its name in settings.
    pub fn name(self) -> &'static str {
        match self {
            Group::Action => "action",
            Group::Metrics => "metrics",
            Group::Convert => "convert",
            Group::Verb => "verb",
        }
    }
}

impl Groups {
    /// Every group.
    pub const ALL: Groups = Groups([true; Group::ALL.len()]);
    /// None.
    pub const NONE: Groups = Groups([false; Group::ALL.len()]);

    /// Reads names with commas between them, or `none`; an empty text says the same.
    pub fn parse(text: &str) -> Result<Groups, UnknownGroup> {
        if text.is_empty() || text == NONE {
            return Ok(Groups::NONE);
        }
        text.split(',')
            .map(|name| Group::ALL.into_iter().find(|group| group.name() == name).ok_or(UnknownGroup))
            .collect()
    }

    /// Whether `group` is one of them.
    pub fn contains(self, group: Group) -> bool {
        self.0[group as usize]
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self == Groups::NONE
    }
}

impl FromIterator<Group> for Groups {
    fn from_iter<I: IntoIterator<Item = Group>>(groups: I) -> Groups {
        let mut set = Groups::NONE;
        groups.into_iter().for_each(|group| set.0[group as usize] = true);
        set
    }
}

impl fmt::Display for Groups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str(NONE);
        }
        let names: Vec<&str> =
            Group::ALL.into_iter().filter(|group| self.contains(*group)).map(Group::name).collect();
        f.write_str(&names.join(","))
    }
}

/// What a set without groups is called.
const NONE: &str = "none";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_read_and_shown_the_same() {
        for (text, groups) in [
            ("none", vec![]),
            ("action", vec![Group::Action]),
            ("metrics,convert", vec![Group::Metrics, Group::Convert]),
            ("action,metrics,convert,verb", Group::ALL.to_vec()),
        ] {
            let parsed = Groups::parse(text).expect(text);
            assert_eq!((parsed, parsed.to_string().as_str()), (groups.iter().copied().collect(), text));
            assert_eq!(parsed.is_empty(), groups.is_empty());
            for group in Group::ALL {
                assert_eq!(parsed.contains(group), groups.contains(&group), "{text} {group:?}");
            }
        }
        assert_eq!(Groups::ALL, Group::ALL.into_iter().collect());
        assert_eq!(Groups::parse("verb,action"), Groups::parse("action,verb,action"));
    }

    #[test]
    fn nothing_else_is_a_group() {
        for text in [
            "none,action",
            "action,none",
            "None",
            ",",
            "action,",
            " action",
            "Action",
            "action metrics",
            "command",
        ] {
            assert_eq!(Groups::parse(text), Err(UnknownGroup), "{text}");
        }
    }
}
