//! The program `vmherdctl`: what people and scripts use a vmherd server with.
//!
//! `command_table.rs` has a row for each command; `commands/` what they do; `output/` how their results look. The agent,
//! `agent/`, is none of them: it has a parser of its own, and runs until a signal ends it. The program sees only what is
//! public of the library, above all `vmherd::client`.

mod agent;
mod arguments;
mod command_table;
mod commands;
mod console;
mod credentials;
mod failure;
mod input;
mod limits;
// The daemon uses all of it.
#[cfg(test)]
mod manual_page;
#[allow(dead_code)]
#[path = "../vmherd/notify.rs"]
mod notify;
mod output;
mod parser;
mod plot;
mod program;
mod progress;
mod run;
mod secrets;
mod session;
mod settings;
#[path = "../common/size.rs"]
mod size;
#[allow(unsafe_code)]
mod sys;
mod time;
#[cfg(test)]
#[path = "../common/written_file.rs"]
mod written_file;

use std::env;
use std::ffi::OsString;
use std::process::ExitCode;

fn main() -> ExitCode {
    if let Some(code) = commands::ssh::answer_ssh() {
        return code;
    }
    let arguments: Vec<OsString> = env::args_os().skip(1).collect();
    match arguments.split_first() {
        Some((first, arguments)) if first == "agent" => agent::run(arguments),
        _ => program::run_program(arguments),
    }
}
