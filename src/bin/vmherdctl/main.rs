//! The program `vmherdctl`: what people and scripts use a vmherd server with.
//!
//! `command_table.rs` has a row for each command; `commands/` what they do; `output/` how their results look. The
//! program sees only what is public of the library, above all `vmherd::client`.

mod arguments;
mod command_table;
mod commands;
mod console;
mod credentials;
mod failure;
mod input;
mod limits;
mod output;
mod parser;
mod plot;
mod program;
mod progress;
mod run;
mod secrets;
mod session;
mod settings;
mod size;
#[allow(unsafe_code)]
mod sys;
mod time;

use std::env;
use std::process::ExitCode;

fn main() -> ExitCode {
    program::run_program(env::args_os().skip(1).collect())
}
