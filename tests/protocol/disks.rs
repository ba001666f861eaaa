//! Updates, of disks above all: in place or as a whole, and never in part.

use serde_json::{Value, json};

use crate::common::{Client, Daemon, request};

/// Disks as (id, size).
type Disks = Vec<(u64, u64)>;

#[track_caller]
fn disks_of(client: &mut Client, name: &str) -> Disks {
    let vms = client.list("all_vms");
    let vm = vms.iter().find(|vm| vm["vm_id"] == name).expect("the VM");
    let disks = vm["disks"].as_array().expect("a list");
    assert!(disks.iter().all(|disk| disk["vm_id"] == name), "{disks:?}");
    let number = |value: &Value| value.as_u64().expect("a number");
    disks.iter().map(|disk| (number(&disk["id"]), number(&disk["disk_size"]))).collect()
}

#[track_caller]
fn update_disks(client: &mut Client, disks: Value) {
    let reply = client.call(request("update", json!({"disks": disks})));
    let expected = json!({"status": "success", "message": "VM info updated successfully", "data": {}});
    assert_eq!(reply, expected);
}

/// A daemon with the VMs `a`, disks 1 to 3, and `b`, disk 4; a connection as `a`.
fn start() -> (Daemon, Client) {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    client.register("a", &[10, 20, 30]);
    client.register("b", &[40]);
    client.authenticate("a");
    assert_eq!(disks_of(&mut client, "a"), [(1, 10), (2, 20), (3, 30)]);
    (daemon, client)
}

#[test]
fn disks_with_ids_are_resized_in_place() {
    let (_daemon, mut client) = start();
    update_disks(&mut client, json!([{"id": 3, "disk_size": 33}, {"disk_size": 11, "id": 1}]));
    assert_eq!(disks_of(&mut client, "a"), [(1, 11), (2, 20), (3, 33)]);
    update_disks(&mut client, json!([{"id": 2, "disk_size": 2}]));
    assert_eq!(disks_of(&mut client, "a"), [(1, 11), (2, 2), (3, 33)]);
    assert_eq!(disks_of(&mut client, "b"), [(4, 40)]);
}

#[test]
fn disks_without_ids_replace_the_list_and_the_first_keep_their_ids() {
    let (_daemon, mut client) = start();
    update_disks(&mut client, json!([{"disk_size": 5}, {"disk_size": 6}, {"disk_size": 7}]));
    assert_eq!(disks_of(&mut client, "a"), [(1, 5), (2, 6), (3, 7)]);
    update_disks(&mut client, json!([{"disk_size": 8}]));
    assert_eq!(disks_of(&mut client, "a"), [(1, 8)]);
    update_disks(&mut client, json!([{"disk_size": 8}, {"disk_size": 9}, {"disk_size": 10}]));
    // The id of a removed disk is never used again.
    assert_eq!(disks_of(&mut client, "a"), [(1, 8), (5, 9), (6, 10)]);
    update_disks(&mut client, json!([]));
    assert_eq!(disks_of(&mut client, "a"), []);
    update_disks(&mut client, json!([{"disk_size": 1}]));
    assert_eq!(disks_of(&mut client, "a"), [(7, 1)]);
    let all: Vec<Value> = client.list("all_disks");
    let of_b = json!({"id": 4, "vm_id": "b", "disk_size": 40});
    assert_eq!(all, [of_b, json!({"id": 7, "vm_id": "a", "disk_size": 1})]);
}

#[test]
fn mixed_repeated_or_foreign_disk_ids_change_nothing() {
    let (_daemon, mut client) = start();
    let before = client.list("all_vms");
    let cases = [
        (json!([{"id": 1, "disk_size": 1}, {"disk_size": 1}]), "disks[1]: missing field: id"),
        (json!([{"disk_size": 1}, {"id": 1, "disk_size": 1}]), "disks[0]: missing field: id"),
        (json!([{"id": 1, "disk_size": 1}, {"id": 1, "disk_size": 2}]), "disks[1].id: 1"),
        (json!([{"id": 1, "disk_size": 1}, {"id": 0, "disk_size": 1}]), "disks[1].id: 0"),
        (json!([{"id": 1, "disk_size": 1}, {"id": "2", "disk_size": 1}]), "disks[1].id: \"2\""),
        (json!([{"id": 1, "disk_size": 1}, {"id": 2, "disk_size": 0}]), "disks[1].disk_size: 0"),
    ];
    for (disks, begin) in cases {
        let message = client.fail(request("update", json!({"ram": 7, "cpu": 7, "disks": disks})));
        assert!(message.starts_with(begin), "{disks}: {message}");
        assert_eq!(client.list("all_vms"), before);
    }
    // The error for another VM's disk is that for a disk that never existed.
    let foreign =
        |id: u64| json!({"ram": 7, "disks": [{"id": 1, "disk_size": 1}, {"id": id, "disk_size": 1}]});
    for id in [4, 5, 1 << 40, i64::MAX as u64] {
        let message = client.fail(request("update", foreign(id)));
        assert_eq!(message, format!("disks: the VM has no disk with id {id}"));
        assert_eq!(client.list("all_vms"), before);
    }
}

#[test]
fn each_field_can_be_updated_alone() {
    let (_daemon, mut client) = start();
    client.succeed("update", json!({"ram": 7}));
    client.succeed("update", json!({"cpu": 9}));
    let vm = client.list("all_vms").swap_remove(0);
    assert_eq!((&vm["ram"], &vm["cpu"], &vm["disks"][0]["disk_size"]), (&json!(7), &json!(9), &json!(10)));
    client.succeed("update", json!({"ram": 1, "cpu": 1, "disks": []}));
    let vm = client.list("all_vms").swap_remove(0);
    assert_eq!(vm, json!({"vm_id": "a", "ram": 1, "cpu": 1, "disks": []}));
}

#[test]
fn updates_survive_a_restart() {
    let (mut daemon, mut client) = start();
    update_disks(&mut client, json!([{"id": 2, "disk_size": 22}]));
    client.succeed("update", json!({"ram": 7}));
    daemon.kill();
    daemon.restart();
    let mut client = daemon.client();
    client.authenticate("a");
    assert_eq!(disks_of(&mut client, "a"), [(1, 10), (2, 22), (3, 30)]);
    assert_eq!(client.list("all_vms")[0]["ram"], 7);
}
