//! What the operator changes: VMs, their passwords and their sessions.

use serde_json::{Value, json};

use crate::common::{Client, DEADLINE, Daemon, PASSWORD, request, wait_until};

const NOT_FOR_ANONYMOUS: &str = "You have to authenticate to run this operation";
const INVALID_TOKEN: &str = "Invalid access token. Try refreshing with the 'authenticate' command";
const NO_SUCH_VM: &str = "VM does not exist";

fn of_vm(name: &str) -> Value {
    json!({"vm_id": name})
}

/// The message of a success without data.
#[track_caller]
fn done(client: &mut Client, command: &str, data: Value) -> String {
    let reply = client.call(request(command, data));
    assert_eq!((&reply["status"], &reply["data"]), (&json!("success"), &json!({})), "{reply}");
    reply["message"].as_str().expect("a message").to_owned()
}

#[track_caller]
fn names(client: &mut Client) -> Vec<Value> {
    client.list("all_vms").into_iter().map(|mut vm| vm["vm_id"].take()).collect()
}

/// Two connections of the VM `a`, one of `b`, and a token of `a`.
fn logged_in(daemon: &Daemon) -> (Client, Client, Client, String) {
    let (mut client, mut same, mut other) = (daemon.client(), daemon.client(), daemon.client());
    client.register("a", &[10]);
    client.register("b", &[]);
    client.authenticate("a");
    let token = same.authenticate("a");
    other.authenticate("b");
    (client, same, other, token)
}

#[track_caller]
fn expect_anonymous(daemon: &Daemon, mut client: Client, token: &str) {
    let list = json!({"list_type": "all_vms"});
    assert_eq!(client.fail(request("list", list.clone())), NOT_FOR_ANONYMOUS);
    let mut with_token = list;
    with_token["token"] = json!(token);
    assert_eq!(client.fail(request("list", with_token.clone())), INVALID_TOKEN);
    assert_eq!(daemon.client().fail(request("list", with_token)), INVALID_TOKEN);
    client.ping();
}

#[test]
fn the_operator_adds_vms_where_registration_is_closed() {
    let daemon = Daemon::builder().args(["--registration", "closed"]).start();
    let mut operator = daemon.operator();
    let shape = json!({"vm_id": "a", "ram": 1024, "cpu": 2, "disks": [{"disk_size": 5}]});
    let mut with_password = shape.clone();
    with_password["password"] = json!(PASSWORD);
    let reply = operator.call(request("add", with_password.clone()));
    let data = json!({"auth_id": "a", "id": 1});
    let message = "Save the vm_id for authentication";
    assert_eq!(reply, json!({"status": "success", "message": message, "data": data}));
    assert_eq!(operator.fail(request("add", with_password.clone())), "VM is already registered");
    assert_eq!(operator.fail(request("register", with_password)), "Registration is closed");
    let mut client = daemon.client();
    client.authenticate("a");
    let disks = json!([{"id": 1, "vm_id": "a", "disk_size": 5}]);
    assert_eq!(client.list("all_vms"), [json!({"vm_id": "a", "ram": 1024, "cpu": 2, "disks": disks})]);

    // Without a password no client can be it, unless the dialect of VMs without passwords is open to it.
    let mut without = shape.clone();
    without["vm_id"] = json!("b");
    assert_eq!(operator.succeed("add", without), json!({"auth_id": "b", "id": 2}));
    let credentials = json!({"vm_id": "b", "password": PASSWORD});
    assert_eq!(daemon.client().fail(request("authenticate", credentials)), "Invalid credentials");
    let connect = json!({"action": "connect", "vm_id": 2});
    assert_eq!(daemon.client().call(connect), json!({"status": "connected and authenticated"}));

    let mut bad = shape;
    bad["ram"] = json!(0);
    let error = operator.fail(request("add", bad));
    assert_eq!(error, "ram: 0 is not allowed; it must be an integer from 1 to 1073741824 (MiB)");
    assert_eq!(names(&mut operator), ["a", "b"]);
}

#[test]
fn the_number_of_vms_is_limited_for_the_operator_too() {
    let daemon = Daemon::builder().args(["--vms-max", "1"]).start();
    let mut operator = daemon.operator();
    operator.succeed("add", json!({"vm_id": "a", "ram": 1, "cpu": 1, "disks": []}));
    let second = json!({"vm_id": "b", "ram": 1, "cpu": 1, "disks": []});
    assert_eq!(operator.fail(request("add", second)), "VM limit reached");
}

