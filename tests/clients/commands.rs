//! A documented VM's whole conversation, from its first `ping` to its `logout`, pretty-printed as users paste it.

use std::process::Command;

use serde_json::{Value, json};

use crate::common::{Client, Daemon, request, require, run_with_input};
use crate::program_client::{Endpoint, Framing, ProgramClient};
use crate::programs::nc;

/// The requests, in order, as they are pasted.
pub(crate) const REQUESTS: [&str; 10] = [
    r#"{
    "command": "ping",
    "data": {}
}"#,
    r#"{
    "command": "register",
    "data": {
        "vm_id": "stalin",
        "ram": 512,
        "cpu": 4,
        "password": "securePass123",
        "disks": [
            {
                "disk_size": 100
            },
            {
                "disk_size": 200
            }
        ]
    }
}"#,
    r#"{
    "command": "authenticate",
    "data": {
        "vm_id": "stalin",
        "password": "securePass123"
    }
}"#,
    r#"{
    "command": "list",
    "data": {
        "list_type": "active_vms"
    }
}"#,
    r#"{
    "command": "list",
    "data": {
        "list_type": "authenticated_vms"
    }
}"#,
    r#"{
    "command": "list",
    "data": {
        "list_type": "all_vms"
    }
}"#,
    r#"{
    "command": "list",
    "data": {
        "list_type": "all_disks"
    }
}"#,
    r#"{
    "command": "update",
    "data": {
        "ram": 1024
    }
}"#,
    r#"{
    "command": "update",
    "data": {
        "ram": 2048,
        "cpu": 8,
        "disks": [
            {
                "id": 1,
                "disk_size": 150
            },
            {
                "id": 2,
                "disk_size": 250
            }
        ]
    }
}"#,
    r#"{
    "command": "logout",
    "data": {}
}"#,
];

/// The answers, byte for byte; PORT is the client's, TOKEN a new one.
pub(crate) const REPLIES: [&str; 10] = [
    r#"{"status":"success","message":"PONG","data":{"addr":["127.0.0.1",PORT]}}"#,
    r#"{"status":"success","message":"Save the vm_id for authentication","data":{"auth_id":"stalin"}}"#,
    r#"{"status":"success","message":"Authentication successful","data":{"token":"TOKEN"}}"#,
    r#"{"status":"success","message":null,"data":{"active_vms":[{"addr":["127.0.0.1",PORT],"vm_info":{"vm_id":"stalin","ram":512,"cpu":4,"disks":[{"id":1,"vm_id":"stalin","disk_size":100},{"id":2,"vm_id":"stalin","disk_size":200}]}}]}}"#,
    r#"{"status":"success","message":null,"data":{"authenticated_vms":[{"addr":["127.0.0.1",PORT],"vm_info":{"vm_id":"stalin","ram":512,"cpu":4,"disks":[{"id":1,"vm_id":"stalin","disk_size":100},{"id":2,"vm_id":"stalin","disk_size":200}]}}]}}"#,
    r#"{"status":"success","message":null,"data":{"all_vms":[{"vm_id":"stalin","ram":512,"cpu":4,"disks":[{"id":1,"vm_id":"stalin","disk_size":100},{"id":2,"vm_id":"stalin","disk_size":200}]}]}}"#,
    r#"{"status":"success","message":null,"data":{"all_disks":[{"id":1,"vm_id":"stalin","disk_size":100},{"id":2,"vm_id":"stalin","disk_size":200}]}}"#,
    r#"{"status":"success","message":"VM info updated successfully","data":{}}"#,
    r#"{"status":"success","message":"VM info updated successfully","data":{}}"#,
    r#"{"status":"success","message":"VM (stalin) logged out successfully","data":{}}"#,
];

