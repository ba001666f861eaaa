//! The answers of handlers.

use std::borrow::Cow;
use std::fmt;

use serde_json::Value;

use super::secret::LongText;
use crate::limits;

/// A handler's answer to a request.
///
/// The request's dialect gives its form: `{"success": …, "message": …, "data": {…}}` for a verb, and
/// `{"status": …, "message": …, "data": {…}}` for a command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Response {
    is_success: bool,
    message: Option<Cow<'static, str>>,
    /// A JSON object. May hold credentials.
    data: LongText,
}

impl Response {
    /// Success, with `data`. The message is `OK` for a verb, and null for a command.
    ///
    /// # Panics
    ///
    /// If `data` is not an object. In a handler that is answered as any panic: `internal error`.
    pub fn success(data: Value) -> Response {
        assert!(data.is_object(), "the data of a response must be an object");
        Response { is_success: true, message: None, data: LongText::new(data.to_string().as_bytes()) }
    }

    /// Failure, with its reason and without data.
    pub fn failure(message: impl Into<Cow<'static, str>>) -> Response {
        Response { is_success: false, message: Some(message.into()), data: LongText::new(b"{}") }
    }

    /// Replaces the message.
    pub fn with_message(mut self, message: impl Into<Cow<'static, str>>) -> Response {
        self.message = Some(message.into());
        self
    }

    /// Whether the request succeeded.
    pub(crate) fn is_success(&self) -> bool {
        self.is_success
    }

    /// The message, if it has one of its own.
    pub(crate) fn message(&self) -> Option<&str> {
        self.message.as_deref()
    }

    /// The data: a JSON object.
    pub(crate) fn data(&self) -> &[u8] {
        self.data.as_slice()
    }

    /// Whether it is larger than an answer may be.
    pub(crate) fn is_too_large(&self) -> bool {
        let message = self.message.as_ref().map_or(0, |message| message.len());
        message + self.data.as_slice().len() > limits::HANDLER_RESPONSE_BYTES_MAX
    }
}

impl fmt::Display for Response {
    /// Success, or the reason of the failure; never the data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message().unwrap_or(if self.is_success { "success" } else { "failure" }))
    }
}
