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
    /// It is in the shape of the dialect `action`, or of a conversion.
    pub(super) is_action: bool,
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
            return Ok(Response { id: None, outcome, message: None, data: Value::Null, is_action: false });
        }
        if text == "ok" || text.starts_with("vmherd knows") {
            let (outcome, data) = (Outcome::Success, Value::String(text.to_owned()));
            return Ok(Response { id: None, outcome, message: None, data, is_action: false });
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
            let outcome = message.as_deref().map_or(Ok(Outcome::Success), error)?;
            return Ok(Response { id, outcome, message, data: value, is_action: true });
        }
        if object.len() != 3 + usize::from(id.is_some()) || !object["data"].is_object() {
            return Err("not the shape of a reply".to_owned());
        }
        let message = object["message"].as_str().map(str::to_owned);
        let outcome = match object["status"].as_str() {
            Some("success") => Outcome::Success,
            Some("error") => error(message.as_deref().ok_or("an error without a message")?)?,
            _ => return Err("neither success nor error".to_owned()),
        };
        Ok(Response { id, outcome, message, data: object["data"].clone(), is_action: false })
    }

    /// Reads a reply of metrics text, without the empty line at its end.
    pub(super) fn read_lines(text: &str) -> Result<Response, String> {
        let (outcome, message) = match TextReply::parse(text)? {
            TextReply::Points(_) => (Outcome::Success, None),
            TextReply::Error(message) => (error(message)?, Some(message.to_owned())),
        };
        let data = Value::String(text.split_once('\n').map_or("", |(_, rest)| rest).to_owned());
        Ok(Response { id: None, outcome, message, data, is_action: false })
    }

    /// The status in the reply to an action.
    pub(super) fn status(&self) -> &str {
        self.data["status"].as_str().unwrap_or_default()
    }

    pub(super) fn message(&self) -> &str {
        self.message.as_deref().unwrap_or_default()
    }
}

fn error(message: &str) -> Result<Outcome, String> {
    Ok(match message {
        "internal error" => return Err("an internal error of the server".to_owned()),
        "busy" => Outcome::Busy,
        "store unavailable" => Outcome::StoreUnavailable,
        "outcome unknown" => Outcome::Unknown,
        "You have to authenticate to run this operation" | "authentication required" => {
            Outcome::AuthenticationRequired
        }
        "Invalid credentials" => Outcome::InvalidCredentials,
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
        _ if message.starts_with("Invalid access token") => Outcome::InvalidToken,
        _ => Outcome::Other,
    })
}
