//! Handlers of requests: the embedding program's code for added commands and verbs.
//!
//! A handler runs on a thread of its lane and answers through a [`Responder`], at once or later, from any thread.
//! Every call gets one result: an answer, or the reason why there is none.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};
use std::time::Duration;

use serde_json::{Map, Value};

use super::client::Client;
use crate::ids::CustomId;
use crate::limits;
use crate::model::{CustomCommands, CustomKind, LongText, Response};

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
#[derive(Debug)]
pub struct HandlerRequest {
    name: Box<str>,
    parameters: Map<String, Value>,
    client: Client,
}

/// Answers one request. Dropping it without an answer answers `internal error`.
#[derive(Debug)]
pub struct Responder(Arc<PendingResult>);

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

/// Why a request has no answer of its handler.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum HandlerFailure {
    /// The parameters are not an object that can be read; the reason. The handler was not called.
    BadParameters(String),
    /// The handler panicked with this message.
    Panicked(String),
    /// The handler dropped the responder.
    Dropped,
    /// The answer is too large.
    TooLarge,
}

/// Takes the result of a call.
type SendResult = Box<dyn FnOnce(Result<Response, HandlerFailure>) + Send>;

/// The result of a call, until it is sent.
struct PendingResult {
    state: Mutex<PendingState>,
}

struct PendingState {
    /// `None` once the result is sent.
    send: Option<SendResult>,
    /// The thread that runs the handler, until it returns.
    caller: Option<ThreadId>,
}

impl HandlerRequest {
    /// The name of the command or verb.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The parameters of a verb, or the data of a command without its token.
    pub fn parameters(&self) -> &Map<String, Value> {
        &self.parameters
    }

    /// The client that sent it.
    pub fn client(&self) -> &Client {
        &self.client
    }
}

impl Responder {
    /// A responder that passes the result of a call to `send`.
    pub fn new(send: impl FnOnce(Result<Response, HandlerFailure>) + Send + 'static) -> Responder {
        let state = PendingState { send: Some(Box::new(send)), caller: None };
        Responder(Arc::new(PendingResult { state: Mutex::new(state) }))
    }

    /// Answers the request with `response`.
    pub fn respond(self, response: Response) {
        self.0.send(if response.is_too_large() { Err(HandlerFailure::TooLarge) } else { Ok(response) });
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        // After a panic of the handler, its caller sends the message.
        if !(thread::panicking() && self.0.lock().caller == Some(thread::current().id())) {
            self.0.send(Err(HandlerFailure::Dropped));
        }
    }
}

impl PendingResult {
    /// Sends the result, unless one was sent before.
    fn send(&self, result: Result<Response, HandlerFailure>) {
        let send = self.lock().send.take();
        if let Some(send) = send {
            send(result);
        }
    }

    fn lock(&self) -> MutexGuard<'_, PendingState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for PendingResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_sent = self.lock().send.is_none();
        f.debug_struct("PendingResult").field("is_sent", &is_sent).finish()
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
                responder.0.send(Err(HandlerFailure::BadParameters(error.to_string())));
                return None;
            }
        };
        if self.kind == CustomKind::Command {
            // The server has checked it; it is not for handlers.
            parameters.remove("token");
        }
        let request = HandlerRequest { name: self.name, parameters, client: self.client };
        let pending = Arc::clone(&responder.0);
        pending.lock().caller = Some(thread::current().id());
        let returned = catch_unwind(AssertUnwindSafe(|| self.handler.handle(request, responder)));
        let mut state = pending.lock();
        state.caller = None;
        let send = state.send.take_if(|_| returned.is_err());
        drop(state);
        let message = panic_message(&*returned.err()?);
        match send {
            Some(send) => send(Err(HandlerFailure::Panicked(message))),
            None => return Some(message),
        }
        None
    }
}

impl fmt::Debug for HandlerCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandlerCall").field("name", &self.name).field("client", &self.client).finish()
    }
}

impl fmt::Display for HandlerFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HandlerFailure::BadParameters(error) => write!(f, "the parameters can't be read: {error}"),
            HandlerFailure::Panicked(message) => write!(f, "the handler panicked: {message}"),
            HandlerFailure::Dropped => f.write_str("the handler dropped the responder"),
            HandlerFailure::TooLarge => {
                write!(f, "the handler's answer has more than {} bytes", limits::HANDLER_RESPONSE_BYTES_MAX)
            }
        }
    }
}

/// The message of a panic.
pub fn panic_message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("without a message").chars().take(limits::PANIC_MESSAGE_CHARS_MAX).collect()
}
