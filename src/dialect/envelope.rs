//! The envelope, which the JSON dialects have in common: it selects the dialect and may contain an id.
//!
//! Exactly one of the keys `command`, `action` and `verb` selects the dialect; `request_id` alone selects conversion.
//! Messages without a dialect are rejected in the format of `command`.

use std::fmt;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::fields::{
    AllowedFields, FieldNames, FieldSet, JsonFields, JsonPath, Redacted, StringError, is_object, string,
};
use super::json::{Members, read_request};
use crate::limits;
use crate::model::{BadField, Failure, Refusal, RequestId};

/// The outer object of a request in any JSON dialect.
pub(super) struct Envelope<'a> {
    /// The client's id for the request.
    pub(super) id: Option<RequestId>,
    /// The fields that select a dialect or that several dialects share.
    pub(super) fields: JsonFields<'a>,
    /// The whole object.
    pub(super) text: &'a str,
    /// Where its members are; empty if the full reader has read it.
    members: Members,
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
        let mut deserializer = serde_json::Deserializer::from_str(text);
        return deserializer.deserialize_map(fields).and_then(|()| deserializer.end()).map_err(invalid);
    }
    let value: &RawValue = serde_json::from_str(text).map_err(invalid)?;
    let was = Redacted(value.get());
    Err(Failure::NotARequest(format!("a request must be an object, {was} is not allowed")))
}

/// Takes the fields of an object that may be invalid.
impl<'a> Visitor<'a> for &mut JsonFields<'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some((key, value)) = map.next_entry::<&RawValue, &RawValue>()? {
            self.add(key.get(), value.get());
        }
        Ok(())
    }
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
            fields: JsonFields::empty(JsonPath::Root, KEYS),
            text: "",
            members: Members::new(),
        }
    }

    /// Reads one JSON message.
    pub(super) fn read(&mut self, text: &'a [u8]) -> Result<(), Refusal> {
        match self.read_front(text) {
            Some(length) if length == text.len() => self.check(),
            _ => self.read_full(text),
        }
    }

    /// Reads the JSON message at the front of `input` without checking its fields, and returns its length. `None` if the
    /// full reader has to read it, or it is incomplete.
    pub(super) fn read_front(&mut self, input: &'a [u8]) -> Option<usize> {
        self.text = read_request(input, &mut self.members)?;
        self.members.for_each_of_request(self.text, |key, value| self.fields.add(key, value));
        Some(self.text.len())
    }

    /// Reads any JSON message, and finds the words for an error in it.
    pub(super) fn read_full(&mut self, text: &'a [u8]) -> Result<(), Refusal> {
        *self = Envelope::new();
        self.text = read_text(text)?;
        read_fields(self.text, &mut self.fields)?;
        self.check()
    }

    /// Reads the id, which any error has, and checks the keys.
    pub(super) fn check(&mut self) -> Result<(), Refusal> {
        self.id = request_id(&self.fields).map_err(Failure::from)?;
        let repeated = self.fields.check_repeated();
        repeated.map_err(|bad_field| self.refuse(bad_field.into()))
    }

    /// The fields of the object by other names.
    pub(super) fn fields_by(&self, names: FieldNames) -> JsonFields<'a> {
        let mut fields = JsonFields::empty(JsonPath::Root, names);
        match self.members.is_empty() {
            true => fields.fill(self.text),
            false => self.members.for_each_of_request(self.text, |key, value| fields.add(key, value)),
        }
        fields
    }

    /// Reads the fields of `data`, which may be absent; an error if it is no object.
    pub(super) fn read_data(&self, fields: &mut JsonFields<'a>) -> Result<(), BadField> {
        if self.members.has_data() {
            self.members.for_each_of_data(self.text, |key, value| fields.add(key, value));
            return Ok(());
        }
        match self.fields.value("data") {
            None => Ok(()),
            Some(data) if is_object(data) => {
                fields.fill(data);
                Ok(())
            }
            Some(data) => Err(JsonPath::Root.invalid("data", Redacted(data), "an object")),
        }
    }

    /// Whether a key selects a dialect.
    pub(super) fn names_dialect(&self) -> bool {
        self.id.is_some() || self.fields.given(DIALECTS).next().is_some()
    }

    /// The key that selects the dialect; `request_id` if there is no other.
    pub(super) fn dialect_key(&self) -> Result<&'static str, Refusal> {
        let mut spoken = self.fields.given(DIALECTS);
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

/// The known keys of an envelope.
const KEYS: FieldNames = FieldNames::new(&["command", "action", "verb", "request_id", "data"]);

/// The keys that select a dialect.
const DIALECTS: FieldSet = KEYS.set(&["command", "action", "verb"]);

/// The keys of a request of the dialect `command`, which allows no others.
pub(super) const COMMAND_KEYS: AllowedFields = KEYS.allow(&["command", "data", "request_id"]);

/// The format of a request, for error messages.
const SHAPE: &str = r#"{"command": NAME, "data": {…}}"#;

#[cfg(test)]
#[path = "envelope_tests.rs"]
mod tests;
