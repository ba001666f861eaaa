//! The daemon `vmherd`: settings, log, server, signals, in this order, and what to tell whoever started it.

use std::env;
use std::fmt;
use std::io::{self, Write};
use std::mem;
use std::process::{self, ExitCode};

use log::{Level, error, info, log_enabled, warn};
use vmherd::config::{self, Config, Parsed};
use vmherd::os::signals::{self, End};
use vmherd::os::{logging, vm_command};
use vmherd::server::Server;
use vmherd::sys::process::raise_descriptor_limit;
use vmherd::sys::signals::{Signal, Signals};

fn main() -> ExitCode {
    let mut args = env::args_os().skip(1).peekable();
    if args.next_if(|first| first == "vm").is_some() {
        return vm_command::run(args, env::vars_os());
    }
    match Config::parse(args, env::vars_os()) {
        Ok(Parsed::Help) => say(&config::help()),
        Ok(Parsed::Version) => say(concat!("vmherd ", env!("CARGO_PKG_VERSION"), "\n")),
        Ok(Parsed::Check(warnings)) => {
            warnings.iter().for_each(|warning| complain(format_args!("warning: {warning}")));
            say("the configuration is valid\n")
        }
        Ok(Parsed::Run(config, warnings)) => serve(*config, &warnings).unwrap_or_else(|error| {
            // The log has said it, unless it was told not to say even errors or did not start.
            if !log_enabled!(Level::Error) {
                complain(format_args!("{error}"));
            }
            ExitCode::FAILURE
        }),
        Err(error) => {
            complain(format_args!("{error}"));
            ExitCode::from(error.exit_code())
        }
    }
}

/// Serves until a signal or a failure ends it.
fn serve(mut config: Config, warnings: &[String]) -> io::Result<ExitCode> {
    // Before the first thread, the log's, so that no thread dies of a signal.
    let mut signals = Signals::block(&Signal::ALL)?;
    let log = logging::start(&config.log, config.log_format)?;
    warnings.iter().for_each(|warning| warn!("{warning}"));
    fit_connections(&mut config);
    let end = run(&config, &mut signals).inspect_err(|error| error!("{error}"))?;
    log.flush();
    match end {
        End::Ended => Ok(ExitCode::SUCCESS),
        // Nothing that still runs is waited for.
        End::Killed(signal) => process::exit(128 + signal.number()),
        End::Overdue => process::exit(1),
    }
}

fn run(config: &Config, signals: &mut Signals) -> io::Result<End> {
    let server = Server::bind(config).map_err(io::Error::other)?;
    let addresses = server.addresses().to_vec();
    let running = server.start()?;
    info!("vmherd {} with the store {}", env!("CARGO_PKG_VERSION"), config.store);
    addresses.iter().for_each(|address| info!("listening on {address}"));
    let end = signals::wait(signals, &running)?;
    match end {
        End::Ended => {
            running.join()?;
            info!("stopped");
        }
        // Dropping it might wait for what is not to be waited for.
        End::Killed(_) | End::Overdue => mem::forget(running),
    }
    Ok(end)
}

/// Lets no more connections in than there are descriptors for.
fn fit_connections(config: &mut Config) {
    let descriptors = match raise_descriptor_limit() {
        Ok(descriptors) => descriptors,
        Err(error) => return warn!("can't raise the limit of open files: {error}"),
    };
    let fitting = config.connections_that_fit(descriptors);
    if fitting < config.connections_max {
        warn!(
            "at most {fitting} connections instead of {}: this process may have {descriptors} files open \
             (ulimit -n, LimitNOFILE=)",
            config.connections_max
        );
        config.connections_max = fitting;
    }
}

fn say(text: &str) -> ExitCode {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    }
}

fn complain(text: fmt::Arguments<'_>) {
    // Nobody is left to be told that standard error is closed.
    let _ = writeln!(io::stderr(), "vmherd: {text}");
}
