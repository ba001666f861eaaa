//! Envelopes, and hostile JSON in general.

use super::*;
use crate::dialect::{decode_json, encode_answer};
use crate::model::{Answer, Command, CustomCommands, Dialect};

/// The error message for `text`, of the envelope or of the data; `None` if it is valid.
fn error(text: &[u8]) -> Option<String> {
    let failure = match decode_json(text, &CustomCommands::default()) {
        Err(refusal) => refusal.failure,
        Ok(request) => request.command.err()?,
    };
    let mut reply = Vec::new();
    encode_answer(Dialect::Command, None, &Answer::Failed(failure), &mut reply);
    let reply: serde_json::Value = serde_json::from_slice(&reply).expect("a reply is valid JSON");
    Some(reply["message"].as_str().expect("an error has a message").to_string())
}

fn is_invalid_json(text: &[u8]) -> bool {
    error(text).is_some_and(|message| message.starts_with("Invalid JSON: "))
}

#[test]
fn ids_are_kept_verbatim() {
    let longest_string = format!("\"{}\"", "é".repeat(limits::REQUEST_ID_BYTES_MAX / 2));
    let longest_number = format!("-{}", "9".repeat(limits::REQUEST_ID_BYTES_MAX - 1));
    let ids = [
        "\"\"",
        "\"a\"",
        "\"\\u0061\\\"\\/\"",
        "\"\\ud800\"",
        "\"é\"",
        "0",
        "-0",
        "1.50",
        "1E400",
        "-1e-5",
        "12345678901234567890",
        &longest_string,
        &longest_number,
    ];
    for id in ids {
        for text in [
            format!("{{\"request_id\": {id} , \"command\":\"ping\"}}"),
            format!("{{\"command\":\"ping\",\"request_\\u0069d\":{id}}}"),
        ] {
            let request = decode_json(text.as_bytes(), &CustomCommands::default()).expect("it is a request");
            assert_eq!(request.id, Some(RequestId(id.into())), "{text}");
            assert_eq!(request.command, Ok(Command::Ping), "{text}");
        }
    }
}

#[test]
fn bad_ids_are_errors_without_an_id() {
    let long_string = format!("\"{}\"", "a".repeat(257));
    let long_number = "1".repeat(257);
    let cases = [
        ("null", "null"),
        ("true", "true"),
        ("{}", "an object"),
        ("[1]", "a list"),
        (&long_string, "a string of 257 bytes"),
        (&long_number, "a number of 257 bytes"),
        ("\"\\u0000\"", "a string with \\u0000"),
    ];
    for (id, was) in cases {
        let text = format!("{{\"command\":\"ping\",\"request_id\":{id}}}");
        let allowed = "it must be a string or a number of at most 256 bytes";
        let bad_field = BadField(format!("request_id: {was} is not allowed; {allowed}"));
        assert_eq!(
            decode_json(text.as_bytes(), &CustomCommands::default()),
            Err(Refusal { dialect: Dialect::Command, id: None, failure: Failure::BadField(bad_field) }),
            "{text}"
        );
    }
}

