//! The snapshot, changes of VMs, and where a client resumes.

use serde_json::{Value, json};

use super::{TOO_FAR_BEHIND, change, kind, kind_of, parts, watch, watcher};
use crate::common::{Daemon, PASSWORD, registration, request};

#[test]
fn the_snapshot_is_what_an_operator_sees() {
    let daemon = Daemon::start();
    let (mut operator, mut client) = (daemon.operator(), daemon.client());
    for name in ["a", "b"] {
        client.register(name, &[10, 20]);
    }
    client.authenticate("a");
    let (vms, revision) = watch(&mut daemon.client(), json!({}));
    assert_eq!(vms, operator.list("all_vms"));
    assert_eq!(vms[0]["addrs"], json!([["127.0.0.1", client.local_address().port()]]));
    let (epoch, number) = parts(&revision);
    assert_eq!((epoch.len(), number), (16, 0));
    let (vms, same) = watch(&mut daemon.client(), json!({"what": ["points:x"]}));
    assert_eq!((vms, same), (vec![], revision), "no list without VMs");
}

#[test]
fn a_long_snapshot_comes_in_pages_and_changes_follow_it() {
    let daemon = Daemon::start();
    let (mut client, mut watching) = (daemon.client(), daemon.client());
    let sizes = vec![1; 1000];
    for index in 0..5 {
        client.register(&format!("vm-{index}"), &sizes);
    }
    watching.send(&json!({"command": "watch", "request_id": "w", "data": {}}).to_string());
    let mut seen = 0;
    for page in 0.. {
        let reply = watching.reply();
        assert_eq!((&reply["request_id"], &reply["message"]), (&json!("w"), &json!("snapshot")), "{reply}");
        seen += reply["data"]["vms"].as_array().expect("a list").len();
        if reply["data"]["more"] == json!(false) {
            assert!(page >= 4, "each VM is a page of its own");
            break;
        }
    }
    assert_eq!(seen, 5);
    client.authenticate("vm-3");
    let reply = watching.reply();
    assert_eq!((&reply["request_id"], &reply["data"]["kind"]), (&json!("w"), &json!("online")), "{reply}");
}

#[test]
fn vms_are_registered_updated_and_removed() {
    let daemon = Daemon::start();
    let (mut operator, mut client, mut watching) = (daemon.operator(), daemon.client(), watcher(&daemon));
    client.register("a", &[10]);
    let registered = change(&mut watching);
    let listed = || daemon.operator().list("all_vms");
    assert_eq!((&registered["kind"], &registered["vm_id"]), (&json!("registered"), &json!("a")));
    assert_eq!(registered["vm"], listed()[0]);
    client.authenticate("a");
    assert_eq!(kind(&mut watching), kind_of("online", "a", ""));
    client.succeed("update", json!({"ram": 1024}));
    let updated = change(&mut watching);
    assert_eq!(updated["kind"], "updated");
    assert_eq!((&updated["vm"], &updated["vm"]["ram"]), (&listed()[0], &json!(1024)));
    operator.succeed("update", json!({"vm_id": "a", "disks": [{"disk_size": 30}]}));
    assert_eq!(change(&mut watching)["vm"]["disks"][0]["disk_size"], 30);
    operator.succeed("add", json!({"vm_id": "b", "ram": 1, "cpu": 1, "disks": []}));
    assert_eq!(kind(&mut watching), kind_of("registered", "b", ""));
    operator.succeed("remove", json!({"vm_id": "b"}));
    let removed = change(&mut watching);
    assert_eq!(
        (&removed["kind"], &removed["vm_id"], removed.get("vm")),
        (&json!("removed"), &json!("b"), None)
    );
    operator.succeed("remove", json!({"vm_id": "a"}));
    assert_eq!(kind(&mut watching), kind_of("offline", "a", "logout"));
    assert_eq!(kind(&mut watching), kind_of("removed", "a", ""));
    // A request that fails changes nothing.
    client.call(request("update", json!({"ram": 1})));
    client.register("c", &[]);
    assert_eq!(client.call(registration("c", &[]))["status"], "error");
    client.register("d", &[]);
    assert_eq!(kind(&mut watching), kind_of("registered", "c", ""));
    assert_eq!(kind(&mut watching), kind_of("registered", "d", ""));
}

#[test]
fn vms_of_the_dialect_action_change_too() {
    let daemon = Daemon::start();
    let (mut client, mut watching) = (daemon.client(), watcher(&daemon));
    let added = client.call(json!({"action": "add_vm", "ram": 512, "disks": [10]}));
    let registered = change(&mut watching);
    assert_eq!(registered["kind"], "registered", "{added}");
    let id = registered["vm"]["id"].clone();
    assert_eq!(registered["vm_id"], id.to_string());
    client.call(json!({"action": "authenticate", "vm_id": id}));
    let reply = client.call(json!({"action": "update_vm", "vm_id": id, "ram": 768, "disks": [20]}));
    let updated = change(&mut watching);
    assert_eq!((&updated["kind"], &updated["vm"]["ram"]), (&json!("updated"), &json!(768)), "{reply}");
}

