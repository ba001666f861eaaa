//! A request as a dialect reads it.

use super::command::{BadField, Command, CommandName};
use super::failure::Failure;
use super::secret::Secret;

/// Which language a request was made in; its reply is made in the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dialect {
    /// `{"command": …, "data": {…}}`
    Command,
    /// `{"action": …, …}`
    Action,
    /// `{"request_id": …, "data": "…"}`
    Conversion,
    /// `put KEY VALUE TIMESTAMP`
    Text,
}

/// How long what a request proves of its client counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Scope {
    /// For all that follows on the connection, too.
    #[default]
    Connection,
    /// For this request only, as in HTTP: others may use the same connection.
    Request,
}

/// The client's own name for a request, as it came: a JSON string with its quotes, or a number digit
/// for digit.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RequestId(pub Box<str>);

/// A request whose envelope is in order. Its data may not be: that is told only to those who may run
/// the command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    /// The language of the reply.
    pub dialect: Dialect,
    /// Whether a token or a password that comes with it counts for those that follow.
    pub scope: Scope,
    /// Whether a proxy says that it passes the request on for a client elsewhere.
    pub is_forwarded: bool,
    /// The client's name for it; such a request may be overtaken.
    pub id: Option<RequestId>,
    /// The token that came with it (absent where the command ignores tokens); an error where it is no
    /// string.
    pub token: Result<Option<Secret>, BadField>,
    /// What is to be run.
    pub name: CommandName,
    /// The same with its data, or what is wrong with the data: a bad field, a list that does not exist,
    /// an update of nothing.
    pub command: Result<Command, Failure>,
}

/// A message that is no request: what to answer, and to whom.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// The language of the reply.
    pub dialect: Dialect,
    /// The request's id, where it could be read.
    pub id: Option<RequestId>,
    /// What is wrong.
    pub failure: Failure,
}

impl Request {
    /// Whether nothing that follows on the same connection may be decoded before this is done.
    pub fn is_barrier(&self) -> bool {
        self.name.is_barrier() || !matches!(self.token, Ok(None))
    }

    /// Whether it never waits for anything, so that there is always room for it: who looks at a server that has
    /// too much to do is to see that.
    pub fn is_inline(&self) -> bool {
        self.name.is_inline() && matches!(self.token, Ok(None))
    }

    /// How many replies it gets: of metrics text, each line its own.
    pub fn reply_count(&self) -> usize {
        match (self.dialect, &self.command) {
            (Dialect::Text, Ok(Command::Put(put))) => put.points.len(),
            _ => 1,
        }
    }

    /// Bytes of memory that it takes beside itself, about.
    pub fn held_bytes(&self) -> usize {
        let token = match &self.token {
            Ok(Some(token)) => token.length(),
            _ => 0,
        };
        let id = self.id.as_ref().map_or(0, |id| id.0.len());
        token + id + self.command.as_ref().map_or(0, Command::held_bytes)
    }

    /// Whether it is to end whatever login was before, however it ends itself.
    pub fn is_login(&self) -> bool {
        match &self.command {
            Ok(Command::AuthorizeVm { password, .. } | Command::ConnectVm { password, .. }) => {
                password.is_some()
            }
            _ => self.name == CommandName::Authenticate,
        }
    }
}
