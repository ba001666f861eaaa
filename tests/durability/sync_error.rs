//! A disk that refuses to sync: no write succeeds, reads work, and acknowledged writes stay.

use serde_json::{Value, json};

use crate::common::{Client, PASSWORD, registration, request};
use crate::sync_fault::Fault;

/// The names of all VMs, each of which must be whole.
#[track_caller]
fn names(client: &mut Client) -> Vec<String> {
    let vms = client.list("all_vms");
    for vm in &vms {
        assert_eq!(vm["disks"].as_array().map(Vec::len), Some(2), "{vm}");
    }
    vms.iter().map(|vm| vm["vm_id"].as_str().expect("a name").to_owned()).collect()
}

/// The store cannot know whether a write would survive a crash, and says so.
#[track_caller]
fn expect_no_success(reply: &Value) {
    assert_eq!(reply["status"], "error", "{reply}");
    assert_eq!(reply["message"], "outcome unknown", "{reply}");
}

#[test]
fn an_unsynced_write_never_succeeds() {
    let fault = Fault::new();
    let mut daemon = fault.daemon().start();
    let mut client = daemon.client();
    client.register("a", &[1, 2]);
    let token = client.authenticate("a");

    fault.begin("");
    let mut others: Vec<Client> = (0..4).map(|_| daemon.client()).collect();
    for (number, other) in others.iter_mut().enumerate() {
        other.send(&registration(&format!("b-{number}"), &[1, 2]).to_string());
    }
    others.iter_mut().for_each(|other| expect_no_success(&other.reply()));
    expect_no_success(&client.call(request("update", json!({"ram": 7}))));
    let login = request("authenticate", json!({"vm_id": "a", "password": PASSWORD}));
    expect_no_success(&others[0].call(login));
    expect_no_success(&client.call(request("logout", json!({}))));
    // Reads work and show no change; no connection was logged in or out.
    assert_eq!(names(&mut client), ["a"]);
    assert_eq!(client.list("all_vms")[0]["ram"], 512);
    assert_eq!(client.list("authenticated_vms").len(), 1);
    others[1].succeed("list", json!({"list_type": "all_disks", "token": token}));
    client.ping();
    assert!(fault.end() >= 4);

    // The same daemon writes again, also the failed requests.
    client.succeed("update", json!({"ram": 8}));
    for (number, other) in others.iter_mut().enumerate() {
        other.call(registration(&format!("b-{number}"), &[1, 2]));
    }
    let expected = ["a", "b-0", "b-1", "b-2", "b-3"];
    let sorted = |client: &mut Client| {
        let mut names = names(client);
        names.sort();
        names
    };
    assert_eq!(sorted(&mut client), expected);
    daemon.kill();
    daemon.restart();
    let mut client = daemon.client();
    client.succeed("list", json!({"list_type": "all_vms", "token": token}));
    assert_eq!(sorted(&mut client), expected);
    assert_eq!(client.list("all_vms")[0]["ram"], 8);
}

/// A write with an unknown outcome may be there after all, but whole.
#[test]
fn acknowledged_writes_survive_a_kill_before_the_disk_recovers() {
    let fault = Fault::new();
    let mut daemon = fault.daemon().start();
    let mut client = daemon.client();
    client.register("a", &[1, 2]);
    client.register("b", &[1, 2]);
    fault.begin("");
    expect_no_success(&client.call(registration("c", &[1, 2])));
    expect_no_success(&client.call(registration("d", &[1, 2])));
    daemon.kill();
    fault.end();
    daemon.restart();
    let mut client = daemon.client();
    client.authenticate("b");
    let names = names(&mut client);
    assert_eq!(names[..2], ["a", "b"]);
    assert!(names[2..].iter().all(|name| name == "c" || name == "d"), "{names:?}");
}

/// Only the database file cannot be synced, to which the log is copied now and then. The log is safe, so clients notice
/// nothing.
#[test]
fn a_failed_checkpoint_loses_nothing() {
    const COUNT: usize = 400;
    let fault = Fault::new();
    let mut daemon = fault.daemon().start();
    let mut client = daemon.client();
    fault.begin("vmherd.sqlite3");
    let expected: Vec<String> = (0..COUNT).map(|number| format!("vm-{number}")).collect();
    for name in &expected {
        client.register(name, &[1, 2]);
    }
    daemon.kill();
    assert!(fault.end() > 0, "the log was to be copied, or this shows nothing");
    daemon.restart();
    let mut client = daemon.client();
    client.authenticate("vm-0");
    assert_eq!(names(&mut client), expected);
    client.register("after", &[1, 2]);
}

#[test]
fn a_daemon_that_cannot_sync_creates_no_store() {
    let fault = Fault::new();
    fault.begin("");
    let builder = fault.daemon();
    let ended = builder.clone().run_to_end();
    assert_ne!(ended.code(), Some(0), "{ended:?}");
    assert!(ended.stderr.contains("vmherd.sqlite3"), "{}", ended.stderr);
    assert!(fault.end() > 0);
    let daemon = builder.start();
    daemon.client().register("a", &[1, 2]);
}
