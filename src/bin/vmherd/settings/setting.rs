//! One setting: its names, default and limits, and how to parse its value.

use std::ops::RangeInclusive;
use std::time::Duration;

use vmherd::{Timeouts, redact};

use super::arguments::{Flag, Takes};
use super::config_error::ConfigError;
use super::origin::Origin;
use super::partial::PartialConfig;
use super::values::{format_duration, format_size, parse_duration, parse_number, parse_size, parse_switch};

/// One setting.
pub struct Setting {
    /// Its flag without the dashes; the variable name is derived from it.
    pub(super) flag: &'static str,
    /// Placeholder of the value in the help text; empty for a flag without a value.
    pub placeholder: &'static str,
    /// One phrase that says what it is for.
    pub help: &'static str,
    /// Its type, with limits and the field that it sets.
    pub(super) kind: Kind,
    /// Its default.
    pub(super) default: DefaultValue,
    /// Whether a change takes effect only after a restart.
    pub(super) needs_restart: bool,
}

/// The default of a setting.
pub(super) enum DefaultValue {
    /// The value of its field in the default [`PartialConfig`].
    Field,
    Text(&'static str),
    /// A description; the value is computed later.
    Computed(&'static str),
}

/// The type of a setting, with its limits and the field that it sets.
pub(super) enum Kind {
    Number(Quantity<u64>),
    Time(Quantity<Duration>),
    /// `set` returns the error text for an invalid value.
    Text {
        allowed: &'static str,
        is_repeatable: bool,
        set: fn(&mut PartialConfig, &str) -> Result<(), String>,
    },
    Switch(fn(&mut PartialConfig) -> &mut bool),
    /// A flag such as `--help` that prints information instead of running; it has no variable.
    InfoFlag,
}

/// A value within a range, and the field that it sets.
pub(super) struct Quantity<T: 'static> {
    pub(super) allowed: RangeInclusive<T>,
    field: fn(&mut PartialConfig) -> &mut dyn Field<T>,
    /// What the text must be, for messages.
    description: &'static str,
    parse: fn(&str) -> Option<T>,
    pub(super) format: fn(T) -> String,
}

/// A part of the configuration that a value of type `T` sets.
pub(super) trait Field<T> {
    /// The value, if there is one.
    fn get(&self) -> Option<T>;
    /// Sets the value.
    fn set(&mut self, value: T);
    /// Sets it to none; returns false if it must have a value.
    fn set_none(&mut self) -> bool {
        false
    }
}

/// The start of a row in the table: a setting that is a flag only, until a method gives it a type.
pub(super) const fn setting(flag: &'static str, placeholder: &'static str, help: &'static str) -> Setting {
    let (kind, default) = (Kind::InfoFlag, DefaultValue::Computed(""));
    Setting { flag, placeholder, help, kind, default, needs_restart: false }
}

impl Setting {
    /// A whole number.
    pub(super) const fn number(
        self,
        allowed: RangeInclusive<u64>,
        field: fn(&mut PartialConfig) -> &mut dyn Field<u64>,
    ) -> Setting {
        let (description, format) = ("a whole number", |number: u64| number.to_string());
        self.of_field(Kind::Number(Quantity { allowed, field, description, parse: parse_number, format }))
    }

    /// A number of bytes.
    pub(super) const fn size(
        self,
        allowed: RangeInclusive<u64>,
        field: fn(&mut PartialConfig) -> &mut dyn Field<u64>,
    ) -> Setting {
        let (description, format) = ("a size like 512KiB, 64MiB or 1GiB", format_size);
        self.of_field(Kind::Number(Quantity { allowed, field, description, parse: parse_size, format }))
    }

    /// A duration.
    pub(super) const fn time(
        self,
        allowed: RangeInclusive<Duration>,
        field: fn(&mut PartialConfig) -> &mut dyn Field<Duration>,
    ) -> Setting {
        let (description, format) = ("a time like 500ms, 10s, 5m, 1h or 1d", format_duration);
        self.of_field(Kind::Time(Quantity { allowed, field, description, parse: parse_duration, format }))
    }

    const fn of_field(self, kind: Kind) -> Setting {
        Setting { kind, default: DefaultValue::Field, ..self }
    }

    /// A text that `set` parses.
    pub(super) const fn text(
        self,
        allowed: &'static str,
        set: fn(&mut PartialConfig, &str) -> Result<(), String>,
    ) -> Setting {
        Setting { kind: Kind::Text { allowed, is_repeatable: false, set }, ..self }
    }

    /// Any number of texts, each of which `set` parses and adds.
    pub(super) const fn texts(
        self,
        allowed: &'static str,
        set: fn(&mut PartialConfig, &str) -> Result<(), String>,
    ) -> Setting {
        Setting { kind: Kind::Text { allowed, is_repeatable: true, set }, ..self }
    }

    /// A switch, off by default.
    pub(super) const fn switch(self, field: fn(&mut PartialConfig) -> &mut bool) -> Setting {
        Setting { kind: Kind::Switch(field), default: DefaultValue::Text("no"), ..self }
    }

    pub(super) const fn with_default(self, text: &'static str) -> Setting {
        Setting { default: DefaultValue::Text(text), ..self }
    }

    pub(super) const fn with_computed_default(self, description: &'static str) -> Setting {
        Setting { default: DefaultValue::Computed(description), ..self }
    }

    pub(super) const fn needing_restart(self) -> Setting {
        Setting { needs_restart: true, ..self }
    }

