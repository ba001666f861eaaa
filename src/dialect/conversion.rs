//! The dialect of conversions: `{"request_id": ID, "data": TEXT}` and its replies
//! `{"request_id": ID, "data": {ENTITY: {PARAMETER: VALUE, …}, …}}` or `{"request_id": ID, "error": TEXT}`.
//!
//! Other fields are ignored. In the text, `%%` separates entities; `&&` separates an entity's name and the names and
//! values of its parameters.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;

use super::envelope::Envelope;
use super::fields::{JsonPath, read_string};
use super::json_writer::write_json;
use crate::model::{Answer, BadField, Command, CommandName, Dialect, Failure, Refusal, Request, RequestId};

/// Parses a request whose envelope has an id and names no other dialect.
pub(super) fn decode(envelope: &mut Envelope<'_>) -> Result<Request, Refusal> {
    let command = data(envelope).map(|data| Command::Convert { data }).map_err(Failure::from);
    Ok(Request { id: envelope.id.take(), ..Request::new(Dialect::Conversion, CommandName::Convert, command) })
}

fn data(envelope: &Envelope<'_>) -> Result<Box<str>, BadField> {
    envelope.fields.check_missing(&["data"])?;
    let bad = |was: &dyn fmt::Display| JsonPath::Root.invalid("data", was, "a string");
    Ok(read_string(envelope.fields.value_or_null("data"), bad)?.into())
}

/// Writes a complete reply.
pub(super) fn encode_answer(id: Option<&RequestId>, answer: &Answer, output: &mut Vec<u8>) {
    output.extend_from_slice(b"{\"request_id\":");
    output.extend_from_slice(id.map_or("null", |RequestId(id)| id).as_bytes());
    match answer {
        Answer::Converted(entities) => {
            output.extend_from_slice(b",\"data\":");
            output.extend_from_slice(entities.as_bytes());
        }
        Answer::Failed(failure) => {
            output.extend_from_slice(b",\"error\":");
            write_json(output, &message(failure));
        }
        other => {
            debug_assert!(false, "{other:?} is no answer to a conversion");
            output.extend_from_slice(b",\"error\":\"internal error\"");
        }
    }
    output.push(b'}');
}

/// Converts the text `data` to the JSON object of its entities.
///
/// Pairs with an empty name or value are dropped, and so are entities without a name or without pairs; pairs are
/// matched by position before anything is dropped. A repeated entity or parameter keeps the position of the first and
/// the value of the last. Takes linear time; if an entity is repeated, it also sorts the pairs.
pub fn convert(data: &str) -> String {
    let mut pairs: Vec<Pair<'_>> = Vec::new();
    let mut entities: HashMap<&str, usize> = HashMap::new();
    let mut pair_indexes: HashMap<(usize, &str), usize> = HashMap::new();
    for text in data.split(BETWEEN_ENTITIES) {
        let mut elements = text.split(BETWEEN_ELEMENTS);
        let entity_name = elements.next().unwrap_or_default();
        if entity_name.is_empty() {
            continue;
        }
        let mut entity = None;
        while let (Some(name), Some(value)) = (elements.next(), elements.next()) {
            if name.is_empty() || value.is_empty() {
                continue;
            }
            let new_entity = entities.len();
            let entity = *entity.get_or_insert_with(|| *entities.entry(entity_name).or_insert(new_entity));
            match pair_indexes.entry((entity, name)) {
                Entry::Occupied(known) => pairs[*known.get()].value = value,
                Entry::Vacant(new) => {
                    new.insert(pairs.len());
                    pairs.push(Pair { entity, entity_name, name, value });
                }
            }
        }
    }
    // A stable sort: the pairs of an entity keep their order.
    pairs.sort_by_key(|pair| pair.entity);
    encode_pairs(&pairs, data.len())
}

fn encode_pairs(pairs: &[Pair<'_>], bytes: usize) -> String {
    let mut output = Vec::with_capacity(2 * bytes + 2);
    output.push(b'{');
    for (index, of_entity) in pairs.chunk_by(|one, other| one.entity == other.entity).enumerate() {
        output.extend_from_slice(if index == 0 { b"" } else { b"," });
        write_json(&mut output, of_entity[0].entity_name);
        for (index, pair) in of_entity.iter().enumerate() {
            output.extend_from_slice(if index == 0 { b":{" } else { b"," });
            write_json(&mut output, pair.name);
            output.push(b':');
            write_json(&mut output, pair.value);
        }
        output.push(b'}');
    }
    output.push(b'}');
    String::from_utf8(output).expect("JSON is written in UTF-8")
}

/// A parameter of an entity and its value. All pairs are in one `Vec`, so that many small entities cost few allocations.
struct Pair<'a> {
    /// The position of the entity among all.
    entity: usize,
    entity_name: &'a str,
    name: &'a str,
    value: &'a str,
}

const BETWEEN_ENTITIES: &str = "%%";
const BETWEEN_ELEMENTS: &str = "&&";

