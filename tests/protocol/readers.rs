//! Readers: their token lets a client read everything and change nothing, for the request that has it.

use serde_json::{Value, json};

use crate::common::{Client, Daemon, request};

const LOGIN: &str = "You have to authenticate to run this operation";
const INVALID: &str = "Invalid access token. Try refreshing with the 'authenticate' command";

/// A daemon with the VM `a` and a listener that opens nothing.
fn daemon() -> Daemon {
    let daemon = Daemon::builder().listen("tcp://127.0.0.1:0?open=none").start();
    daemon.client().register("a", &[10]);
    daemon
}

/// A client of the listener that opens nothing.
fn stranger(daemon: &Daemon) -> Client {
    Client::connect(daemon.addresses()[1])
}

fn with(token: &str, command: &str, mut data: Value) -> Value {
    data["token"] = json!(token);
    request(command, data)
}

fn list_with(token: &str, list: &str) -> Value {
    with(token, "list", json!({"list_type": list}))
}

#[test]
fn a_reader_sees_what_the_operator_sees() {
    let daemon = daemon();
    let token = daemon.reader_token("grafana");
    assert!(token.len() == 64 && token.bytes().all(|byte| byte.is_ascii_hexdigit()), "{token}");
    let (mut operator, mut client, mut vm) = (daemon.operator(), stranger(&daemon), daemon.client());
    vm.authenticate("a");
    vm.succeed("put", json!({"key": "k", "value": 1, "timestamp": 2}));
    for list in ["all_vms", "all_disks", "active_vms", "authenticated_vms"] {
        let reply = client.call(list_with(&token, list));
        assert_eq!(reply["data"][list], json!(operator.list(list)), "{list}");
    }
    let reply = client.call(list_with(&token, "all_vms"));
    assert_eq!(reply["data"]["all_vms"][0]["id"], 1, "{reply}");
    let reply = client.call(with(&token, "get", json!({"key": "*"})));
    assert_eq!(reply["data"], json!({"k": [[2, 1.0]]}));
    for (action, entry) in [("list_all_vms", "all_vms"), ("list_all_disks", "all_disks")] {
        let reply = client.call(json!({"action": action, "data": {"token": token}}));
        assert_eq!(reply[entry].as_array().map(Vec::len), Some(1), "{reply}");
        assert_eq!(reply, vm.call(json!({"action": action})), "as a VM sees it");
    }
}

#[test]
fn a_reader_changes_nothing() {
    let daemon = daemon();
    let token = daemon.reader_token("grafana");
    let mut operator = daemon.operator();
    let before = operator.list("all_vms");
    for mut client in [stranger(&daemon), daemon.operator()] {
        for (command, data) in [("update", json!({"ram": 7})), ("logout", json!({}))] {
            assert_eq!(client.fail(with(&token, command, data)), LOGIN, "{command}");
        }
        for (command, data) in [
            ("stats", json!({})),
            ("remove", json!({"vm_id": "a"})),
            ("passwd", json!({"vm_id": "a", "password": "another password"})),
            ("end_sessions", json!({"vm_id": "a"})),
            ("add", json!({"vm_id": "b", "ram": 1, "cpu": 1, "disks": []})),
            ("stop", json!({"vm_id": "a"})),
        ] {
            assert_eq!(client.fail(with(&token, command, data)), "Unknown command", "{command}");
        }
    }
    let mut client = stranger(&daemon);
    assert_eq!(client.fail(with(&token, "put", json!({"key": "k", "value": 1}))), LOGIN);
    for (action, data) in [
        ("add_vm", json!({"ram": 1, "disks": [1]})),
        ("update_vm", json!({"vm_id": 1, "ram": 7})),
        ("logout_vm", json!({"vm_id": 1})),
        ("connect", json!({"vm_id": 1})),
    ] {
        let mut request = data;
        (request["action"], request["data"]) = (json!(action), json!({"token": token}));
        let reply = client.call(request);
        assert!(
            reply == json!({"error": "authentication required"})
                || reply == json!({"error": "registration is closed"}),
            "{action}: {reply}"
        );
    }
    assert_eq!(operator.list("all_vms"), before);
    assert_eq!(daemon.operator().call_text("get *"), "ok\n\n");
}

