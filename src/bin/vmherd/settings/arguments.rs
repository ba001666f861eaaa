//! Splits a command line into flags with values and positional arguments; knows no setting.

use std::ffi::OsString;
use std::iter::Peekable;

use vmherd::{is_plain_name, redact};

use super::config_error::ConfigError;

/// A flag that the command line accepts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Flag {
    /// Its name without the dashes.
    pub name: &'static str,
    /// Whether it takes a value.
    pub takes: Takes,
    /// Whether it may be given more than once.
    pub is_repeatable: bool,
}

/// Whether a flag takes a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Takes {
    /// `--flag VALUE` or `--flag=VALUE`.
    Value,
    /// `--flag` or `--flag=VALUE`.
    OptionalValue,
    /// `--flag`.
    Nothing,
}

/// A parsed command line.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Arguments {
    /// Each flag given, in order, with its value.
    pub flags: Vec<(&'static str, Option<String>)>,
    /// Positional arguments, in order.
    pub positionals: Vec<String>,
}

impl Arguments {
    /// Parses `args` (without the program name); skips what is invalid, and returns the first error as well. All
    /// arguments after `--` are positional.
    pub fn read(
        args: impl IntoIterator<Item = OsString>,
        known: &[Flag],
    ) -> (Arguments, Option<ConfigError>) {
        let mut args = args.into_iter().peekable();
        let (mut arguments, mut first_error) = (Arguments::default(), None);
        while let Some(arg) = args.next() {
            let added = arguments.add(arg, &mut args, known);
            first_error = first_error.or(added.err());
        }
        (arguments, first_error)
    }

    /// Whether the flag `name` was given.
    pub fn has(&self, name: &str) -> bool {
        self.flags.iter().any(|(given, _)| *given == name)
    }

    /// The values of the flag `name`, in order; an absent value is left out.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.flags.iter().filter(move |(given, _)| *given == name).filter_map(|(_, value)| value.as_deref())
    }

    /// Adds `arg`, with its value or all other positional arguments from `rest`.
    fn add(
        &mut self,
        arg: OsString,
        rest: &mut Peekable<impl Iterator<Item = OsString>>,
        known: &[Flag],
    ) -> Result<(), ConfigError> {
        let text = into_text(arg)?;
        if text == "--" {
            for arg in rest {
                self.positionals.push(into_text(arg)?);
            }
            return Ok(());
        }
        if text == "-" || !text.starts_with('-') {
            self.positionals.push(text);
            return Ok(());
        }
        let (&Flag { name, takes, is_repeatable }, mut value) = split_flag(&text, known)?;
        if takes == Takes::Value && value.is_none() {
            let following = rest.next_if(|next| !next.as_encoded_bytes().starts_with(b"--"));
            let following = following.ok_or_else(|| missing_value(name))?;
            value = Some(following.into_string().map_err(|_| value_not_utf8(name))?);
        }
        if value.is_some() && takes == Takes::Nothing {
            return Err(ConfigError::Usage(format!("--{name} takes no value")));
        }
        if self.has(name) && !is_repeatable {
            return Err(ConfigError::Usage(format!("--{name} is given twice")));
        }
        self.flags.push((name, value));
        Ok(())
    }
}

/// The candidate that `word` is a typo or a unique prefix of.
pub(super) fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str> + Clone) -> Option<&'a str> {
    let typos_max = (word.len() / 3).clamp(1, 4);
    let by_distance = candidates.clone().map(|candidate| (edit_distance(word, candidate), candidate));
    let near = by_distance.filter(|(distance, _)| *distance <= typos_max).min().map(|(_, near)| near);
    near.or_else(|| {
        let mut longer = candidates.filter(|candidate| word.len() >= 3 && candidate.starts_with(word));
        longer.next().filter(|_| longer.next().is_none())
    })
}

/// Edit distance: insertions, deletions, replacements and swaps of neighbours. Words longer than any flag are
/// infinitely far apart.
pub(super) fn edit_distance(one: &str, other: &str) -> usize {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    if one.len().max(other.len()) > 64 {
        return usize::MAX;
    }
    let mut rows: Vec<Vec<usize>> = vec![(0..=other.len()).collect()];
    for (i, &left) in one.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, &right) in other.iter().enumerate() {
            let replaced = rows[i][j] + usize::from(left != right);
            let mut least = replaced.min(rows[i][j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && left == other[j - 1] && one[i - 1] == right {
                least = least.min(rows[i - 1][j - 1] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[one.len()][other.len()]
}

/// The error never shows a flag's value, which may be a store URL with a password.
fn into_text(arg: OsString) -> Result<String, ConfigError> {
    arg.into_string().map_err(|arg| {
        let text = arg.to_string_lossy();
        match text.strip_prefix("--").and_then(|flag| flag.split_once('=')) {
            Some((name, _)) => value_not_utf8(&redact(name)),
            None => ConfigError::Usage(format!("argument {:?} is not valid UTF-8", redact(&text))),
        }
    })
}

fn value_not_utf8(flag: &str) -> ConfigError {
    ConfigError::Usage(format!("--{flag}: its value is not valid UTF-8"))
}

/// The flag that `text` names, and the value after `=` if there is one.
fn split_flag<'a>(text: &str, known: &'a [Flag]) -> Result<(&'a Flag, Option<String>), ConfigError> {
    let mut parts = text.splitn(2, '=');
    let (name, value) = (parts.next().unwrap_or_default(), parts.next().map(String::from));
    let long = match name {
        "-h" => "help",
        "-V" => "version",
        _ => name.strip_prefix("--").unwrap_or_default(),
    };
    match known.iter().find(|flag| flag.name == long) {
        Some(flag) => Ok((flag, value)),
        None => Err(unknown_flag(name, known)),
    }
}

fn unknown_flag(name: &str, known: &[Flag]) -> ConfigError {
    let word = name.trim_start_matches('-');
    let near = nearest(word, known.iter().map(|flag| flag.name));
    // A plain name such as `--password-file` is no secret and is shown in full.
    let name = if is_plain_name(&word.replace('-', "_")) { name.into() } else { redact(name) };
    ConfigError::Usage(match near {
        Some(near) => format!("there is no flag {name:?}; did you mean --{near}?"),
        None => format!("there is no flag {name:?}; see --help"),
    })
}

fn missing_value(name: &str) -> ConfigError {
    ConfigError::Usage(format!(
        "--{name} needs a value: --{name} VALUE (--{name}=VALUE if it begins with --)"
    ))
}
