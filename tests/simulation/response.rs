//! A reply as a fake client reads it.

use serde_json::Value;

use super::request::ClosingError;

/// One line from the server.
pub(super) struct Response {
    /// The id as it stands in the text.
    pub(super) id: Option<String>,
    pub(super) outcome: Outcome,
    pub(super) message: Option<String>,
    /// Of a reply to an action: all of it; in metrics text the lines behind its first.
    pub(super) data: Value,
    /// It is in the shape of the dialect `action`, or of a conversion.
    pub(super) is_action: bool,
}

/// What a reply says.
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

impl Response {
    /// Reads `line`, which has no newline at its end.
    pub(super) fn read(line: &[u8]) -> Result<Response, String> {
        let text = std::str::from_utf8(line).map_err(|error| error.to_string())?;
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
    pub(super) fn read_lines(lines: &[u8]) -> Result<Response, String> {
        let text = std::str::from_utf8(lines).map_err(|error| error.to_string())?;
        let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
        let (outcome, message) = match first {
            "ok" => (Outcome::Success, None),
            "error" => (error(rest)?, Some(rest.to_owned())),
            _ => return Err("neither ok nor an error".to_owned()),
        };
        Ok(Response { id: None, outcome, message, data: Value::String(rest.to_owned()), is_action: false })
    }

    /// What has been done, as a reply to an action says it.
    pub(super) fn status(&self) -> &str {
        self.data["status"].as_str().unwrap_or_default()
    }

    pub(super) fn message(&self) -> &str {
        self.message.as_deref().unwrap_or_default()
    }
}

fn error(message: &str) -> Result<Outcome, String> {
    Ok(match message {
        "internal error" => return Err("a fault of the server's own".to_owned()),
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
