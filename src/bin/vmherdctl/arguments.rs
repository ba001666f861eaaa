//! The kinds of arguments that commands have.

use clap::Arg;
use clap::builder::ValueParser;

use crate::size::Unit;
use crate::time::{parse_duration, parse_time};

/// An option with a value.
pub fn option(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value).help(help)
}

/// An option without a value.
pub fn flag(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).help(help).action(clap::ArgAction::SetTrue)
}

/// An argument that is known by its place.
pub fn positional(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name).value_name(value).help(help)
}

/// A size of memory, in MiB.
pub fn memory() -> ValueParser {
    ValueParser::new(|text: &str| Unit::Mib.parse(text))
}

/// A size of a disk, in GiB.
pub fn disk_size() -> ValueParser {
    ValueParser::new(|text: &str| Unit::Gib.parse(text))
}

pub fn duration() -> ValueParser {
    ValueParser::new(parse_duration)
}

/// Seconds since 1970.
pub fn time() -> ValueParser {
    ValueParser::new(parse_time)
}
