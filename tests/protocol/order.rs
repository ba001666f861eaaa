//! The order of replies, and the number of open requests.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::common::{Client, Daemon, PASSWORD, request};

const PING: &str = r#"{"command":"ping"}"#;

fn list() -> String {
    request("list", json!({"list_type": "all_vms"})).to_string()
}

fn with_id(id: &str, request: &str) -> String {
    request.replacen('{', &format!("{{\"request_id\":{id},"), 1)
}

fn update(id: usize) -> String {
    with_id(&id.to_string(), &request("update", json!({"ram": id + 1})).to_string())
}

fn authenticated(daemon: &Daemon, name: &str) -> Client {
    let mut client = daemon.client();
    client.register(name, &[1, 2]);
    client.authenticate(name);
    client
}

/// The request that a reply answers, by its shape.
fn kind(reply: &Value) -> &str {
    if reply["data"].get("all_vms").is_some() { "list" } else { reply["message"].as_str().unwrap_or("?") }
}

#[test]
fn requests_without_ids_are_answered_in_order() {
    let daemon = Daemon::start();
    let mut client = authenticated(&daemon, "a");
    client.send(&format!("{}{PING}{}{PING}{PING}", list(), list()));
    let kinds: Vec<String> = (0..5).map(|_| kind(&client.reply()).to_owned()).collect();
    assert_eq!(kinds, ["list", "PONG", "list", "PONG", "PONG"]);
}

/// A list goes through a worker thread, a ping does not.
#[test]
fn requests_with_ids_are_answered_on_completion() {
    let daemon = Daemon::start();
    let mut client = authenticated(&daemon, "a");
    client.send(&format!("{}{}{PING}", list(), with_id("7", PING)));
    let replies: Vec<Value> = (0..3).map(|_| client.reply()).collect();
    let came: Vec<(&str, &Value)> = replies.iter().map(|reply| (kind(reply), &reply["request_id"])).collect();
    assert_eq!(came, [("PONG", &json!(7)), ("list", &Value::Null), ("PONG", &Value::Null)]);
}

