//! Handlers of requests: the embedding program's code for added commands and verbs.
//!
//! A handler runs on a thread of its lane and answers through a [`Responder`], at once or later, from any thread.
//! Every call gets one result: an answer, or the reason why there is none.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use super::client::Client;
use super::responder::{HandlerFailure, Responder};
use crate::ids::CustomId;
use crate::limits;
use crate::model::{CustomCommands, CustomKind, LongText};

/// Handles the requests for a command or a verb. Any function of these arguments is a handler.
pub trait RequestHandler: Send + Sync {
    /// Handles `request`, and answers it through `responder`: before it returns, or later from any thread.
    ///
    /// It runs on one of the server's handler threads, never on the one that serves the connections. An answer after
    /// the deadline, or after the client has left, is dropped.
    fn handle(&self, request: HandlerRequest, responder: Responder);
}

impl<F: Fn(HandlerRequest, Responder) + Send + Sync> RequestHandler for F {
    fn handle(&self, request: HandlerRequest, responder: Responder) {
        self(request, responder);
    }
}

/// A request for a handler.
pub struct HandlerRequest {
    name: Box<str>,
    parameters: Map<String, Value>,
    client: Client,
}

/// The handlers of a server, and what they handle.
#[derive(Clone)]
pub struct Handlers {
    /// The names and the access rules.
    pub commands: Arc<CustomCommands>,
    /// One handler for each command, in the order of their ids.
    pub by_id: Vec<Arc<dyn RequestHandler>>,
    /// The time that a handler has to answer.
    pub deadline: Duration,
}

/// A call of a handler, as work for a thread.
#[derive(Clone)]
pub struct HandlerCall {
    handler: Arc<dyn RequestHandler>,
    kind: CustomKind,
    name: Box<str>,
    /// A JSON object, which may hold a password or a token.
    parameters: LongText,
    client: Client,
    /// The time that it has.
    pub deadline: Duration,
}

impl HandlerRequest {
    /// The name of the command or verb.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The parameters of a verb without its access token, or the data of a command without its token.
    pub fn parameters(&self) -> &Map<String, Value> {
        &self.parameters
    }

    /// The client that sent it.
    pub fn client(&self) -> &Client {
        &self.client
    }
}

impl Handlers {
    /// A call of the handler of `id`.
    pub fn call(&self, id: CustomId, parameters: LongText, client: Client) -> HandlerCall {
        let command = self.commands.get(id);
        HandlerCall {
            handler: Arc::clone(&self.by_id[id.index()]),
            kind: command.kind,
            name: command.name.clone(),
            parameters,
            client,
            deadline: self.deadline,
        }
    }
}

impl Default for Handlers {
    fn default() -> Handlers {
        Handlers { commands: Arc::default(), by_id: Vec::new(), deadline: limits::HANDLER_DEADLINE }
    }
}

impl HandlerCall {
    /// Bytes of its parameters.
    pub fn bytes(&self) -> usize {
        self.parameters.as_slice().len()
    }

    /// Runs the handler on this thread. The result goes through `responder`; returns the message of a panic after the
    /// handler has answered.
    pub fn run(self, responder: Responder) -> Option<String> {
        let mut parameters: Map<String, Value> = match serde_json::from_slice(self.parameters.as_slice()) {
            Ok(parameters) => parameters,
            Err(error) => {
                responder.fail(HandlerFailure::BadParameters(error.to_string()));
                return None;
            }
        };
        // The server has checked it; it is not for handlers.
        parameters.remove(match self.kind {
            CustomKind::Command => "token",
            CustomKind::Verb => "access_token",
        });
        let request = HandlerRequest { name: self.name, parameters, client: self.client };
        responder.run(|responder| self.handler.handle(request, responder))
    }
}

/// Without the parameters, which may hold a password.
impl fmt::Debug for HandlerRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let HandlerRequest { name, client, .. } = self;
        f.debug_struct("HandlerRequest").field("name", name).field("client", client).finish_non_exhaustive()
    }
}

impl fmt::Debug for HandlerCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandlerCall").field("name", &self.name).field("client", &self.client).finish()
    }
}

#[cfg(test)]
#[path = "handler_tests.rs"]
mod tests;
