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

/// The arguments of the tools on the registry of `daemon`: through the daemon, and in its store.
fn ways(daemon: &Daemon) -> [Vec<String>; 2] {
    let store = format!("sqlite:{}", daemon.state_dir().join("vmherd.sqlite3").display());
    [vec![], vec!["--store".into(), store]]
}

/// Runs `vmherd vm` with `words` and `way`.
fn run_tool(daemon: &Daemon, words: &[&str], way: &[String], input: &str) {
    let args: Vec<&str> = words.iter().copied().chain(way.iter().map(String::as_str)).collect();
    daemon.vm_command(&args, input).expect_success();
}

#[test]
fn a_new_password_ends_logins_and_tokens() {
    for way in 0..2 {
        let daemon = Daemon::start();
        let (client, other, token) = logged_in(&daemon);
        run_tool(&daemon, &["passwd", "a"], &ways(&daemon)[way], "another-password\n");
        expect_logged_out(&daemon, client, other, &token);
        let mut client = daemon.client();
        let old = json!({"vm_id": "a", "password": PASSWORD});
        assert_eq!(client.fail(request("authenticate", old)), "Invalid credentials");
        client.succeed("authenticate", json!({"vm_id": "a", "password": "another-password"}));
        let vm = client.list("all_vms").swap_remove(0);
        assert_eq!((&vm["vm_id"], &vm["ram"]), (&json!("a"), &json!(512)), "nothing else has changed");
    }
}

#[test]
fn the_tools_show_and_change_what_the_daemon_knows() {
    let daemon = Daemon::builder().args(["--store", "memory:", "--registration", "closed"]).start();
    let vm = |args: &[&str]| daemon.vm_command(args, &format!("{PASSWORD}\n")).expect_success().stdout;
    assert_eq!(vm(&["add", "web-1", "--ram=2G", "--cpu=2", "--disk=20", "--disk=1T"]), "added web-1\n");
    assert_eq!(vm(&["list", "--json"]).matches("\"state\":\"offline\"").count(), 1);
    let mut client = daemon.client();
    client.authenticate("web-1");
    let listed = vm(&["list"]);
    let words: Vec<&str> = listed.lines().nth(1).expect("a row").split_whitespace().collect();
    let (name_id_state, shape) = (&words[..3], &words[4..]);
    assert_eq!(
        (name_id_state, shape),
        (&["web-1", "1", "online"][..], &["2G", "2", "20G,1T"][..]),
        "{listed}"
    );
    let shown: Value = serde_json::from_str(&vm(&["show", "web-1", "--json"])).expect("an object");
    let address = client.local_address();
    assert_eq!(shown["addrs"], json!([[address.ip().to_string(), address.port()]]));
    assert!(shown["connected_since"].is_i64() && shown["offline_since"].is_null(), "{shown}");
    assert_eq!(vm(&["set", "web-1", "--ram=4G", "--disk=2=2T"]), "changed web-1\n");
    let vm_info = &client.list("authenticated_vms")[0]["vm_info"];
    assert_eq!((&vm_info["ram"], &vm_info["disks"][1]["disk_size"]), (&json!(4096), &json!(2048)));
    for (args, why) in [
        (&["set", "web-1", "--disk=3=1T"][..], "web-1 has no disk 3; its disks: vmherd vm show web-1"),
        (&["set", "web-2", "--cpu=3"], "there is no VM web-2"),
        (&["show", "web-2"], "there is no VM web-2"),
        (&["passwd", "web-2"], "there is no VM web-2"),
        (&["remove", "web-2"], "there is no VM web-2"),
    ] {
        let ran = daemon.vm_command(args, "another-password\n");
        assert_eq!((ran.code(), ran.stderr.as_str()), (Some(3), &*format!("vmherd vm: {why}\n")), "{args:?}");
    }
    let taken = daemon.vm_command(&["add", "web-1", "--ram=1G", "--cpu=1"], "another-password\n");
    assert_eq!((taken.code(), taken.stderr.contains("already registered")), (Some(1), true), "{taken:?}");
    // Nothing has to be sent on the connection until it shows.
    vm(&["passwd", "web-1"]);
    assert!(vm(&["list"]).contains(" offline "));
}

#[test]
fn removing_a_vm_ends_logins_tokens_and_disks() {
    for way in 0..2 {
        let daemon = Daemon::start();
        let (client, other, token) = logged_in(&daemon);
        run_tool(&daemon, &["remove", "a"], &ways(&daemon)[way], "");
        expect_logged_out(&daemon, client, other, &token);
        let mut client = daemon.client();
        let gone = json!({"vm_id": "a", "password": PASSWORD});
        assert_eq!(client.fail(request("authenticate", gone)), "Invalid credentials");
        client.authenticate("b");
        assert_eq!(client.list("all_disks"), [json!({"id": 3, "vm_id": "b", "disk_size": 30})]);
        assert_eq!(client.list("all_vms").len(), 1);
    }
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
    assert!(listed.lines().any(|line| line.starts_with("c ") && line.ends_with("100G,200G")), "{listed}");
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
            run_tool(&daemon, &add, &ways(&daemon)[1], &format!("{PASSWORD}\n"));
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
