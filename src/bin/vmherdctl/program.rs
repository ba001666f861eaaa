//! The program from its arguments to its exit code: one command, the console, or a text.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::ArgMatches;

use crate::command_table::Command;
use crate::console;
use crate::failure::Failure;
use crate::output::{Format, Style};
use crate::parser::{self, NotParsed, Parsed};
use crate::run::{check_columns, print, report, run, style};
use crate::session::Session;
use crate::settings::Settings;

/// Runs the program with these arguments.
pub fn run_program(arguments: Vec<OsString>) -> ExitCode {
    let wants_json = asks_for_json(&arguments);
    match parser::parse(arguments) {
        Ok(Parsed { command: Some(command), matches }) => {
            let style = style(&matches);
            match run_once(command, &matches, &style) {
                Ok(()) => ExitCode::SUCCESS,
                Err(failure) => report(&failure, style.format == Format::Json),
            }
        }
        Ok(Parsed { command: None, matches }) => {
            let run =
                Settings::resolve(&matches).and_then(|settings| console::run(settings, style(&matches)));
            run.unwrap_or_else(|failure| report(&failure, wants_json))
        }
        Err(NotParsed::Text(text)) => match print(text.as_bytes()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => report(&failure, wants_json),
        },
        Err(NotParsed::Failure(failure)) => report(&failure, wants_json),
    }
}

fn run_once(command: &Command, matches: &ArgMatches, style: &Style) -> Result<(), Failure> {
    let mut session = Session::new(Settings::resolve(matches)?, command.destination)?;
    check_columns(command, style)?;
    if !command.logs_in {
        return run(command, &mut session, matches, style);
    }
    session.log_in_as_given()?;
    let result = run(command, &mut session, matches, style);
    session.end_own_login();
    result
}

/// Whether the arguments ask for JSON, even if they can't be parsed.
fn asks_for_json(arguments: &[OsString]) -> bool {
    let is_json = |pair: &[OsString]| pair[0] == "--format" && pair[1] == "json";
    arguments.iter().any(|argument| argument == "--format=json") || arguments.windows(2).any(is_json)
}
