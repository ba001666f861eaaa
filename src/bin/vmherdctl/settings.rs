//! What the command line and the environment say about the server and the login. An empty variable counts as unset.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ArgMatches;
use vmherd::SOCKET_NAME;
use vmherd::client::ServerAddress;

use crate::failure::Failure;
use crate::limits;
use crate::sys;

/// The settings of one run.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    server: Option<ServerAddress>,
    state_dir: Option<PathBuf>,
    /// `--timeout`.
    pub timeout: Option<Duration>,
    /// The VM to log in as.
    pub vm: Option<String>,
    pub password_file: Option<PathBuf>,
    pub token_file: Option<PathBuf>,
}

/// The server of commands for which none is given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Destination {
    /// The daemon's default listener.
    Server,
    /// The socket in the daemon's state directory, which knows the operator by their user.
    OwnSocket,
    /// That socket if it is there and no login is given, else the default listener.
    OwnSocketOrServer,
}

impl Settings {
    pub fn resolve(matches: &ArgMatches) -> Result<Settings, Failure> {
        let path = |name: &str| matches.get_one::<PathBuf>(name).cloned();
        let server = match matches.get_one::<String>("server") {
            Some(text) => Some(parse_server(text, "--server")?),
            None => match variable("VMHERD_SERVER")? {
                Some(text) => Some(parse_server(&text, "VMHERD_SERVER")?),
                None => None,
            },
        };
        Ok(Settings {
            server,
            state_dir: path("state-dir").or_else(|| variable_os("VMHERD_STATE_DIR").map(PathBuf::from)),
            timeout: matches.get_one("timeout").copied(),
            vm: matches.get_one("vm").cloned(),
            password_file: path("password-file"),
            token_file: path("token-file"),
        })
    }

    /// The server for commands with this destination.
    pub fn server(&self, destination: Destination) -> Result<ServerAddress, Failure> {
        match (&self.server, destination) {
            (Some(server), _) => Ok(server.clone()),
            (None, Destination::OwnSocket) => Ok(ServerAddress::Unix(self.state_dir()?.join(SOCKET_NAME))),
            (None, Destination::OwnSocketOrServer) if self.has_own_socket() => {
                self.server(Destination::OwnSocket)
            }
            // A state directory that is named is that of the daemon to talk to.
            (None, _) if self.state_dir.is_some() => self.server(Destination::OwnSocket),
            (None, _) => Ok(ServerAddress::Tcp(DEFAULT_SERVER.into())),
        }
    }

    fn has_own_socket(&self) -> bool {
        let has_login = self.vm.is_some() || self.token_file.is_some();
        !has_login && self.state_dir().is_ok_and(|folder| folder.join(SOCKET_NAME).exists())
    }

    /// The daemon's state directory: as given; for root the service's, if it exists; else the daemon's default.
    pub fn state_dir(&self) -> Result<PathBuf, Failure> {
        if let Some(given) = &self.state_dir {
            return Ok(given.clone());
        }
        if sys::is_root() && Path::new(SERVICE_STATE_DIR).is_dir() {
            return Ok(SERVICE_STATE_DIR.into());
        }
        Ok(user_state_dir()?.join("vmherd"))
    }

    /// The time for a reply of a command that needs `usual` at most.
    pub fn timeout_or(&self, usual: Duration) -> Duration {
        self.timeout.unwrap_or(usual.max(limits::TIMEOUT))
    }
}

/// The user's folder for the state of programs, by the XDG specification.
pub fn user_state_dir() -> Result<PathBuf, Failure> {
    // It says to ignore a relative path.
    let xdg = variable_os("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || variable_os("HOME").map(|home| PathBuf::from(home).join(".local/state"));
    xdg.or_else(home).ok_or_else(|| Failure::failed("neither XDG_STATE_HOME nor HOME is set"))
}

/// The folder of this program's own files.
pub fn own_folder() -> Result<PathBuf, Failure> {
    Ok(user_state_dir()?.join("vmherdctl"))
}

/// The text of an environment variable.
pub fn variable(name: &str) -> Result<Option<String>, Failure> {
    let not_text = |_| Failure::usage(format!("{name} is not valid UTF-8"));
    variable_os(name).map(|value| value.into_string().map_err(not_text)).transpose()
}

fn variable_os(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}

fn parse_server(text: &str, origin: &str) -> Result<ServerAddress, Failure> {
    text.parse().map_err(|_| {
        // The text may hold a password, for example in a URL of another kind.
        Failure::usage(format!("{origin}: not an address of a server"))
            .or_hint("tcp://HOST:PORT, HOST:PORT or unix:PATH")
    })
}

/// Variables with secrets, which programs that this one runs do not get.
pub const SECRET_VARIABLES: [&str; 2] = ["VMHERD_PASSWORD", "VMHERD_TOKEN"];
/// Where the daemon listens by default.
pub const DEFAULT_SERVER: &str = "127.0.0.1:8888";
const SERVICE_STATE_DIR: &str = "/var/lib/vmherd";