#[test]
fn the_operator_changes_any_vm() {
    let daemon = Daemon::start();
    let (mut client, _same, mut other, _) = logged_in(&daemon);
    let mut operator = daemon.operator();
    let change = json!({"vm_id": "a", "ram": 7, "cpu": 3, "disks": [{"id": 1, "disk_size": 20}]});
    assert_eq!(done(&mut operator, "update", change), "VM info updated successfully");
    let disks = json!([{"id": 1, "vm_id": "a", "disk_size": 20}]);
    assert_eq!(client.list("all_vms")[0], json!({"vm_id": "a", "ram": 7, "cpu": 3, "disks": disks}));
    for (data, error) in [
        (json!({"vm_id": "unknown", "ram": 7}), NO_SUCH_VM),
        (json!({"ram": 7}), "missing field: vm_id"),
        (json!({}), "missing field: vm_id"),
        (json!({"vm_id": "a"}), "No fields for update"),
        (json!({"vm_id": "b", "disks": [{"id": 1, "disk_size": 9}]}), "disks: the VM has no disk with id 1"),
        (
            json!({"vm_id": "a", "memory": 1}),
            "unknown field \"memory\"; allowed: vm_id, ram, cpu, disks, token",
        ),
    ] {
        assert_eq!(operator.fail(request("update", data.clone())), error, "{data}");
    }
    // Others name no VM.
    let of_another = request("update", json!({"vm_id": "a", "ram": 9}));
    let unknown = "unknown field \"vm_id\"; allowed: ram, cpu, disks, token";
    assert_eq!(other.fail(of_another.clone()), unknown);
    assert_eq!(daemon.client().fail(of_another), NOT_FOR_ANONYMOUS);
    assert_eq!(client.list("all_vms")[0]["ram"], 7);
}

#[test]
fn the_operator_logs_vms_out() {
    let daemon = Daemon::start();
    let (client, same, mut other, token) = logged_in(&daemon);
    let mut operator = daemon.operator();
    assert_eq!(done(&mut operator, "logout", of_vm("a")), "VM (a) logged out successfully");
    assert_eq!(operator.list("all_vms")[0]["connected_since"], json!(null));
    assert_eq!(other.list("authenticated_vms").len(), 1);
    for client in [client, same] {
        expect_anonymous(&daemon, client, &token);
    }
    // The password is the same, also for a connection that was logged out.
    daemon.client().authenticate("a");
    assert_eq!(done(&mut operator, "logout", of_vm("a")), "VM (a) logged out successfully");
    assert_eq!(operator.fail(request("logout", json!({}))), "missing field: vm_id");
    assert_eq!(operator.fail(request("logout", of_vm("unknown"))), NO_SUCH_VM);
    assert_eq!(other.fail(request("logout", of_vm("b"))), "unknown field \"vm_id\"; allowed: token");
}

#[test]
fn the_operator_ends_sessions() {
    let daemon = Daemon::start();
    let (mut client, mut same, mut other, token) = logged_in(&daemon);
    let mut operator = daemon.operator();
    let reply = operator.call(request("end_sessions", of_vm("a")));
    let message = "Sessions of VM (a) ended";
    assert_eq!(reply, json!({"status": "success", "message": message, "data": {"ended": 2}}));
    client.expect_closed();
    same.expect_closed();
    other.ping();
    let list = request("list", json!({"list_type": "all_vms", "token": token}));
    assert_eq!(daemon.client().fail(list), INVALID_TOKEN);
    assert_eq!(operator.succeed("end_sessions", of_vm("a")), json!({"ended": 0}));
    wait_until("the connections are gone", DEADLINE, || operator.list("active_vms").len() == 2);
    daemon.client().authenticate("a");
    assert_eq!(operator.fail(request("end_sessions", json!({}))), "missing field: vm_id");
    assert_eq!(operator.fail(request("end_sessions", of_vm("unknown"))), NO_SUCH_VM);
}

/// More connections than one step of the loop handles.
#[test]
fn many_sessions_end_together() {
    let daemon = Daemon::start();
    let (_client, _same, _other, token) = logged_in(&daemon);
    let list = json!({"list_type": "all_disks", "token": token});
    let mut others: Vec<Client> = (0..100)
        .map(|_| {
            let mut client = daemon.client();
            client.succeed("list", list.clone());
            client
        })
        .collect();
    assert_eq!(daemon.operator().succeed("end_sessions", of_vm("a")), json!({"ended": 102}));
    others.iter_mut().for_each(Client::expect_closed);
}