#[test]
fn a_client_resumes_where_it_was() {
    let daemon = Daemon::start();
    let (mut client, mut first) = (daemon.client(), daemon.client());
    let (_, revision) = watch(&mut first, json!({}));
    for name in ["a", "b", "c"] {
        client.register(name, &[]);
    }
    let changes: Vec<Value> = (0..3).map(|_| change(&mut first)).collect();
    drop(first);
    client.register("d", &[]);
    for (from, rest) in [(&json!(revision), 3), (&changes[0]["revision"], 2), (&changes[2]["revision"], 0)] {
        let mut second = daemon.client();
        let reply = second.call(json!({"command": "watch", "request_id": 1, "data": {"from": from}}));
        let wanted =
            json!({"request_id": 1, "status": "success", "message": "resumed", "data": {"revision": from}});
        assert_eq!(reply, wanted);
        for wanted in &changes[3 - rest..] {
            assert_eq!(&change(&mut second), wanted);
        }
        assert_eq!(kind(&mut second), kind_of("registered", "d", ""));
    }
    let (epoch, last) = parts(changes[2]["revision"].as_str().expect("a revision"));
    let mut other = daemon.client();
    for bad in [format!("{epoch}-{}", last + 2), format!("{:016x}-{last}", 1)] {
        assert_eq!(other.fail(request("watch", json!({"from": bad}))), TOO_FAR_BEHIND, "{bad}");
    }
}

#[test]
fn revisions_of_another_run_are_too_far_behind() {
    let mut daemon = Daemon::start();
    let (_, revision) = watch(&mut daemon.client(), json!({}));
    daemon.restart();
    let mut client = daemon.client();
    assert_eq!(client.fail(request("watch", json!({"from": revision}))), TOO_FAR_BEHIND);
    let (_, other) = watch(&mut client, json!({}));
    assert_ne!(parts(&revision).0, parts(&other).0);
    assert_eq!(client.fail(request("watch", json!({"from": revision}))), TOO_FAR_BEHIND);
}

/// A message that fails is no reason to end a watch.
#[test]
fn errors_name_the_field_and_leave_the_watch() {
    let daemon = Daemon::start();
    let mut watching = watcher(&daemon);
    for (data, wanted) in
        [(json!({"from": "x"}), "from: \"x\" is"), (json!({"what": ["x"]}), "what[0]: \"x\" is")]
    {
        let error = watching.fail(request("watch", data));
        assert!(error.starts_with(wanted), "{error}");
    }
    daemon.client().register("a", &[]);
    assert_eq!(kind(&mut watching), kind_of("registered", "a", ""));
    // Nor is one that still waits for its list.
    let mut both = daemon.client();
    let request =
        |id: u8, data: serde_json::Value| json!({"command": "watch", "request_id": id, "data": data});
    both.send(&format!("{}{}", request(1, json!({})), request(2, json!({"what": ["x"]}))));
    let mut replies = [both.reply(), both.reply()];
    replies.sort_by_key(|reply| reply["request_id"].as_u64());
    assert_eq!((&replies[0]["message"], &replies[1]["status"]), (&json!("snapshot"), &json!("error")));
    daemon.client().register("b", &[]);
    assert_eq!(kind(&mut both), kind_of("registered", "b", ""));
}

#[test]
fn a_client_gets_what_it_asks_for() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    let watching = |what: Value| {
        let mut watching = daemon.client();
        watch(&mut watching, json!({"what": what}));
        watching
    };
    let (mut vms, mut presence, mut none) =
        (watching(json!(["vms"])), watching(json!(["presence"])), watching(json!([])));
    client.register("a", &[]);
    client.authenticate("a");
    client.succeed("logout", json!({}));
    client.register("b", &[]);
    for wanted in ["a", "b"] {
        assert_eq!(kind(&mut vms), kind_of("registered", wanted, ""));
    }
    assert_eq!(kind(&mut presence), kind_of("online", "a", ""));
    assert_eq!(kind(&mut presence), kind_of("offline", "a", "logout"));
    none.ping();
}

#[test]
fn points_are_told_by_prefix() {
    let daemon = Daemon::start();
    let (mut client, mut watching) = (daemon.client(), daemon.client());
    watch(&mut watching, json!({"what": ["points:a.", "points:b.x"]}));
    let points = json!([
        {"key": "a.x", "value": 1, "timestamp": 1_700_000_000},
        {"key": "c", "value": 2, "timestamp": 1_700_000_000},
        {"key": "b.xy", "value": 2.5, "timestamp": 1_700_000_001},
    ]);
    client.succeed("put", json!({"points": points}));
    client.succeed("put", json!({"key": "c", "value": 3}));
    client.call(registration("vm", &[]));
    client.succeed("authenticate", json!({"vm_id": "vm", "password": PASSWORD}));
    client.succeed("put", json!({"key": "a.y", "value": 4, "timestamp": 1_700_000_002}));
    let mut text = daemon.client();
    text.call_text("put a.z 5 1700000003");
    let first = change(&mut watching);
    assert_eq!((&first["kind"], &first["vm_id"]), (&json!("points"), &Value::Null));
    let wanted = [points[0].clone(), points[2].clone()];
    let same = |given: &Value, wanted: &Value| {
        (&given["key"], given["value"].as_f64(), &given["timestamp"])
            == (&wanted["key"], wanted["value"].as_f64(), &wanted["timestamp"])
    };
    let given = first["points"].as_array().expect("a list");
    assert!(given.len() == 2 && given.iter().zip(&wanted).all(|(one, other)| same(one, other)), "{first}");
    let second = change(&mut watching);
    assert_eq!((&second["vm_id"], &second["points"][0]["key"]), (&json!("vm"), &json!("a.y")));
    assert_eq!(change(&mut watching)["points"][0]["key"], "a.z");
}
