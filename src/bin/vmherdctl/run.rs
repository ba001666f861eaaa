//! Runs a command in a session and reports what came of it: data on standard output, all else on standard error.

use std::env;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::process::ExitCode;

use clap::ArgMatches;

use crate::command_table::Command;
use crate::failure::{Class, Failure};
use crate::output::{FORMATS, Format, Output, Style};
use crate::session::Session;
use crate::sys::terminal_columns;

/// Runs a command in a session, and prints its output.
pub fn run(
    command: &Command,
    session: &mut Session,
    matches: &ArgMatches,
    style: &Style,
) -> Result<(), Failure> {
    session.columns = style.width.unwrap_or(session.columns);
    session.is_bold = style.is_bold;
    match (command.run)(session, matches) {
        Ok(output) => print_output(&output, style),
        Err(mut failure) => {
            if let Some(output) = failure.output.take() {
                print_output(&output, style)?;
            }
            Err(failure)
        }
    }
}

/// An unknown column is an error before anything is sent.
pub fn check_columns(command: &Command, style: &Style) -> Result<(), Failure> {
    let names = style.columns.as_deref().unwrap_or_default();
    command.schema.indexes(names).map(drop).map_err(|name| {
        let known: Vec<&str> = command.schema.columns.iter().map(|column| column.name).collect();
        Failure::usage(format!("there is no column {name:?}"))
            .or_hint(format!("the columns are {}", known.join(", ")))
    })
}

/// The style that the arguments say, for standard output as it is.
pub fn style(matches: &ArgMatches) -> Style {
    style_or(matches, Format::default())
}

/// The same; `format` is that of arguments that do not say.
pub fn style_or(matches: &ArgMatches, format: Format) -> Style {
    let name = matches.get_one::<String>("format");
    let given = FORMATS.iter().find(|(known, _)| name.is_some_and(|name| name == known));
    let columns = matches.get_many::<String>("columns").map(|names| names.cloned().collect());
    let is_set = |name: &str| env::var_os(name).is_some_and(|value| !value.is_empty());
    let is_terminal = io::stdout().is_terminal();
    let is_dumb = env::var_os("TERM").is_none_or(|term| term == "dumb");
    Style {
        format: given.map_or(format, |(_, format)| *format),
        columns,
        width: columns_variable().or_else(|| terminal_columns(&io::stdout())),
        is_bold: is_terminal && !is_dumb && !is_set("NO_COLOR"),
    }
}

/// Reports a failure on standard error and returns its exit code.
pub fn report(failure: &Failure, as_json: bool) -> ExitCode {
    let text = if as_json { failure.to_json().to_string() } else { failure.to_string() };
    // Nothing is left to report to when this fails.
    let _ = writeln!(io::stderr(), "{text}");
    ExitCode::from(failure.class.exit_code())
}

/// Prints the output of a command.
pub fn print_output(output: &Output, style: &Style) -> Result<(), Failure> {
    let mut bytes = BufWriter::new(io::stdout().lock());
    let written = output.write(style, &mut bytes).and_then(|()| bytes.flush());
    match written {
        Err(error) if output.is_unique => {
            let why = format!("done, but the result was not printed: standard output: {error}");
            Err(Failure::new(Class::Partial, why))
        }
        written => quietly(written),
    }
}

/// Prints a text.
pub fn print(text: &[u8]) -> Result<(), Failure> {
    let mut output = io::stdout().lock();
    quietly(output.write_all(text).and_then(|()| output.flush()))
}

/// A reader that has read enough is no failure.
fn quietly(result: io::Result<()>) -> Result<(), Failure> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::failed(format!("standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// The width that the environment gives, for output that goes through a pipe to a terminal.
fn columns_variable() -> Option<usize> {
    env::var("COLUMNS").ok()?.parse().ok().filter(|columns| *columns > 0)
}
