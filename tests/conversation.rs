//! The whole conversation that a newcomer has: one VM's life on one connection, from its first `ping` to
//! its `logout`, pretty-printed as people paste it.
//!
//! Said by a client over a real socket, and pasted into `nc`.

mod common;

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use serde_json::json;

use common::{Daemon, Finished, request, require, run_with_input};

/// The requests, in order, as they are pasted.
const REQUESTS: [&str; 10] = [
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

/// What each is answered with, byte for byte; PORT is the client's, TOKEN a new one.
const REPLIES: [&str; 10] = [
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

#[test]
fn said_one_by_one_over_tcp() {
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
fn said_at_once_over_a_unix_socket() {
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
fn pasted_into_netcat_as_a_whole() {
    let daemon = Daemon::start();
    let paste = REQUESTS.map(|request| format!("{request}\n\n")).concat();
    let said = nc(daemon.address(), &paste);
    let lines: Vec<&str> = said.stdout.lines().collect();
    assert_eq!(lines.len(), REPLIES.len(), "{}", said.stdout);
    let port = port_in_pong(lines[0]);
    for (line, expected) in lines.iter().zip(REPLIES) {
        assert_reply(line, expected, &port);
    }
    the_updates_have_happened(&daemon);
}

/// As a person does it: each answer is read before the next request is pasted, the line break behind the
/// last brace among the bytes that come with the next one.
#[test]
fn pasted_into_netcat_one_by_one() {
    let daemon = Daemon::start();
    require("nc", "netcat-openbsd");
    let mut command = Command::new("nc");
    command.arg("-N").arg("127.0.0.1").arg(daemon.address().port().to_string());
    let mut nc = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("nc runs");
    let mut stdin = nc.stdin.take().expect("piped");
    let (lines, next_line) = std::sync::mpsc::channel();
    let stdout = BufReader::new(nc.stdout.take().expect("piped"));
    let reader = std::thread::spawn(move || stdout.lines().for_each(|line| drop(lines.send(line))));
    let mut port = String::new();
    for (request, expected) in REQUESTS.iter().zip(REPLIES) {
        stdin.write_all(request.as_bytes()).expect("nc reads");
        let line = next_line.recv_timeout(common::DEADLINE).expect("a reply").expect("text");
        if port.is_empty() {
            port = port_in_pong(&line);
        }
        assert_reply(&line, expected, &port);
        stdin.write_all(b"\n").expect("nc reads");
    }
    drop(stdin);
    assert!(common::wait(&mut nc, "nc ends with its input").success());
    reader.join().expect("the reader does not panic");
    assert!(next_line.try_recv().is_err(), "more than was asked for");
}

#[test]
fn printed_into_netcat_without_a_line_break() {
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

/// Runs `nc -N` with `input` to its end, which is the daemon's close after its last reply.
fn nc(address: SocketAddr, input: &str) -> Finished {
    require("nc", "netcat-openbsd");
    let mut command = Command::new("nc");
    command.arg("-N").arg(address.ip().to_string()).arg(address.port().to_string());
    run_with_input(&mut command, input.as_bytes()).expect_success()
}

#[track_caller]
fn assert_reply(line: &str, expected: &str, port: &str) {
    let mut line = line.to_owned();
    if expected.contains("TOKEN") {
        let begin = r#"{"status":"success","message":"Authentication successful","data":{"token":""#.len();
        let token: String = line.chars().skip(begin).take(64).collect();
        assert!(token.len() == 64 && token.bytes().all(|byte| byte.is_ascii_hexdigit()), "{line}");
        line = line.replace(&token, "TOKEN");
    }
    assert_eq!(line, expected.replace("PORT", port));
}

fn port_in_pong(line: &str) -> String {
    let (_, rest) = line.split_once(r#"["127.0.0.1","#).unwrap_or_else(|| panic!("no address in {line}"));
    rest.chars().take_while(char::is_ascii_digit).collect()
}

/// The VM as another client sees it afterwards.
fn the_updates_have_happened(daemon: &Daemon) {
    let mut client = daemon.client();
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
