//! WebSocket with Python's `websockets`, and the principal of a connection.

use serde_json::{Value, json};

use crate::common::{Daemon, PASSWORD, request};
use crate::http::add_many;
use crate::program_client::{Framing, ProgramClient};
use crate::programs::{Dialogue, python, succeed};

/// Runs a check of the script.
#[track_caller]
fn check<const N: usize>(name: &str, address: impl ToString, arguments: [&str; N]) {
    succeed(python("websocket.py").arg(name).arg(address.to_string()).args(arguments));
}

#[test]
fn handshakes_are_checked() {
    check("handshakes", Daemon::start().address(), []);
}

#[test]
fn pings_get_their_pongs() {
    let daemon = Daemon::builder().args(["--conversion-delay", "300ms"]).start();
    check("pings", daemon.address(), []);
}

#[test]
fn fragmented_messages_are_accepted() {
    let daemon = Daemon::builder().args(["--conversion-delay", "0"]).start();
    check("fragments", daemon.address(), []);
}

#[test]
fn a_client_closes_with_any_code() {
    check("closes", Daemon::start().address(), []);
}

#[test]
fn protocol_violations_close_with_their_code() {
    check("faults", Daemon::start().address(), []);
}

#[test]
fn a_message_that_is_not_a_request_gets_an_error() {
    check("not_requests", Daemon::start().address(), []);
}

#[test]
fn anonymous_clients_of_a_closed_listener_have_a_smaller_limit() {
    let daemon = Daemon::builder().listen("tcp://127.0.0.1:0?open=").start();
    daemon.client().register("a", &[]);
    check("anonymous_sizes", daemon.addresses()[1], ["a", PASSWORD]);
}

#[test]
fn a_client_that_stalls_is_closed() {
    let daemon = Daemon::builder().args(["--request-timeout", "500ms", "--idle-timeout", "1s"]).start();
    check("deadlines", daemon.address(), []);
}

#[test]
fn long_lists_are_sent_in_fragments() {
    let daemon = Daemon::start();
    add_many(&mut daemon.client());
    check("big_answers", daemon.address(), []);
}

#[test]
fn a_stopping_daemon_sends_close_after_its_last_responses() {
    let mut daemon = Daemon::builder().args(["--conversion-delay", "700ms"]).start();
    let mut client = Dialogue::start(python("websocket.py").args(["stops", &daemon.address().to_string()]));
    assert_eq!(client.line(), "ready");
    daemon.stop();
    client.end();
}

/// A token in the handshake does not authenticate the connection; a token in a message does.
#[test]
fn a_handshake_carries_no_login() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    client.register("a", &[1]);
    let token = client.authenticate("a");
    let mut program =
        Dialogue::start(python("talk.py").args(["--token", &token, &format!("ws://{}/", daemon.address())]));
    let mut ask = |data: Value| -> Value {
        let text = request("list", data).to_string();
        program.feed(&format!("{}\n", Value::from(text)));
        serde_json::from_str(&program.line()).expect("a reply")
    };
    let list = json!({"list_type": "all_vms"});
    let refused = "You have to authenticate to run this operation";
    assert_eq!(ask(list.clone()), json!({"status": "error", "message": refused, "data": {}}));
    assert_eq!(client.list("authenticated_vms").len(), 1);
    assert_eq!(ask(json!({"list_type": "all_vms", "token": token}))["status"], "success");
    assert_eq!(ask(list)["status"], "success", "the connection is the VM's from then on");
    assert_eq!(client.list("authenticated_vms").len(), 2);
    program.end();
}

