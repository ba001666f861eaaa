//! Replies as fake clients read them.

use serde_json::Value;

use super::codec::TextReply;

/// A reply of the server.
pub(super) struct Response {
    /// The id, verbatim.
    pub(super) id: Option<String>,
    pub(super) outcome: Outcome,
    pub(super) message: Option<String>,
    /// All of a reply to an action; in metrics text the lines after its first.
    pub(super) data: Value,
    pub(super) shape: Shape,
}

/// The shape of a reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Shape {
    /// That of the dialect `command`, or of no dialect: a page, or lines.
    Command,
    /// That of the dialect `action`, or of a conversion.
    Action,
    /// That of the dialect `verb`.
    Verb,
}

/// The result that a reply reports.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Outcome {
    Success,
    Busy,
    StoreUnavailable,
    Unknown,
    AuthenticationRequired,
    InvalidCredentials,
    InvalidToken,
    TokenOfAnotherVm,
    AlreadyRegistered,
    RegistrationClosed,
    UnknownVm,
    NotAuthorized,
    /// There are as many containers as there may be.
    NoRoom,
    Internal,
    Closing(ClosingError),
    /// Some other error.
    Other,
}

/// The last error of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ClosingError {
    TimedOut,
    TooLarge,
    CutShort,
    BadText,
    WrongProtocol,
}

impl Response {
    /// Reads a reply in JSON, or a page, without the newline at its end.
    pub(super) fn read(text: &str) -> Result<Response, String> {
        if text.starts_with("This port speaks JSON") {
            let outcome = Outcome::Closing(ClosingError::WrongProtocol);
            return Ok(Response {
                id: None,
                outcome,
                message: None,
                data: Value::Null,
                shape: Shape::Command,
            });
        }
        if text == "ok" || text.starts_with("vmherd knows") {
            let (outcome, data) = (Outcome::Success, Value::String(text.to_owned()));
            return Ok(Response { id: None, outcome, message: None, data, shape: Shape::Command });
        }
        let value: Value = serde_json::from_str(text).map_err(|error| format!("no JSON: {error}"))?;
        let object = value.as_object().ok_or("no object")?;
        let id = object.get("request_id").map(Value::to_string);
        if let Some(id) = &id
            && !text.starts_with(&format!("{{\"request_id\":{id},"))
        {
            return Err("the id does not come first".to_owned());
        }
        if !object.contains_key("message") {
            let message = object.get("error").and_then(Value::as_str).map(str::to_owned);
            let outcome = message.as_deref().map_or(Outcome::Success, error);
            return Ok(Response { id, outcome, message, data: value, shape: Shape::Action });
        }
        if object.len() != 3 + usize::from(id.is_some()) || !object["data"].is_object() {
            return Err("not the shape of a reply".to_owned());
        }
        let message = object["message"].as_str().map(str::to_owned);
        let (shape, is_success) = match (object.get("status"), object.get("success")) {
            (Some(Value::String(status)), None) if status == "success" => (Shape::Command, true),
            (Some(Value::String(status)), None) if status == "error" => (Shape::Command, false),
            (None, Some(Value::Bool(is_success))) => (Shape::Verb, *is_success),
            _ => return Err("neither success nor error".to_owned()),
        };
        let outcome = match is_success {
            true => Outcome::Success,
            false => error(message.as_deref().ok_or("an error without a message")?),
        };
        Ok(Response { id, outcome, message, data: object["data"].clone(), shape })
    }

    /// Reads a reply of metrics text, without the empty line at its end.
    pub(super) fn read_lines(text: &str) -> Result<Response, String> {
        let (outcome, message) = match TextReply::parse(text)? {
            TextReply::Points(_) => (Outcome::Success, None),
            TextReply::Error(message) => (error(message), Some(message.to_owned())),
        };
        let data = Value::String(text.split_once('\n').map_or("", |(_, rest)| rest).to_owned());
        Ok(Response { id: None, outcome, message, data, shape: Shape::Command })
    }

    /// The status in the reply to an action.
    pub(super) fn status(&self) -> &str {
        self.data["status"].as_str().unwrap_or_default()
    }

    pub(super) fn message(&self) -> &str {
        self.message.as_deref().unwrap_or_default()
    }
}

fn error(message: &str) -> Outcome {
    match message {
        "internal error" | "Internal error" => Outcome::Internal,
        "busy" | "Unavailable (busy)" => Outcome::Busy,
        "store unavailable" | "Unavailable (store unavailable)" => Outcome::StoreUnavailable,
        "outcome unknown" | "Internal error (outcome unknown)" => Outcome::Unknown,
        "You have to authenticate to run this operation"
        | "authentication required"
        | "Bad authentication (Authentication required)" => Outcome::AuthenticationRequired,
        "Invalid credentials" | "Bad authentication" => Outcome::InvalidCredentials,
        "Unavailable (Running containers maximum amount was reached)" => Outcome::NoRoom,
        "Token belongs to another VM" => Outcome::TokenOfAnotherVm,
        "VM is already registered" => Outcome::AlreadyRegistered,
        "Registration is closed" | "registration is closed" => Outcome::RegistrationClosed,
        "VM ID does not exist" => Outcome::UnknownVm,
        "vm not authenticated" => Outcome::NotAuthorized,
        "Invalid JSON: the input ended inside a request" | "the input ended inside a line" => {
            Outcome::Closing(ClosingError::CutShort)
        }
        "the line did not end in time" => Outcome::Closing(ClosingError::TimedOut),
        "line too long" => Outcome::Closing(ClosingError::TooLarge),
        "a line must be UTF-8 without control characters" => Outcome::Closing(ClosingError::BadText),
        _ if message.starts_with("Request timeout") => Outcome::Closing(ClosingError::TimedOut),
        _ if message.starts_with("Request too large") || message.starts_with("the body is larger") => {
            Outcome::Closing(ClosingError::TooLarge)
        }
        "Bad authentication (Invalid access token)" => Outcome::InvalidToken,
        _ if message.starts_with("Invalid access token") => Outcome::InvalidToken,
        _ => Outcome::Other,
    }
}
