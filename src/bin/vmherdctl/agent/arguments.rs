//! The settings of the agent: from the command line, and from the environment.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Arg, ArgMatches, value_parser};
use vmherd::client::ServerAddress;

use super::credentials::TokenFile;
use super::{host, limits};
use crate::arguments::{duration, flag, memory, option};
use crate::failure::Failure;
use crate::parser::{AGENT_ABOUT, NotParsed};
use crate::settings::user_state_dir;

/// The settings of the agent.
pub struct Settings {
    pub server: ServerAddress,
    /// The name of the VM.
    pub name: String,
    pub password_file: Option<PathBuf>,
    pub token_file: Option<PathBuf>,
    /// Whether to register the VM where the server does not know it.
    pub register: bool,
    pub interval: Duration,
    pub backlog_bytes: u64,
    pub state_dir: PathBuf,
}

impl Settings {
    /// Reads the arguments after `agent`; what they lack comes from the variables VMHERD_AGENT_….
    pub fn read(arguments: &[OsString]) -> Result<Settings, NotParsed> {
        let matches = parser().try_get_matches_from(from_environment().chain(arguments.iter().cloned()))?;
        Settings::of(&matches).map_err(NotParsed::Failure)
    }

    fn of(matches: &ArgMatches) -> Result<Settings, Failure> {
        let path = |name: &str| matches.get_one::<PathBuf>(name).cloned();
        let text = |name: &str| matches.get_one::<String>(name).cloned();
        let no_name = || Failure::usage("this host has no name").or_hint("--name says the name of the VM");
        let no_server = || Failure::usage("--server is missing").or_hint("--server tcp://HOST:8888");
        let no_directory = || Failure::usage("--state-dir is missing").or_hint("HOME is not set");
        let interval = matches.get_one::<Duration>("interval").copied().unwrap_or(limits::INTERVAL);
        if !limits::INTERVALS.contains(&interval) || interval.subsec_nanos() != 0 {
            return Err(Failure::usage("--interval is a whole number of seconds from 1s to 1h"));
        }
        let backlog_bytes = matches.get_one::<u64>("backlog").map_or(limits::BACKLOG_BYTES, |mib| mib << 20);
        if !limits::BACKLOG_BYTES_RANGE.contains(&backlog_bytes) {
            return Err(Failure::usage("--backlog is a size from 1M to 1G"));
        }
        let token_file = path("token-file").or_else(|| credential("token"));
        // An error of the file is for the login to report, which comes again and again.
        let enrollment =
            token_file.as_deref().and_then(|path| TokenFile::read(path).ok()).unwrap_or_default();
        let address = enrollment.address.and_then(|address| address.parse().ok());
        Ok(Settings {
            server: matches.get_one::<ServerAddress>("server").cloned().or(address).ok_or_else(no_server)?,
            name: text("name").or(enrollment.vm_id).or_else(host::host_name).ok_or_else(no_name)?,
            password_file: path("password-file").or_else(|| credential("password")),
            token_file,
            register: matches.get_flag("register"),
            interval,
            backlog_bytes,
            state_dir: path("state-dir").or_else(state_dir).ok_or_else(no_directory)?,
        })
    }
}

/// The parser of the agent's arguments.
pub fn parser() -> clap::Command {
    clap::Command::new("vmherdctl agent")
        .no_binary_name(true)
        .about(AGENT_ABOUT)
        .after_help(AFTER_HELP)
        .args_override_self(true)
        .args(options())
}

fn options() -> [Arg; 8] {
    let path = || value_parser!(PathBuf);
    [
        option("server", "ADDRESS", "tcp://HOST:PORT, HOST:PORT or unix:PATH").value_parser(server),
        option("name", "NAME", "The name of the VM [default: the host's name]"),
        option("password-file", "FILE", "Its password, the first line of FILE").value_parser(path()),
        option("token-file", "FILE", "Its token, or /etc/vmherd/enrollment.json").value_parser(path()),
        flag("register", "Register the VM if the server does not know it"),
        option("interval", "TIME", "The time between two samples [default: 10s]").value_parser(duration()),
        option("backlog", "SIZE", "The size of the backlog [default: 16M]").value_parser(memory()),
        option("state-dir", "DIRECTORY", "For token and backlog [default: $STATE_DIRECTORY]")
            .value_parser(path()),
    ]
}

fn server(text: &str) -> Result<ServerAddress, String> {
    text.parse().map_err(|error: vmherd::client::ClientError| error.to_string())
}

/// The options that the environment sets, as arguments.
fn from_environment() -> impl Iterator<Item = OsString> {
    options().into_iter().filter_map(|option| {
        let name = option.get_id().as_str();
        let variable = format!("VMHERD_AGENT_{}", name.replace('-', "_").to_uppercase());
        let value = env::var_os(variable).filter(|value| !value.is_empty())?;
        let mut argument = OsString::from(format!("--{name}"));
        if option.get_action().takes_values() {
            argument.push("=");
            argument.push(value);
        } else if value == "false" {
            return None;
        }
        Some(argument)
    })
}

/// The file of a credential that the service manager passes.
fn credential(name: &str) -> Option<PathBuf> {
    let directory = env::var_os("CREDENTIALS_DIRECTORY").filter(|directory| !directory.is_empty())?;
    Some(PathBuf::from(directory).join(name))
}

/// The state directory that the service manager made; otherwise the user's.
fn state_dir() -> Option<PathBuf> {
    let of_service = env::var_os("STATE_DIRECTORY").filter(|value| !value.is_empty()).map(PathBuf::from);
    of_service.or_else(|| Some(user_state_dir().ok()?.join("vmherd-agent")))
}

const AFTER_HELP: &str = "\
Each option is also a variable: VMHERD_AGENT_SERVER, VMHERD_AGENT_REGISTER=true.

The agent keeps the token that it gets for the password, and logs in with it.
The file /etc/vmherd/enrollment.json of a VM that the server runs also has the
server and the name. --password-file and --token-file default to the
credentials password and token of the service manager.
Without a service manager the state directory is ~/.local/state/vmherd-agent.

Exit codes: 0: ended by a signal; 1: the state directory can't be used, or
another agent uses it; 2: wrong arguments";
