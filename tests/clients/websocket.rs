//! WebSocket as Python's `websockets` speaks it, and whose a connection is.

use serde_json::{Value, json};

use crate::common::{Daemon, PASSWORD, request};
use crate::http::add_many;
use crate::programs::{Dialogue, python, succeed};
use crate::talker::{Framing, Talker};

/// Runs a check of the script's.
#[track_caller]
fn check<const N: usize>(name: &str, address: impl ToString, arguments: [&str; N]) {
    succeed(python("websocket.py").arg(name).arg(address.to_string()).args(arguments));
}

#[test]
fn handshakes_are_for_those_who_may_come() {
    check("handshakes", Daemon::start().address(), []);
}

#[test]
fn pings_get_their_pongs() {
    let daemon = Daemon::builder().args(["--conversion-delay", "300ms"]).start();
    check("pings", daemon.address(), []);
}

#[test]
fn messages_come_in_fragments() {
    let daemon = Daemon::builder().args(["--conversion-delay", "0"]).start();
    check("fragments", daemon.address(), []);
}

#[test]
fn a_client_closes_with_any_code() {
    check("closes", Daemon::start().address(), []);
}

#[test]
fn what_breaks_a_rule_ends_with_the_code_for_that() {
    check("faults", Daemon::start().address(), []);
}

#[test]
fn what_is_no_request_gets_an_error() {
    check("not_requests", Daemon::start().address(), []);
}

#[test]
fn strangers_send_little_where_nothing_is_open() {
    let daemon = Daemon::builder().listen("tcp://127.0.0.1:0?open=").start();
    daemon.client().register("a", &[]);
    check("anonymous_sizes", daemon.addresses()[1], ["a", PASSWORD]);
}

#[test]
fn long_lists_come_in_fragments() {
    let daemon = Daemon::start();
    add_many(&mut daemon.client());
    check("big_answers", daemon.address(), []);
}

#[test]
fn a_daemon_that_stops_says_so_after_its_last_answers() {
    let mut daemon = Daemon::builder().args(["--conversion-delay", "700ms"]).start();
    let mut client = Dialogue::start(python("websocket.py").args(["stops", &daemon.address().to_string()]));
    assert_eq!(client.line(), "ready");
    daemon.stop();
    client.end();
}

/// The head that asks for WebSocket authenticates nobody; a token in a message does.
#[test]
fn a_handshake_brings_no_login() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    client.register("a", &[1]);
    let token = client.authenticate("a");
    let mut talker =
        Dialogue::start(python("talk.py").args(["--token", &token, &format!("ws://{}/", daemon.address())]));
    let mut ask = |data: Value| -> Value {
        let text = request("list", data).to_string();
        talker.feed(&format!("{}\n", Value::from(text)));
        serde_json::from_str(&talker.line()).expect("a reply")
    };
    let list = json!({"list_type": "all_vms"});
    let refused = "You have to authenticate to run this operation";
    assert_eq!(ask(list.clone()), json!({"status": "error", "message": refused, "data": {}}));
    assert_eq!(client.list("authenticated_vms").len(), 1);
    assert_eq!(ask(json!({"list_type": "all_vms", "token": token}))["status"], "success");
    assert_eq!(ask(list)["status"], "success", "the connection is the VM's from then on");
    assert_eq!(client.list("authenticated_vms").len(), 2);
    talker.end();
}

/// One of WebSocket is listed with its VM once it has authenticated, one of HTTP never.
#[test]
fn connections_are_listed_with_the_vm_whose_they_are() {
    let daemon = Daemon::start();
    let mut socket = Talker::of(&daemon, Framing::WebSocket);
    let mut curl = Talker::of(&daemon, Framing::Http);
    let address = socket.ask(&request("ping", json!({})))["data"]["addr"].clone();
    curl.ask(&crate::common::registration("a", &[5]));
    let credentials = request("authenticate", json!({"vm_id": "a", "password": PASSWORD}));
    let token = curl.ask(&credentials)["data"]["token"].as_str().expect("a token").to_owned();
    curl.use_token(&token);
    let mut seen = |list: &str| -> Vec<Value> {
        let mut reply = curl.ask(&request("list", json!({"list_type": list})));
        let Value::Array(entries) = reply["data"][list].take() else { panic!("no list: {reply}") };
        entries
    };
    // The one that asks is there as well, from a port of its own.
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

    assert_eq!(socket.ask(&credentials)["status"], "success");
    let vm = json!({"vm_id": "a", "ram": 512, "cpu": 4, "disks": [{"id": 1, "vm_id": "a", "disk_size": 5}]});
    let entries = seen("active_vms");
    assert!(entries.contains(&json!({"addr": address, "vm_info": vm})), "{entries:?}");
    assert_eq!(own(&entries), [Value::Null], "{entries:?}");
    assert_eq!(seen("authenticated_vms"), [json!({"addr": address, "vm_info": vm})]);

    socket.leave();
    let gone = |entries: Vec<Value>| entries.iter().all(|entry| entry["addr"] != address);
    crate::common::wait_until("it is gone", crate::common::DEADLINE, || gone(seen("active_vms")));
    assert!(seen("authenticated_vms").is_empty());
}
