//! The dialect `action`: its document's conversation word for word, the sets that belong to the server, and VMs with a
//! password.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::common::{Client, Daemon, request};

/// The reply to `request`, verbatim.
#[track_caller]
pub(super) fn ask(client: &mut Client, request: &str) -> String {
    client.send(request);
    client.raw_line()
}

#[track_caller]
pub(super) fn expect(client: &mut Client, conversation: &[(&str, &str)]) {
    for (request, reply) in conversation {
        assert_eq!(ask(client, request), *reply, "{request}");
    }
}

/// The numbers of the VMs on a list.
#[track_caller]
pub(super) fn ids(client: &mut Client, action: &str) -> Vec<i64> {
    let reply = client.call(json!({"action": action}));
    let lists = reply.as_object().expect("an object").values();
    let entries = lists.flat_map(|list| list.as_array().unwrap_or_else(|| panic!("no list: {reply}")));
    entries.map(|entry| entry["id"].as_i64().expect("a number")).collect()
}

/// The lists of authorized, connected, and ever connected VMs.
#[track_caller]
pub(super) fn sets(client: &mut Client) -> [Vec<i64>; 3] {
    ["list_authorized_vms", "list_connected_vms", "list_ever_connected"].map(|action| ids(client, action))
}

/// Adds `count` VMs, whose numbers go on from those there are.
#[track_caller]
pub(super) fn add(client: &mut Client, count: usize) {
    for _ in 0..count {
        let reply = client.call(json!({"action": "add_vm", "ram": 1, "disks": [1]}));
        assert_eq!(reply["status"], "vm added", "{reply}");
    }
}

const VM_1: &str = r#"{"id":1,"ram":2048,"cpu":2,"disks":[{"id":1,"size":100},{"id":2,"size":200}]}"#;
const VM_2: &str = r#"{"id":2,"ram":1028,"cpu":1,"disks":[{"id":3,"size":300}]}"#;
const VM_3: &str = r#"{"id":3,"ram":4096,"cpu":2,"disks":[{"id":4,"size":500},{"id":5,"size":400}]}"#;

