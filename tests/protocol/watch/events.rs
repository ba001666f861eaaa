//! Changes over HTTP, as server-sent events.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::{NOT_AUTHENTICATED, TOO_FAR_BEHIND};
use crate::common::{Client, Daemon, PASSWORD};
use crate::web::{Web, post};

/// A request, in a version of HTTP without chunks.
fn get(daemon: &Daemon, path: &str, headers: &str) -> Client {
    let mut client = daemon.client();
    client.send(&format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n{headers}\r\n"));
    client
}

/// The lines of the head.
#[track_caller]
fn head(client: &mut Client) -> Vec<String> {
    let mut lines = Vec::new();
    loop {
        match client.raw_line().trim_end() {
            "" => return lines,
            line => lines.push(line.to_owned()),
        }
    }
}

/// The id and the data of the next event.
#[track_caller]
fn event(next: impl FnMut() -> String) -> (Option<String>, Value) {
    let mut id = None;
    let mut lines = std::iter::repeat_with(next);
    loop {
        let line = lines.next().expect("it is endless");
        match line.split_once(": ") {
            Some(("id", given)) => id = Some(given.to_owned()),
            Some(("data", data)) => {
                assert_eq!(lines.next().as_deref(), Some(""), "an event ends with an empty line");
                return (id, serde_json::from_str(data).expect("data is JSON"));
            }
            _ => panic!("{line:?}"),
        }
    }
}

#[test]
fn events_are_the_messages_of_a_watch() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    client.register("a", &[]);
    let mut events = get(&daemon, "/events/stream", "");
    let lines = head(&mut events);
    assert_eq!(lines[0], "HTTP/1.1 200 OK");
    for wanted in ["Content-Type: text/event-stream", "Cache-Control: no-store", "Connection: close"] {
        assert!(lines.iter().any(|line| line == wanted), "{wanted}: {lines:?}");
    }
    let mut next = || event(|| events.raw_line());
    let (id, snapshot) = next();
    assert_eq!(
        (&snapshot["message"], &snapshot["data"]["vms"][0]["vm_id"]),
        (&json!("snapshot"), &json!("a"))
    );
    assert_eq!(id.as_deref(), snapshot["data"]["revision"].as_str());
    client.authenticate("a");
    let (id, online) = next();
    assert_eq!((&online["message"], &online["data"]["kind"]), (&json!("change"), &json!("online")));
    assert_eq!(id.as_deref(), online["data"]["revision"].as_str());
    // A browser that connects again says what it has, which replaces what the address says.
    client.succeed("logout", json!({}));
    let (_, offline) = next();
    let header = format!("Last-Event-ID: {}\r\n", id.expect("an id"));
    let old = snapshot["data"]["revision"].as_str().expect("a revision");
    let mut again = get(&daemon, &format!("/events/stream?from={old}"), &header);
    head(&mut again);
    let mut next = || event(|| again.raw_line());
    assert_eq!(
        next().1,
        json!({"status": "success", "message": "resumed", "data": {"revision": online["data"]["revision"]}})
    );
    assert_eq!(next().1, offline);
}

#[test]
fn a_client_says_what_it_wants() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    let mut events = get(&daemon, "/events/stream?what=presence,points:a%2Eb", "");
    head(&mut events);
    let mut next = || event(|| events.raw_line()).1;
    assert_eq!(next()["message"], "snapshot");
    client.register("vm", &[]);
    client.succeed("put", json!({"key": "a.b.c", "value": 1}));
    assert_eq!(next()["data"]["points"][0]["key"], "a.b.c");
    client.authenticate("vm");
    assert_eq!(next()["data"]["kind"], "online");
}

#[test]
fn curl_gets_each_change_as_it_happens() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    let url = format!("http://{}/events/stream?what=vms", daemon.address());
    let mut curl = Command::new("curl")
        .args(["-sN", "--max-time", "30", &url])
        .stdout(Stdio::piped())
        .spawn()
        .expect("curl");
    let mut lines = BufReader::new(curl.stdout.take().expect("piped")).lines();
    let mut next = || event(|| lines.next().expect("it goes on").expect("it is text")).1;
    assert_eq!(next()["data"]["vms"], json!([]));
    for name in ["a", "b"] {
        client.register(name, &[]);
        assert_eq!(next()["data"]["vm_id"], name);
    }
    // The stop of the daemon ends the response in good order.
    let mut daemon = daemon;
    daemon.stop();
    assert!(curl.wait().expect("it ends").success());
}

#[test]
fn events_have_the_rights_of_a_watch() {
    let daemon = Daemon::builder().only_on("tcp://127.0.0.1:0?open=none").start();
    let mut operator = daemon.operator();
    operator.succeed("add", json!({"vm_id": "a", "ram": 1, "cpu": 1, "disks": [], "password": PASSWORD}));
    let mut web = Web::connect(daemon.address());
    web.send("GET /events/stream HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let reply = web.reply();
    assert_eq!(reply.status, 401, "{reply:?}");
    let login = json!({"command": "authenticate", "data": {"vm_id": "a", "password": PASSWORD}});
    web.send(post(&login.to_string()));
    let reply: Value = serde_json::from_str(&web.reply().body).expect("JSON");
    let token = reply["data"]["token"].as_str().expect("a token");
    let mut events = get(&daemon, "/events/stream", &format!("Authorization: Bearer {token}\r\n"));
    head(&mut events);
    let mut next = || event(|| events.raw_line());
    assert_eq!(next().1["data"]["vms"][0]["connected_since"], json!(null), "HTTP connects no VM");
    operator.succeed("end_sessions", json!({"vm_id": "a"}));
    let (id, error) = next();
    assert_eq!((id.as_deref(), &error["message"]), (Some(""), &json!(NOT_AUTHENTICATED)));
    events.expect_closed();
}

/// A browser connects again by itself: the empty id has it list again.
#[test]
fn what_can_not_be_resumed_is_an_event() {
    let daemon = Daemon::start();
    let mut events = get(&daemon, "/events/stream?from=0000000000000001-7", "");
    head(&mut events);
    let (id, error) = event(|| events.raw_line());
    assert_eq!((id.as_deref(), &error["message"]), (Some(""), &json!(TOO_FAR_BEHIND)));
    events.expect_closed();
    for (query, headers) in [("?from=x", ""), ("?what=x", ""), ("", "Last-Event-ID: x y\r\n")] {
        let mut bad = get(&daemon, &format!("/events/stream{query}"), headers);
        assert_eq!(head(&mut bad)[0], "HTTP/1.1 400 Bad Request", "{query} {headers}");
    }
}

#[test]
fn a_head_request_gets_the_head() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    client.send("HEAD /events/stream HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let lines = head(&mut client);
    assert_eq!(lines[0], "HTTP/1.1 200 OK");
    client.expect_closed();
    daemon.wait_for_counter("watchers", |count| count == 0);
}
