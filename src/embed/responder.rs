//! Results that the embedding program's code sends once: at once or later, from any thread.
//!
//! Every call gets one result: an answer, or the reason why there is none.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};

use crate::limits;
use crate::model::{Container, HypervisorError, Response};

/// Answers one request to a handler, or one call of a hypervisor. Dropping it without an answer answers
/// `internal error`.
pub struct Responder<T = Response>(Arc<PendingResult<T>>);

/// Why there is no answer.
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
type SendResult<T> = Box<dyn FnOnce(Result<T, HandlerFailure>) + Send>;

/// The result of a call, until it is sent.
struct PendingResult<T> {
    state: Mutex<PendingState<T>>,
}

struct PendingState<T> {
    /// `None` once the result is sent.
    send: Option<SendResult<T>>,
    /// Reports progress, once.
    report: Option<Box<dyn FnOnce() + Send>>,
    /// The thread that runs the call, until it returns.
    caller: Option<ThreadId>,
}

impl Responder {
    /// Answers the request with `response`.
    pub fn respond(self, response: Response) {
        self.0.send(if response.is_too_large() { Err(HandlerFailure::TooLarge) } else { Ok(response) });
    }
}

impl<T> Responder<Result<T, HypervisorError>> {
    /// Answers the call with its result.
    pub fn respond(self, result: Result<T, HypervisorError>) {
        self.0.send(Ok(result));
    }
}

impl Responder<Result<Container, HypervisorError>> {
    /// Reports that the hypervisor has opened a shell in the container, to set it up; the container is not created yet.
    /// Further calls do nothing.
    pub fn endpoint_shell_opened(&self) {
        let report = self.0.lock().report.take();
        if let Some(report) = report {
            report();
        }
    }
}

impl<T> Responder<T> {
    /// A responder that passes the result of a call to `send`.
    #[doc(hidden)]
    pub fn new(send: impl FnOnce(Result<T, HandlerFailure>) + Send + 'static) -> Responder<T> {
        let state = PendingState { send: Some(Box::new(send)), report: None, caller: None };
        Responder(Arc::new(PendingResult { state: Mutex::new(state) }))
    }

    /// Has `report` called when there is progress.
    pub(super) fn with_report(self, report: impl FnOnce() + Send + 'static) -> Responder<T> {
        self.0.lock().report = Some(Box::new(report));
        self
    }

    /// Sends the reason why there is no answer.
    pub(super) fn fail(self, failure: HandlerFailure) {
        self.0.send(Err(failure));
    }

    /// Passes it to `call`, on this thread. A panic is the result, unless one was sent before: then its message is
    /// returned.
    pub(super) fn run(self, call: impl FnOnce(Responder<T>)) -> Option<String> {
        let pending = Arc::clone(&self.0);
        pending.lock().caller = Some(thread::current().id());
        let returned = catch_unwind(AssertUnwindSafe(|| call(self)));
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

impl<T> Drop for Responder<T> {
    fn drop(&mut self) {
        // After a panic of the call, its caller sends the message.
        if !(thread::panicking() && self.0.lock().caller == Some(thread::current().id())) {
            self.0.send(Err(HandlerFailure::Dropped));
        }
    }
}

impl<T> fmt::Debug for Responder<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Responder").field("is_sent", &self.0.lock().send.is_none()).finish()
    }
}

impl<T> PendingResult<T> {
    /// Sends the result, unless one was sent before.
    fn send(&self, result: Result<T, HandlerFailure>) {
        let send = self.lock().send.take();
        if let Some(send) = send {
            send(result);
        }
    }

    fn lock(&self) -> MutexGuard<'_, PendingState<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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