#[test]
fn exactly_one_key_selects_the_dialect() {
    let several = "command, action, verb: only one of these may name a request";
    let cases = [
        (r#"{"command":"ping","action":"x"}"#, several.to_string()),
        (r#"{"verb":"PING","action":null}"#, several.to_string()),
        (r#"{"verb":"PING","action":"x","command":"ping"}"#, several.to_string()),
        ("{}", "missing field: command; a request is {\"command\": NAME, \"data\": {…}}".to_string()),
        (
            r#"{"data":{}}"#,
            "missing field: command; a request is {\"command\": NAME, \"data\": {…}}".to_string(),
        ),
        ("[]", "a request must be an object, a list is not allowed".to_string()),
        (" [{\"command\":\"ping\"}] ", "a request must be an object, a list is not allowed".to_string()),
        ("\"hunter2hunter2\"", "a request must be an object, a string is not allowed".to_string()),
    ];
    for (text, message) in cases {
        assert_eq!(error(text.as_bytes()), Some(message), "{text}");
    }
}

#[test]
fn refusals_carry_the_id_once_it_is_known() {
    let id_of = |text: &str| decode_json(text.as_bytes(), &CustomCommands::default()).unwrap_err().id;
    let one = Some(RequestId("\"1\"".into()));
    for text in [
        r#"{"action":"x","request_id":"1"}"#,
        r#"{"verb":"x","request_id":"1"}"#,
        r#"{"command":"ping","action":"x","request_id":"1"}"#,
        r#"{"command":"ping","command":"ping","request_id":"1"}"#,
        r#"{"command":"ping","x":"y","request_id":"1"}"#,
        r#"{"command":"fly","request_id":"1"}"#,
    ] {
        assert_eq!(id_of(text), one, "{text}");
    }
    assert_eq!(id_of(r#"{"command":"ping","request_id":"1","request_id":"1"}"#), None);
    assert_eq!(id_of(r#"{"command":"ping","request_id":"1","#), None);
}

#[test]
fn a_duplicate_key_is_named() {
    let cases = [
        (r#"{"command":"ping","command":"ping"}"#, "command: the same field may not stand twice"),
        (r#"{"command":"ping","data":{},"data":{}}"#, "data: the same field may not stand twice"),
        (
            r#"{"request_id":1,"command":"ping","request_id":2}"#,
            "request_id: the same field may not stand twice",
        ),
        (r#"{"action":"x","\u0061ction":"x"}"#, "action: the same field may not stand twice"),
        (
            r#"{"command":"ping","command\u0000":1}"#,
            r#"unknown field "command\u0000"; allowed: command, data, request_id"#,
        ),
    ];
    for (text, message) in cases {
        assert_eq!(error(text.as_bytes()).as_deref(), Some(message), "{text}");
    }
}

#[test]
fn errors_truncate_long_and_many_unknown_keys() {
    let long = format!("{{\"command\":\"ping\",\"{}\":1}}", "k".repeat(100_000));
    let message = format!(
        "unknown field \"{}…\"; allowed: command, data, request_id",
        "k".repeat(limits::ECHOED_CHARS_MAX)
    );
    assert_eq!(error(long.as_bytes()), Some(message));
    let many: String = (0..100_000).map(|index| format!(",\"{index}\":{index}")).collect();
    let message = r#"unknown fields "0", "1", "2", "3" and 99996 more; allowed: command, data, request_id"#;
    assert_eq!(error(format!("{{\"command\":\"ping\"{many}}}").as_bytes()).as_deref(), Some(message));
}

#[test]
fn invalid_json_is_reported_with_its_position() {
    let cases: [(&[u8], &str); 8] = [
        (b"{\"command\": \"p\xff\"}", "invalid UTF-8 at byte 14"),
        (b"{\"command\": ping}", "expected value at line 1 column 13"),
        (b"{\"command\": \"ping\",}", "trailing comma at line 1 column 20"),
        (b"{\n\"a\" 1}", "expected `:` at line 2 column 5"),
        (b"[1,]", "expected value at line 1 column 4"),
        (b"{]}", "key must be a string at line 1 column 2"),
        (b"{} {}", "trailing characters at line 1 column 4"),
        (b"", "EOF while parsing a value at line 1 column 0"),
    ];
    for (text, why) in cases {
        let message = error(text).expect("it is an error");
        assert_eq!(message, format!("Invalid JSON: {why}"), "{}", text.escape_ascii());
    }
}

#[test]
fn a_byte_order_mark_is_named() {
    let texts: [(&[u8], &str); 6] = [
        (b"\xef\xbb\xbf{\"command\": \"ping\"}", "UTF-8"),
        (b"\xef\xbb\xbf", "UTF-8"),
        (b"\xff\xfe{\0}\0", "UTF-16"),
        (b"\xfe\xff\0{\0}", "UTF-16"),
        (b"\xff\xfe\0\0{\0\0\0", "UTF-32"),
        (b"\0\0\xfe\xff\0\0\0{", "UTF-32"),
    ];
    for (text, encoding) in texts {
        let why = format!(
            "Invalid JSON: it begins with a byte-order mark (U+FEFF, in {encoding}); a request is UTF-8 without one"
        );
        assert_eq!(error(text), Some(why));
    }
    // Inside a string it is an ordinary character.
    assert_eq!(error("{\"command\": \"ping\", \"request_id\": \"\u{feff}\"}".as_bytes()), None);
}

#[test]
fn invalid_json_is_not_quoted() {
    let secret = "hunter2hunter2";
    for text in [
        format!("{{\"command\":\"authenticate\",\"data\":{{\"vm_id\":\"a\",\"password\":\"{secret}\"}}"),
        format!("{{\"command\":\"authenticate\",\"data\":{{\"vm_id\":\"a\",\"password\":{secret}}}}}"),
        format!("{{\"command\":\"authenticate\",\"data\":{{\"vm_id\":\"a\",\"password\":\"{secret}\n\"}}}}"),
        format!("{{\"command\":\"authenticate\",\"data\":{{\"vm_id\":\"a\",\"password\":\"\\{secret}\"}}}}"),
        format!("{{{secret}:1}}"),
        format!("[{secret}]"),
    ] {
        let message = error(text.as_bytes()).expect("it is an error");
        assert!(message.starts_with("Invalid JSON: "), "{text}: {message}");
        assert!(!message.contains("hunter"), "{text}: {message}");
    }
}

/// Values as the data of a request; none of them is `Invalid JSON`.
#[rustfmt::skip]
const VALID: [&str; 32] = [
    "[]", "[ ]", "[[]   ]", "[\"\"]", "[null, 1, \"1\", {}]", "[1\n]", " [1]", "[2] ", "[false]", "[123e65]",
    "[0e+1]", "[-0]", "[-123]", "[1E-2]", "[123.456789]", "[1e400]", "[18446744073709551616]",
    "[\"\\u0060\\u012a\\u12AB\"]", "[\"\\uD801\\udc37\"]", "[\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"]", "[\"\\u0000\"]",
    "[\"a/*b*/c/*d//e\"]", "[\"\u{7f}\"]", "[\"\u{2028}\u{10ffff}\"]", "{}", "{\"\":0}", "{\"a\":\"b\",\"a\":\"c\"}",
    "{\"foo\\u0000bar\": 42}", "{\"min\": -1.0e+28}", "{\n\"a\": \"b\"\n}", "\"\"", "42",
];

/// Texts as the data of a request; all of them are `Invalid JSON`.
#[rustfmt::skip]
const INVALID: [&str; 44] = [
    "[1 true]", "[1:2]", "[1,,2]", "[,1]", "[\"\",]", "[x", "[3[4]]", "[1;2]", "[-]", "[fals]", "[nul]", "[tru]",
    "[+1]", "[-01]", "[.5]", "[-2.]", "[0.e1]", "[0e]", "[1.0e-]", "[1 000]", "[0x42]", "[Infinity]", "[NaN]", "[-a]",
    "[012]", "[1a]", "[1.2a]", "['single']", "[\"\\x00\"]", "[\"\\u00A\"]", "[\"\\uD834\\u\"]", "[\"\\a\"]",
    "[\"a\n\"]", "[\"\t\"]", "[\"\u{1b}\"]", "[\u{c}]", "[\u{a0}]", "{a: 1}", "{\"a\":\"a\",}", "{\"a\" \"b\"}",
    "{:\"b\"}", "{\"a\":/*c*/1}", "[1]]", "\u{feff}{}",
];

#[test]
fn only_invalid_json_is_reported_as_invalid() {
    for (is_invalid, values) in [(false, &VALID[..]), (true, &INVALID[..])] {
        for value in values {
            for text in [
                format!("{{\"command\":\"ping\",\"data\":{value}}}"),
                format!("{{\"command\":\"update\",\"data\":{{\"ram\":{value}}}}}"),
                format!("{{\"command\":\"update\",\"data\":{{\"disks\":[{value}]}}}}"),
                format!("{{\"x\":{value}}}"),
                format!("[0,{value}]"),
            ] {
                assert_eq!(
                    is_invalid_json(text.as_bytes()),
                    is_invalid,
                    "{text}: {:?}",
                    error(text.as_bytes())
                );
            }
        }
    }
    assert!(is_invalid_json("\u{feff}{\"command\":\"ping\"}".as_bytes()), "a byte order mark");
    for bytes in [&b"\xff"[..], b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82"] {
        let text = [b"{\"command\":\"ping\",\"data\":[\"", bytes, b"\"]}"].concat();
        assert!(is_invalid_json(&text), "{}", text.escape_ascii());
    }
}

#[test]
fn deep_nesting_costs_no_stack() {
    let deep = 100_000;
    let nested = [
        format!("{}{}", "[".repeat(deep), "]".repeat(deep)),
        format!("{}0{}", "{\"a\":".repeat(deep), "}".repeat(deep)),
        format!("{}0{}", "[{\"a\":".repeat(deep), "}]".repeat(deep)),
    ];
    let small_stack = std::thread::Builder::new().stack_size(64 << 10).spawn(move || {
        for value in &nested {
            for text in [
                format!("{{\"command\":\"ping\",\"data\":{value}}}"),
                format!("{{\"command\":\"ping\",\"data\":{{\"a\":{value}}}}}"),
                format!("{{\"command\":\"update\",\"data\":{{\"disks\":[{value}]}}}}"),
                format!("{{\"request_id\":{value}}}"),
                format!("[{value}]"),
            ] {
                assert!(error(text.as_bytes()).is_some());
                assert!(!is_invalid_json(text.as_bytes()));
                assert!(is_invalid_json(&text.as_bytes()[..text.len() - 2]));
            }
        }
    });
    small_stack.expect("a thread starts").join().expect("nothing overflows");
}
