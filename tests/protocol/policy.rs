//! Access rights of anonymous clients, VMs, and the operator on the daemon's own socket.

use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::common::{Client, Daemon, PASSWORD, registration, request};

const NOT_FOR_ANONYMOUS: &str = "You have to authenticate to run this operation";

/// The kind of each command's answer, by its shape: allowed, refused, or unknown.
#[track_caller]
fn verdicts(client: &mut Client) -> Vec<&'static str> {
    let requests = [
        request("ping", json!({})),
        request("register", json!({})),
        request("list", json!({"list_type": "all_vms"})),
        request("list", json!({"list_type": "all_disks"})),
        request("list", json!({"list_type": "active_vms"})),
        request("list", json!({"list_type": "authenticated_vms"})),
        request("update", json!({"ram": 7})),
        request("stats", json!({})),
        request("logout", json!({})),
    ];
    let verdict = |reply: Value| match reply["message"].as_str() {
        Some(NOT_FOR_ANONYMOUS) => "no",
        Some("Unknown command") => "unknown",
        _ => "yes",
    };
    requests.into_iter().map(|request| verdict(client.call(request))).collect()
}

#[test]
fn each_kind_of_client_has_its_own_rights() {
    let daemon = Daemon::builder().listen("tcp://127.0.0.1:0?open=").start();
    daemon.client().register("a", &[]);
    let anonymous = ["yes", "yes", "no", "no", "no", "no", "no", "unknown", "no"];
    let vm = ["yes", "yes", "yes", "yes", "yes", "yes", "yes", "unknown", "yes"];
    let operator = ["yes"; 9];
    for &address in daemon.addresses() {
        let mut client = Client::connect(address);
        assert_eq!(verdicts(&mut client), anonymous);
        client.authenticate("a");
        assert_eq!(verdicts(&mut client), vm);
        assert_eq!(verdicts(&mut client), anonymous, "after its logout");
    }
    assert_eq!(verdicts(&mut daemon.operator()), operator);
}

#[test]
fn only_the_operator_sees_counters() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    client.register("a", &[]);
    client.authenticate("a");
    let mut operator = daemon.operator();
    let counters = operator.succeed("stats", json!({}));
    let counters = counters.as_object().expect("an object");
    assert!(counters.values().all(Value::is_u64), "{counters:?}");
    for (name, value) in [
        ("connections_open", 2),
        ("connections_authenticated", 1),
        ("requests_register", 1),
        ("requests_authenticate", 1),
    ] {
        assert_eq!(counters.get(name), Some(&json!(value)), "{name} in {counters:?}");
    }
    let mode = std::fs::metadata(daemon.own_socket()).expect("the socket").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(client.fail(request("stats", json!({}))), "Unknown command");
    assert!(operator.fail(request("stats", json!({"x": 1}))).contains("\"x\""));
}

#[test]
fn a_unix_listener_is_like_any_other() {
    let builder = Daemon::builder();
    let path = builder.state_dir().join("clients.sock");
    let _daemon = builder.listen(format!("unix:{}", path.display())).start();
    let mut client = Client::connect_unix(&path);
    assert_eq!(client.succeed("ping", json!({})), json!({"addr": ["unix", 0]}));
    client.register("a", &[1]);
    client.authenticate("a");
    let entry =
        json!({"vm_id": "a", "ram": 512, "cpu": 4, "disks": [{"id": 1, "vm_id": "a", "disk_size": 1}]});
    assert_eq!(client.list("active_vms"), [json!({"addr": ["unix", 0], "vm_info": entry})]);
    assert_eq!(client.fail(request("stats", json!({}))), "Unknown command", "operators have their own");
}

#[test]
fn registration_follows_its_setting() {
    let daemon = Daemon::builder().args(["--registration", "closed"]).start();
    let mut client = daemon.client();
    assert_eq!(client.fail(registration("a", &[])), "Registration is closed");
    // Before the data is checked, for every client.
    assert_eq!(client.fail(request("register", json!({"x": 1}))), "Registration is closed");
    daemon.vm_command(&["add", "b", "--ram", "512", "--cpu", "1"], &format!("{PASSWORD}\n")).expect_success();
    client.authenticate("b");
    assert_eq!(client.fail(registration("a", &[])), "Registration is closed");
    assert_eq!(client.list("all_vms").len(), 1);
    let daemon = Daemon::builder().args(["--registration", "open"]).start();
    assert_eq!(daemon.client().call(registration("a", &[]))["status"], "success");
}

#[test]
fn a_non_loopback_listener_closes_registration_by_default() {
    let builder = Daemon::builder().arg("--allow-plaintext").listen("tcp://0.0.0.0:0");
    let daemon = builder.clone().start();
    let beyond = |daemon: &Daemon| Client::connect(([127, 0, 0, 1], daemon.addresses()[1].port()).into());
    assert_eq!(beyond(&daemon).fail(registration("a", &[])), "Registration is closed");
    assert_eq!(daemon.client().call(registration("a", &[]))["status"], "success");
    drop(daemon);
    let daemon = builder.args(["--registration", "open"]).start();
    assert_eq!(beyond(&daemon).call(registration("b", &[]))["status"], "success");
}

#[test]
fn registration_stops_at_the_vm_limit() {
    let daemon = Daemon::builder().args(["--vms-max", "2"]).start();
    let mut client = daemon.client();
    client.register("a", &[1]);
    client.register("b", &[1]);
    assert_eq!(client.fail(registration("c", &[])), "VM limit reached");
    assert_eq!(client.fail(registration("a", &[])), "VM is already registered");
    daemon.vm_command(&["remove", "a"], "").expect_success();
    client.register("c", &[]);
    assert_eq!(client.fail(registration("a", &[])), "VM limit reached");
}

#[test]
fn one_of_two_concurrent_registrations_of_a_name_succeeds() {
    let daemon = Daemon::start();
    let mut clients: Vec<Client> = (0..8).map(|_| daemon.client()).collect();
    for round in 0..5 {
        let name = format!("vm-{round}");
        clients.iter_mut().for_each(|client| client.send(&registration(&name, &[]).to_string()));
        let replies: Vec<Value> = clients.iter_mut().map(Client::reply).collect();
        let count = |message: &str| replies.iter().filter(|reply| reply["message"] == message).count();
        assert_eq!(count("Save the vm_id for authentication"), 1, "{replies:?}");
        assert_eq!(count("VM is already registered"), 7, "{replies:?}");
    }
}

/// A client learns nothing about which VMs exist.
#[test]
fn wrong_credentials_are_all_alike() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    client.register("a", &[]);
    for (name, password) in
        [("a", "wrong-password"), ("nobody", PASSWORD), ("7", PASSWORD), ("a", "securePass123 ")]
    {
        let credentials = json!({"vm_id": name, "password": password});
        assert_eq!(client.fail(request("authenticate", credentials)), "Invalid credentials");
    }
}
