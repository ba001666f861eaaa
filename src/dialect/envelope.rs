//! The envelope, which the JSON dialects have in common: it selects the dialect and may contain an id.
//!
//! Exactly one of the keys `command`, `action` and `verb` selects the dialect; `request_id` alone selects conversion.
//! Messages without a dialect are rejected in the format of `command`.

use super::fields::{FieldNames, JsonFields, JsonPath, Redacted, StringError, string};
use crate::limits;
use crate::model::{BadField, Failure, Refusal, RequestId};

/// The outer object of a request in any JSON dialect.
pub(super) struct Envelope<'a> {
    /// The client's id for the request.
    pub(super) id: Option<RequestId>,
    /// The fields that select a dialect or that several dialects share.
    pub(super) fields: JsonFields<'a>,
    /// The whole object, for dialects with more fields.
    pub(super) text: &'a str,
}

/// The message as text.
fn read_text(bytes: &[u8]) -> Result<&str, Failure> {
    if let Some((_, encoding)) = BYTE_ORDER_MARKS.iter().find(|(mark, _)| bytes.starts_with(mark)) {
        return Err(Failure::InvalidJson(format!(
            "it begins with a byte-order mark (U+FEFF, in {encoding}); a request is UTF-8 without one"
        )));
    }
    std::str::from_utf8(bytes)
        .map_err(|error| Failure::InvalidJson(format!("invalid UTF-8 at byte {}", error.valid_up_to())))
}

/// Reads the fields of the message, or reports why it is not a JSON object.
fn read_fields<'a>(text: &'a str, fields: &mut JsonFields<'a>) -> Result<(), Failure> {
    let invalid = |error: serde_json::Error| Failure::InvalidJson(error.to_string());
    if text.starts_with('{') {
        return fields.fill(text).map_err(invalid);
    }
    let value: &serde_json::value::RawValue = serde_json::from_str(text).map_err(invalid)?;
    let was = Redacted(value.get());
    Err(Failure::NotARequest(format!("a request must be an object, {was} is not allowed")))
}

/// The request's id, verbatim.
fn request_id(fields: &JsonFields<'_>) -> Result<Option<RequestId>, BadField> {
    if fields.is_repeated("request_id") {
        return fields.check_repeated().map(|()| None);
    }
    let Some(value) = fields.value("request_id") else { return Ok(None) };
    let bad = |was: &dyn std::fmt::Display| {
        let allowed = format!("a string or a number of at most {} bytes", limits::REQUEST_ID_BYTES_MAX);
        Err(JsonPath::Root.invalid("request_id", was, allowed))
    };
    let (kind, bytes) = match value.as_bytes() {
        [b'"', inner @ .., b'"'] => ("string", inner.len()),
        digits @ [b'-' | b'0'..=b'9', ..] => ("number", digits.len()),
        _ => return bad(&Redacted(value)),
    };
    if bytes > limits::REQUEST_ID_BYTES_MAX {
        return bad(&format_args!("a {kind} of {bytes} bytes"));
    }
    match string(value) {
        Err(fault @ StringError::Nul) => bad(&fault),
        // The id is echoed verbatim, even a lone surrogate.
        _ => Ok(Some(RequestId(value.into()))),
    }
}

impl<'a> Envelope<'a> {
    /// An empty envelope.
    pub(super) fn new() -> Envelope<'a> {
        Envelope {
            id: None,
            fields: JsonFields::empty(JsonPath::Root, FieldNames::new(&ENVELOPE_KEYS)),
            text: "",
        }
    }

    /// Reads one JSON message.
    pub(super) fn read(&mut self, text: &'a [u8]) -> Result<(), Refusal> {
        self.text = read_text(text)?;
        read_fields(self.text, &mut self.fields)?;
        self.id = request_id(&self.fields).map_err(Failure::from)?;
        let repeated = self.fields.check_repeated();
        repeated.map_err(|bad_field| self.refuse(bad_field.into()))
    }

    /// Whether a key selects a dialect.
    pub(super) fn names_dialect(&self) -> bool {
        self.id.is_some() || DIALECT_KEYS.iter().any(|key| self.fields.value(key).is_some())
    }

    /// The key that selects the dialect; `request_id` if there is no other.
    pub(super) fn dialect_key(&self) -> Result<&'static str, Refusal> {
        let mut spoken = DIALECT_KEYS.into_iter().filter(|key| self.fields.value(key).is_some());
        match (spoken.next(), spoken.next()) {
            (Some(key), None) => Ok(key),
            (None, _) if self.id.is_some() => Ok("request_id"),
            (None, _) => Err(self.refuse_text(&format!("missing field: command; a request is {SHAPE}"))),
            (Some(_), Some(_)) => {
                Err(self.refuse_text("command, action, verb: only one of these may name a request"))
            }
        }
    }

    /// The refusal of this request.
    pub(super) fn refuse(&self, failure: Failure) -> Refusal {
        Refusal { id: self.id.clone(), ..Refusal::from(failure) }
    }

    fn refuse_text(&self, text: &str) -> Refusal {
        self.refuse(Failure::NotARequest(text.to_string()))
    }
}

/// Byte-order marks and their encodings; a mark that is a prefix of another comes after it.
const BYTE_ORDER_MARKS: [(&[u8], &str); 5] = [
    (b"\xef\xbb\xbf", "UTF-8"),
    (b"\xff\xfe\0\0", "UTF-32"),
    (b"\0\0\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
];

/// The keys that select a dialect.
const DIALECT_KEYS: [&str; 3] = ["command", "action", "verb"];

/// The known keys of an envelope.
const ENVELOPE_KEYS: [&str; 5] = ["command", "action", "verb", "request_id", "data"];

/// The format of a request, for error messages.
const SHAPE: &str = r#"{"command": NAME, "data": {…}}"#;

#[cfg(test)]
#[path = "envelope_tests.rs"]
mod tests;