/// The answers that differ over HTTP, where each request has a connection of its own and a login does not last: the lists
/// of connections.
pub(crate) const REPLIES_OVER_HTTP: [(usize, &str); 2] = [
    (3, r#"{"status":"success","message":null,"data":{"active_vms":[{"addr":["127.0.0.1",PORT]}]}}"#),
    (4, r#"{"status":"success","message":null,"data":{"authenticated_vms":[]}}"#),
];

#[test]
fn commands_work_one_by_one_without_line_breaks() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    let port = client.local_address().port();
    for (request, expected) in REQUESTS.iter().zip(REPLIES) {
        client.send(request);
        assert_reply(&client.raw_line(), expected, &port.to_string());
    }
    client.half_close();
    client.expect_closed();
    the_updates_have_happened(&daemon);
}

#[test]
fn commands_work_pipelined_over_a_unix_socket() {
    let daemon = Daemon::start();
    let mut client = daemon.operator();
    client.send(&REQUESTS.concat());
    for expected in REPLIES {
        let expected = expected.replace("127.0.0.1", "unix");
        assert_reply(&client.raw_line(), &expected, "0");
    }
    client.ping();
    the_updates_have_happened(&daemon);
}

#[test]
fn commands_work_pasted_into_netcat_at_once() {
    let daemon = Daemon::start();
    let paste = REQUESTS.map(|request| format!("{request}\n\n")).concat();
    let (ip, port) = (daemon.address().ip().to_string(), daemon.address().port().to_string());
    let said = run_with_input(nc().args([ip, port]), paste.as_bytes()).expect_success();
    let lines: Vec<&str> = said.stdout.lines().collect();
    assert_eq!(lines.len(), REPLIES.len(), "{}", said.stdout);
    let port = port_in_reply(lines[0]);
    for (line, expected) in lines.iter().zip(REPLIES) {
        assert_reply(line, expected, &port);
    }
    the_updates_have_happened(&daemon);
}

/// As a user does it: each answer is read before the next request is pasted. In `nc` the line break after the last brace
/// comes with the next request.
#[test]
fn commands_work_one_by_one_over_persistent_connections() {
    for framing in [Framing::RawJson, Framing::WebSocket] {
        let daemon = Daemon::start();
        let mut program = ProgramClient::of(&daemon, framing);
        let mut port = String::new();
        for (index, (request, expected)) in REQUESTS.iter().zip(REPLIES).enumerate() {
            let line_break = if index == 0 { "" } else { "\n" };
            let line = program.call_text(&format!("{line_break}{request}"));
            if port.is_empty() {
                port = port_in_reply(&line);
            }
            assert_reply(&line, expected, &port);
        }
        program.close();
        the_updates_have_happened(&daemon);
    }
}

/// The token is sent with each request: in the head or in the data.
#[test]
fn commands_work_posted_by_curl_with_a_token() {
    for is_in_head in [true, false] {
        let daemon = Daemon::start();
        let mut program = ProgramClient::of(&daemon, Framing::Http);
        let mut token: Option<String> = None;
        for (index, (request, reply)) in REQUESTS.iter().zip(REPLIES).enumerate() {
            let request = match &token {
                Some(token) if !is_in_head => with_token(request, token),
                _ => request.to_string(),
            };
            let line = program.call_text(&request);
            let over_http = REPLIES_OVER_HTTP.iter().find(|(at, _)| *at == index);
            // Each request has another port.
            let port = if line.contains("127.0.0.1") { port_in_reply(&line) } else { String::new() };
            assert_reply(&line, over_http.map_or(reply, |(_, reply)| reply), &port);
            if index == LOGIN {
                token = Some(token_in_reply(&line));
                if is_in_head {
                    program.use_token(&token_in_reply(&line));
                }
            }
        }
        the_logout_has_ended(&program, &token.expect("a login"), is_in_head);
        the_updates_have_happened(&daemon);
    }
}

/// An HTTP client without its token is anonymous.
#[test]
fn commands_posted_by_curl_without_a_token_need_a_login() {
    let daemon = Daemon::start();
    let mut program = ProgramClient::of(&daemon, Framing::Http);
    let refused =
        r#"{"status":"error","message":"You have to authenticate to run this operation","data":{}}"#;
    for (index, (request, reply)) in REQUESTS.iter().zip(REPLIES).enumerate() {
        let line = program.call_text(request);
        if index <= LOGIN {
            let port = if index == 0 { port_in_reply(&line) } else { String::new() };
            assert_reply(&line, reply, &port);
        } else {
            assert_eq!(line, refused, "{request}");
        }
    }
}

#[test]
fn commands_work_in_netcat_without_line_breaks() {
    let daemon = Daemon::start();
    require("nc", "netcat-openbsd");
    let pings = r#"{"command": "ping"}"#.repeat(3);
    let script =
        format!("printf '{pings}[1]{{\"command\": \"ping\"}}' | nc -N 127.0.0.1 {}", daemon.address().port());
    let said = run_with_input(Command::new("sh").args(["-c", &script]), b"").expect_success();
    let lines: Vec<&str> = said.stdout.lines().collect();
    let begins = ["PONG", "PONG", "PONG", "a request must be an object", "PONG"];
    assert_eq!(lines.len(), begins.len(), "{lines:?}");
    for (line, begin) in lines.iter().zip(begins) {
        assert!(line.contains(&format!(r#""message":"{begin}"#)), "{line} does not say {begin}");
    }
}

/// The three programs also work over the daemon's own socket, and have no address there.
#[test]
fn commands_work_from_each_program_over_a_unix_socket() {
    let daemon = Daemon::start();
    for framing in Framing::ALL {
        let mut program = ProgramClient::new(framing, Endpoint::Unix(daemon.own_socket()));
        let pong = r#"{"status":"success","message":"PONG","data":{"addr":["unix",0]}}"#;
        assert_eq!(program.call_text(REQUESTS[0]), pong, "{framing:?}");
        program.close();
    }
}

/// `request` with `token` in its data.
pub(crate) fn with_token(request: &str, token: &str) -> String {
    let mut request: Value = serde_json::from_str(request).expect("a request");
    request["data"]["token"] = token.into();
    request.to_string()
}

/// Whether the request is the login.
pub(crate) const LOGIN: usize = 2;

#[track_caller]
pub(crate) fn assert_reply(line: &str, expected: &str, port: &str) {
    let mut line = line.to_owned();
    if expected.contains("TOKEN") {
        line = line.replace(&token_in_reply(&line), "TOKEN");
    }
    assert_eq!(line, expected.replace("PORT", port));
}

/// The token in the reply to a login, which has no other text of that form.
#[track_caller]
pub(crate) fn token_in_reply(line: &str) -> String {
    let begin = r#"{"status":"success","message":"Authentication successful","data":{"token":""#.len();
    let token: String = line.chars().skip(begin).take(64).collect();
    assert!(token.len() == 64 && token.bytes().all(|byte| byte.is_ascii_hexdigit()), "{line}");
    token
}

/// The port of the first address in a reply.
#[track_caller]
pub(crate) fn port_in_reply(line: &str) -> String {
    let (_, rest) = line.split_once(r#"["127.0.0.1","#).unwrap_or_else(|| panic!("no address in {line}"));
    rest.chars().take_while(char::is_ascii_digit).collect()
}

/// The token of a `logout` is invalid afterwards.
#[track_caller]
fn the_logout_has_ended(program: &ProgramClient, token: &str, is_in_head: bool) {
    let list = r#"{"command": "list", "data": {"list_type": "all_vms"}}"#;
    let request = if is_in_head { list.to_owned() } else { with_token(list, token) };
    let refused = r#"{"status":"error","message":"Invalid access token. Try refreshing with the 'authenticate' command","data":{}}"#;
    // In the data it is an error of the dialect, not of HTTP.
    let status = if is_in_head { 401 } else { 200 };
    assert_eq!(program.post(&request), (status, refused.to_owned()));
}

/// The VM as another client sees it afterwards.
fn the_updates_have_happened(daemon: &Daemon) {
    let mut client: Client = daemon.client();
    assert_eq!(
        client.fail(request("list", json!({"list_type": "all_vms"}))),
        "You have to authenticate to run this operation"
    );
    client.authenticate("stalin");
    let disks = json!([
        {"id": 1, "vm_id": "stalin", "disk_size": 150},
        {"id": 2, "vm_id": "stalin", "disk_size": 250},
    ]);
    let vms = client.list("all_vms");
    assert_eq!(vms, [json!({"vm_id": "stalin", "ram": 2048, "cpu": 8, "disks": disks})]);
}