/// A WebSocket is listed with its VM once it has authenticated, an HTTP connection never.
#[test]
fn connections_are_listed_with_their_vm() {
    let daemon = Daemon::start();
    let mut socket = ProgramClient::of(&daemon, Framing::WebSocket);
    let mut curl = ProgramClient::of(&daemon, Framing::Http);
    let address = socket.call(&request("ping", json!({})))["data"]["addr"].clone();
    curl.call(&crate::common::registration("a", &[5]));
    let credentials = request("authenticate", json!({"vm_id": "a", "password": PASSWORD}));
    let token = curl.call(&credentials)["data"]["token"].as_str().expect("a token").to_owned();
    curl.use_token(&token);
    let mut seen = |list: &str| -> Vec<Value> {
        let mut reply = curl.call(&request("list", json!({"list_type": list})));
        let Value::Array(entries) = reply["data"][list].take() else { panic!("no list: {reply}") };
        entries
    };
    // The connection of the request is listed as well.
    let own = |entries: &[Value]| -> Vec<Value> {
        let is_other = |entry: &&Value| entry["addr"] != address;
        entries
            .iter()
            .filter(is_other)
            .map(|entry| entry.get("vm_info").cloned().unwrap_or_default())
            .collect()
    };
    let entries = seen("active_vms");
    assert!(entries.contains(&json!({"addr": address})), "{entries:?}");
    assert_eq!(own(&entries), [Value::Null], "{entries:?}");
    assert!(seen("authenticated_vms").is_empty());

    assert_eq!(socket.call(&credentials)["status"], "success");
    let vm = json!({"vm_id": "a", "ram": 512, "cpu": 4, "disks": [{"id": 1, "vm_id": "a", "disk_size": 5}]});
    let entries = seen("active_vms");
    assert!(entries.contains(&json!({"addr": address, "vm_info": vm})), "{entries:?}");
    assert_eq!(own(&entries), [Value::Null], "{entries:?}");
    assert_eq!(seen("authenticated_vms"), [json!({"addr": address, "vm_info": vm})]);

    socket.close();
    let gone = |entries: Vec<Value>| entries.iter().all(|entry| entry["addr"] != address);
    crate::common::wait_until("it is gone", crate::common::DEADLINE, || gone(seen("active_vms")));
    assert!(seen("authenticated_vms").is_empty());
}

/// Tokens of earlier HTTP requests counted for those requests only.
#[test]
fn an_upgrade_carries_over_no_http_login() {
    let daemon = Daemon::start();
    daemon.client().register("a", &[1]);
    let mut client = daemon.client();
    let credentials = request("authenticate", json!({"vm_id": "a", "password": PASSWORD})).to_string();
    let length = credentials.len();
    client.send(&format!(
        "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{credentials}"
    ));
    let body = loop {
        let line = client.raw_line();
        if line.starts_with('{') {
            break line;
        }
    };
    let reply: Value = serde_json::from_str(&body).expect("a reply");
    let token = reply["data"]["token"].as_str().expect("a token");
    let list = request("list", json!({"list_type": "all_vms"})).to_string();
    let mut bytes = format!(
        "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Authorization: Bearer {token}\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    .into_bytes();
    // One frame of text, masked with zeros; then the client closes.
    bytes.extend([0x81, 0x80 | list.len() as u8, 0, 0, 0, 0]);
    bytes.extend(list.bytes());
    bytes.extend([0x88, 0x80, 0, 0, 0, 0]);
    client.send_bytes(&bytes);
    while !client.raw_line().trim_end().is_empty() {}
    let said = client.rest_of_bytes();
    let refused =
        br#"{"status":"error","message":"You have to authenticate to run this operation","data":{}}"#;
    let expected = [&[0x81, refused.len() as u8], &refused[..], &[0x88, 0]].concat();
    assert_eq!(said.escape_ascii().to_string(), expected.escape_ascii().to_string());
}

/// A client that has closed, in good order or not, gets no answers.
#[test]
fn requests_of_a_disconnected_client_are_dropped() {
    let daemon = Daemon::builder().args(["--conversion-delay", "1h"]).start();
    for says_goodbye in [true, false] {
        let mut program = ProgramClient::of(&daemon, Framing::WebSocket);
        (0..10).for_each(|id| program.send(&json!({"request_id": id, "data": "a&&b&&c"}).to_string()));
        daemon.wait_for_counter("requests_delayed", |count| count == 10);
        if says_goodbye {
            program.close();
        } else {
            drop(program);
        }
        daemon.wait_for_counter("requests_delayed", |count| count == 0);
    }
}
