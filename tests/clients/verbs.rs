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

/// Sends a request with curl; returns the status and the reply.
fn ask(url: String, arguments: &[&str]) -> (u16, Value) {
    let [first, second] = match arguments {
        [first, second] => [*first, *second],
        _ => ["--max-time", "10"],
    };
    let answer = fetch([first, second, &url]);
    let reply = serde_json::from_str(&answer.body).unwrap_or_else(|_| panic!("{}", answer.body));
    (answer.status, reply)
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

/// The plain daemon has no hypervisor: it creates nothing, and knows no container.
#[test]
fn create_and_destroy_find_no_hypervisor_and_no_container() {
    let daemon = Daemon::start();
    let credentials = json!({
        "container_uuid": "01234567-89ab-4cde-bfed-0123456789ab",
        "client_token": "a-Z_9".repeat(51),
    });
    let [malformed, none, unknown] =
        ["Bad request (Malformed request)", "Unavailable (No hypervisor)", "Bad authentication"].map(refusal);
    let half = json!({"container_uuid": credentials["container_uuid"]});
    let requests = [
        ("CREATE", json!({}), &none),
        ("CREATE", json!({"other": [1]}), &none),
        ("CREATE", credentials.clone(), &none),
        ("CREATE", half.clone(), &malformed),
        ("DESTROY", json!({}), &unknown),
        ("DESTROY", credentials, &unknown),
        ("DESTROY", half, &malformed),
        ("DESTROY", json!({"container_uuid": 1, "client_token": 2}), &malformed),
    ];
    for framing in Framing::ALL {
        let mut program = ProgramClient::of(&daemon, framing);
        for (verb, parameters, wanted) in &requests {
            let reply = program.call(&json!({"verb": verb, "parameters": parameters}));
            assert_eq!(reply, **wanted, "{framing:?}: {verb} {parameters}");
        }
        program.close();
    }
    let base = format!("http://{}", daemon.address());
    for (verb, parameters, wanted) in &requests {
        for path in [verb.to_ascii_lowercase(), verb.to_string()] {
            let found = ask(format!("{base}/{path}"), &["-d", &parameters.to_string()]);
            assert_eq!(found, (200, (*wanted).clone()), "{path} {parameters}");
        }
    }
    assert_eq!(ask(format!("{base}/create"), &["-X", "POST"]), (200, none.clone()));
    assert_eq!(ask(format!("{base}/destroy"), &["-X", "POST"]), (200, unknown.clone()));
    assert_eq!(ask(format!("{base}/Create"), &["-d", ""]), (200, none));
    assert_eq!(ask(format!("{base}/create"), &["-d", "[]"]), (200, malformed.clone()));
    assert_eq!(
        ask(format!("{base}/create"), &["-d", r#"{"verb": "DESTROY", "parameters": {}}"#]),
        (200, unknown)
    );
    for path in ["create", "Destroy"] {
        let answer = fetch([&format!("{base}/{path}")]);
        assert_eq!((answer.status, answer.header("Allow")), (405, Some("POST, OPTIONS")), "{path}");
        let answer = fetch(["-X", "OPTIONS", &format!("{base}/{path}")]);
        assert_eq!((answer.status, answer.header("Allow")), (204, Some("POST, OPTIONS")), "{path}");
    }
    // Below the path of a verb only a whole message has a meaning.
    for body in ["{}", "", "[", r#"{"container_uuid": 5}"#] {
        for path in ["stat/x", "create/", "destroy/a/b"] {
            assert_eq!(
                ask(format!("{base}/{path}"), &["-d", body]),
                (200, malformed.clone()),
                "{path} {body}"
            );
        }
    }
    let (_, pong) = ask(format!("{base}/stat/x"), &["-d", r#"{"command": "ping"}"#]);
    assert_eq!(pong["message"], "PONG");
    assert_eq!(fetch([&format!("{base}/stat/x")]).status, 404);
}

#[test]
fn the_page_at_the_root_lists_the_verbs_for_programs() {
    let daemon = Daemon::start();
    let url = format!("http://{}/", daemon.address());
    let answer = fetch(["-H", "Accept: application/json", &url]);
    let message = concat!("vmherd ", env!("CARGO_PKG_VERSION"));
    let links = r#"{"links":["/stat","/create","/destroy"]}"#;
    assert_eq!(answer.body, format!("{{\"success\":true,\"message\":\"{message}\",\"data\":{links}}}\n"));
    assert_eq!(answer.header("Content-Type"), Some("application/json"));
    for accept in ["Accept: */*", "Accept: text/plain", "Accept:"] {
        let answer = fetch(["-H", accept, &url]);
        assert!(answer.body.contains("GET /healthz"), "{accept}: {}", answer.body);
    }
}

/// The token of a VM.
fn daemon_token(daemon: &Daemon) -> String {
    let mut client = daemon.client();
    client.register("web", &[1]);
    client.authenticate("web")
}