/// The token counts for one request: it neither logs the connection in nor ends its login.
#[test]
fn a_reader_is_no_login() {
    let daemon = daemon();
    let token = daemon.reader_token("grafana");
    let mut client = stranger(&daemon);
    let all = list_with(&token, "all_vms");
    assert_eq!(client.call(all.clone())["status"], "success");
    assert_eq!(client.fail(request("list", json!({"list_type": "all_vms"}))), LOGIN);
    assert_eq!(daemon.operator().list("authenticated_vms"), [] as [Value; 0]);
    // A login by password ignores the token, as it does that of a VM.
    let credentials = json!({"vm_id": "a", "password": crate::common::PASSWORD});
    assert_eq!(client.call(with(&token, "authenticate", credentials))["status"], "success");
    assert_eq!(client.call(all.clone())["data"]["all_vms"][0]["id"], 1, "as a reader");
    assert_eq!(client.list("all_vms")[0].get("id"), None, "as a VM");
    assert_eq!(client.fail(with(&token, "update", json!({"ram": 7}))), LOGIN);
    assert_eq!(client.fail(with(&token, "logout", json!({}))), LOGIN);
    client.succeed("update", json!({"ram": 7}));
    client.succeed("logout", json!({}));
    assert_eq!(client.call(all)["status"], "success", "the logout was the VM's");
}

/// A request with a token is a barrier: what follows in the same packet runs after it, and as the connection.
#[test]
fn a_request_of_a_reader_is_a_barrier() {
    let daemon = daemon();
    let token = daemon.reader_token("grafana");
    let mut client = stranger(&daemon);
    let mut packet = String::new();
    for number in 0..20 {
        let token = if number % 2 == 0 { json!(token) } else { Value::Null };
        let data = json!({"list_type": "all_vms", "token": token});
        packet += &json!({"command": "list", "request_id": number, "data": data}).to_string();
    }
    client.send(&packet);
    for number in 0..20 {
        let reply = client.reply();
        let wanted = if number % 2 == 0 { json!(null) } else { json!(LOGIN) };
        assert_eq!((&reply["request_id"], &reply["message"]), (&json!(number), &wanted));
    }
}

#[test]
fn a_change_of_a_token_holds_for_the_next_request() {
    let mut daemon = daemon();
    let (token, other) = (daemon.reader_token("grafana"), daemon.reader_token("grafana"));
    assert_ne!(token, other, "a reader may have several tokens");
    let list = list_with(&token, "all_vms");
    let mut client = stranger(&daemon);
    for (command, is_valid) in [("disable", false), ("enable", true), ("remove", false)] {
        daemon.token_command(&[command, "1"]).expect_success();
        let reply = client.call(list.clone());
        let wanted = if is_valid { Value::Null } else { json!(INVALID) };
        assert_eq!(reply["message"], wanted, "{command}");
        assert_eq!(client.call(list_with(&other, "all_vms"))["status"], "success", "{command}");
    }
    daemon.restart();
    let mut client = stranger(&daemon);
    assert_eq!(client.fail(list), INVALID);
    assert_eq!(client.call(list_with(&other, "all_vms"))["status"], "success");
    // An access token for verbs is none of a reader.
    let added = daemon.token_command(&["add"]).expect_success().stdout;
    let for_verbs = added.lines().nth(1).expect("a token");
    assert_eq!(client.fail(list_with(for_verbs, "all_vms")), INVALID);
    let log = daemon.log();
    assert!(![&*token, &other, for_verbs].iter().any(|token| log.contains(token)), "{log}");
}

/// The tool tells the store, which the daemon asks while a client watches.
#[test]
fn a_watch_ends_with_the_token_of_its_reader() {
    let daemon = daemon();
    let mut others = stranger(&daemon);
    let other = with(&daemon.reader_token("prometheus"), "watch", json!({"what": ["vms"]}));
    assert_eq!(others.call(other)["message"], "snapshot");
    for (number, command) in [(2, "disable"), (3, "remove")] {
        let token = daemon.reader_token("grafana");
        let mut client = stranger(&daemon);
        let snapshot = client.call(with(&token, "watch", json!({"what": ["vms"]})));
        assert_eq!(snapshot["data"]["vms"][0]["id"], 1, "{snapshot}");
        daemon.token_command(&[command, &number.to_string()]).expect_success();
        assert_eq!(client.error(), LOGIN, "{command}");
        assert_eq!(client.fail(with(&token, "watch", json!({}))), INVALID);
    }
    daemon.operator().succeed("update", json!({"vm_id": "a", "ram": 7}));
    assert_eq!(others.reply()["data"]["kind"], "updated", "the other watch goes on");
}
