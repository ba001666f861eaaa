//! The dialect `action`: who may do what, with a password and without.

use serde_json::json;

use super::actions::{add, ask, expect, ids, sets};
use crate::common::{Client, DEADLINE, Daemon, PASSWORD, request, wait_until};

#[test]
fn a_vm_with_a_password_needs_it_for_actions() {
    let daemon = Daemon::start();
    let (mut own, mut other) = (daemon.client(), daemon.client());
    own.register("web", &[10]);
    let wrong = r#"{"action": "connect", "vm_id": 1, "password": "not the password"}"#;
    let right = format!(r#"{{"action": "authenticate", "vm_id": 1, "password": "{PASSWORD}"}}"#);
    let refused = r#"{"error":"Invalid credentials"}"#;
    expect(
        &mut own,
        &[
            (r#"{"action": "authenticate", "vm_id": 1}"#, refused),
            (r#"{"action": "connect", "vm_id": 1}"#, refused),
            (wrong, refused),
            (r#"{"action": "connect", "vm_id": 1, "password": "short"}"#, refused),
            (r#"{"action": "list_ever_connected"}"#, r#"{"all_connected_vms":[]}"#),
            (&right, r#"{"status":"authenticated"}"#),
            (r#"{"action": "update_vm", "vm_id": 1, "ram": 77}"#, r#"{"status":"vm updated"}"#),
            (r#"{"action": "update_vm", "vm_id": 1}"#, r#"{"error":"required data: ram, disks"}"#),
        ],
    );
    // The connection is the VM's in the other dialect as well.
    assert_eq!(own.list("authenticated_vms")[0]["vm_info"]["ram"], 77);
    assert_eq!(sets(&mut other), [vec![1], vec![1], vec![1]]);
    for action in ["update_vm", "logout_vm"] {
        let reply = other.call(json!({"action": action, "vm_id": 1, "ram": 1}));
        assert_eq!(reply, json!({"error": "vm not authenticated"}), "{action}");
    }
    // A failure leaves the connection anonymous, and no connection is authenticated as the VM.
    assert_eq!(ask(&mut own, wrong), refused);
    assert_eq!(sets(&mut other), [vec![], vec![], vec![1]]);
    assert!(own.fail(request("logout", json!({}))).starts_with("You have to authenticate"));
    expect(
        &mut own,
        &[
            (&right.replace("authenticate", "connect"), r#"{"status":"connected and authenticated"}"#),
            (r#"{"action": "logout_vm", "vm_id": 1}"#, r#"{"status":"logged out"}"#),
            (r#"{"action": "logout_vm", "vm_id": 1}"#, r#"{"error":"vm not authenticated"}"#),
        ],
    );
    assert_eq!(sets(&mut other), [vec![], vec![], vec![1]]);
}

#[test]
fn logins_of_the_command_dialect_are_in_the_sets() {
    let daemon = Daemon::start();
    let mut watcher = daemon.client();
    let mut clients = [daemon.client(), daemon.client(), daemon.client()];
    clients[0].register("a", &[]);
    clients[0].register("b", &[]);
    add(&mut watcher, 1);
    watcher.call(json!({"action": "authenticate", "vm_id": 3}));
    clients[0].authenticate("b");
    clients[1].authenticate("a");
    let token = clients[2].authenticate("b");
    assert_eq!(sets(&mut watcher), [vec![3, 2, 1], vec![2, 1], vec![1, 2]]);
    // Actions of other clients do not affect them, and when one of two connections closes the VM stays.
    let reply = watcher.call(json!({"action": "logout_vm", "vm_id": 2}));
    assert_eq!(reply, json!({"error": "vm not authenticated"}));
    clients[0].succeed("logout", json!({}));
    assert_eq!(sets(&mut watcher)[..2], [vec![3, 2, 1], vec![2, 1]]);
    let [first, second, third] = clients;
    drop((second, third));
    wait_until("their connections are gone", DEADLINE, || ids(&mut watcher, "list_connected_vms").is_empty());
    assert_eq!(sets(&mut watcher), [vec![3], vec![], vec![1, 2]]);
    // A token authenticates in this dialect as in the other, and is ended by its logout.
    let mut own = first;
    let with_token = |action: &str| json!({"action": action, "vm_id": 2, "ram": 9, "data": {"token": token}});
    assert_eq!(own.call(with_token("update_vm")), json!({"status": "vm updated"}));
    assert_eq!(sets(&mut watcher), [vec![3, 2], vec![2], vec![1, 2]]);
    assert_eq!(own.call(with_token("logout_vm")), json!({"status": "logged out"}));
    let reply = own.call(with_token("update_vm"));
    assert!(
        reply["error"].as_str().is_some_and(|error| error.starts_with("Invalid access token")),
        "{reply}"
    );
}

#[test]
fn a_new_password_or_removal_ends_a_vms_connections() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    add(&mut client, 4);
    for vm in 1..=4 {
        client.call(json!({"action": "connect", "vm_id": vm}));
    }
    assert!(daemon.vm_command(&["passwd", "1"], &format!("{PASSWORD}\n")).status.success());
    assert!(daemon.vm_command(&["passwd", "2"], &format!("{PASSWORD}\n")).status.success());
    assert!(daemon.vm_command(&["remove", "3"], "").status.success());
    assert_eq!(sets(&mut client), [vec![4], vec![4], vec![1, 2, 4]]);
    let not = json!({"error": "vm not authenticated"});
    for vm in 1..=3 {
        assert_eq!(client.call(json!({"action": "update_vm", "vm_id": vm, "ram": 5})), not);
        assert_eq!(client.call(json!({"action": "logout_vm", "vm_id": vm})), not);
    }
    assert_eq!(
        client.call(json!({"action": "connect", "vm_id": 3})),
        json!({"error": "VM ID does not exist"})
    );
    let login = json!({"action": "connect", "vm_id": 1, "password": PASSWORD});
    assert_eq!(client.call(login), json!({"status": "connected and authenticated"}));
    // The other dialect knows it by its numbered name.
    assert_eq!(client.list("authenticated_vms")[0]["vm_info"]["vm_id"], "1");
    // A connection that has lost its VM is anonymous, and sees what anonymous clients see.
    assert!(daemon.vm_command(&["remove", "1"], "").status.success());
    assert_eq!(sets(&mut client), [vec![4], vec![4], vec![2, 4]]);
    assert!(client.fail(request("logout", json!({}))).starts_with("You have to authenticate"));
}

#[test]
fn on_a_closed_listener_a_vm_acts_only_for_itself() {
    let daemon = Daemon::builder().listen("tcp://127.0.0.1:0?open=metrics").start();
    let mut inside = daemon.client();
    inside.register("web", &[10]);
    inside.register("other", &[]);
    add(&mut inside, 1);
    inside.call(json!({"action": "connect", "vm_id": 3}));
    let mut client = Client::connect(daemon.addresses()[1]);
    let everything = [
        json!({"action": "add_vm", "ram": 1, "disks": [1]}),
        json!({"action": "list_all_vms"}),
        json!({"action": "list_all_disks"}),
        json!({"action": "list_authorized_vms"}),
        json!({"action": "list_connected_vms"}),
        json!({"action": "list_ever_connected"}),
        json!({"action": "authenticate", "vm_id": 3}),
        json!({"action": "connect", "vm_id": 1, "password": PASSWORD}),
        json!({"action": "logout_vm"}),
        json!({"action": "update_vm", "vm_id": 3, "ram": 5}),
    ];
    for request in &everything {
        assert_eq!(client.call(request.clone()), json!({"error": "authentication required"}), "{request}");
    }
    let token = client.authenticate("web");
    assert_eq!(sets(&mut client), [vec![3, 1], vec![3, 1], vec![1, 3]]);
    assert_eq!(ids(&mut client, "list_all_vms"), [1, 2, 3]);
    assert_eq!(ids(&mut client, "list_all_disks"), [1, 2]);
    for (action, error) in [
        ("connect", "VM ID does not exist"),
        ("authenticate", "VM ID does not exist"),
        ("logout_vm", "vm not authenticated"),
        ("update_vm", "vm not authenticated"),
    ] {
        for vm in [2, 3, 99] {
            let reply = client.call(json!({"action": action, "vm_id": vm, "ram": 5}));
            assert_eq!(reply, json!({"error": error}), "{action} {vm}");
        }
    }
    let reply = client.call(json!({"action": "add_vm", "ram": 1, "disks": [1]}));
    assert_eq!(reply, json!({"error": "registration is closed"}));
    expect(
        &mut client,
        &[
            (r#"{"action": "update_vm", "vm_id": 1, "ram": 5}"#, r#"{"status":"vm updated"}"#),
            (
                &format!(r#"{{"action": "connect", "vm_id": 1, "password": "{PASSWORD}"}}"#),
                r#"{"status":"connected and authenticated"}"#,
            ),
            (r#"{"action": "logout_vm", "vm_id": 1}"#, r#"{"status":"logged out"}"#),
            (r#"{"action": "list_all_vms"}"#, r#"{"error":"authentication required"}"#),
        ],
    );
    let reply = client.call(json!({"action": "list_all_vms", "data": {"token": token}}));
    assert!(
        reply["error"].as_str().is_some_and(|error| error.starts_with("Invalid access token")),
        "{reply}"
    );
    // A client that has lost its login sees nothing there, either.
    let token = client.authenticate("web");
    assert!(daemon.vm_command(&["remove", "web"], "").status.success());
    let reply = client.call(json!({"action": "list_all_vms"}));
    assert_eq!(reply, json!({"error": "authentication required"}));
    let reply = client.call(json!({"action": "list_all_vms", "data": {"token": token}}));
    assert!(
        reply["error"].as_str().is_some_and(|error| error.starts_with("Invalid access token")),
        "{reply}"
    );
}

#[test]
fn add_vm_is_refused_when_registration_is_closed() {
    let daemon = Daemon::builder().args(["--registration", "closed"]).start();
    let mut client = daemon.client();
    for request in [r#"{"action": "add_vm", "ram": 1, "disks": [1]}"#, r#"{"action": "add_vm"}"#] {
        assert_eq!(ask(&mut client, request), r#"{"error":"registration is closed"}"#);
    }
    assert_eq!(ids(&mut client, "list_all_vms"), [0; 0]);
}