/// Every example of the document, in its order, with the answer on a new store.
fn conversation() -> Vec<(&'static str, String)> {
    let fixed = |text: &str| text.to_owned();
    vec![
        (
            r#"{"action": "add_vm", "ram": 2048, "disks": [100, 200]}"#,
            fixed(r#"{"status":"vm added","vm_id":1}"#),
        ),
        (r#"{"action": "list_all_vms"}"#, format!(r#"{{"all_vms":[{VM_1}]}}"#)),
        (
            r#"{"action": "list_all_disks"}"#,
            fixed(r#"{"all_disks":[{"id":1,"vm_id":1,"size":100},{"id":2,"vm_id":1,"size":200}]}"#),
        ),
        (r#"{"action": "add_vm", "ram": 1028, "disks": [300]}"#, fixed(r#"{"status":"vm added","vm_id":2}"#)),
        (
            r#"{"action": "add_vm", "ram": 4096, "disks": [500, 400]}"#,
            fixed(r#"{"status":"vm added","vm_id":3}"#),
        ),
        (r#"{"action": "authenticate", "vm_id": 1}"#, fixed(r#"{"status":"authenticated"}"#)),
        (r#"{"action": "connect", "vm_id": 2}"#, fixed(r#"{"status":"connected and authenticated"}"#)),
        (r#"{"action": "connect", "vm_id": 3}"#, fixed(r#"{"status":"connected and authenticated"}"#)),
        (r#"{"action": "list_authorized_vms"}"#, format!(r#"{{"authorized_vms":[{VM_1},{VM_2},{VM_3}]}}"#)),
        (r#"{"action": "list_connected_vms"}"#, format!(r#"{{"connected_vms":[{VM_2},{VM_3}]}}"#)),
        (r#"{"action": "logout_vm", "vm_id": 2}"#, fixed(r#"{"status":"logged out"}"#)),
        (r#"{"action": "list_connected_vms"}"#, format!(r#"{{"connected_vms":[{VM_3}]}}"#)),
        (r#"{"action": "list_ever_connected"}"#, format!(r#"{{"all_connected_vms":[{VM_2},{VM_3}]}}"#)),
        (r#"{"action": "update_vm", "vm_id": 1, "ram": 1028}"#, fixed(r#"{"status":"vm updated"}"#)),
        // An authorized VM and nothing to change.
        (r#"{"action": "update_vm", "vm_id": 1}"#, fixed(r#"{"error":"required data: ram, disks"}"#)),
        (r#"{"action": "logout_vm", "vm_id": 1}"#, fixed(r#"{"status":"logged out"}"#)),
        // A VM that is not authorized.
        (r#"{"action": "update_vm", "vm_id": 1}"#, fixed(r#"{"error":"vm not authenticated"}"#)),
        (r#"{"action": "authenticate", "vm_id": 11231}"#, fixed(r#"{"error":"VM ID does not exist"}"#)),
        (r#"{"action": "add_vm", "ram": 2048}"#, fixed(r#"{"error":"required data: ram, disks"}"#)),
        // The failed one has added nothing.
        (
            r#"{"action": "list_all_vms"}"#,
            format!(r#"{{"all_vms":[{},{VM_2},{VM_3}]}}"#, VM_1.replace("2048", "1028")),
        ),
    ]
}

#[track_caller]
fn hold_conversation(daemon: &Daemon) {
    let mut client = daemon.client();
    for (request, reply) in conversation() {
        assert_eq!(ask(&mut client, request), reply, "{request}");
    }
}

#[test]
fn the_documents_examples_work_as_written() {
    hold_conversation(&Daemon::start());
}

#[test]
fn the_documents_examples_work_with_a_store_in_memory() {
    hold_conversation(&Daemon::builder().args(["--store", "memory:"]).start());
}

#[test]
fn the_documents_examples_work_in_one_packet_and_over_connections_of_their_own() {
    let (requests, replies): (String, Vec<String>) = conversation().into_iter().unzip();
    let daemon = Daemon::start();
    let mut client = daemon.client();
    client.send(&requests);
    client.half_close();
    assert_eq!(client.rest(), replies.iter().map(|reply| format!("{reply}\n")).collect::<String>());

    let daemon = Daemon::start();
    for (request, reply) in conversation() {
        assert_eq!(ask(&mut daemon.client(), request), reply, "{request}");
    }
}

#[test]
fn the_documents_examples_work_in_netcat() {
    let daemon = Daemon::start();
    let mut command = Command::new("nc");
    command.args(["-N", "127.0.0.1", &daemon.address().port().to_string()]);
    let mut netcat =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("nc is there (netcat-openbsd)");
    let (requests, replies): (Vec<&str>, Vec<String>) = conversation().into_iter().unzip();
    netcat.stdin.take().expect("piped").write_all(requests.join("\n").as_bytes()).expect("nc reads");
    let output = netcat.wait_with_output().expect("nc ends");
    assert_eq!(String::from_utf8_lossy(&output.stdout), replies.join("\n") + "\n");
}

#[test]
fn errors_have_the_documented_texts() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    add(&mut client, 1);
    expect(
        &mut client,
        &[
            (r#"{"action": "fly"}"#, r#"{"error":"invalid action"}"#),
            (r#"{"action": 7, "request_id": "a"}"#, r#"{"request_id":"a","error":"invalid action"}"#),
            (r#"{"action": "authenticate"}"#, r#"{"error":"required data: vm_id"}"#),
            (r#"{"action": "connect", "vm_id": "1"}"#, r#"{"error":"required data: vm_id"}"#),
            (r#"{"action": "logout_vm", "vm_id": null}"#, r#"{"error":"required data: vm_id"}"#),
            (r#"{"action": "update_vm", "ram": 0}"#, r#"{"error":"required data: vm_id"}"#),
            (r#"{"action": "connect", "vm_id": 0}"#, r#"{"error":"VM ID does not exist"}"#),
            (r#"{"action": "connect", "vm_id": -1}"#, r#"{"error":"VM ID does not exist"}"#),
            (
                r#"{"action": "authenticate", "vm_id": 123456789012345678901234567890}"#,
                r#"{"error":"VM ID does not exist"}"#,
            ),
            (r#"{"action": "logout_vm", "vm_id": 1}"#, r#"{"error":"vm not authenticated"}"#),
            (r#"{"action": "logout_vm", "vm_id": 99}"#, r#"{"error":"vm not authenticated"}"#),
            (r#"{"action": "update_vm", "vm_id": 99, "ram": 0}"#, r#"{"error":"vm not authenticated"}"#),
            (r#"{"action": "update_vm", "vm_id": 1, "ram": 0}"#, r#"{"error":"vm not authenticated"}"#),
            (r#"{"action": "authenticate", "vm_id": 1}"#, r#"{"status":"authenticated"}"#),
            (r#"{"action": "update_vm", "vm_id": 1, "ram": 0}"#, r#"{"error":"required data: ram, disks"}"#),
            (
                r#"{"action": "update_vm", "vm_id": 1, "ram": 2, "disks": {"7": 1}}"#,
                r#"{"error":"required data: ram, disks"}"#,
            ),
            (
                r#"{"action": "list_all_vms"}"#,
                r#"{"all_vms":[{"id":1,"ram":1,"cpu":1,"disks":[{"id":1,"size":1}]}]}"#,
            ),
            (
                r#"{"action": "list_all_vms", "data": {"token": "nobody's"}}"#,
                r#"{"error":"Invalid access token. Try refreshing with the 'authenticate' command"}"#,
            ),
        ],
    );
    // A request that is not recognized as an action is refused in the other dialect's shape.
    assert!(client.fail(json!({"action": "add_vm", "command": "ping"})).contains("only one"));
    assert_eq!(client.fail(json!({"data": {}})).split(':').next(), Some("missing field"));
}

#[test]
fn an_update_changes_what_it_names() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    expect(
        &mut client,
        &[
            (
                r#"{"action": "add_vm", "ram": 1, "cpu": 7, "disks": [1, 2, 3]}"#,
                r#"{"status":"vm added","vm_id":1}"#,
            ),
            (r#"{"action": "add_vm", "ram": 1, "disks": [4]}"#, r#"{"status":"vm added","vm_id":2}"#),
            (r#"{"action": "connect", "vm_id": 1}"#, r#"{"status":"connected and authenticated"}"#),
            (
                r#"{"action": "update_vm", "vm_id": 1, "cpu": 9, "disks": {"3": 30, "1": 10}}"#,
                r#"{"status":"vm updated"}"#,
            ),
            (
                r#"{"action": "list_connected_vms"}"#,
                r#"{"connected_vms":[{"id":1,"ram":1,"cpu":9,"disks":[{"id":1,"size":10},{"id":2,"size":2},{"id":3,"size":30}]}]}"#,
            ),
            // Another VM's disk.
            (
                r#"{"action": "update_vm", "vm_id": 1, "ram": 5, "disks": {"1": 11, "4": 40}}"#,
                r#"{"error":"required data: ram, disks"}"#,
            ),
            (r#"{"action": "update_vm", "vm_id": 1, "disks": [7]}"#, r#"{"status":"vm updated"}"#),
            (
                r#"{"action": "update_vm", "vm_id": 1, "disks": [7, 8], "ram": 6}"#,
                r#"{"status":"vm updated"}"#,
            ),
            (
                r#"{"action": "list_all_disks"}"#,
                r#"{"all_disks":[{"id":1,"vm_id":1,"size":7},{"id":4,"vm_id":2,"size":4},{"id":5,"vm_id":1,"size":8}]}"#,
            ),
        ],
    );
}

#[test]
fn the_sets_are_global_and_ordered() {
    let daemon = Daemon::start();
    let (mut client, mut other) = (daemon.client(), daemon.client());
    add(&mut client, 4);
    for vm in [3, 1, 3] {
        let reply = client.call(json!({"action": "authenticate", "vm_id": vm}));
        assert_eq!(reply, json!({"status": "authenticated"}));
    }
    other.call(json!({"action": "connect", "vm_id": 4}));
    other.call(json!({"action": "connect", "vm_id": 1}));
    assert_eq!(sets(&mut client), [vec![3, 1, 4], vec![4, 1], vec![1, 4]]);
    // Another connection than the one that has authorized it changes it and ends it.
    let reply = other.call(json!({"action": "update_vm", "vm_id": 3, "ram": 77}));
    assert_eq!(reply, json!({"status": "vm updated"}));
    assert_eq!(client.call(json!({"action": "list_authorized_vms"}))["authorized_vms"][0]["ram"], 77);
    drop(client);
    let mut client = daemon.client();
    assert_eq!(client.call(json!({"action": "logout_vm", "vm_id": 1})), json!({"status": "logged out"}));
    assert_eq!(sets(&mut client), [vec![3, 4], vec![4], vec![1, 4]]);
    let again = client.call(json!({"action": "logout_vm", "vm_id": 1}));
    assert_eq!(again, json!({"error": "vm not authenticated"}));
    // The connections have never authenticated.
    assert_eq!(client.fail(request("logout", json!({}))), "You have to authenticate to run this operation");
}

#[test]
fn only_ever_connected_survives_a_restart() {
    let mut daemon = Daemon::start();
    let mut client = daemon.client();
    add(&mut client, 3);
    client.call(json!({"action": "authenticate", "vm_id": 1}));
    client.call(json!({"action": "connect", "vm_id": 2}));
    client.call(json!({"action": "connect", "vm_id": 3}));
    client.call(json!({"action": "logout_vm", "vm_id": 3}));
    assert_eq!(sets(&mut client), [vec![1, 2], vec![2], vec![2, 3]]);
    daemon.restart();
    let mut client = daemon.client();
    assert_eq!(sets(&mut client), [vec![], vec![], vec![2, 3]]);
    let reply = client.call(json!({"action": "update_vm", "vm_id": 2, "ram": 5}));
    assert_eq!(reply, json!({"error": "vm not authenticated"}));
}

#[test]
fn connect_is_a_barrier_and_lists_are_not() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    let requests: String = (1..=20)
        .flat_map(|vm| {
            [
                json!({"request_id": format!("a{vm}"), "action": "add_vm", "ram": vm, "disks": [vm]}),
                json!({"request_id": format!("c{vm}"), "action": "connect", "vm_id": vm}),
                json!({"request_id": format!("u{vm}"), "action": "update_vm", "vm_id": vm, "ram": 100 + vm}),
            ]
        })
        .map(|request| request.to_string())
        .collect();
    client.send(&requests);
    let mut replies: Vec<Value> = (0..60).map(|_| client.reply()).collect();
    replies.sort_by_key(|reply| reply["request_id"].to_string());
    for reply in &replies {
        let id = reply["request_id"].as_str().expect("an id");
        let wanted = match id.split_at(1) {
            ("a", vm) => json!({"request_id": id, "status": "vm added", "vm_id": vm.parse::<u32>().unwrap()}),
            ("c", _) => json!({"request_id": id, "status": "connected and authenticated"}),
            _ => json!({"request_id": id, "status": "vm updated"}),
        };
        assert_eq!(*reply, wanted);
    }
    assert_eq!(ids(&mut client, "list_connected_vms"), (1..=20).collect::<Vec<i64>>());
}

#[test]
fn sets_longer_than_a_page_are_complete() {
    const COUNT: i64 = 1200;
    let daemon = Daemon::builder().args(["--store", "memory:"]).start();
    let mut client = daemon.client();
    let add: String =
        (0..COUNT).map(|_| json!({"action": "add_vm", "ram": 1, "disks": [1, 2]}).to_string()).collect();
    let connect: String =
        (1..=COUNT).rev().map(|vm| json!({"action": "connect", "vm_id": vm}).to_string()).collect();
    client.send(&(add + &connect));
    for _ in 0..2 * COUNT {
        assert!(client.reply().get("error").is_none());
    }
    let order: Vec<i64> = (1..=COUNT).rev().collect();
    let numbers: Vec<i64> = (1..=COUNT).collect();
    assert_eq!(sets(&mut client), [order.clone(), order, numbers.clone()]);
    assert_eq!(ids(&mut client, "list_all_vms"), numbers);
    assert_eq!(ids(&mut client, "list_all_disks"), (1..=2 * COUNT).collect::<Vec<i64>>());
}

#[test]
fn add_vm_stops_at_the_vm_limit() {
    let daemon = Daemon::builder().args(["--vms-max", "2"]).start();
    let mut client = daemon.client();
    add(&mut client, 2);
    let reply = client.call(json!({"action": "add_vm", "ram": 1, "disks": [1]}));
    assert_eq!(reply, json!({"error": "VM limit reached"}));
    assert_eq!(ids(&mut client, "list_all_disks"), [1, 2]);
}
