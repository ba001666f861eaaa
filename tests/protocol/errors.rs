//! Bad requests get one error that names the field and the rule, and the connection stays open.

use serde_json::{Value, json};

use crate::common::{Client, Daemon, request};

const PING: &str = r#"{"command":"ping"}"#;
const NOT_FOR_ANONYMOUS: &str = "You have to authenticate to run this operation";

/// A request, and parts of its error.
type Case = (String, Vec<&'static str>);

fn case(request: impl Into<String>, parts: &[&'static str]) -> Case {
    (request.into(), parts.to_vec())
}

fn nested(open: &str, close: &str) -> String {
    format!("{}1{}", open.repeat(10_000), close.repeat(10_000))
}

/// Texts that are not JSON, though their brackets match.
fn not_json() -> Vec<Vec<u8>> {
    let texts = [
        "{command: ping}",
        r#"{"command" "ping"}"#,
        r#"{"command":"ping",}"#,
        r#"{"command":"ping"]}"#,
        r#"{"command":"ping","data":[}"#,
        r#"{"command":"ping","data":{]}}"#,
        r#"{'command':'ping'}"#,
        r#"{"command":"p\ing"}"#,
        r#"{"command":"\u12g4"}"#,
        "{\"command\":\"pi\nng\"}",
        r#"{"command":ping}"#,
        r#"{"command":"ping","data":{"ram":01}}"#,
        r#"{"command":"ping","data":{"ram":+1}}"#,
        r#"{"command":"ping","data":{"ram":0x1}}"#,
        r#"{"command":"ping","data":{"ram":NaN}}"#,
        r#"{"command":"ping","data":{"ram":1.}}"#,
        "{/**/}",
        "{\u{a0}}",
        "[,]",
    ];
    let mut cases: Vec<Vec<u8>> = texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    cases.push(b"{\"command\":\"\xff\"}".to_vec());
    cases.push(b"{\"command\":\"\xc0\xaf\"}".to_vec());
    cases.push(b"{\"command\":\"\xed\xa0\x80\"}".to_vec());
    cases.push(b"{\"\xf0\x9f\":1}".to_vec());
    cases.push(b"{\"command\":\"ping\",\"data\":{\"a\0\":1}}".to_vec());
    cases
}

/// JSON that is not a request: each error names the field and what is allowed.
fn bad_shapes() -> Vec<Case> {
    vec![
        case("{}", &["command"]),
        case("[]", &["must be an object"]),
        case(r#"[{"command":"ping"}]"#, &["must be an object"]),
        case(nested("[", "]"), &["must be an object"]),
        case(nested("{\"a\":", "}"), &["command"]),
        case(r#"{"data":{}}"#, &["command"]),
        case(r#"{"Command":"ping"}"#, &["command"]),
        case(r#"{"command":null}"#, &["command", "null", "string"]),
        case(r#"{"command":7}"#, &["command", "7", "string"]),
        case(r#"{"command":["ping"]}"#, &["command", "a list", "string"]),
        case(r#"{"command":{"a":1}}"#, &["command", "an object", "string"]),
        case(r#"{"command":"ping\u0000"}"#, &["command", "\\u0000"]),
        case(r#"{"command":"fly"}"#, &["Unknown command"]),
        case(r#"{"command":""}"#, &["Unknown command"]),
        case(r#"{"command":"PING"}"#, &["Unknown command"]),
        case(r#"{"command":"stats"}"#, &["Unknown command"]),
        case(r#"{"command":"ping","x":1}"#, &["unknown field", "\"x\"", "command, data, request_id"]),
        case(r#"{"command":"ping","command":"ping"}"#, &["command", "twice"]),
        case(r#"{"command":"ping","data":{},"data":{}}"#, &["data", "twice"]),
        case(r#"{"command":"ping","action":"list_all_vms"}"#, &["command", "action", "only one"]),
        case(r#"{"command":"ping","verb":"STAT"}"#, &["command", "verb", "only one"]),
        case(r#"{"command":"ping","data":null}"#, &["data", "null", "object"]),
        case(r#"{"command":"ping","data":[]}"#, &["data", "a list", "object"]),
        case(r#"{"command":"ping","data":"x"}"#, &["data", "a string", "object"]),
        case(r#"{"command":"ping","data":7}"#, &["data", "a number", "object"]),
        case(r#"{"command":"ping","data":{"x":1,"y":2}}"#, &["unknown fields", "\"x\"", "\"y\""]),
        case(format!(r#"{{"command":"ping","data":{{"x":{}}}}}"#, nested("[", "]")), &["unknown", "\"x\""]),
        case(
            format!(r#"{{"command":"ping","data":{{"x":{}}}}}"#, nested("{\"a\":", "}")),
            &["unknown field", "\"x\""],
        ),
    ]
}

/// Each field of `register` with invalid values.
fn bad_registrations() -> Vec<Case> {
    let fields: &[(&str, &[&str], &[&str])] = &[
        ("ram", &["1 to 1073741824"], BAD_INTEGERS),
        ("ram", &["1 to 1073741824"], &["1073741825", "4294967297"]),
        ("cpu", &["1 to 65535"], BAD_INTEGERS),
        ("cpu", &["1 to 65535"], &["65536", "65537", "4294967297"]),
        ("disks", &["list of 0 to 1024"], &["null", "{}", "7", "\"[]\"", "true"]),
        ("disks[0]", &["object"], &["[7]", "[null]", "[[]]", "[\"a\"]"]),
        ("disks[0]", &["missing field: disk_size"], &["[{}]"]),
        ("disks[0]", &["unknown field"], &["[{\"disk_size\":1,\"x\":1}]", "[{\"disk_size\":1,\"id\":1}]"]),
        ("disks[1].disk_size", &["twice"], &["[{\"disk_size\":1},{\"disk_size\":1,\"disk_size\":1}]"]),
        (
            "disks[1].disk_size",
            &["1 to 1125899906842624"],
            &["[{\"disk_size\":1},{\"disk_size\":1125899906842625}]"],
        ),
        ("disks[0].disk_size", &["1 to 1125899906842624"], &["[{\"disk_size\":0}]", "[{\"disk_size\":1.5}]"]),
        (
            "disks[0].disk_size",
            &["1 to 1125899906842624"],
            &["[{\"disk_size\":\"1\"}]", "[{\"disk_size\":1e400}]"],
        ),
        (
            "vm_id",
            &["1 to 128 bytes"],
            &["\"\"", "\" \"", "\"a b\"", "\"a\\n\"", "\"\\u007f\"", "\"a\\u00a0b\""],
        ),
        (
            "vm_id",
            &["digits only"],
            &["\"7\"", "\"0123\"", "7", "null", "[\"a\"]", "\"a\\u0000\"", "\"\\ud800\""],
        ),
        (
            "password",
            &["8 to 1024 bytes"],
            &["\"\"", "\"1234567\"", "12345678", "null", "[]", "\"12345678\\u0000\""],
        ),
    ];
    let mut cases = Vec::new();
    for (name, parts, values) in fields {
        let field = name.split(['[', '.']).next().expect("a name");
        let mut all = vec![*name];
        all.extend_from_slice(parts);
        cases.extend(values.iter().map(|value| case(registration(field, value), &all)));
    }
    let disks = |count: usize| format!("[{}]", vec!["{\"disk_size\":1}"; count].join(","));
    cases.push(case(registration("disks", &disks(1025)), &["disks", "1025", "0 to 1024"]));
    let long = format!("\"{}\"", "a".repeat(129));
    cases.push(case(registration("vm_id", &long), &["vm_id", "129 bytes", "1 to 128"]));
    let long = format!("\"{}\"", "a".repeat(1025));
    cases.push(case(registration("password", &long), &["password", "1025 bytes", "8 to 1024"]));
    cases.push(case(request("register", json!({})).to_string(), &["vm_id, ram, cpu, password, disks"]));
    let twice = registration("ram", "1").replace("\"cpu\"", "\"ram\":1,\"cpu\"");
    cases.push(case(twice, &["ram", "twice"]));
    let extra = registration("ram", "1").replace("\"cpu\"", "\"cpus\":1,\"cpu\"");
    cases.push(case(extra, &["unknown field", "\"cpus\"", "ram"]));
    cases
}

const BAD_INTEGERS: &[&str] = &[
    "0",
    "-1",
    "-0",
    "1.0",
    "1.5",
    "1e3",
    "1e400",
    "-1e400",
    "1e-400",
    "18446744073709551615",
    "18446744073709551616",
    "340282366920938463463374607431768211456",
    "\"512\"",
    "null",
    "true",
    "[]",
    "{}",
];

/// A registration that is right except for `field`.
fn registration(field: &str, value: &str) -> String {
    let fields = [
        ("vm_id", "\"victim\""),
        ("ram", "512"),
        ("cpu", "4"),
        ("password", "\"securePass123\""),
        ("disks", "[{\"disk_size\":1}]"),
    ];
    let fields = fields.map(|(name, usual)| {
        let value = if name == field { value } else { usual };
        format!("\"{name}\":{value}")
    });
    format!("{{\"command\":\"register\",\"data\":{{{}}}}}", fields.join(","))
}

/// Each gets one error with all its parts, on one line, and the connection stays open.
#[track_caller]
fn expect_errors(client: &mut Client, cases: &[Case]) {
    for (request, parts) in cases {
        let shown: String = request.chars().take(120).collect();
        client.send(request);
        client.send(PING);
        let message = client.error();
        for part in parts {
            assert!(message.contains(part), "{shown}\nsays {message:?}\nnot {part:?}");
        }
        assert!(!message.starts_with("Invalid JSON"), "{shown}\nis JSON, but gets {message}");
        assert!(message.len() < 512, "{shown}\nsays too much: {message}");
        assert_eq!(client.reply()["message"], "PONG", "{shown}");
    }
}

#[test]
fn invalid_json_gets_one_error() {
    let daemon = Daemon::start();
    for separator in ["", "\n"] {
        let mut client = daemon.client();
        client.ping();
        for bytes in not_json() {
            client.send_bytes(&bytes);
            client.send(&format!("{separator}{PING}"));
            let message = client.error();
            assert!(message.starts_with("Invalid JSON: "), "{}: {message}", bytes.escape_ascii());
            assert_eq!(client.reply()["message"], "PONG", "{}", bytes.escape_ascii());
        }
    }
}

#[test]
fn bad_requests_get_one_error_that_names_the_field_and_the_rule() {
    let daemon = Daemon::start();
    let cases = [bad_shapes(), bad_registrations()].concat();
    expect_errors(&mut daemon.client(), &cases);
    let mut client = daemon.client();
    client.register("a", &[1]);
    client.authenticate("a");
    expect_errors(&mut client, &cases);
    let vms = client.list("all_vms");
    assert_eq!(vms.len(), 1, "no VM was registered: {vms:?}");
}

#[test]
fn bad_updates_and_lists_change_nothing() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    client.register("a", &[1, 2]);
    client.authenticate("a");
    let before = client.list("all_vms");
    let mut cases = Vec::new();
    for (field, range) in [("ram", "1 to 1073741824"), ("cpu", "1 to 65535")] {
        for value in BAD_INTEGERS {
            cases.push(case(
                format!(r#"{{"command":"update","data":{{"{field}":{value},"disks":[]}}}}"#),
                &[field, range],
            ));
        }
    }
    cases.extend([
        case(r#"{"command":"update","data":{}}"#, &["No fields for update"]),
        case(r#"{"command":"update"}"#, &["No fields for update"]),
        case(r#"{"command":"update","data":{"ram":7,"vm_id":"a"}}"#, &["unknown field", "\"vm_id\""]),
        case(
            r#"{"command":"update","data":{"ram":7,"password":"12345678"}}"#,
            &["unknown field", "\"password\""],
        ),
        case(r#"{"command":"update","data":{"ram":7,"ram":8}}"#, &["ram", "twice"]),
        case(r#"{"command":"list"}"#, &["missing field: list_type"]),
        case(r#"{"command":"list","data":{"list_type":7}}"#, &["list_type", "7", "all_disks"]),
        case(r#"{"command":"list","data":{"list_type":null}}"#, &["list_type", "null", "all_disks"]),
        case(r#"{"command":"list","data":{"list_type":"vms"}}"#, &["Unknown list command type"]),
        case(r#"{"command":"list","data":{"list_type":""}}"#, &["Unknown list command type"]),
        case(r#"{"command":"list","data":{"list_type":"all_vms","x":1}}"#, &["unknown field", "\"x\""]),
        case(r#"{"command":"logout","data":{"vm_id":"a"}}"#, &["unknown field", "\"vm_id\""]),
    ]);
    expect_errors(&mut client, &cases);
    assert_eq!(client.list("all_vms"), before);
}

#[test]
fn any_failed_authenticate_leaves_the_connection_anonymous() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    client.register("a", &[1, 2]);
    let cases = [
        case(r#"{"command":"authenticate","data":{}}"#, &["vm_id, password"]),
        case(
            r#"{"command":"authenticate","data":{"vm_id":7,"password":"12345678"}}"#,
            &["vm_id", "7", "string"],
        ),
        case(r#"{"command":"authenticate","data":{"vm_id":"a","password":"short"}}"#, &["password", "5"]),
        case(
            r#"{"command":"authenticate","data":{"vm_id":"a","password":"wrong password"}}"#,
            &["Invalid credentials"],
        ),
    ];
    for case in cases {
        client.authenticate("a");
        expect_errors(&mut client, &[case]);
        client.send(r#"{"command":"list","data":{"list_type":"all_vms"}}"#);
        assert_eq!(client.error(), NOT_FOR_ANONYMOUS);
    }
}

/// The order: JSON, shape and id, then the command's name, the token, the access right, the data.
#[test]
fn errors_are_checked_in_a_fixed_order() {
    let daemon = Daemon::start();
    let invalid_token = "Invalid access token. Try refreshing with the 'authenticate' command";
    let mut client = daemon.client();
    let cases = [
        (r#"{"request_id":null,"command":"fly","x":1}"#, "request_id: "),
        (r#"{"command":"fly","x":1,"data":7}"#, "unknown field \"x\""),
        (r#"{"command":"fly","data":{"token":7}}"#, "Unknown command"),
        (r#"{"command":"stats","data":{"token":7}}"#, "Unknown command"),
        (r#"{"command":"list","data":{"token":7,"list_type":7}}"#, "token: "),
        (r#"{"command":"list","data":{"token":"bad","list_type":7}}"#, invalid_token),
        (r#"{"command":"list","data":{"list_type":7}}"#, NOT_FOR_ANONYMOUS),
        (r#"{"command":"list","data":7}"#, NOT_FOR_ANONYMOUS),
        (r#"{"command":"update","data":{}}"#, NOT_FOR_ANONYMOUS),
        (r#"{"command":"logout","data":{"x":1}}"#, NOT_FOR_ANONYMOUS),
    ];
    for (request, begin) in cases {
        client.send(request);
        let message = client.error();
        assert!(message.starts_with(begin), "{request}: {message}");
    }
}

#[test]
fn values_at_their_limits_are_accepted() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    let name = "é".repeat(64);
    let disks: Vec<Value> = (0..1024).map(|_| json!({"disk_size": 1_u64 << 50})).collect();
    let data = json!({
        "vm_id": name, "ram": 1 << 30, "cpu": 65_535, "password": "p".repeat(1024), "disks": disks,
    });
    assert_eq!(client.succeed("register", data), json!({"auth_id": name}));
    let small = json!({"vm_id": "1a", "ram": 1, "cpu": 1, "password": "12345678", "disks": []});
    client.succeed("register", small);
    client.succeed("authenticate", json!({"vm_id": name, "password": "p".repeat(1024)}));
    let vms = client.list("all_vms");
    assert_eq!((&vms[0]["ram"], &vms[0]["cpu"]), (&json!(1 << 30), &json!(65_535)));
    assert_eq!(vms[0]["disks"].as_array().map(Vec::len), Some(1024));
    assert_eq!(vms[0]["disks"][1023]["disk_size"], json!(1_u64 << 50));
    assert_eq!(vms[1], json!({"vm_id": "1a", "ram": 1, "cpu": 1, "disks": []}));
}

#[test]
fn names_round_trip() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    let names = [
        "a\"b",
        "a\\b",
        "Ünïcödé",
        "日本語",
        "🦀",
        "<script>",
        "';DROP-TABLE-vms;--",
        "%s%n",
        "-1",
        "\u{fffd}",
    ];
    for name in names {
        client.register(name, &[]);
        client.authenticate(name);
        assert_eq!(
            client.call(request("logout", json!({})))["message"],
            format!("VM ({name}) logged out successfully")
        );
    }
    client.authenticate(names[0]);
    let listed: Vec<Value> = client.list("all_vms").into_iter().map(|mut vm| vm["vm_id"].take()).collect();
    assert_eq!(listed, names);
}

#[test]
fn a_confusable_name_is_refused_with_its_code_point() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    for (name, part) in
        [("web\u{200b}", "U+200B"), ("\u{2060}", "U+2060"), ("e\u{301}", "not in NFC, with U+0301")]
    {
        let shape = json!({"vm_id": name, "ram": 1, "cpu": 1, "password": "securePass123", "disks": []});
        let error = client.fail(request("register", shape));
        assert!(error.starts_with("vm_id: ") && error.contains(part), "{error}");
        // It may be an old name.
        let login = json!({"vm_id": name, "password": "securePass123"});
        assert_eq!(client.fail(request("authenticate", login)), "Invalid credentials");
    }
}
