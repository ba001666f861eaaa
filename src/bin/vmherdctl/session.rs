//! The connection to the server and the login on it, for one command or for a whole console.

use std::time::Duration;

use serde_json::{Value, json};
use vmherd::client::{Client, ClientError, ServerAddress};
use vmherd::{Escaped, Secret};

use crate::failure::Failure;
use crate::limits;
use crate::progress::Progress;
use crate::secrets;
use crate::settings::{Destination, Settings};

/// A session with one server. It connects when the first call needs it.
pub struct Session {
    pub settings: Settings,
    /// The columns of the terminal, for drawings.
    pub columns: usize,
    /// Whether the terminal may show bold text.
    pub is_bold: bool,
    server: ServerAddress,
    client: Option<Client>,
    /// The token that requests carry.
    token: Option<Secret>,
    /// The VM that the connection is authenticated as, by its password.
    vm: Option<String>,
    is_console: bool,
    /// Whether a slow call does not say so.
    is_quiet: bool,
    /// The names of the last list.
    names: Vec<String>,
}

impl Session {
    pub fn new(settings: Settings, destination: Destination) -> Result<Session, Failure> {
        let server = settings.server(destination)?;
        Ok(Session {
            settings,
            columns: DEFAULT_COLUMNS,
            is_bold: false,
            server,
            client: None,
            token: None,
            vm: None,
            is_console: false,
            is_quiet: false,
            names: Vec::new(),
        })
    }

    /// The session of a console, whose login lasts.
    pub fn of_console(settings: Settings) -> Result<Session, Failure> {
        Ok(Session { is_console: true, ..Session::new(settings, Destination::Server)? })
    }

    pub fn is_console(&self) -> bool {
        self.is_console
    }

    /// The VM that is logged in.
    pub fn vm(&self) -> Option<&str> {
        self.vm.as_deref()
    }

    /// The names of VMs that the last list had.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Keeps the names of VMs, for completion.
    pub fn remember_names<'a>(&mut self, names: impl Iterator<Item = &'a str>) {
        let names = names.filter(|name| is_plain(name)).take(limits::COMPLETED_NAMES_MAX);
        self.names = names.map(str::to_owned).collect();
    }

    /// Checks that the server answers.
    pub fn ping(&mut self) -> Result<(), Failure> {
        self.call(|client| client.ping().map(drop))
    }

    /// Drops a connection that the server has closed: the next call makes a new one.
    pub fn revive(&mut self) {
        if self.client.as_mut().is_some_and(|client| client.check_open().is_err()) {
            self.client = None;
        }
    }

    pub fn server(&self) -> &ServerAddress {
        &self.server
    }

    /// Takes the token that is given, or logs in as the VM that is given. Without either, the server decides what an
    /// anonymous client may do.
    pub fn log_in_as_given(&mut self) -> Result<(), Failure> {
        if let Some(vm) = self.settings.vm.clone() {
            return self.authenticate(&vm).map(drop);
        }
        self.token = secrets::given_token(&self.settings)?;
        Ok(())
    }

    /// Logs in by password and returns the token.
    pub fn authenticate(&mut self, vm_id: &str) -> Result<String, Failure> {
        let password = secrets::read_password(&self.settings, vm_id)?;
        // An earlier token on the connection would be of another VM.
        self.token = None;
        self.vm = None;
        let token = self.call(|client| {
            client.set_token(None);
            client.authenticate(vm_id, password.expose())
        })?;
        self.token = Some(Secret::new(&token));
        self.vm = Some(vm_id.to_owned());
        Ok(token)
    }

    /// Ends the login and its tokens. Returns the server's message.
    pub fn log_out(&mut self) -> Result<String, Failure> {
        let message = self.command("logout", json!({}))?.1;
        self.token = None;
        self.vm = None;
        Ok(message.unwrap_or_default())
    }

    /// Ends a login by password that was for one command only: its token would stay valid for a day, and take the place
    /// of others.
    pub fn end_own_login(&mut self) {
        if self.vm.is_some() && self.client.is_some() {
            let _ = self.log_out();
        }
    }

    /// Runs `run`, whose calls print no progress, and have this time unless `--timeout` is given.
    pub fn quietly<T>(&mut self, timeout: Duration, run: impl FnOnce(&mut Session) -> T) -> T {
        let given = self.settings.timeout;
        self.settings.timeout = given.or(Some(timeout));
        self.is_quiet = true;
        let result = run(self);
        self.is_quiet = false;
        self.settings.timeout = given;
        result
    }

    /// Runs `call` on the connection.
    pub fn call<T>(
        &mut self,
        call: impl FnOnce(&mut Client) -> Result<T, ClientError>,
    ) -> Result<T, Failure> {
        self.call_within(limits::TIMEOUT, call)
    }

    /// Runs `call`, which needs `usual` at most, on the connection.
    pub fn call_within<T>(
        &mut self,
        usual: Duration,
        call: impl FnOnce(&mut Client) -> Result<T, ClientError>,
    ) -> Result<T, Failure> {
        let timeout = self.settings.timeout_or(usual);
        let _progress = (!self.is_quiet).then(|| Progress::start("waiting for the server"));
        let client = match &mut self.client {
            Some(client) => client,
            none => none.insert(Client::connect_to(&self.server, Some(timeout))?),
        };
        client.set_timeout(Some(timeout));
        client.set_token(self.token.as_ref().map(|token| token.expose().to_owned()));
        let result = call(client);
        if matches!(
            result,
            Err(ClientError::Closed | ClientError::Timeout | ClientError::Io(_) | ClientError::BadReply(_))
        ) {
            // The next call makes a new one, and logs in with the token.
            self.client = None;
        }
        Ok(result?)
    }

    /// The token that requests carry.
    pub fn token(&self) -> Option<&Secret> {
        self.token.as_ref()
    }

    /// Runs a command and returns the data and the message of its reply.
    pub fn command(&mut self, name: &str, data: Value) -> Result<(Value, Option<String>), Failure> {
        let reply = self.call(|client| client.command(name, data))?;
        Ok((reply.data, reply.message))
    }
}

/// Whether a server's name of a VM may stand in a line of the console: a terminal shows it as it is, and it is no option.
fn is_plain(name: &str) -> bool {
    !name.starts_with('-') && Escaped(name).to_string() == name
}

/// Where the terminal does not say.
const DEFAULT_COLUMNS: usize = 80;

#[cfg(test)]
mod tests {
    use super::is_plain;

    #[test]
    fn names_that_a_terminal_would_obey_are_not_completed() {
        assert!(is_plain("web-1") && is_plain("näme"));
        for name in ["a\u{1b}]0;x\u{7}", "b\u{9b}31m", "c\u{202e}", "d\n", "--help", "-x"] {
            assert!(!is_plain(name), "{name:?}");
        }
    }
}
