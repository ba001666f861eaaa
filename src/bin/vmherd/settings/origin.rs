//! Where the value of a setting comes from.

use std::fmt;

/// Where the value of a setting comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Origin {
    Flag(&'static str),
    Variable(String),
    /// `FILE:LINE`, and the name on that line.
    File(String, String),
    Default(&'static str),
}

impl Origin {
    /// Whether the value was set explicitly.
    pub(super) fn is_explicit(&self) -> bool {
        !matches!(self, Origin::Default(_))
    }

    /// The origin for the column FROM of `--show-config`.
    pub(super) fn label(&self) -> &str {
        match self {
            Origin::Flag(_) => "flag",
            Origin::Variable(_) => "environment",
            Origin::File(location, _) => location,
            Origin::Default(_) => "default",
        }
    }
}

impl fmt::Display for Origin {
    /// The prefix of an error message.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Flag(flag) | Origin::Default(flag) => write!(f, "--{flag}"),
            Origin::Variable(name) => f.write_str(name),
            Origin::File(location, name) => write!(f, "{location}: {name}"),
        }
    }
}
