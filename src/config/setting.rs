//! What a setting is: its names, its default, its limits, and how a text becomes its value.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::ConfigError;
use super::arguments::{Flag, Takes};
use super::draft::Draft;
use super::shown::shown;
use super::sources::Origin;
use super::values::{duration, duration_text, number, size, size_text, switch};

/// One setting.
pub(crate) struct Setting {
    /// Its flag without the dashes; the environment name follows from it.
    pub(super) flag: &'static str,
    /// What stands for the value in the help text.
    pub(super) placeholder: &'static str,
    /// What it is for, in a few words.
    pub(super) help: &'static str,
    /// What it is without being set.
    pub(super) preset: Preset,
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
pub(super) enum Preset {
    Number(u64),
    Time(Duration),
    /// Bytes.
    Size(u64),
    Text(&'static str),
    /// In words; a new [`Draft`] has it, or what comes after the table.
    Words(&'static str),
}

/// What a setting may be, and where that goes.
pub(super) enum Kind {
    Number {
        allowed: RangeInclusive<u64>,
        place: fn(&mut Draft, u64),
    },
    NumberOrNone {
        allowed: RangeInclusive<u64>,
        place: fn(&mut Draft, Option<u64>),
    },
    Time {
        allowed: RangeInclusive<Duration>,
        place: fn(&mut Draft, Duration),
    },
    TimeOrNone {
        allowed: RangeInclusive<Duration>,
        place: fn(&mut Draft, Option<Duration>),
    },
    /// Bytes.
    Size {
        allowed: RangeInclusive<u64>,
        place: fn(&mut Draft, u64),
    },
    /// `place` says what is wrong with a value.
    Text {
        allowed: &'static str,
        is_repeatable: bool,
        place: fn(&mut Draft, &str) -> Result<(), String>,
    },
    Switch {
        place: fn(&mut Draft, bool),
    },
    /// A question to be answered instead of running; a flag only.
    Question,
}

impl Setting {
    /// The setting as the command line knows it.
    pub(super) fn as_flag(&self) -> Flag {
        let (takes, is_repeatable) = match self.kind {
            Kind::Question => (Takes::Nothing, true),
            Kind::Switch { .. } => (Takes::PerhapsValue, false),
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
    pub(super) fn environment(&self) -> Option<String> {
        let is_question = matches!(self.kind, Kind::Question);
        (!is_question).then(|| format!("VMHERD_{}", self.flag.to_ascii_uppercase().replace('-', "_")))
    }

    /// Whether it is a setting of the daemon, and not asked for only once.
    pub(super) fn is_shown(&self) -> bool {
        !matches!(self.kind, Kind::Question) && self.flag != "check-config"
    }

    /// Whether a settings file can say it: not which file to read, and not what is asked for only once.
    pub(super) fn may_stand_in_file(&self) -> bool {
        self.is_shown() && self.flag != "config"
    }

    /// The values in a variable's `text`.
    pub(super) fn split(&self, text: &str) -> Vec<String> {
        match self.as_flag().is_repeatable {
            true => text.split_whitespace().map(String::from).collect(),
            false => vec![text.into()],
        }
    }

    /// What it may be, in words.
    pub(super) fn allowed(&self) -> String {
        let times = |allowed: &RangeInclusive<Duration>| {
            format!("{} to {}", duration_text(*allowed.start()), duration_text(*allowed.end()))
        };
        match &self.kind {
            Kind::Number { allowed, .. } => format!("{} to {}", allowed.start(), allowed.end()),
            Kind::NumberOrNone { allowed, .. } => {
                format!("{} to {} or none", allowed.start(), allowed.end())
            }
            Kind::Time { allowed, .. } => times(allowed),
            Kind::TimeOrNone { allowed, .. } => format!("{} or none", times(allowed)),
            Kind::Size { allowed, .. } => {
                format!("{} to {}", size_text(*allowed.start()), size_text(*allowed.end()))
            }
            Kind::Text { allowed, .. } => (*allowed).into(),
            Kind::Switch { .. } => "1, true, yes, 0, false or no".into(),
            Kind::Question => String::new(),
        }
    }

    /// As [`Setting::place`], for what `origin` has given.
    pub(super) fn place_or_refuse(
        &self,
        draft: &mut Draft,
        text: &str,
        origin: &Origin,
    ) -> Result<(), ConfigError> {
        self.place(draft, text).map_err(|wrong| {
            let text = if self.flag == STORE { "this".into() } else { format!("{:?}", shown(text)) };
            ConfigError::Value(format!("{origin}: {text} {wrong}"))
        })
    }

    /// Puts the value `text` where it goes, or says what is wrong with it.
    pub(super) fn place(&self, draft: &mut Draft, text: &str) -> Result<(), String> {
        let in_range =
            |allowed: &RangeInclusive<Duration>| duration(text).filter(|time| allowed.contains(time));
        let is_placed = match &self.kind {
            Kind::Number { allowed, place } => number(text, allowed).map(|number| place(draft, number)),
            Kind::NumberOrNone { place, .. } if text == "none" => {
                place(draft, None);
                Some(())
            }
            Kind::NumberOrNone { allowed, place } => {
                number(text, allowed).map(|number| place(draft, Some(number)))
            }
            Kind::Time { allowed, place } => in_range(allowed).map(|time| place(draft, time)),
            Kind::TimeOrNone { place, .. } if text == "none" => {
                place(draft, None);
                Some(())
            }
            Kind::TimeOrNone { allowed, place } => in_range(allowed).map(|time| place(draft, Some(time))),
            Kind::Size { allowed, place } => {
                size(text).filter(|bytes| allowed.contains(bytes)).map(|bytes| place(draft, bytes))
            }
            Kind::Text { place, .. } => return place(draft, text),
            Kind::Switch { place } => switch(text).map(|value| place(draft, value)),
            Kind::Question => Some(()),
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

impl Preset {
    /// The value, as somebody would write it.
    pub(super) fn text(&self) -> Option<String> {
        match self {
            Preset::Number(number) => Some(number.to_string()),
            Preset::Time(time) => Some(duration_text(*time)),
            Preset::Size(bytes) => Some(size_text(*bytes)),
            Preset::Text(text) => Some((*text).into()),
            Preset::Words(_) => None,
        }
    }
}

/// The setting whose values may hold a password even where they are in order.
const STORE: &str = "store";