#[test]
fn ids_are_echoed_first_and_verbatim() {
    let daemon = Daemon::start();
    let mut client = authenticated(&daemon, "a");
    let long_string = format!("\"{}\"", "i".repeat(256));
    let long_number = "9".repeat(256);
    let ids = [
        "1",
        "-0",
        "0.10",
        "1.0",
        "1e5",
        "1E+05",
        "123456789012345678901234567890",
        "1e400",
        "\"\"",
        "\"1\"",
        "\"é𝄞\"",
        r#""a\u0041\n\"\\""#,
        &long_string,
        &long_number,
    ];
    for id in ids {
        let refused = r#"{"command":"fly"}"#;
        for (request, status) in [(PING, "success"), (&list(), "success"), (refused, "error")] {
            client.send(&with_id(id, request));
            let line = client.raw_line();
            assert!(line.starts_with(&format!(r#"{{"request_id":{id},"status":"{status}""#)), "{line}");
        }
    }
    // The id need not be the request's first field.
    client.send(r#"{"command":"ping","data":{},"request_id":  5.00 }"#);
    assert!(client.raw_line().starts_with(r#"{"request_id":5.00,"#));
}

#[test]
fn an_id_of_another_type_or_too_long_is_an_error_without_it() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    let long_string = format!("\"{}\"", "i".repeat(257));
    let long_number = "9".repeat(257);
    for id in ["null", "true", "[]", "{}", "[1]", "\"a\\u0000\"", &long_string, &long_number] {
        client.send(&with_id(id, PING));
        let line = client.raw_line();
        assert!(line.starts_with(r#"{"status":"error","message":"request_id: "#), "{id}: {line}");
        client.ping();
    }
    client.send(r#"{"request_id":1,"request_id":2,"command":"ping"}"#);
    assert!(client.error().starts_with("request_id: "));
}

#[test]
fn the_same_id_may_be_open_twice() {
    let daemon = Daemon::start();
    let mut client = authenticated(&daemon, "a");
    client.send(&format!("{}{}", update(3), update(3)));
    for _ in 0..2 {
        let reply = client.reply();
        assert_eq!((&reply["request_id"], &reply["status"]), (&json!(3), &json!("success")));
    }
}

/// Sends many updates in one packet; how many of them succeeded. Each is answered once.
#[track_caller]
fn flood(client: &mut Client, count: usize) -> usize {
    client.send(&(0..count).map(update).collect::<String>());
    let mut answers = BTreeMap::new();
    for _ in 0..count {
        let reply = client.reply();
        let id = reply["request_id"].as_u64().expect("an id of ours");
        let is_busy = reply["message"] == "busy";
        assert!(is_busy || reply["message"] == "VM info updated successfully", "{reply}");
        assert!(answers.insert(id, is_busy).is_none(), "{id} was answered before");
    }
    answers.values().filter(|is_busy| !**is_busy).count()
}

#[test]
fn too_many_open_requests_on_one_connection_are_busy() {
    let daemon = Daemon::builder().args(["--requests-per-connection", "4"]).start();
    let mut client = authenticated(&daemon, "a");
    let done = flood(&mut client, 100);
    assert!((4..100).contains(&done), "{done} of 100 went through");
    // Nothing of it remains: four at a time still work.
    for _ in 0..3 {
        assert_eq!(flood(&mut client, 4), 4);
    }
    // Requests without an id do not count: they wait for each other.
    client.send(&list().repeat(20));
    for _ in 0..20 {
        assert_eq!(kind(&client.reply()), "list");
    }
}

#[test]
fn too_many_open_requests_in_total_are_busy() {
    let daemon = Daemon::builder().args(["--requests-max", "4"]).start();
    let mut client = authenticated(&daemon, "a");
    let mut other = authenticated(&daemon, "b");
    let done = flood(&mut client, 100);
    assert!((4..100).contains(&done), "{done} of 100 went through");
    for _ in 0..3 {
        assert_eq!(flood(&mut client, 4), 4);
        assert_eq!(flood(&mut other, 4), 4);
    }
}

#[test]
fn a_login_applies_to_later_requests_of_the_same_packet() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    let register = r#"{"command":"register","data":{"vm_id":"a","ram":1,"cpu":1,"password":"securePass123","disks":[]}}"#;
    let authenticate = request("authenticate", json!({"vm_id": "a", "password": PASSWORD})).to_string();
    let logout = request("logout", json!({})).to_string();
    for with_ids in [false, true] {
        let requests = [register, &authenticate, &list(), &list(), &logout, &list()];
        let number = |(id, request): (usize, &&str)| match with_ids {
            true => with_id(&id.to_string(), request),
            false => (*request).to_owned(),
        };
        client.send(&requests.iter().enumerate().map(number).collect::<String>());
        let mut replies: Vec<Value> = (0..requests.len()).map(|_| client.reply()).collect();
        replies.sort_by_key(|reply| reply["request_id"].as_u64());
        let kinds: Vec<&str> = replies.iter().map(kind).collect();
        let registered =
            if with_ids { "VM is already registered" } else { "Save the vm_id for authentication" };
        let expected = [
            registered,
            "Authentication successful",
            "list",
            "list",
            "VM (a) logged out successfully",
            "You have to authenticate to run this operation",
        ];
        assert_eq!(kinds, expected);
    }
}

/// Otherwise the list would be an anonymous client's.
/// A slow login that fails, of either dialect, does not end the faster one by token that comes after it.
#[test]
fn a_failed_login_does_not_end_a_later_one_of_the_same_packet() {
    let daemon = Daemon::builder().with_slow_hashes().args(["--login-failures", "none"]).start();
    daemon.client().register("a", &[]);
    daemon.client().register("b", &[]);
    let token = daemon.client().authenticate("b");
    let list = json!({"command": "list", "data": {"list_type": "authenticated_vms", "token": token}});
    let wrong = json!({"vm_id": "a", "password": "notThePassword"});
    for failing in [
        json!({"command": "authenticate", "data": wrong}),
        json!({"action": "authenticate", "vm_id": 1, "password": "notThePassword"}),
        json!({"action": "connect", "vm_id": 1, "password": "notThePassword"}),
        json!({"action": "authenticate", "vm_id": 1}),
        json!({"action": "connect", "vm_id": 1}),
    ] {
        let mut client = daemon.client();
        client.send(&(with_id("1", &failing.to_string()) + &with_id("2", &list.to_string())));
        let replies = [client.reply(), client.reply()];
        let failed = replies.iter().find(|reply| reply["request_id"] == 1).expect("its reply");
        let message = if failing.get("action").is_some() { "error" } else { "message" };
        assert_eq!(failed[message], "Invalid credentials", "{failing}");
        let port = client.local_address().port();
        let own = client.list("authenticated_vms").into_iter().find(|entry| entry["addr"][1] == port);
        assert_eq!(own.expect("it is authenticated")["vm_info"]["vm_id"], "b", "{failing}");
    }
}

#[test]
fn a_token_applies_to_later_requests_of_the_same_packet() {
    let daemon = Daemon::start();
    let mut first = daemon.client();
    first.register("a", &[]);
    let token = first.authenticate("a");
    for _ in 0..20 {
        let mut client = daemon.client();
        let with_token = request("list", json!({"list_type": "all_vms", "token": token})).to_string();
        client.send(&format!("{}{}", with_id("1", &with_token), with_id("2", &list())));
        assert_eq!(kind(&client.reply()), "list");
        assert_eq!(kind(&client.reply()), "list");
    }
}
