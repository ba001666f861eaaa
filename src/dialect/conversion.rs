//! The dialect of conversions: `{"request_id": ID, "data": TEXT}` and its replies
//! `{"request_id": ID, "data": {ENTITY: {PARAMETER: VALUE, …}, …}}` or `{"request_id": ID, "error": TEXT}`.
//!
//! Other fields are ignored.

use std::fmt;

use super::envelope::Envelope;
use super::fields::{Place, Shown, string};
use crate::model::{
    Answer, BadField, Command, CommandName, Dialect, Entities, Failure, Refusal, Request, RequestId, Scope,
};

/// Reads a request whose envelope has an id and names no other dialect.
pub(super) fn decode(envelope: Envelope<'_>) -> Result<Request, Refusal> {
    let command = data(&envelope).map(|data| Command::Convert { data }).map_err(Failure::BadField);
    Ok(Request {
        dialect: Dialect::Conversion,
        id: envelope.id,
        token: Ok(None),
        scope: Scope::Connection,
        name: CommandName::Convert,
        command,
    })
}

fn data(envelope: &Envelope<'_>) -> Result<Box<str>, BadField> {
    let bad = |was: &dyn fmt::Display| Place::Top.bad("data", was, "a string");
    let value = envelope.fields.value("data").ok_or_else(|| BadField("missing field: data".into()))?;
    let text = string(value).map_err(|fault| bad(&fault))?.ok_or_else(|| bad(&Shown(value)))?;
    Ok(text.into())
}

/// Writes a whole reply.
pub(super) fn encode_answer(id: Option<&RequestId>, answer: &Answer, output: &mut Vec<u8>) {
    output.extend_from_slice(b"{\"request_id\":");
    output.extend_from_slice(id.map_or("null", |RequestId(id)| id).as_bytes());
    match answer {
        Answer::Converted(entities) => {
            output.extend_from_slice(b",\"data\":");
            encode_entities(entities, output);
        }
        Answer::Failed(failure) => {
            output.extend_from_slice(b",\"error\":");
            text(&words(failure), output);
        }
        other => {
            debug_assert!(false, "{other:?} is no answer to a conversion");
            output.extend_from_slice(b",\"error\":\"internal error\"");
        }
    }
    output.push(b'}');
}

fn encode_entities(Entities(entities): &Entities, output: &mut Vec<u8>) {
    for (index, entity) in entities.iter().enumerate() {
        output.push(if index == 0 { b'{' } else { b',' });
        text(&entity.name, output);
        for (index, (name, value)) in entity.parameters.iter().enumerate() {
            output.extend_from_slice(if index == 0 { b":{" } else { b"," });
            text(name, output);
            output.push(b':');
            text(value, output);
        }
        output.push(b'}');
    }
    output.extend_from_slice(if entities.is_empty() { b"{}" } else { b"}" });
}

/// What a failure is called.
fn words(failure: &Failure) -> String {
    match failure {
        Failure::BadField(bad_field) => bad_field.to_string(),
        Failure::AuthenticationRequired => "authentication required".into(),
        Failure::Busy => "busy".into(),
        Failure::StoreUnavailable => "store unavailable".into(),
        Failure::OutcomeUnknown => "outcome unknown".into(),
        // Nothing else comes of a conversion.
        _ => "internal error".into(),
    }
}

fn text(text: &str, output: &mut Vec<u8>) {
    serde_json::to_writer(output, text).expect("a text can be written to a Vec");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect;
    use crate::model::Entity;

    fn entities(of: &[(&str, &[(&str, &str)])]) -> Entities {
        let parameter = |&(name, value): &(&str, &str)| (name.to_string(), value.to_string());
        let entity = |&(name, parameters): &(&str, &[(&str, &str)])| Entity {
            name: name.into(),
            parameters: parameters.iter().map(parameter).collect(),
        };
        Entities(of.iter().map(entity).collect())
    }

    fn encode(id: &str, answer: &Answer) -> String {
        let mut output = Vec::new();
        let id = RequestId(id.into());
        dialect::encode_answer(Dialect::Conversion, Some(&id), answer, &mut output);
        String::from_utf8(output).unwrap()
    }

    #[test]
    fn a_request_id_alone_makes_a_conversion() {
        let cases = [
            (r#"{"request_id": "01", "data": "a&&b&&c"}"#, Ok("a&&b&&c")),
            (r#"{"data": "", "request_id": 1.50}"#, Ok("")),
            (r#"{"data": "\u00e9\n", "request_id": 1, "other": {}, "other": 2}"#, Ok("é\n")),
            (r#"{"request_id": "01"}"#, Err("missing field: data")),
            (r#"{"request_id": "01", "data": 5}"#, Err("data: 5 is not allowed; it must be a string")),
            (r#"{"request_id": "01", "data": null}"#, Err("data: null is not allowed; it must be a string")),
            (
                r#"{"request_id": "01", "data": {"a": 1}}"#,
                Err("data: an object is not allowed; it must be a string"),
            ),
            (
                r#"{"request_id": "01", "data": "\u0000"}"#,
                Err("data: a string with \\u0000 is not allowed; it must be a string"),
            ),
        ];
        for (text, wanted) in cases {
            let request =
                dialect::decode_json(text.as_bytes()).unwrap_or_else(|refusal| panic!("{refusal:?}"));
            assert_eq!((request.dialect, request.name), (Dialect::Conversion, CommandName::Convert));
            let wanted = match wanted {
                Ok(data) => Ok(Command::Convert { data: data.into() }),
                Err(why) => Err(Failure::BadField(BadField(why.into()))),
            };
            assert_eq!(request.command, wanted, "{text}");
        }
    }

    #[test]
    fn replies_are_written_byte_for_byte() {
        let converted = |of| Answer::Converted(entities(of));
        let cases = [
            ("\"01\"", converted(&[]), r#"{"request_id":"01","data":{}}"#),
            (
                "\"01\"",
                converted(&[
                    ("Hub", &[("name", "qwe"), ("id", "123")]),
                    ("Device", &[("name", "wqe"), ("id", "234")]),
                ]),
                r#"{"request_id":"01","data":{"Hub":{"name":"qwe","id":"123"},"Device":{"name":"wqe","id":"234"}}}"#,
            ),
            (
                "1.50",
                converted(&[("é\"", &[("\n", "\u{1}")])]),
                "{\"request_id\":1.50,\"data\":{\"é\\\"\":{\"\\n\":\"\\u0001\"}}}",
            ),
            (
                "7",
                Answer::Failed(Failure::BadField(BadField("missing field: data".into()))),
                r#"{"request_id":7,"error":"missing field: data"}"#,
            ),
            (
                "7",
                Answer::Failed(Failure::AuthenticationRequired),
                r#"{"request_id":7,"error":"authentication required"}"#,
            ),
            ("7", Answer::Failed(Failure::Busy), r#"{"request_id":7,"error":"busy"}"#),
        ];
        for (id, answer, wanted) in cases {
            assert_eq!(encode(id, &answer), wanted);
        }
    }
}
