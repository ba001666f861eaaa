//! One setting: its names, default and limits, and how to parse its value.

use std::ops::RangeInclusive;
use std::time::Duration;

use vmherd::{Config, redact};

use super::ConfigError;
use super::arguments::{Flag, Takes};
use super::partial::PartialConfig;
use super::sources::Origin;
use super::values::{format_duration, format_size, parse_duration, parse_number, parse_size, parse_switch};

/// One setting.
pub struct Setting {
    /// Its flag without the dashes; the variable name is derived from it.
    pub(super) flag: &'static str,
    /// Placeholder of the value in the help text.
    pub(super) placeholder: &'static str,
    /// One phrase that says what it is for.
    pub(super) help: &'static str,
    /// Its default.
    pub(super) default: DefaultValue,
    /// When a change takes effect.
    pub(super) reload: Reload,
    /// Its type, limits and setter.
    pub(super) kind: Kind,
}

/// When a changed setting takes effect.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Reload {
    /// On a reload.
    Now,
    /// On the next start.
    Restart,
}

/// The default of a setting, most as a field of the default [`Config`].
pub(super) enum DefaultValue {
    Number(fn(&Config) -> u64),
    Time(fn(&Config) -> Duration),
    /// Bytes.
    Size(fn(&Config) -> u64),
    Text(&'static str),
    /// A description; the value is computed in [`PartialConfig`] or when the settings are resolved.
    Computed(&'static str),
}

/// The type of a setting, with its limits and setter.
pub(super) enum Kind {
    Number {
        allowed: RangeInclusive<u64>,
        set: fn(&mut PartialConfig, u64),
    },
    NumberOrNone {
        allowed: RangeInclusive<u64>,
        set: fn(&mut PartialConfig, Option<u64>),
    },
    Time {
        allowed: RangeInclusive<Duration>,
        set: fn(&mut PartialConfig, Duration),
    },
    TimeOrNone {
        allowed: RangeInclusive<Duration>,
        set: fn(&mut PartialConfig, Option<Duration>),
    },
    /// Bytes.
    Size {
        allowed: RangeInclusive<u64>,
        set: fn(&mut PartialConfig, u64),
    },
    /// `set` returns the error text for an invalid value.
    Text {
        allowed: &'static str,
        is_repeatable: bool,
        set: fn(&mut PartialConfig, &str) -> Result<(), String>,
    },
    Switch {
        set: fn(&mut PartialConfig, bool),
    },
    /// A flag such as `--help` that prints information instead of running; it has no variable.
    InfoFlag,
}

impl Setting {
    /// The setting as a command-line flag.
    pub(super) fn as_flag(&self) -> Flag {
        let (takes, is_repeatable) = match self.kind {
            Kind::InfoFlag => (Takes::Nothing, true),
            Kind::Switch { .. } => (Takes::OptionalValue, false),
            Kind::Text { is_repeatable, .. } => (Takes::Value, is_repeatable),
            Kind::Number { .. }
            | Kind::NumberOrNone { .. }
            | Kind::Time { .. }
            | Kind::TimeOrNone { .. }
            | Kind::Size { .. } => (Takes::Value, false),
        };
        Flag { name: self.flag, takes, is_repeatable }
    }

    /// Its environment variable.
    pub(super) fn variable_name(&self) -> Option<String> {
        let is_question = matches!(self.kind, Kind::InfoFlag);
        (!is_question).then(|| format!("VMHERD_{}", self.flag.to_ascii_uppercase().replace('-', "_")))
    }

    /// Whether it is part of the daemon's configuration, unlike `--help` or `--check-config`.
    pub(super) fn is_reported(&self) -> bool {
        !matches!(self.kind, Kind::InfoFlag) && self.flag != "check-config"
    }

    /// Whether a settings file may set it.
    pub(super) fn is_allowed_in_file(&self) -> bool {
        self.is_reported() && self.flag != "config"
    }

    /// The values in the `text` of a variable.
    pub(super) fn split_values(&self, text: &str) -> Vec<String> {
        match self.as_flag().is_repeatable {
            true => text.split_whitespace().map(String::from).collect(),
            false => vec![text.into()],
        }
    }

    /// The allowed values, for messages.
    pub(super) fn allowed(&self) -> String {
        let times = |allowed: &RangeInclusive<Duration>| {
            format!("{} to {}", format_duration(*allowed.start()), format_duration(*allowed.end()))
        };
        match &self.kind {
            Kind::Number { allowed, .. } => format!("{} to {}", allowed.start(), allowed.end()),
            Kind::NumberOrNone { allowed, .. } => {
                format!("{} to {} or none", allowed.start(), allowed.end())
            }
            Kind::Time { allowed, .. } => times(allowed),
            Kind::TimeOrNone { allowed, .. } => format!("{} or none", times(allowed)),
            Kind::Size { allowed, .. } => {
                format!("{} to {}", format_size(*allowed.start()), format_size(*allowed.end()))
            }
            Kind::Text { allowed, .. } => (*allowed).into(),
            Kind::Switch { .. } => "1, true, yes, 0, false or no".into(),
            Kind::InfoFlag => String::new(),
        }
    }

    /// As [`Setting::try_set`]; the error names `origin`.
    pub(super) fn set(
        &self,
        partial: &mut PartialConfig,
        text: &str,
        origin: &Origin,
    ) -> Result<(), ConfigError> {
        self.try_set(partial, text).map_err(|wrong| {
            let text = if self.flag == STORE { "this".into() } else { format!("{:?}", redact(text)) };
            ConfigError::Value(format!("{origin}: {text} {wrong}"))
        })
    }

    /// Parses `text` and sets it in `partial`, or returns what is wrong with it.
    pub(super) fn try_set(&self, partial: &mut PartialConfig, text: &str) -> Result<(), String> {
        let in_range =
            |allowed: &RangeInclusive<Duration>| parse_duration(text).filter(|time| allowed.contains(time));
        let is_placed = match &self.kind {
            Kind::Number { allowed, set } => parse_number(text, allowed).map(|number| set(partial, number)),
            Kind::NumberOrNone { set, .. } if text == "none" => {
                set(partial, None);
                Some(())
            }
            Kind::NumberOrNone { allowed, set } => {
                parse_number(text, allowed).map(|number| set(partial, Some(number)))
            }
            Kind::Time { allowed, set } => in_range(allowed).map(|time| set(partial, time)),
            Kind::TimeOrNone { set, .. } if text == "none" => {
                set(partial, None);
                Some(())
            }
            Kind::TimeOrNone { allowed, set } => in_range(allowed).map(|time| set(partial, Some(time))),
            Kind::Size { allowed, set } => {
                parse_size(text).filter(|bytes| allowed.contains(bytes)).map(|bytes| set(partial, bytes))
            }
            Kind::Text { set, .. } => return set(partial, text),
            Kind::Switch { set } => parse_switch(text).map(|value| set(partial, value)),
            Kind::InfoFlag => Some(()),
        };
        is_placed.ok_or_else(|| match &self.kind {
            Kind::Number { .. } | Kind::NumberOrNone { .. } => {
                format!("must be a whole number, {}", self.allowed())
            }
            Kind::Time { .. } | Kind::TimeOrNone { .. } => {
                format!("must be a time like 500ms, 10s, 5m, 1h or 1d, {}", self.allowed())
            }
            Kind::Size { .. } => format!("must be a size like 512KiB, 64MiB or 1GiB, {}", self.allowed()),
            _ => format!("must be {}", self.allowed()),
        })
    }
}

impl DefaultValue {
    /// The value as text.
    pub(super) fn text(&self) -> Option<String> {
        match self {
            DefaultValue::Number(number) => Some(number(&Config::default()).to_string()),
            DefaultValue::Time(time) => Some(format_duration(time(&Config::default()))),
            DefaultValue::Size(bytes) => Some(format_size(bytes(&Config::default()))),
            DefaultValue::Text(text) => Some((*text).into()),
            DefaultValue::Computed(_) => None,
        }
    }
}

/// The setting whose valid values may hold a password.
const STORE: &str = "store";
