//! `vmherd vm …` on the host while the daemon runs on the same store.

use serde_json::{Value, json};

use crate::common::{Client, DEADLINE, Daemon, PASSWORD, request, wait_until};

const INVALID: &str = "Invalid access token. Try refreshing with the 'authenticate' command";
const NOT_FOR_ANONYMOUS: &str = "You have to authenticate to run this operation";

/// Two connections that are logged in as `a`, and a token of it.
fn logged_in(daemon: &Daemon) -> (Client, Client, String) {
    let mut client = daemon.client();
    client.register("a", &[10, 20]);
    client.register("b", &[30]);
    client.authenticate("a");
    let mut other = daemon.client();
    let token = other.authenticate("a");
    (client, other, token)
}

/// Each kind of request notices by itself that the login has ended.
#[track_caller]
fn expect_logged_out(daemon: &Daemon, mut client: Client, mut other: Client, token: &str) {
    client.ping();
    assert_eq!(client.fail(request("list", json!({"list_type": "all_vms"}))), NOT_FOR_ANONYMOUS);
    assert_eq!(client.fail(request("update", json!({"ram": 7}))), NOT_FOR_ANONYMOUS);
    assert_eq!(client.fail(request("logout", json!({}))), NOT_FOR_ANONYMOUS);
    assert_eq!(other.fail(request("update", json!({"ram": 7}))), NOT_FOR_ANONYMOUS);
    let with_token = request("list", json!({"list_type": "all_vms", "token": token}));
    assert_eq!(other.fail(with_token.clone()), INVALID);
    assert_eq!(daemon.client().fail(with_token), INVALID);
    client.authenticate("b");
    let names: Vec<Value> = client
        .list("authenticated_vms")
        .into_iter()
        .map(|mut entry| entry["vm_info"]["vm_id"].take())
        .collect();
    assert_eq!(names, ["b"]);
}

#[test]
fn a_new_password_ends_logins_and_tokens() {
    let daemon = Daemon::start();
    let (client, other, token) = logged_in(&daemon);
    daemon.vm_command(&["passwd", "a"], "another-password\n").expect_success();
    expect_logged_out(&daemon, client, other, &token);
    let mut client = daemon.client();
    let old = json!({"vm_id": "a", "password": PASSWORD});
    assert_eq!(client.fail(request("authenticate", old)), "Invalid credentials");
    client.succeed("authenticate", json!({"vm_id": "a", "password": "another-password"}));
    let vm = client.list("all_vms").swap_remove(0);
    assert_eq!((&vm["vm_id"], &vm["ram"]), (&json!("a"), &json!(512)), "nothing else has changed");
}

#[test]
fn removing_a_vm_ends_logins_tokens_and_disks() {
    let daemon = Daemon::start();
    let (client, other, token) = logged_in(&daemon);
    daemon.vm_command(&["remove", "a"], "").expect_success();
    expect_logged_out(&daemon, client, other, &token);
    let mut client = daemon.client();
    let gone = json!({"vm_id": "a", "password": PASSWORD});
    assert_eq!(client.fail(request("authenticate", gone)), "Invalid credentials");
    client.authenticate("b");
    assert_eq!(client.list("all_disks"), [json!({"id": 3, "vm_id": "b", "disk_size": 30})]);
    assert_eq!(client.list("all_vms").len(), 1);
}

#[test]
fn a_vm_of_the_same_name_is_another_vm() {
    let daemon = Daemon::start();
    let (mut client, mut other, token) = logged_in(&daemon);
    daemon.vm_command(&["remove", "a"], "").expect_success();
    daemon.client().register("a", &[]);
    assert_eq!(client.fail(request("update", json!({"ram": 7}))), NOT_FOR_ANONYMOUS);
    let with_token = request("update", json!({"ram": 7, "token": token}));
    assert_eq!(other.fail(with_token), INVALID);
}

/// The connection's entry has no VM any more, even without a further request.
#[test]
fn lists_omit_an_ended_login() {
    let daemon = Daemon::start();
    let (client, _other, _token) = logged_in(&daemon);
    let mut watcher = daemon.client();
    watcher.authenticate("b");
    daemon.vm_command(&["remove", "a"], "").expect_success();
    let port = client.local_address().port();
    let active = watcher.list("active_vms");
    assert_eq!(active.len(), 3);
    assert!(active.contains(&json!({"addr": ["127.0.0.1", port]})), "{active:?}");
    assert_eq!(watcher.list("authenticated_vms").len(), 1);
}

#[test]
fn a_vm_added_on_the_host_can_log_in() {
    let daemon = Daemon::start();
    let add = ["add", "c", "--ram", "2048", "--cpu", "8", "--disk", "100", "--disk", "200"];
    daemon.vm_command(&add, &format!("{PASSWORD}\n")).expect_success();
    let mut client = daemon.client();
    client.authenticate("c");
    let disks = json!([{"id": 1, "vm_id": "c", "disk_size": 100}, {"id": 2, "vm_id": "c", "disk_size": 200}]);
    assert_eq!(client.list("all_vms"), [json!({"vm_id": "c", "ram": 2048, "cpu": 8, "disks": disks})]);
    let again = daemon.vm_command(&add, &format!("{PASSWORD}\n"));
    assert_ne!(again.code(), Some(0));
    assert!(again.stderr.contains("already registered"), "{}", again.stderr);
    let listed = daemon.vm_command(&["list"], "").expect_success().stdout;
    assert!(listed.lines().any(|line| line.starts_with("c ") && line.contains("100,200")), "{listed}");
}

#[test]
fn the_host_writes_while_clients_do() {
    let daemon = Daemon::start();
    let stop = std::sync::atomic::AtomicBool::new(false);
    let (mut client, _, _) = logged_in(&daemon);
    std::thread::scope(|scope| {
        let updates = scope.spawn(|| {
            let mut count = 0;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                client.succeed("update", json!({"ram": 1 + count % 1000}));
                count += 1;
            }
            count
        });
        // Also if an assertion fails below: the scope would wait for the updates forever.
        let stop_updates = StopAtEnd(&stop);
        for number in 0..5 {
            let name = format!("host-{number}");
            let add = ["add", &name, "--ram", "1", "--cpu", "1"];
            daemon.vm_command(&add, &format!("{PASSWORD}\n")).expect_success();
        }
        drop(stop_updates);
        assert!(updates.join().expect("every update worked") > 0);
    });
    wait_until("all are there", DEADLINE, || client.list("all_vms").len() == 7);
}

struct StopAtEnd<'a>(&'a std::sync::atomic::AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}

#[test]
fn the_host_tool_refuses_a_memory_store() {
    let daemon = Daemon::builder().args(["--store", "memory:"]).start();
    daemon.client().register("a", &[]);
    let said = daemon.vm_command(&["list", "--store", "memory:"], "");
    assert_ne!(said.code(), Some(0));
    assert!(said.stderr.contains("memory:"), "{}", said.stderr);
}
