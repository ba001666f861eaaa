//! What a setting is: its names, its default, its limits, and how a text becomes its value.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::ConfigError;
use super::arguments::{Flag, Takes};
use super::partial::PartialConfig;
use super::redact::redact;
use super::sources::Origin;
use super::values::{format_duration, format_size, parse_duration, parse_number, parse_size, parse_switch};

/// One setting.
pub(crate) struct Setting {
    /// Its flag without the dashes; the environment name follows from it.
    pub(super) flag: &'static str,
    /// What stands for the value in the help text.
    pub(super) placeholder: &'static str,
    /// What it is for, in a few words.
    pub(super) help: &'static str,
    /// What it is without being set.
    pub(super) default: DefaultValue,
    /// When a change of it counts.
    pub(super) reload: Reload,
    /// What it may be, and where that goes.
    pub(super) kind: Kind,
}

/// When a setting that has changed counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Reload {
    /// As soon as the settings are read again.
    Now,
    /// When the daemon is started the next time.
    Restart,
}

/// What a setting is without being set.
pub(super) enum DefaultValue {
    Number(u64),
    Time(Duration),
    /// Bytes.
    Size(u64),
    Text(&'static str),
    /// In words; a new [`PartialConfig`] has it, or what comes after the table.
    Computed(&'static str),
}

/// What a setting may be, and where that goes.
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
    /// `place` says what is wrong with a value.
    Text {
        allowed: &'static str,
        is_repeatable: bool,
        set: fn(&mut PartialConfig, &str) -> Result<(), String>,
    },
    Switch {
        set: fn(&mut PartialConfig, bool),
    },
    /// A question to be answered instead of running; a flag only.
    InfoFlag,
}

impl Setting {
    /// The setting as the command line knows it.
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

    /// Its name in the environment.
    pub(super) fn variable_name(&self) -> Option<String> {
        let is_question = matches!(self.kind, Kind::InfoFlag);
        (!is_question).then(|| format!("VMHERD_{}", self.flag.to_ascii_uppercase().replace('-', "_")))
    }

    /// Whether it is a setting of the daemon, and not asked for only once.
    pub(super) fn is_reported(&self) -> bool {
        !matches!(self.kind, Kind::InfoFlag) && self.flag != "check-config"
    }

    /// Whether a settings file can say it: not which file to read, and not what is asked for only once.
    pub(super) fn is_allowed_in_file(&self) -> bool {
        self.is_reported() && self.flag != "config"
    }

    /// The values in a variable's `text`.
    pub(super) fn split_values(&self, text: &str) -> Vec<String> {
        match self.as_flag().is_repeatable {
            true => text.split_whitespace().map(String::from).collect(),
            false => vec![text.into()],
        }
    }

    /// What it may be, in words.
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

    /// As [`Setting::try_set`], for what `origin` has given.
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

    /// Puts the value `text` where it goes, or says what is wrong with it.
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
    /// The value, as somebody would write it.
    pub(super) fn text(&self) -> Option<String> {
        match self {
            DefaultValue::Number(number) => Some(number.to_string()),
            DefaultValue::Time(time) => Some(format_duration(*time)),
            DefaultValue::Size(bytes) => Some(format_size(*bytes)),
            DefaultValue::Text(text) => Some((*text).into()),
            DefaultValue::Computed(_) => None,
        }
    }
}

/// The setting whose values may hold a password even where they are in order.
const STORE: &str = "store";
