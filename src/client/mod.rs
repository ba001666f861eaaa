//! A client of a server: VMs, metrics, conversions, containers, and the operator's commands. [`Client`] has its
//! methods.
//!
#![doc = include_str!("../../docs/clients.md")]

mod address;
mod connection;
mod containers;
mod entries;
mod error;
pub(crate) mod input;
mod operator;
mod points;
mod reply;
mod vms;

pub use address::ServerAddress;
pub use containers::{CreatedContainer, ServerStatus};
pub use entries::{ListedConnection, ListedDisk, ListedVm, PeerAddress};
pub use error::{ClientError, PutManyError};
pub use points::{Point, PointsByKey};
pub use reply::Reply;
pub use vms::{DiskUpdate, NewVm, VmUpdate};

use std::fmt;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::limits;
use connection::{Connection, Deadline};
use reply::RawReply;

/// A connection to a server.
///
/// Requests are answered in order, one at a time. Dropping the client closes the connection. See [`ClientError`] for
/// what an error means for the connection.
///
/// ```
/// # use std::time::Duration;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = std::env::temp_dir().join(format!("vmherd-client-library-{}", std::process::id()));
/// # let config = vmherd::Config::default().state_dir(&directory).store("memory:".parse()?);
/// let server = vmherd::Server::bind(config.listen("tcp://127.0.0.1:0".parse()?))?;
/// let address = server.addresses()[0].to_string();
/// let running = server.start()?;
/// let mut client = vmherd::client::Client::connect(address, Some(Duration::from_secs(15)))?;
/// client.put("palm.cpu", 0.5, Some(1150864247))?;
/// client.put("palm.cpu", 2.0, Some(1150864248))?;
/// client.put("palm.cpu", 0.5, Some(1150864248))?;
/// assert_eq!(client.get("palm.cpu")?["palm.cpu"], [(1150864247, 0.5), (1150864248, 0.5)]);
/// assert!(client.get("non_existing_key")?.is_empty());
/// # running.stop(Duration::ZERO)?;
/// # std::fs::remove_dir_all(directory)?;
/// # Ok(())
/// # }
/// ```
pub struct Client {
    connection: Connection,
    address: ServerAddress,
    timeout: Option<Duration>,
    token: Option<String>,
    access_token: Option<String>,
}

impl Client {
    /// Connects to the server at `address`: `HOST:PORT`, `tcp://HOST:PORT` or `unix:PATH`.
    ///
    /// `timeout` is for connecting and for each call as a whole, however slowly its reply arrives; `None`: no
    /// timeout. The resolution of a host's name has the system's own.
    pub fn connect(address: impl AsRef<str>, timeout: Option<Duration>) -> Result<Client, ClientError> {
        Client::connect_to(&address.as_ref().parse()?, timeout)
    }

    /// As [`Client::connect`], to an address that is parsed.
    pub fn connect_to(address: &ServerAddress, timeout: Option<Duration>) -> Result<Client, ClientError> {
        if timeout == Some(Duration::ZERO) {
            return Err(ClientError::InvalidArgument("a timeout of zero".into()));
        }
        let connection = Connection::open(address, Deadline::after(timeout))?;
        Ok(Client { connection, address: address.clone(), timeout, token: None, access_token: None })
    }

    /// Sets how many bytes a reply may have; 400 MiB by default. A larger one is a [`ClientError::BadReply`].
    pub fn set_reply_limit(&mut self, bytes: usize) {
        self.connection.reply_bytes_max = bytes;
    }

    /// The address of the server, as given.
    pub fn address(&self) -> &ServerAddress {
        &self.address
    }

    /// Sets the timeout of each call from now on.
    pub fn set_timeout(&mut self, timeout: Option<Duration>) {
        self.timeout = timeout;
    }

    /// Looks whether the connection is still open, without a request and without waiting. A server that has closed
    /// it, or sent what no request asked for, is [`ClientError::Closed`].
    pub fn check_open(&mut self) -> Result<(), ClientError> {
        self.connection.check_open()
    }

    /// Sets the token that is sent with each command from now on, as [`Client::authenticate`] returns it or a file
    /// holds it. The connection then acts as the token's VM; each command with a reader's token is the reader's. Not
    /// needed on a connection that has authenticated by password.
    pub fn set_token(&mut self, token: Option<String>) {
        self.token = token;
    }

    /// Sets the access token that is sent with each verb from now on, for servers that demand one.
    pub fn set_access_token(&mut self, access_token: Option<String>) {
        self.access_token = access_token;
    }

    /// Sends `request`, a JSON object in any dialect, and returns the reply, whatever it says; no token is added.
    /// Numbers with a fraction may differ from the reply's in the last digit; [`Client::get`] is exact.
    pub fn request(&mut self, request: &Value) -> Result<Value, ClientError> {
        if !request.is_object() {
            return Err(ClientError::InvalidArgument("a request is a JSON object".into()));
        }
        self.call(request, |reply| reply.whole())
    }

