//! Changes that another process makes in the store while the daemon serves it.

use serde_json::{Value, json};
use vmherd::custom_store::VmChange;
use vmherd::{Config, Registry, Secret, VmName, VmShape};

use super::{NOT_AUTHENTICATED, change, kind, kind_of, watch, watcher};
use crate::common::{Daemon, PASSWORD, request};

fn registry(daemon: &Daemon) -> Registry {
    let store = format!("sqlite:{}/vmherd.sqlite3", daemon.state_dir().display());
    Registry::open(&Config::default().store(store.parse().expect("a location"))).expect("the store")
}

fn name(text: &str) -> VmName {
    VmName::parse_new(text).expect("a name")
}

/// Adds the VM `a`.
fn add(tool: &mut Registry) {
    let shape = VmShape { ram_mib: 1, cpus: 1 };
    tool.add(name("a"), shape, vec![10], &Secret::new(PASSWORD)).expect("it is added");
}

#[test]
fn changes_by_tools_are_told() {
    let daemon = Daemon::start();
    let (mut client, mut watching, mut tool) = (daemon.client(), watcher(&daemon), registry(&daemon));
    add(&mut tool);
    let registered = change(&mut watching);
    assert_eq!((&registered["kind"], &registered["vm_id"]), (&json!("registered"), &json!("a")));
    assert_eq!(registered["vm"], daemon.operator().list("all_vms")[0]);
    tool.update(&name("a"), VmChange { ram_mib: Some(2), ..VmChange::default() }).expect("it is changed");
    assert_eq!(change(&mut watching)["vm"]["ram"], 2);
    tool.remove(&name("a")).expect("it is removed");
    assert_eq!(kind(&mut watching), kind_of("removed", "a", ""));
    client.register("b", &[]);
    assert_eq!(kind(&mut watching), kind_of("registered", "b", ""), "its own changes are told once");
}

/// What a tool has done before the first client watches is in its list, and told no more.
#[test]
fn a_watch_begins_after_what_is_in_its_list() {
    let daemon = Daemon::start();
    let mut tool = registry(&daemon);
    add(&mut tool);
    let mut watching = daemon.client();
    let (vms, _) = watch(&mut watching, json!({}));
    assert_eq!(vms.len(), 1);
    tool.remove(&name("a")).expect("it is removed");
    assert_eq!(kind(&mut watching), kind_of("removed", "a", ""));
}

#[test]
fn a_password_that_a_tool_changes_ends_the_watch_of_its_vm() {
    let daemon = Daemon::builder().only_on("tcp://127.0.0.1:0?open=none").start();
    let mut tool = registry(&daemon);
    add(&mut tool);
    let mut client = daemon.client();
    let token = client.authenticate("a");
    drop(client);
    let mut watching = daemon.client();
    watch(&mut watching, json!({"token": token, "what": ["vms"]}));
    tool.change_password(&name("a"), &Secret::new(PASSWORD)).expect("it is changed");
    assert_eq!(watching.error(), NOT_AUTHENTICATED);
    watching.ping();
}

#[test]
fn a_login_that_a_tool_has_ended_begins_no_watch() {
    let daemon = Daemon::builder().only_on("tcp://127.0.0.1:0?open=none").start();
    let mut tool = registry(&daemon);
    add(&mut tool);
    for data in [json!({"what": ["points:"]}), json!({})] {
        let mut client = daemon.client();
        client.authenticate("a");
        let (_, revision) = watch(&mut client, json!({}));
        client.send(&request("unwatch", json!({})).to_string());
        // The client before may go offline meanwhile.
        while client.reply()["message"] != "unwatched" {}
        tool.change_password(&name("a"), &Secret::new(PASSWORD)).expect("it is changed");
        let resumed = json!({"from": revision});
        assert_eq!(
            client.fail(request("watch", if data == json!({}) { resumed } else { data })),
            NOT_AUTHENTICATED
        );
    }
}

#[test]
fn a_vm_that_a_tool_removes_goes_offline_first() {
    let daemon = Daemon::start();
    let mut tool = registry(&daemon);
    add(&mut tool);
    let mut vm = daemon.client();
    vm.authenticate("a");
    let mut watching = watcher(&daemon);
    tool.remove(&name("a")).expect("it is removed");
    vm.register("a", &[]);
    // The new VM may be told before the end of the old one, which has its id.
    let mut changes = [change(&mut watching), change(&mut watching), change(&mut watching)];
    changes.sort_by_key(|change| change["vm"]["id"].as_i64());
    let kinds = changes.each_ref().map(|change| (change["kind"].as_str(), change["vm"]["id"].as_i64()));
    assert_eq!(
        kinds,
        [(Some("offline"), Some(1)), (Some("removed"), Some(1)), (Some("registered"), Some(2))]
    );
    assert_eq!(changes[0]["reason"], "logout");
}

#[test]
fn the_watch_of_a_reader_ends_with_its_token() {
    let daemon = Daemon::builder().only_on("tcp://127.0.0.1:0?open=none").start();
    let mut tool = registry(&daemon);
    let tokens =
        ["one", "two"].map(|reader| tool.add_reader_token(&name(reader), true).expect("it is added"));
    let mut watching = tokens.each_ref().map(|(_, token)| {
        let mut client = daemon.client();
        let (vms, _) = watch(&mut client, json!({"token": token.expose()}));
        assert_eq!(vms, [] as [Value; 0]);
        client
    });
    tool.enable_access_token(tokens[0].0, false).expect("it is disabled");
    assert_eq!(watching[0].error(), NOT_AUTHENTICATED);
    daemon.operator().succeed("add", json!({"vm_id": "a", "ram": 1, "cpu": 1, "disks": []}));
    assert_eq!(kind(&mut watching[1]), kind_of("registered", "a", ""));
    tool.remove_access_token(tokens[1].0).expect("it is removed");
    assert_eq!(watching[1].error(), NOT_AUTHENTICATED);
    let again = json!({"token": tokens[1].1.expose()});
    assert_ne!(watching[1].call(request("watch", again))["status"], "success");
}
