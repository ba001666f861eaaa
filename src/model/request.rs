//! Parsed requests.

use super::command::{BadField, Command, Put};
use super::command_table::CommandName;
use super::dialect::Dialect;
use super::failure::Failure;
use super::secret::Secret;
use super::series::NewPoint;

/// How long a login by a request lasts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Scope {
    /// Until the connection ends.
    #[default]
    Connection,
    /// For this request only, as over HTTP, where several clients may share a connection.
    Request,
}

/// The client's id for a request, verbatim: a JSON string with its quotes, or the digits of a number.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RequestId(pub Box<str>);

/// A request with a valid envelope. Its data may be invalid; that is reported only after the access check.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    /// The language of the reply.
    pub dialect: Dialect,
    /// Whether a login by this request applies to later ones.
    pub scope: Scope,
    /// Whether a proxy forwarded the request for another client.
    pub is_forwarded: bool,
    /// The client's id. Requests with an id may be answered out of order.
    pub id: Option<RequestId>,
    /// The token (absent where the command ignores tokens), or an error if it is not a string.
    pub token: Result<Option<Secret>, BadField>,
    /// The access token among the parameters of a verb, or an error if it is malformed. Ignored where the listener
    /// demands none.
    pub access_token: Result<Option<Secret>, Failure>,
    /// The command to run.
    pub name: CommandName,
    /// The command with its data, or the error in the data.
    pub command: Result<Command, Failure>,
    /// Set for a command that an operator runs for a VM which its data name, and a VM for itself.
    pub vm_field: Option<VmField>,
}

/// Whether the data of a request name a VM.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum VmField {
    /// They do: the error for any client but an operator.
    Given(BadField),
    /// They do not, in a field of this name: an error for an operator.
    Missing(&'static str),
}

/// A message that is not a valid request, and the reply to it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// The language of the reply.
    pub dialect: Dialect,
    /// The request's id, if it could be read.
    pub id: Option<RequestId>,
    /// The reason.
    pub failure: Failure,
}

/// The refusal of a message without an id, in the format of `command`.
impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Refusal {
        Refusal { dialect: Dialect::Command, id: None, failure }
    }
}

impl Request {
    /// A request without id and token.
    pub fn new(dialect: Dialect, name: CommandName, command: Result<Command, Failure>) -> Request {
        Request {
            dialect,
            scope: Scope::Connection,
            is_forwarded: false,
            id: None,
            token: Ok(None),
            access_token: Ok(None),
            name,
            command,
            vm_field: None,
        }
    }

    /// A `ping` without an id.
    pub fn ping() -> Request {
        Request::new(Dialect::Command, CommandName::Ping, Ok(Command::Ping))
    }

    /// The requests for `points` without an id that came together, each with one point.
    pub fn puts(dialect: Dialect, mut points: Vec<NewPoint>) -> Request {
        // The readers make room for more than may come, and the request is charged for what has come.
        if points.len() < points.capacity() / 2 {
            points.shrink_to_fit();
        }
        let put = Put { points, undated: Vec::new(), is_atomic: false };
        Request::new(dialect, CommandName::Put, Ok(Command::Put(put)))
    }

    /// Whether the answer may come in pages: not if the request is invalid.
    pub fn is_paged(&self) -> bool {
        self.name.is_paged() && self.command.is_ok()
    }

    /// Whether later input of the connection must not be decoded before this request is done.
    pub fn is_barrier(&self) -> bool {
        self.name.is_barrier() || !matches!(self.token, Ok(None))
    }

    /// Whether it begins with its write: no token and no VM has to be looked up first. Such requests may be open together,
    /// since the store does them in the order in which they begin.
    pub fn is_direct_write(&self) -> bool {
        let is_direct = !matches!(self.command, Ok(Command::OfVm { .. }));
        self.name.is_write() && !self.is_barrier() && is_direct
    }

    /// Whether the reactor answers it directly: no token has to be looked up. Such requests are accepted even when queues are full, so that an
    /// overloaded server can be inspected.
    pub fn is_inline(&self) -> bool {
        self.name.is_inline() && matches!(self.token, Ok(None)) && !matches!(self.access_token, Ok(Some(_)))
    }

    /// Number of replies: one for each of the points that came in requests of their own, otherwise one.
    pub fn reply_count(&self) -> usize {
        match &self.command {
            Ok(Command::Put(put)) if !put.is_atomic => put.points.len(),
            _ => 1,
        }
    }

    /// Number of requests that came together. Adjacent lines of text count as one.
    pub fn count(&self) -> usize {
        if self.dialect == Dialect::Text { 1 } else { self.reply_count() }
    }

    /// Approximate heap size in bytes.
    pub fn held_bytes(&self) -> usize {
        let token = self.token.as_ref().ok().and_then(Option::as_ref).map_or(0, Secret::length);
        let access_token = self.access_token.as_ref().ok().and_then(Option::as_ref).map_or(0, Secret::length);
        let id = self.id.as_ref().map_or(0, |id| id.0.len());
        token + access_token + id + self.command.as_ref().map_or(0, Command::held_bytes)
    }

    /// Whether it ends the previous login, even if it fails.
    pub fn is_login(&self) -> bool {
        match &self.command {
            Ok(Command::AuthorizeVm { password, .. } | Command::ConnectVm { password, .. }) => {
                password.is_some()
            }
            _ => self.name == CommandName::Authenticate,
        }
    }
}
