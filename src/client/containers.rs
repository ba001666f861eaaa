//! The server's state, and the containers that it runs: the verbs `STAT`, `CREATE` and `DESTROY`.

use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

use super::Client;
use super::error::ClientError;

/// The state of a server.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ServerStatus {
    /// The time since its start, in whole seconds.
    pub uptime: Duration,
    /// Containers that may still be created; `None`: there is no maximum.
    pub available: Option<u64>,
    /// The version of vmherd.
    pub version: String,
}

/// A container that was created, with the credentials of its user and those that destroy it.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CreatedContainer {
    /// Its name, in the lists of VMs too.
    pub container_uuid: String,
    /// The token that destroys it.
    pub client_token: String,
    /// The SHA-256 of its image, in hexadecimal.
    pub container_iso_sha256: String,
    /// The user to log in as.
    pub container_username: String,
    /// The password of that user.
    pub container_password: String,
    /// The port of the server's host that leads to it.
    pub container_listen_port: u16,
}

impl Client {
    /// The state of the server.
    pub fn status(&mut self) -> Result<ServerStatus, ClientError> {
        let data = self.verb("STAT", Value::Null)?;
        let uptime = data["uptime"].as_u64().map(Duration::from_secs);
        let available = match &data["available"] {
            Value::String(text) if text == "nolimit" => Some(None),
            available => available.as_u64().map(Some),
        };
        match (uptime, available, data["version"].as_str()) {
            (Some(uptime), Some(available), Some(version)) => {
                Ok(ServerStatus { uptime, available, version: version.to_owned() })
            }
            _ => Err(self.bad_data("STAT")),
        }
    }

    /// Creates a container, and waits until it is ready.
    pub fn create(&mut self) -> Result<CreatedContainer, ClientError> {
        let data = self.verb("CREATE", Value::Null)?;
        let text = |name: &str| data[name].as_str().map(str::to_owned);
        let container = || {
            Some(CreatedContainer {
                container_uuid: text("container_uuid")?,
                client_token: text("client_token")?,
                container_iso_sha256: text("container_iso_sha256")?,
                container_username: text("container_username")?,
                container_password: text("container_password")?,
                container_listen_port: u16::try_from(data["container_listen_port"].as_u64()?).ok()?,
            })
        };
        container().ok_or_else(|| self.bad_data("CREATE"))
    }

    /// Destroys a container; the arguments are of its [`CreatedContainer`].
    pub fn destroy(&mut self, container_uuid: &str, client_token: &str) -> Result<(), ClientError> {
        let parameters = json!({"container_uuid": container_uuid, "client_token": client_token});
        self.verb("DESTROY", parameters).map(|_| ())
    }

    /// Closes the connection because of data that is not an answer to `verb`.
    fn bad_data(&mut self, verb: &str) -> ClientError {
        self.connection.close();
        ClientError::bad_reply(format_args!("its data is not an answer to {verb}"))
    }
}

/// Shows neither password nor token.
impl fmt::Debug for CreatedContainer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CreatedContainer")
            .field("container_uuid", &self.container_uuid)
            .field("container_listen_port", &self.container_listen_port)
            .finish_non_exhaustive()
    }
}
