//! The lists: their entries, their order, and that long ones are complete.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::common::{Client, DEADLINE, Daemon, PASSWORD, request, wait_until};

#[test]
fn connections_are_listed_with_the_vm_that_has_authenticated() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    client.register("a", &[10]);
    client.authenticate("a");
    let mut same = daemon.client();
    same.authenticate("a");
    let anonymous = daemon.client();
    let mut operator = daemon.operator();
    operator.ping();
    let vm_info =
        json!({"vm_id": "a", "ram": 512, "cpu": 4, "disks": [{"id": 1, "vm_id": "a", "disk_size": 10}]});
    let address = |client: &Client| json!(["127.0.0.1", client.local_address().port()]);
    let expected = [
        json!({"addr": address(&client), "vm_info": vm_info}),
        json!({"addr": address(&same), "vm_info": vm_info}),
        json!({"addr": address(&anonymous)}),
        json!({"addr": ["unix", 0]}),
    ];
    let mut active = Vec::new();
    wait_until("all connections are accepted", DEADLINE, || {
        active = client.list("active_vms");
        active.len() == expected.len()
    });
    for entry in &expected {
        assert!(active.contains(entry), "{entry} is not in {active:?}");
    }
    let mut authenticated = client.list("authenticated_vms");
    authenticated.sort_by_key(|entry| *entry == expected[1]);
    assert_eq!(authenticated, expected[..2]);
    // Closed connections are not listed.
    same.succeed("logout", json!({}));
    assert_eq!(client.list("authenticated_vms"), expected[..1]);
    assert!(client.list("active_vms").contains(&json!({"addr": address(&same)})));
    drop((same, anonymous, operator));
    wait_until("the others are gone", DEADLINE, || client.list("active_vms") == expected[..1]);
}

#[test]
fn an_update_is_in_every_list_at_once() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    client.register("a", &[10]);
    client.authenticate("a");
    for ram in 1..20 {
        client.succeed("update", json!({"ram": ram}));
        assert_eq!(client.list("all_vms")[0]["ram"], ram);
        assert_eq!(client.list("active_vms")[0]["vm_info"]["ram"], ram);
        assert_eq!(client.list("authenticated_vms")[0]["vm_info"]["ram"], ram);
    }
}

/// Registers `count` VMs with disks of the sizes 1 and 2, quickly.
fn populate(daemon: &Daemon, count: usize) {
    const AT_ONCE: usize = 8;
    std::thread::scope(|scope| {
        for part in 0..AT_ONCE {
            scope.spawn(move || {
                let mut client = daemon.client();
                let numbers = (part..count).step_by(AT_ONCE);
                let data = |number| {
                    let disks = json!([{"disk_size": 1}, {"disk_size": 2}]);
                    json!({"vm_id": name(number), "ram": 1, "cpu": 1, "password": PASSWORD, "disks": disks})
                };
                client.send(
                    &numbers
                        .clone()
                        .map(|number| request("register", data(number)).to_string())
                        .collect::<String>(),
                );
                for number in numbers {
                    assert_eq!(client.reply()["data"], json!({"auth_id": name(number)}));
                }
            });
        }
    });
}

fn name(number: usize) -> String {
    format!("vm-{number}")
}

fn strings(entries: &[Value], field: &str) -> BTreeSet<String> {
    entries.iter().map(|entry| entry[field].as_str().expect("a name").to_owned()).collect()
}

#[test]
fn lists_longer_than_a_page_are_complete() {
    const COUNT: usize = 2000;
    let daemon = Daemon::start();
    populate(&daemon, COUNT);
    let mut client = daemon.client();
    client.authenticate(&name(7));
    let names: BTreeSet<String> = (0..COUNT).map(name).collect();

    let vms = client.list("all_vms");
    assert_eq!((vms.len(), strings(&vms, "vm_id")), (COUNT, names.clone()));
    assert!(vms.iter().all(|vm| vm["disks"].as_array().map(Vec::len) == Some(2)));

    let disks = client.list("all_disks");
    let ids: Vec<u64> = disks.iter().map(|disk| disk["id"].as_u64().expect("a number")).collect();
    assert_eq!(ids, (1..=2 * COUNT as u64).collect::<Vec<_>>());
    assert_eq!(strings(&disks, "vm_id"), names);
    let listed_with_vm: BTreeSet<String> =
        vms.iter().flat_map(|vm| vm["disks"].as_array().expect("a list")).map(Value::to_string).collect();
    assert_eq!(listed_with_vm, disks.iter().map(Value::to_string).collect(), "the same disks");

    // Requests that come meanwhile wait until the list is sent.
    let list = |id| json!({"request_id": id, "command": "list", "data": {"list_type": "all_disks"}});
    client.send(&format!("{}{}{}", list(1), list(2), json!({"request_id": 3, "command": "ping"})));
    let mut replies: Vec<Value> = (0..3).map(|_| client.reply()).collect();
    replies.sort_by_key(|reply| reply["request_id"].as_u64());
    for reply in &replies[..2] {
        assert_eq!(reply["data"]["all_disks"].as_array(), Some(&disks));
    }
    assert_eq!(replies[2]["message"], "PONG");

    // A client that reads late also gets the whole list.
    client.send(&list(4).to_string().repeat(20));
    client.half_close();
    let replies = client.rest();
    assert_eq!(replies.lines().count(), 20);
    for line in replies.lines() {
        let reply: Value = serde_json::from_str(line).expect("whole");
        assert_eq!(reply["data"]["all_disks"].as_array().map(Vec::len), Some(disks.len()));
    }
}

#[test]
fn more_connections_than_a_page_holds_are_all_listed() {
    const COUNT: usize = 600;
    let daemon = Daemon::start();
    let mut client = daemon.client();
    client.register("a", &[1]);
    let token = client.authenticate("a");
    let mut others: Vec<Client> = (0..COUNT).map(|_| daemon.client()).collect();
    let login = json!({"list_type": "all_vms", "token": token});
    for other in others.iter_mut().step_by(3) {
        other.succeed("list", login.clone());
    }
    wait_until("all are accepted", DEADLINE, || client.list("active_vms").len() == COUNT + 1);
    let port = |entry: &Value| entry["addr"][1].as_u64().expect("a port");
    let active = client.list("active_vms");
    let ports: BTreeSet<u64> = active.iter().map(port).collect();
    let expected = others.iter().chain([&client]).map(|other| u64::from(other.local_address().port()));
    assert_eq!(ports, expected.collect());
    assert_eq!(active.iter().filter(|entry| entry.get("vm_info").is_some()).count(), COUNT / 3 + 1);
    assert_eq!(client.list("authenticated_vms").len(), COUNT / 3 + 1);
}

#[test]
fn a_list_without_entries_is_an_empty_array() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    client.register("a", &[]);
    client.authenticate("a");
    assert_eq!(client.list("all_disks"), Vec::<Value>::new());
    let reply = client.call(request("list", json!({"list_type": "all_disks"})));
    assert_eq!(reply, json!({"status": "success", "message": null, "data": {"all_disks": []}}));
}
