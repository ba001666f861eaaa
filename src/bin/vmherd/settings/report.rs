//! Each setting's value and origin, for `--show-config` and to find changes on a reload.
//!
//! Secrets are kept for comparison only; displayed values have them masked.

use std::fmt;

use vmherd::{Escaped, Secret};

use super::origin::Origin;
use super::setting::Setting;
use super::values::mask_passwords;

/// Every setting with its value and its origin.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Report {
    entries: Vec<Entry>,
}

/// A setting whose value has changed.
#[derive(Debug)]
pub struct SettingChange {
    /// Old and new value, and where the new one comes from.
    pub text: String,
    /// Whether the change takes effect only after a restart.
    pub needs_restart: bool,
}

#[derive(Clone, PartialEq, Debug)]
struct Entry {
    flag: &'static str,
    is_reported: bool,
    needs_restart: bool,
    display: String,
    /// The value as written, or the default.
    raw: Secret,
    origin: Origin,
}

impl Report {
    /// Adds the value of `setting`.
    pub(super) fn add(&mut self, setting: &'static Setting, text: &str, origin: Origin) {
        let Setting { flag, needs_restart, .. } = *setting;
        let display = if origin.is_explicit() { mask_passwords(text) } else { setting.displayed_default() };
        let (is_reported, raw) = (setting.is_reported(), Secret::new(text));
        self.entries.push(Entry { flag, is_reported, needs_restart, display, raw, origin });
    }

    /// Replaces value and origin of the setting `flag`.
    pub(super) fn replace(&mut self, flag: &str, text: &str, origin: Origin) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.flag == flag) {
            *entry = Entry { display: mask_passwords(text), raw: Secret::new(text), origin, ..entry.clone() };
        }
    }

    /// Sets the computed default of the setting `flag`, unless it was set explicitly.
    pub(super) fn set_computed(&mut self, flag: &str, text: String) {
        let mut entries = self.entries.iter_mut();
        if let Some(entry) = entries.find(|entry| entry.flag == flag && !entry.origin.is_explicit()) {
            entry.raw = Secret::new(&text);
            entry.display = text;
        }
    }

    /// Where the value of the setting `flag` comes from.
    pub(super) fn origin(&self, flag: &str) -> Option<&Origin> {
        self.entries.iter().find(|entry| entry.flag == flag).map(|entry| &entry.origin)
    }

    /// The changes from the settings in effect to `self`: from `started` for settings that need a restart, from
    /// `latest` for the others.
    pub fn changes(&self, started: &Report, latest: &Report) -> Vec<SettingChange> {
        let changes = self.entries.iter().filter_map(|entry| {
            let before = if entry.needs_restart { started } else { latest };
            let before = before.entries.iter().find(|before| before.flag == entry.flag)?;
            (before.raw != entry.raw).then(|| {
                let (flag, after, before) = (entry.flag, Escaped(&entry.display), Escaped(&before.display));
                let when = if entry.needs_restart { " after a restart only" } else { "" };
                let text =
                    format!("--{flag} is {after} instead of {before} ({}){when}", entry.origin.label());
                SettingChange { text, needs_restart: entry.needs_restart }
            })
        });
        changes.collect()
    }
}

impl fmt::Display for Report {
    /// A table with a line for each setting.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rows = vec![["SETTING", "VALUE", "FROM"].map(String::from)];
        rows.extend(self.entries.iter().filter(|entry| entry.is_reported).map(|entry| {
            let name = format!("--{}", entry.flag);
            [name, Escaped(&entry.display).to_string(), Escaped(entry.origin.label()).to_string()]
        }));
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let (name_width, value_width) = (width(0), width(1).min(VALUE_WIDTH_MAX));
        for [name, value, origin] in &rows {
            writeln!(f, "{name:name_width$}  {value:value_width$}  {origin}")?;
        }
        Ok(())
    }
}

/// Longer values shift the origin in their own row only.
const VALUE_WIDTH_MAX: usize = 40;
