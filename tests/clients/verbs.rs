//! Verbs over each framing, with each framing's own client.

use serde_json::{Value, json};

use crate::common::Daemon;
use crate::program_client::{Framing, ProgramClient};

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
