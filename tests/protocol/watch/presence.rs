//! VMs that go online and offline, and why.

use std::time::Duration;

use serde_json::{Value, json};
use socket2::SockRef;

use super::{change, kind, kind_of, watcher};
use crate::common::{Client, DEADLINE, Daemon, PASSWORD, request};

/// A daemon with the VMs `a` and `b`, and a client that watches.
fn bed(arguments: &[&str]) -> (Daemon, Client) {
    let daemon = Daemon::builder().args(arguments.iter().copied()).start();
    let mut client = daemon.client();
    client.register("a", &[]);
    client.register("b", &[]);
    let watching = watcher(&daemon);
    (daemon, watching)
}

#[track_caller]
fn online(daemon: &Daemon, watching: &mut Client, name: &str) -> Client {
    let mut client = daemon.client();
    client.authenticate(name);
    assert_eq!(kind(watching), kind_of("online", name, ""));
    client
}

#[test]
fn a_change_has_what_has_changed() {
    let (daemon, mut watching) = bed(&[]);
    let mut client = daemon.client();
    client.authenticate("a");
    let online = change(&mut watching);
    let vm = &online["vm"];
    let since = vm["connected_since"].as_i64().expect("a time");
    let wanted = json!({
        "id": 1, "vm_id": "a", "connected_since": since, "last_seen": since, "offline_since": null,
        "addrs": [["127.0.0.1", client.local_address().port()]],
    });
    assert_eq!((vm, online.get("reason")), (&wanted, None));
    client.succeed("logout", json!({}));
    let offline = change(&mut watching);
    let vm = &offline["vm"];
    assert_eq!((&offline["kind"], &offline["reason"]), (&json!("offline"), &json!("logout")));
    assert_eq!((&vm["connected_since"], &vm["addrs"]), (&Value::Null, &json!([])));
    assert!(vm["offline_since"] == vm["last_seen"] && vm["last_seen"].as_i64() >= Some(since), "{vm}");
}

#[test]
fn the_end_of_a_connection_has_a_reason() {
    let (daemon, mut watching) = bed(&["--request-timeout", "500ms"]);
    drop(online(&daemon, &mut watching, "a"));
    assert_eq!(kind(&mut watching), kind_of("offline", "a", "closed"));
    let client = online(&daemon, &mut watching, "a");
    // Without a linger time, a close is a reset.
    SockRef::from(client.socket()).set_linger(Some(Duration::ZERO)).expect("a socket option");
    drop(client);
    assert_eq!(kind(&mut watching), kind_of("offline", "a", "reset"));
    let mut client = online(&daemon, &mut watching, "a");
    client.send("{");
    assert_eq!(kind(&mut watching), kind_of("offline", "a", "timeout"));
}

#[test]
fn an_idle_vm_is_offline_and_a_client_that_watches_is_not_idle() {
    let (daemon, mut watching) = bed(&["--idle-timeout", "500ms"]);
    let mut client = online(&daemon, &mut watching, "a");
    assert_eq!(kind(&mut watching), kind_of("offline", "a", "timeout"));
    client.expect_closed();
    watching.expect_silence(Duration::from_secs(1));
    watching.ping();
}

#[test]
fn only_the_last_session_takes_a_vm_offline() {
    let (daemon, mut watching) = bed(&[]);
    let first = online(&daemon, &mut watching, "a");
    let mut second = daemon.client();
    second.authenticate("a");
    let taken = change(&mut watching);
    assert_eq!((&taken["kind"], &taken["reason"]), (&json!("online"), &json!("taken over")));
    assert_eq!(taken["vm"]["addrs"].as_array().map(Vec::len), Some(2));
    drop(first);
    daemon.wait_for_counter("connections_authenticated", |count| count == 1);
    drop(second);
    assert_eq!(kind(&mut watching), kind_of("offline", "a", "closed"));
}

#[test]
fn a_login_on_the_same_connection_is_one_change() {
    let (daemon, mut watching) = bed(&[]);
    let mut client = online(&daemon, &mut watching, "a");
    client.authenticate("a");
    assert_eq!(kind(&mut watching), kind_of("online", "a", "taken over"));
    client.authenticate("b");
    assert_eq!(kind(&mut watching), kind_of("offline", "a", "taken over"));
    assert_eq!(kind(&mut watching), kind_of("online", "b", ""));
    // A failed login ends the one before.
    client.fail(request("authenticate", json!({"vm_id": "a", "password": "a wrong password"})));
    assert_eq!(kind(&mut watching), kind_of("offline", "b", "logout"));
    client.authenticate("b");
    assert_eq!(kind(&mut watching), kind_of("online", "b", ""));
    // One that the client does not wait for, too.
    let login = json!({"vm_id": "a", "password": PASSWORD});
    client.send(&request("authenticate", login).to_string());
    drop(client);
    let mut last = kind(&mut watching);
    while last.1 != "b" || last.0 == "online" {
        last = kind(&mut watching);
    }
    assert_eq!(last.0, "offline");
}

#[test]
fn an_operator_ends_sessions() {
    let (daemon, mut watching) = bed(&[]);
    let mut operator = daemon.operator();
    for (command, data) in [
        ("logout", json!({"vm_id": "a"})),
        ("end_sessions", json!({"vm_id": "a"})),
        ("passwd", json!({"vm_id": "a", "password": PASSWORD})),
    ] {
        let _client = online(&daemon, &mut watching, "a");
        operator.succeed(command, data);
        assert_eq!(kind(&mut watching), kind_of("offline", "a", "logout"), "{command}");
    }
}

#[test]
fn a_stop_is_told_before_the_end() {
    let (mut daemon, mut watching) = bed(&[]);
    let clients = ["a", "b"].map(|name| online(&daemon, &mut watching, name));
    daemon.signal("TERM");
    let mut seen = [(); 2].map(|()| kind(&mut watching));
    seen.sort_unstable();
    assert_eq!(seen, ["a", "b"].map(|name| kind_of("offline", name, "daemon stopped")));
    watching.expect_closed();
    let begun = std::time::Instant::now();
    assert!(daemon.wait().success() && begun.elapsed() < DEADLINE / 2);
    drop(clients);
}
