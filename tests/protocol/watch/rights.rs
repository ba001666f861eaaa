//! Who may watch, and the end of a watch with its principal.

use serde_json::json;

use super::{NOT_AUTHENTICATED, change, kind, kind_of, watch};
use crate::common::{Client, Daemon, PASSWORD, request};

/// A daemon with a listener that opens nothing, and the VM `a`.
fn closed() -> Daemon {
    let daemon = Daemon::builder().only_on("tcp://127.0.0.1:0?open=none").start();
    daemon
        .operator()
        .succeed("add", json!({"vm_id": "a", "ram": 1, "cpu": 1, "disks": [], "password": PASSWORD}));
    daemon
}

#[test]
fn anonymous_clients_watch_where_the_page_is_open() {
    let daemon = closed();
    let mut client = daemon.client();
    for command in ["watch", "unwatch"] {
        assert_eq!(client.fail(request(command, json!({}))), NOT_AUTHENTICATED);
    }
    watch(&mut daemon.operator(), json!({}));
    client.authenticate("a");
    let (vms, _) = watch(&mut client, json!({}));
    assert_eq!(vms.len(), 1);
    let open = Daemon::builder().only_on("tcp://127.0.0.1:0?open=page").start();
    let mut client = open.client();
    watch(&mut client, json!({}));
    assert_eq!(client.fail(request("list", json!({"list_type": "all_vms"}))), NOT_AUTHENTICATED);
    assert_eq!(client.call(request("unwatch", json!({})))["message"], "unwatched");
}

#[test]
fn a_token_gives_the_right_and_is_no_login() {
    let daemon = closed();
    let token = daemon.client().authenticate("a");
    daemon.wait_for_counter("connections_authenticated", |count| count == 0);
    let mut client = daemon.client();
    let (vms, _) = watch(&mut client, json!({"token": token}));
    assert_eq!(vms[0]["connected_since"], json!(null), "the VM is offline");
    assert_eq!(client.fail(request("logout", json!({}))), NOT_AUTHENTICATED);
    daemon.client().authenticate("a");
    assert_eq!(kind(&mut client), kind_of("online", "a", ""));
}

/// Reads changes up to the error that ends the watch.
#[track_caller]
fn end(client: &mut Client) -> String {
    loop {
        let reply = client.reply();
        if reply["status"] == "error" {
            assert_eq!((&reply["request_id"], &reply["data"]), (&json!("w"), &json!({})), "{reply}");
            return reply["message"].as_str().expect("a message").to_owned();
        }
    }
}

#[track_caller]
fn watch_as_a(client: &mut Client, data: serde_json::Value) {
    let reply = client.call(json!({"command": "watch", "request_id": "w", "data": data}));
    assert_eq!(reply["message"], "snapshot", "{reply}");
}

#[test]
fn a_logout_ends_the_watch_of_its_connection() {
    let daemon = closed();
    let mut client = daemon.client();
    client.authenticate("a");
    watch_as_a(&mut client, json!({}));
    client.send(&request("logout", json!({})).to_string());
    let reply = client.reply();
    assert_eq!(reply["message"], "VM (a) logged out successfully", "{reply}");
    assert_eq!(end(&mut client), NOT_AUTHENTICATED);
    client.ping();
}

#[test]
fn a_logout_ends_the_watch_that_its_token_has_begun() {
    let daemon = closed();
    let mut client = daemon.client();
    let token = client.authenticate("a");
    let mut watching = daemon.client();
    watch_as_a(&mut watching, json!({"token": token}));
    client.succeed("logout", json!({}));
    assert_eq!(end(&mut watching), NOT_AUTHENTICATED);
}

#[test]
fn the_watch_of_a_vm_ends_with_its_password_and_with_the_vm() {
    let daemon = closed();
    let mut operator = daemon.operator();
    let passwd = json!({"vm_id": "a", "password": PASSWORD});
    for (command, data) in
        [("passwd", passwd), ("end_sessions", json!({"vm_id": "a"})), ("remove", json!({"vm_id": "a"}))]
    {
        let token = daemon.client().authenticate("a");
        let (mut by_token, mut by_login) = (daemon.client(), daemon.client());
        watch_as_a(&mut by_token, json!({"token": token, "what": ["vms"]}));
        by_login.authenticate("a");
        watch_as_a(&mut by_login, json!({"what": ["vms"]}));
        operator.succeed(command, data);
        assert_eq!(end(&mut by_token), NOT_AUTHENTICATED, "{command}");
        if command != "end_sessions" {
            assert_eq!(end(&mut by_login), NOT_AUTHENTICATED, "{command}");
        }
    }
}

#[test]
fn a_login_leaves_the_watch_of_an_anonymous_client() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    client.register("a", &[]);
    watch(&mut client, json!({}));
    client.authenticate("a");
    assert_eq!(change(&mut client)["kind"], "online");
}
