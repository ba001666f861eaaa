//! Verbs over each framing, with each framing's own client.

use serde_json::{Value, json};

use crate::common::Daemon;
use crate::program_client::{Framing, ProgramClient};
use crate::programs::fetch;

/// The reply to an error.
fn refusal(message: &str) -> Value {
    json!({"success": false, "message": message, "data": {}})
}

#[test]
fn stat_tells_the_status_over_each_framing() {
    let daemon = Daemon::start();
    for framing in Framing::ALL {
        let mut program = ProgramClient::of(&daemon, framing);
        let text = program.call_text(r#"{"verb": "STAT", "parameters": {}}"#);
        let beginning = r#"{"success":true,"message":"OK","data":{"uptime":"#;
        assert!(text.starts_with(beginning), "{framing:?}: {text}");
        let reply: Value = serde_json::from_str(&text).expect("a reply is JSON");
        let data = reply["data"].as_object().expect("data is an object");
        assert_eq!(data.keys().collect::<Vec<_>>(), ["available", "uptime", "version"], "{framing:?}");
        assert!(data["uptime"].is_u64(), "{framing:?}: {text}");
        assert_eq!(
            (&data["available"], &data["version"]),
            (&json!("nolimit"), &json!(env!("CARGO_PKG_VERSION")))
        );
        let with_id = program.call(&json!({"verb": "STAT", "parameters": {}, "request_id": "a"}));
        assert_eq!((&with_id["request_id"], &with_id["success"]), (&json!("a"), &json!(true)));
        program.close();
    }
}

#[test]
fn the_uptime_counts_whole_seconds() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    let mut uptime = || {
        let reply = client.call(json!({"verb": "STAT", "parameters": {}}));
        reply["data"]["uptime"].as_u64().expect("whole seconds")
    };
    let first = uptime();
    assert!(first < 60, "{first}");
    crate::common::wait_until("a second passes", crate::common::DEADLINE, || uptime() > first);
}

#[test]
fn bad_verbs_are_refused_in_the_same_shape_and_the_connection_continues() {
    let daemon = Daemon::start();
    let malformed = refusal("Bad request (Malformed request)");
    for framing in Framing::ALL {
        let mut program = ProgramClient::of(&daemon, framing);
        let unknown = program.call(&json!({"verb": "REBOOT", "parameters": {}}));
        assert_eq!(unknown, refusal("Bad request (Unknown verb)"), "{framing:?}");
        for request in [
            json!({"verb": "stat", "parameters": {}}),
            json!({"verb": "STAT"}),
            json!({"verb": "STAT", "parameters": []}),
            json!({"verb": 5, "parameters": {}}),
        ] {
            assert_eq!(program.call(&request), malformed, "{framing:?}: {request}");
        }
        assert_eq!(program.call(&json!({"command": "ping"}))["message"], "PONG", "{framing:?}");
        program.close();
    }
}

/// As web clients have it: the path names the verb, and the body is its parameters alone.
#[test]
fn the_path_stat_answers_over_http() {
    let daemon = Daemon::builder().listen("tcp://127.0.0.1:0?open=none").start();
    let base = format!("http://{}", daemon.address());
    let requests: [(&str, &[&str]); 7] = [
        ("/stat", &[]),
        ("/STAT", &["-X", "POST"]),
        ("/Stat", &["-d", ""]),
        ("/stat", &["-d", "{}"]),
        ("/stat", &["-d", r#"{"other": [1], "data": 5}"#]),
        ("/stat", &["-d", r#"{"verb": "STAT", "parameters": {}}"#]),
        ("/any/path", &["-d", r#"{"verb": "STAT", "parameters": {}}"#]),
    ];
    let ask = |url: String, arguments: &[&str]| {
        let [first, second] = match arguments {
            [first, second] => [*first, *second],
            _ => ["--max-time", "10"],
        };
        let answer = fetch([first, second, &url]);
        let reply: Value = serde_json::from_str(&answer.body).unwrap_or_else(|_| panic!("{}", answer.body));
        (answer.status, reply)
    };
    for (path, arguments) in requests {
        let (status, reply) = ask(format!("{base}{path}"), arguments);
        assert_eq!((status, &reply["message"]), (200, &json!("OK")), "{path} {arguments:?}");
        assert!(reply["data"]["uptime"].is_u64(), "{reply}");
    }
    // The body of another dialect is its own.
    let (_, pong) = ask(format!("{base}/stat"), &["-d", r#"{"command": "ping"}"#]);
    assert_eq!(pong["message"], "PONG");
    let (status, bad_id) = ask(format!("{base}/stat"), &["-d", r#"{"command": "ping", "request_id": {}}"#]);
    assert_eq!((status, &bad_id["status"]), (200, &json!("error")), "{bad_id}");
    // A refusal has the same shape, and the status 200.
    let malformed = refusal("Bad request (Malformed request)");
    for body in ["[]", "{", "5", "\"STAT\""] {
        assert_eq!(ask(format!("{base}/stat"), &["-d", body]), (200, malformed.clone()), "{body}");
    }
    let closed = format!("http://{}/stat", daemon.addresses()[1]);
    let login = refusal("Bad authentication (Authentication required)");
    assert_eq!(ask(closed.clone(), &[]), (200, login));
    let token = refusal("Bad authentication (Invalid access token)");
    assert_eq!(ask(closed.clone(), &["-H", "Authorization: Bearer nothing"]), (200, token));
    let token = daemon_token(&daemon);
    let (status, reply) = ask(closed, &["-H", &format!("Authorization: Bearer {token}")]);
    assert_eq!((status, &reply["success"]), (200, &json!(true)), "{reply}");
}

/// The token of a VM.
fn daemon_token(daemon: &Daemon) -> String {
    let mut client = daemon.client();
    client.register("web", &[1]);
    client.authenticate("web")
}