#[test]
fn the_operator_changes_passwords() {
    const NEW: &str = "another password";
    let daemon = Daemon::start();
    let (client, same, _other, token) = logged_in(&daemon);
    let mut operator = daemon.operator();
    let data = json!({"vm_id": "a", "password": NEW});
    assert_eq!(done(&mut operator, "passwd", data.clone()), "Password of VM (a) changed successfully");
    for client in [client, same] {
        expect_anonymous(&daemon, client, &token);
    }
    let old = json!({"vm_id": "a", "password": PASSWORD});
    assert_eq!(daemon.client().fail(request("authenticate", old)), "Invalid credentials");
    daemon.client().succeed("authenticate", data);
    let unknown = json!({"vm_id": "unknown", "password": NEW});
    assert_eq!(operator.fail(request("passwd", unknown)), NO_SUCH_VM);
    assert_eq!(operator.fail(request("passwd", of_vm("a"))), "missing field: password");
    let short = request("passwd", json!({"vm_id": "a", "password": "short"}));
    assert!(operator.fail(short).starts_with("password: a string of 5 bytes is not allowed"));
}

/// A VM without a password that clients have authorized for all gets one: it is authorized no longer.
#[test]
fn a_vm_that_gets_a_password_is_no_longer_authorized_for_all() {
    let daemon = Daemon::start();
    let (mut operator, mut client) = (daemon.operator(), daemon.client());
    for command in ["passwd", "logout", "remove"] {
        let reply = client.call(json!({"action": "add_vm", "ram": 1, "disks": [1]}));
        let name = reply["vm_id"].to_string();
        client.call(json!({"action": "connect", "vm_id": reply["vm_id"]}));
        let listed = |client: &mut Client| client.call(json!({"action": "list_connected_vms"}));
        assert_eq!(listed(&mut client)["connected_vms"].as_array().map(Vec::len), Some(1), "{command}");
        let mut data = of_vm(&name);
        if command == "passwd" {
            data["password"] = json!(PASSWORD);
        }
        operator.succeed(command, data);
        assert_eq!(listed(&mut client), json!({"connected_vms": []}), "{command}");
    }
}

#[test]
fn the_operator_removes_vms() {
    let daemon = Daemon::start();
    let (mut client, mut same, mut other, token) = logged_in(&daemon);
    let mut operator = daemon.operator();
    assert_eq!(done(&mut operator, "remove", of_vm("a")), "VM (a) removed successfully");
    assert_eq!(client.fail(request("update", json!({"ram": 7}))), NOT_FOR_ANONYMOUS);
    assert_eq!(same.fail(request("update", json!({"ram": 7}))), NOT_FOR_ANONYMOUS);
    assert_eq!(names(&mut other), ["b"]);
    assert_eq!((other.list("all_disks"), other.list("authenticated_vms").len()), (vec![], 1));
    let list = request("list", json!({"list_type": "all_vms", "token": token}));
    assert_eq!(daemon.client().fail(list), INVALID_TOKEN);
    assert_eq!(operator.fail(request("remove", of_vm("a"))), NO_SUCH_VM);
    assert_eq!(operator.fail(request("remove", json!({}))), "missing field: vm_id");
    // The name is free for another VM.
    client = daemon.client();
    client.register("a", &[]);
    assert_eq!(operator.list("all_vms")[1]["id"], 3);
}

/// For all other clients these commands do not exist.
#[test]
fn only_the_operator_manages_vms() {
    let daemon = Daemon::start();
    let (mut client, _same, _other, _) = logged_in(&daemon);
    let mut anonymous = daemon.client();
    for (command, data) in [
        ("add", json!({"vm_id": "c", "ram": 1, "cpu": 1, "disks": []})),
        ("remove", of_vm("a")),
        ("passwd", json!({"vm_id": "a", "password": "another password"})),
        ("end_sessions", of_vm("a")),
        ("remove", json!({})),
    ] {
        for client in [&mut client, &mut anonymous] {
            assert_eq!(client.fail(request(command, data.clone())), "Unknown command", "{command}");
        }
    }
    assert_eq!(names(&mut client), ["a", "b"]);
}

/// A later command of the same packet sees what the earlier one did.
#[test]
fn the_commands_of_a_packet_run_in_order() {
    let daemon = Daemon::start();
    let mut operator = daemon.operator();
    let add = json!({"vm_id": "a", "ram": 1, "cpu": 1, "disks": [], "password": PASSWORD});
    let requests = [
        request("add", add),
        request("update", json!({"vm_id": "a", "ram": 2})),
        request("passwd", json!({"vm_id": "a", "password": "another password"})),
        request("end_sessions", of_vm("a")),
        request("remove", of_vm("a")),
        request("remove", of_vm("a")),
    ];
    operator.send(&requests.iter().map(Value::to_string).collect::<String>());
    let replies = requests.each_ref().map(|_| operator.reply()["status"].take());
    assert_eq!(replies, ["success", "success", "success", "success", "success", "error"]);
}
