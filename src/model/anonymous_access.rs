//! Which requests a listener opens to clients that have not authenticated.

use std::fmt;

/// A group of requests that a listener opens together.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum AccessGroup {
    /// The dialect `action`.
    Action,
    /// Metrics, as text and as commands.
    Metrics,
    /// Conversions.
    Convert,
    /// The dialect `verb`.
    Verb,
    /// The page with all that it shows, and the commands `watch` and `unwatch`.
    Page,
}

/// A set of [`AccessGroup`]s.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct AnonymousAccess([bool; AccessGroup::ALL.len()]);

impl AccessGroup {
    /// All of them.
    pub const ALL: [AccessGroup; 5] = [
        AccessGroup::Action,
        AccessGroup::Metrics,
        AccessGroup::Convert,
        AccessGroup::Verb,
        AccessGroup::Page,
    ];

    /// Its name in settings.
    pub fn name(self) -> &'static str {
        match self {
            AccessGroup::Action => "action",
            AccessGroup::Metrics => "metrics",
            AccessGroup::Convert => "convert",
            AccessGroup::Verb => "verb",
            AccessGroup::Page => "page",
        }
    }
}

impl AnonymousAccess {
    /// Every group.
    pub const ALL: AnonymousAccess = AnonymousAccess([true; AccessGroup::ALL.len()]);
    /// None.
    pub const NONE: AnonymousAccess = AnonymousAccess([false; AccessGroup::ALL.len()]);

    /// Parses names separated by commas, or `none`; an empty text means `none`. `None` if a name is unknown.
    pub(crate) fn parse(text: &str) -> Option<AnonymousAccess> {
        if text.is_empty() || text == NONE {
            return Some(AnonymousAccess::NONE);
        }
        text.split(',').map(|name| AccessGroup::ALL.into_iter().find(|group| group.name() == name)).collect()
    }

    /// Whether `group` is one of them.
    pub fn contains(self, group: AccessGroup) -> bool {
        self.0[group as usize]
    }

    /// Whether no group is open.
    pub fn is_empty(self) -> bool {
        self == AnonymousAccess::NONE
    }
}

impl FromIterator<AccessGroup> for AnonymousAccess {
    fn from_iter<I: IntoIterator<Item = AccessGroup>>(groups: I) -> AnonymousAccess {
        let mut set = AnonymousAccess::NONE;
        groups.into_iter().for_each(|group| set.0[group as usize] = true);
        set
    }
}

impl fmt::Display for AnonymousAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str(NONE);
        }
        let names: Vec<&str> = AccessGroup::ALL
            .into_iter()
            .filter(|group| self.contains(*group))
            .map(AccessGroup::name)
            .collect();
        f.write_str(&names.join(","))
    }
}

/// The name of the empty set.
const NONE: &str = "none";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_round_trip_through_text() {
        for (text, groups) in [
            ("none", vec![]),
            ("action", vec![AccessGroup::Action]),
            ("metrics,convert", vec![AccessGroup::Metrics, AccessGroup::Convert]),
            ("page", vec![AccessGroup::Page]),
            ("action,metrics,convert,verb,page", AccessGroup::ALL.to_vec()),
        ] {
            let parsed = AnonymousAccess::parse(text).expect(text);
            assert_eq!((parsed, parsed.to_string().as_str()), (groups.iter().copied().collect(), text));
            assert_eq!(parsed.is_empty(), groups.is_empty());
            for group in AccessGroup::ALL {
                assert_eq!(parsed.contains(group), groups.contains(&group), "{text} {group:?}");
            }
        }
        assert_eq!(AnonymousAccess::ALL, AccessGroup::ALL.into_iter().collect());
        assert_eq!(AnonymousAccess::parse("verb,action"), AnonymousAccess::parse("action,verb,action"));
    }

    #[test]
    fn unknown_group_names_are_rejected() {
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
            assert_eq!(AnonymousAccess::parse(text), None, "{text}");
        }
    }
}