/// The message of a failure. One that no conversion can cause is an internal error.
fn message(failure: &Failure) -> Cow<'static, str> {
    match failure {
        Failure::BadField(_)
        | Failure::AuthenticationRequired
        | Failure::Busy
        | Failure::RequestMemoryFull
        | Failure::StoreUnavailable
        | Failure::OutcomeUnknown => failure.message(),
        _ => Failure::Internal.message(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect;
    use crate::dialect::json::for_each_field;

    /// Entities as `name{parameter=value,…}`, so that cases fit on a line.
    fn shown(data: &str) -> String {
        let json = convert(data);
        let mut entities: Vec<String> = Vec::new();
        for_each_field(&json, |name, parameters| {
            let mut pairs: Vec<String> = Vec::new();
            for_each_field(parameters, |name, value| {
                pairs.push(format!("{}={}", unquote(name), unquote(value)))
            });
            entities.push(format!("{}{{{}}}", unquote(name), pairs.join(",")));
        });
        entities.join(" ")
    }

    fn unquote(json: &str) -> String {
        serde_json::from_str(json).expect("a JSON string")
    }

    fn encode(id: &str, answer: &Answer) -> String {
        let mut output = Vec::new();
        let id = RequestId(id.into());
        dialect::encode_answer(Dialect::Conversion, Some(&id), answer, &mut output);
        String::from_utf8(output).unwrap()
    }

    #[test]
    fn a_request_id_alone_selects_conversion() {
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
            let request = dialect::decode_json(text.as_bytes(), &crate::model::CustomCommands::default())
                .unwrap_or_else(|refusal| panic!("{refusal:?}"));
            assert_eq!((request.dialect, request.name), (Dialect::Conversion, CommandName::Convert));
            let wanted = match wanted {
                Ok(data) => Ok(Command::Convert { data: data.into() }),
                Err(why) => Err(Failure::BadField(BadField(why.into()))),
            };
            assert_eq!(request.command, wanted, "{text}");
        }
    }

    #[test]
    fn texts_become_entities_without_empty_parts() {
        let cases = [
            (
                "Hub&&name&&qwe&&id&&123&&%%Device&&name&&wqe&&id&&234&&",
                "Hub{name=qwe,id=123} Device{name=wqe,id=234}",
            ),
            ("", ""),
            ("%%", ""),
            ("&&", ""),
            ("Hub", ""),
            ("Hub&&", ""),
            ("Hub&&name", ""),
            ("Hub&&name&&", ""),
            ("Hub&&name&&qwe", "Hub{name=qwe}"),
            ("Hub&&name&&qwe&&id", "Hub{name=qwe}"),
            ("Hub&&&&qwe&&id&&1", "Hub{id=1}"),
            ("Hub&&name&&&&id&&1", "Hub{id=1}"),
            ("Hub&&name&&&&&&1", ""),
            ("&&name&&qwe", ""),
            ("%%Hub&&a&&1%%%%", "Hub{a=1}"),
            ("Hub&&a&&1&&a&&2&&b&&3", "Hub{a=2,b=3}"),
            ("Hub&&a&&1%%Device&&b&&2%%Hub&&c&&3&&a&&4", "Hub{a=4,c=3} Device{b=2}"),
            ("Hub&&a&&%%Device&&b&&2%%Hub&&c&&3", "Device{b=2} Hub{c=3}"),
            (" Hub && a && 1 ", " Hub { a = 1 }"),
            ("Hub&&a&b&&1&2", "Hub{a&b=1&2}"),
            ("Hub&&a&&&1", "Hub{a=&1}"),
            ("100%&&a&&1", "100%{a=1}"),
            ("Ёж&&имя&&значение\n", "Ёж{имя=значение\n}"),
        ];
        for (data, wanted) in cases {
            assert_eq!(shown(data), wanted, "{data:?}");
        }
    }

    #[test]
    fn conversion_takes_linear_time() {
        let one_entity: String = (0..100_000).map(|i| format!("&&p{i}&&{i}")).collect();
        assert_eq!(shown(&format!("Hub{one_entity}")).split(',').count(), 100_000);
        let many: String = (0..200_000).map(|i| format!("e{}&&a&&{i}%%", i % 100_000)).collect();
        let entities = shown(&many);
        assert_eq!(entities.split(' ').count(), 100_000);
        assert!(entities.starts_with("e0{a=100000} e1{a=100001} "));
    }

    #[test]
    fn replies_are_written_byte_for_byte() {
        let converted = |data| Answer::Converted(convert(data));
        let cases = [
            ("\"01\"", converted(""), r#"{"request_id":"01","data":{}}"#),
            (
                "\"01\"",
                converted("Hub&&name&&qwe&&id&&123&&%%Device&&name&&wqe&&id&&234&&"),
                r#"{"request_id":"01","data":{"Hub":{"name":"qwe","id":"123"},"Device":{"name":"wqe","id":"234"}}}"#,
            ),
            (
                "1.50",
                converted("é\"&&\n&&\u{1}"),
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