    /// The setting as a command-line flag.
    pub fn as_flag(&self) -> Flag {
        let (takes, is_repeatable) = match self.kind {
            Kind::InfoFlag => (Takes::Nothing, true),
            Kind::Switch(_) => (Takes::OptionalValue, false),
            Kind::Text { is_repeatable, .. } => (Takes::Value, is_repeatable),
            Kind::Number(_) | Kind::Time(_) => (Takes::Value, false),
        };
        Flag { name: self.flag, takes, is_repeatable }
    }

    /// Its environment variable.
    pub fn variable_name(&self) -> Option<String> {
        let is_info_flag = matches!(self.kind, Kind::InfoFlag);
        (!is_info_flag).then(|| format!("VMHERD_{}", self.flag.to_ascii_uppercase().replace('-', "_")))
    }

    /// Whether it is part of the daemon's configuration, unlike `--help` or `--check-config`.
    pub(super) fn is_reported(&self) -> bool {
        !matches!(self.kind, Kind::InfoFlag) && self.flag != "check-config"
    }

    /// Whether it is about the VMs that the daemon runs.
    #[cfg(feature = "qemu")]
    pub(super) fn is_of_vms(&self) -> bool {
        self.flag.starts_with("vm-") || matches!(self.flag, "vms-running-max" | "vms-survive")
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
    pub fn allowed(&self) -> String {
        match &self.kind {
            Kind::Number(quantity) => quantity.allowed(),
            Kind::Time(quantity) => quantity.allowed(),
            Kind::Text { allowed, .. } => (*allowed).into(),
            Kind::Switch(_) => "1, true, yes, 0, false or no".into(),
            Kind::InfoFlag => String::new(),
        }
    }

    /// The default as text, unless it is computed later.
    pub(super) fn default_text(&self) -> Option<String> {
        match (&self.default, &self.kind) {
            (DefaultValue::Text(text), _) => Some((*text).into()),
            (DefaultValue::Field, Kind::Number(quantity)) => Some(quantity.default_text()),
            (DefaultValue::Field, Kind::Time(quantity)) => Some(quantity.default_text()),
            _ => None,
        }
    }

    /// The default for people: its value, or a description of a computed one.
    pub fn displayed_default(&self) -> String {
        match self.default {
            DefaultValue::Computed(description) => description.into(),
            _ => self.default_text().unwrap_or_default(),
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
            // Even a valid store may hold a password.
            let text = if self.flag == "store" { "this".into() } else { format!("{:?}", redact(text)) };
            ConfigError::Value(format!("{origin}: {text} {wrong}"))
        })
    }

    /// Parses `text` and sets it in `partial`, or returns what is wrong with it.
    pub(super) fn try_set(&self, partial: &mut PartialConfig, text: &str) -> Result<(), String> {
        match &self.kind {
            Kind::Number(quantity) => quantity.set(partial, text),
            Kind::Time(quantity) => quantity.set(partial, text),
            Kind::Text { set, .. } => set(partial, text),
            Kind::Switch(field) => {
                *field(partial) = parse_switch(text).ok_or_else(|| format!("must be {}", self.allowed()))?;
                Ok(())
            }
            Kind::InfoFlag => Ok(()),
        }
    }
}

impl<T: Copy + PartialOrd> Quantity<T> {
    fn set(&self, partial: &mut PartialConfig, text: &str) -> Result<(), String> {
        let field = (self.field)(partial);
        if text == "none" && field.set_none() {
            return Ok(());
        }
        let value = (self.parse)(text).filter(|value| self.allowed.contains(value));
        field.set(value.ok_or_else(|| format!("must be {}, {}", self.description, self.allowed()))?);
        Ok(())
    }

    fn allowed(&self) -> String {
        let or_none = if (self.field)(&mut PartialConfig::default()).set_none() { " or none" } else { "" };
        let [least, most] = [self.allowed.start(), self.allowed.end()].map(|end| (self.format)(*end));
        format!("{least} to {most}{or_none}")
    }

    fn default_text(&self) -> String {
        (self.field)(&mut PartialConfig::default()).get().map_or_else(|| "none".into(), self.format)
    }
}

macro_rules! number_fields {
    ($($number:ty)*) => {
        $(impl Field<u64> for $number {
            fn get(&self) -> Option<u64> {
                Some(*self as u64)
            }

            /// The limits of each setting fit into its type.
            fn set(&mut self, value: u64) {
                *self = value as $number;
            }
        })*
    };
}

number_fields! { u16 u32 u64 usize }

impl Field<Duration> for Duration {
    fn get(&self) -> Option<Duration> {
        Some(*self)
    }

    fn set(&mut self, value: Duration) {
        *self = value;
    }
}

impl<T, F: Field<T> + Default> Field<T> for Option<F> {
    fn get(&self) -> Option<T> {
        self.as_ref()?.get()
    }

    fn set(&mut self, value: T) {
        self.get_or_insert_default().set(value);
    }

    fn set_none(&mut self) -> bool {
        *self = None;
        true
    }
}

/// All idle timeouts at once.
impl Field<Duration> for Timeouts {
    fn get(&self) -> Option<Duration> {
        self.idle_anonymous
    }

    fn set(&mut self, value: Duration) {
        [self.idle_anonymous, self.idle_authenticated, self.idle_http] = [Some(value); 3];
    }

    fn set_none(&mut self) -> bool {
        [self.idle_anonymous, self.idle_authenticated, self.idle_http] = [None; 3];
        true
    }
}
