//! The program `vmherd`: runs the daemon or one of the host's tools, and reports errors on standard error.

mod activation;
mod backup_command;
#[cfg(feature = "qemu")]
mod console;
mod date;
mod diagnostic;
#[cfg(feature = "sealed")]
mod keys_command;
mod limits;
mod log_line;
mod logging;
#[cfg(all(test, feature = "sqlite", feature = "http", feature = "qemu", feature = "sealed"))]
mod manual_page;
mod notify;
mod open_registry;
mod own_socket;
mod password_prompt;
#[cfg(feature = "qemu")]
mod running_vm_command;
mod service;
mod settings;
mod settings_file;
mod signal_loop;
#[path = "../common/size.rs"]
mod size;
mod stats_command;
#[allow(unsafe_code)]
mod sys;
mod token_command;
mod tool;
mod vm_command;
mod vm_registry;
mod vm_table;
#[cfg(all(test, feature = "sqlite", feature = "http", feature = "qemu", feature = "sealed"))]
#[path = "../common/written_file.rs"]
mod written_file;

use std::env;
use std::io::{self, Write};
use std::process::ExitCode;

use log::{Level, log_enabled};
use vmherd::StartError;

use logging::{line_style, log_panics, log_to_stderr};
use settings::{EX_CONFIG, Invocation, Sources};
use settings_file::read_settings_file;
use sys::signals::{Signal, Signals, ignore_unused};

fn main() -> ExitCode {
    if let Err(error) = ignore_unused() {
        eprintln!("vmherd: can't ignore signals: {error}");
        return ExitCode::FAILURE;
    }
    let mut args = env::args_os().skip(1).peekable();
    match args.peek().and_then(|first| first.to_str()) {
        Some("vm") => return vm_command::run(args.skip(1)),
        Some("token") => return token_command::run(args.skip(1)),
        Some("stats") => return stats_command::run(args.skip(1)),
        #[cfg(feature = "sealed")]
        Some("keys") => return keys_command::run(args.skip(1)),
        Some("backup") => return backup_command::run(args.skip(1)),
        _ => {}
    }
    // A signal to reload may arrive before the settings are read for the first time.
    if let Err(error) = Signals::block(&Signal::EARLY) {
        eprintln!("vmherd: can't keep signals: {error}");
        return ExitCode::FAILURE;
    }
    let sources = Sources::new(args, env::vars_os(), read_settings_file);
    let style = line_style(sources.log_format(), |name| env::var_os(name));
    log_panics(style);
    match sources.parse() {
        Ok(Invocation::Print { warnings, text }) => {
            for warning in warnings {
                log_to_stderr(style, Level::Warn, format_args!("{warning}"));
            }
            print(&text)
        }
        Ok(Invocation::Run(resolved)) => service::serve(&sources, *resolved, style).unwrap_or_else(|error| {
            // The error is in the log already, unless the filter excludes errors or logging did not start.
            if !log_enabled!(Level::Error) {
                log_to_stderr(style, Level::Error, format_args!("{error}"));
            }
            ExitCode::from(exit_code(&error))
        }),
        Err(error) => {
            log_to_stderr(style, Level::Error, format_args!("{error}"));
            ExitCode::from(error.exit_code())
        }
    }
}

/// The exit code tells a service manager that a restart with the same configuration is pointless.
fn exit_code(error: &io::Error) -> u8 {
    let start_error = error.get_ref().and_then(|error| error.downcast_ref::<StartError>());
    if start_error.is_some_and(|error| error.is_configuration) { EX_CONFIG } else { 1 }
}

fn print(text: &str) -> ExitCode {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    }
}
