//! What the operator may do: root or the daemon's user, on the daemon's own socket.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::common::{Client, Daemon, request};

const NOT_FOR_ANONYMOUS: &str = "You have to authenticate to run this operation";

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later");
    i64::try_from(since.as_secs()).expect("it is sooner")
}

/// The entry of the VM `name` in the operator's list of all VMs.
#[track_caller]
fn vm_of(operator: &mut Client, name: &str) -> Value {
    let vms = operator.list("all_vms");
    vms.into_iter().find(|vm| vm["vm_id"] == name).unwrap_or_else(|| panic!("{name} is not listed"))
}

fn address_of(client: &Client) -> Value {
    json!(["127.0.0.1", client.local_address().port()])
}

#[track_caller]
fn assert_recent(time: &Value, since: i64) {
    let seconds = time.as_i64().unwrap_or_else(|| panic!("{time} is no time"));
    assert!((since..=now()).contains(&seconds), "{time} is not from {since} to {}", now());
}

/// An entry without what only the operator sees.
fn without_times(mut vm: Value) -> Value {
    let entry = vm.as_object_mut().expect("an object");
    for name in ["id", "connected_since", "last_seen", "offline_since", "addrs"] {
        assert!(entry.remove(name).is_some(), "{name} is missing");
    }
    vm
}

#[test]
fn the_operator_lists_vms_with_their_connections() {
    let (daemon, begun) = (Daemon::start(), now());
    let mut operator = daemon.operator();
    assert_eq!(operator.list("all_vms"), [] as [Value; 0]);
    let mut client = daemon.client();
    client.register("a", &[10]);
    client.register("b", &[]);
    let vm = vm_of(&mut operator, "a");
    assert_eq!((&vm["id"], &vm["connected_since"], &vm["addrs"]), (&json!(1), &json!(null), &json!([])));
    client.authenticate("a");
    let mut same = daemon.client();
    same.authenticate("a");
    let vm = vm_of(&mut operator, "a");
    assert_recent(&vm["connected_since"], begun);
    let mut addresses = vm["addrs"].as_array().cloned().expect("a list");
    addresses.sort_by_key(|address| *address != address_of(&client));
    assert_eq!(addresses, [address_of(&client), address_of(&same)]);
    // The others see what they always did, and the operator sees all of it.
    let for_vms = client.list("all_vms");
    let disks = json!([{"id": 1, "vm_id": "a", "disk_size": 10}]);
    assert_eq!(for_vms[0], json!({"vm_id": "a", "ram": 512, "cpu": 4, "disks": disks}));
    assert_eq!(operator.list("all_vms").into_iter().map(without_times).collect::<Vec<_>>(), for_vms);
    assert_eq!(operator.list("all_disks"), client.list("all_disks"));

    same.succeed("logout", json!({}));
    assert_eq!(vm_of(&mut operator, "a")["addrs"], json!([address_of(&client)]));
    client.succeed("logout", json!({}));
    let vm = vm_of(&mut operator, "a");
    assert_eq!((&vm["connected_since"], &vm["addrs"]), (&json!(null), &json!([])));
}

#[test]
fn the_operator_lists_connections_with_their_age() {
    let (daemon, begun) = (Daemon::start(), now());
    let (mut operator, mut client) = (daemon.operator(), daemon.client());
    client.register("a", &[]);
    let active = operator.list("active_vms");
    assert_eq!(active.len(), 2);
    for entry in &active {
        assert_recent(&entry["connected_since"], begun);
        assert_eq!(entry.get("vm_info"), None);
    }
    assert_eq!(operator.list("authenticated_vms"), [] as [Value; 0]);
    client.authenticate("a");
    let [entry] = &operator.list("authenticated_vms")[..] else { panic!("not one entry") };
    assert_eq!(entry["addr"], address_of(&client));
    assert_recent(&entry["connected_since"], begun);
    assert_eq!((&entry["vm_info"]["id"], &entry["vm_info"]["vm_id"]), (&json!(1), &json!("a")));
    assert_recent(&entry["vm_info"]["connected_since"], begun);
    assert_eq!(entry["vm_info"].get("addrs"), None);
    let [of_vm] = &client.list("authenticated_vms")[..] else { panic!("not one entry") };
    assert_eq!((of_vm.get("connected_since"), of_vm["vm_info"].get("id")), (None, None));
}

/// At most 16 addresses of a VM are listed.
#[test]
fn the_addresses_of_a_vm_are_bounded() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    client.register("a", &[]);
    let token = client.authenticate("a");
    let others: Vec<Client> = (0..20)
        .map(|_| {
            let mut other = daemon.client();
            other.succeed("list", json!({"list_type": "all_disks", "token": token}));
            other
        })
        .collect();
    let mut operator = daemon.operator();
    assert_eq!(operator.list("authenticated_vms").len(), 1 + others.len());
    assert_eq!(vm_of(&mut operator, "a")["addrs"].as_array().map(Vec::len), Some(16));
}

/// Who authenticates on the socket is a VM from then on, and the operator again after the logout.
#[test]
fn an_operator_that_authenticates_is_a_vm() {
    let daemon = Daemon::start();
    let mut operator = daemon.operator();
    operator.register("a", &[]);
    operator.authenticate("a");
    assert_eq!(operator.list("all_vms"), [json!({"vm_id": "a", "ram": 512, "cpu": 4, "disks": []})]);
    assert_eq!(operator.fail(request("stats", json!({}))), "Unknown command");
    operator.succeed("logout", json!({}));
    assert_eq!(operator.list("all_vms")[0]["id"], 1);
    assert_eq!(daemon.client().fail(request("list", json!({"list_type": "all_vms"}))), NOT_FOR_ANONYMOUS);
}
