//! What only the daemon's own program can do, on its host: `token` and `console` run `vmherd`.

use std::env;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use clap::{Arg, ArgAction, ArgMatches};

use super::login::name;
use crate::arguments::positional;
use crate::failure::Failure;
use crate::output::{Column, Kind, Output, Schema, Shape};
use crate::session::Session;
use crate::settings::SECRET_VARIABLES;

pub static PROGRAM: Schema = Schema {
    name: "program",
    shape: Shape::Record,
    columns: &[Column::new("status", "STATUS", Kind::Number)],
};

pub fn token_arguments() -> Vec<Arg> {
    let arguments = positional(
        "arguments",
        "ARGUMENT",
        "As of vmherd token: list, add, add --reader NAME, enable ID, disable ID, remove ID",
    );
    vec![arguments.required(true).num_args(1..).allow_hyphen_values(true).action(ArgAction::Append)]
}

pub fn token(session: &mut Session, matches: &ArgMatches) -> Result<Output, Failure> {
    let arguments: Vec<&str> =
        matches.get_many::<String>("arguments").unwrap_or_default().map(String::as_str).collect();
    run_vmherd(session, &[&["token"], &*arguments].concat())
}

pub fn console_arguments() -> Vec<Arg> {
    vec![positional("name", "NAME", "The VM: the container_uuid of create").required(true)]
}

pub fn console(session: &mut Session, matches: &ArgMatches) -> Result<Output, Failure> {
    run_vmherd(session, &["vm", "console", name(matches)])
}

/// Becomes `vmherd` with these arguments; in a console runs it and returns its exit code.
fn run_vmherd(session: &Session, arguments: &[&str]) -> Result<Output, Failure> {
    let beside = env::current_exe().ok().map(|program| program.with_file_name("vmherd"));
    let program = beside.filter(|path| path.is_file()).unwrap_or_else(|| PathBuf::from("vmherd"));
    let mut command = Command::new(&program);
    command.args(arguments).arg("--state-dir").arg(session.settings.state_dir()?);
    for secret in SECRET_VARIABLES {
        command.env_remove(secret);
    }
    let failure = |error| Failure::failed(format!("the program {}: {error}", program.display()));
    if !session.is_console() {
        return Err(failure(command.exec()));
    }
    let code = command.status().map_err(failure)?.code().unwrap_or(255);
    Ok(Output::record(&PROGRAM, vec![code.into()]).lines(Vec::new()))
}