    /// Runs a command of the dialect `command`; `data` is an object, or null for none. An error reply is
    /// [`ClientError::Server`].
    pub fn command(&mut self, name: &str, data: Value) -> Result<Reply, ClientError> {
        self.call_command(name, data, |reply| {
            Ok(Reply { message: reply.message()?, data: reply.data()?.value()? })
        })
    }

    /// Runs a verb such as `STAT`; `parameters` is an object, or null for none. Returns the data of the reply.
    pub fn verb(&mut self, verb: &str, parameters: Value) -> Result<Value, ClientError> {
        let mut parameters = object("parameters", parameters)?;
        if let Some(token) = &self.access_token {
            parameters.entry("access_token").or_insert_with(|| Value::from(token.as_str()));
        }
        let request = json!({"verb": verb, "parameters": parameters});
        self.call(&request, |reply| reply.expect_success("success", "true")?.data()?.value())
    }

    /// Runs an action such as `list_all_vms`; `fields` is an object with the other members of the request, or null
    /// for none. Returns the whole reply.
    pub fn action(&mut self, action: &str, fields: Value) -> Result<Value, ClientError> {
        let mut request = object("fields", fields)?;
        request.insert("action".into(), Value::from(action));
        self.call(&Value::Object(request), |reply| reply.check()?.whole())
    }

    /// Converts `text` from the format of the legacy agents and returns the result, an object of entities. The server
    /// answers after a delay of some seconds, unless it is configured otherwise.
    pub fn convert(&mut self, request_id: &str, text: &str) -> Result<Value, ClientError> {
        let request = json!({"request_id": request_id, "data": text});
        self.call(&request, |reply| reply.check()?.of_request(request_id)?.data()?.value())
    }

    /// Checks that the server answers. Returns this client's own address as the server sees it.
    pub fn ping(&mut self) -> Result<PeerAddress, ClientError> {
        self.call_command("ping", Value::Null, |reply| entries::address(reply.data()?.member("addr")?))
    }

    /// Runs a command of the dialect `command`; `read` takes what is needed from a reply of success.
    fn call_command<T>(
        &mut self,
        name: &str,
        data: Value,
        read: impl FnOnce(&RawReply<'_>) -> Result<T, ClientError>,
    ) -> Result<T, ClientError> {
        let request = self.command_request(name, data)?;
        self.call(&request, |reply| read(reply.expect_success("status", "\"success\"")?))
    }

    fn command_request(&self, name: &str, data: Value) -> Result<Value, ClientError> {
        let mut data = object("data", data)?;
        if let Some(token) = self.token.as_deref().filter(|_| !WITHOUT_TOKEN.contains(&name)) {
            data.entry("token").or_insert_with(|| Value::from(token));
        }
        Ok(json!({"command": name, "data": data}))
    }

    /// Sends `request` and reads its reply.
    fn call<T>(
        &mut self,
        request: &Value,
        read: impl FnOnce(&RawReply<'_>) -> Result<T, ClientError>,
    ) -> Result<T, ClientError> {
        let deadline = Deadline::after(self.timeout);
        self.connection.check_ready()?;
        self.send(request, deadline)?;
        self.receive(deadline, read)
    }

    fn send(&mut self, request: &Value, deadline: Deadline) -> Result<(), ClientError> {
        let mut text = request.to_string();
        if text.len() > limits::REQUEST_BYTES_MAX {
            let (length, most) = (text.len(), limits::REQUEST_BYTES_MAX);
            let why = format!("the request has {length} bytes; a server accepts {most}");
            return Err(ClientError::InvalidArgument(why));
        }
        text.push('\n');
        self.connection.send(text.as_bytes(), deadline)
    }

    /// Reads the next reply. If it can't be read, the connection is closed.
    fn receive<T>(
        &mut self,
        deadline: Deadline,
        read: impl FnOnce(&RawReply<'_>) -> Result<T, ClientError>,
    ) -> Result<T, ClientError> {
        let line = self.connection.receive(deadline)?;
        let result = RawReply::parse(&line).and_then(|reply| read(&reply));
        if result.as_ref().is_err_and(ClientError::loses_step) {
            self.connection.close();
        }
        result
    }
}

/// The object that `value` is; null is an empty one.
fn object(name: &str, value: Value) -> Result<Map<String, Value>, ClientError> {
    match value {
        Value::Object(object) => Ok(object),
        Value::Null => Ok(Map::new()),
        _ => Err(ClientError::InvalidArgument(format!("{name} is a JSON object"))),
    }
}

/// Shows no token.
impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("address", &self.address).finish_non_exhaustive()
    }
}

/// Commands that ignore a token.
const WITHOUT_TOKEN: [&str; 3] = ["ping", "register", "authenticate"];
