//! The database keeps the data of a daemon, also for other daemons on it.

use std::time::Instant;

use serde_json::json;

use crate::cluster::Cluster;
use crate::common::{DEADLINE, Daemon, PASSWORD, request, wait_until};
use crate::daemon_on;

#[test]
fn a_vm_registers_logs_in_and_updates() {
    let database = Cluster::shared().database();
    let daemon = daemon_on(&database);
    let mut client = daemon.client();
    client.ping();
    client.register("stalin", &[100, 200]);
    client.authenticate("stalin");
    let disks = json!([
        {"id": 1, "vm_id": "stalin", "disk_size": 100},
        {"id": 2, "vm_id": "stalin", "disk_size": 200},
    ]);
    let vm = json!({"vm_id": "stalin", "ram": 512, "cpu": 4, "disks": disks});
    assert_eq!(client.list("all_vms"), std::slice::from_ref(&vm));
    assert_eq!(client.list("all_disks"), disks.as_array().unwrap()[..]);
    assert_eq!(client.list("authenticated_vms")[0]["vm_info"], vm);
    client.succeed("update", json!({"ram": 2048, "cpu": 8, "disks": [{"id": 1, "disk_size": 150}]}));
    let vm = &client.list("all_vms")[0];
    assert_eq!((&vm["ram"], &vm["disks"][0]["disk_size"]), (&json!(2048), &json!(150)));
    client.succeed("logout", json!({}));
    let again = json!({"vm_id": "stalin", "ram": 1, "cpu": 1, "password": PASSWORD, "disks": []});
    assert!(client.fail(request("register", again)).contains("already"));
}

#[test]
fn acknowledged_writes_survive_a_kill_of_the_daemon() {
    let database = Cluster::shared().database();
    let mut daemon = daemon_on(&database);
    let mut client = daemon.client();
    client.register("web", &[10]);
    let token = client.authenticate("web");
    client.succeed("update", json!({"ram": 2048}));
    daemon.kill();

    daemon.restart();
    let mut client = daemon.client();
    client.succeed("list", json!({"list_type": "all_vms", "token": token}));
    assert_eq!(client.list("all_vms")[0]["ram"], 2048);
    daemon.stop();
}

#[test]
fn two_daemons_share_a_new_database() {
    let database = Cluster::shared().database();
    let (one, two) = std::thread::scope(|scope| {
        let start = || daemon_on(&database);
        let (one, two) = (scope.spawn(start), scope.spawn(start));
        (one.join().expect("it starts"), two.join().expect("it starts"))
    });
    one.client().register("web", &[10]);
    let mut client = two.client();
    let token = client.authenticate("web");
    client.register("db", &[20]);
    let mut client = one.client();
    client.succeed("list", json!({"list_type": "all_vms", "token": token}));
    let names: Vec<_> = client.list("all_vms").into_iter().map(|vm| vm["vm_id"].clone()).collect();
    assert_eq!(names, ["web", "db"]);
}

/// Each daemon knows its own connections, and the database when a VM was last seen by any of them.
#[test]
fn daemons_share_when_a_vm_was_last_seen() {
    let database = Cluster::shared().database();
    let (one, two) = (daemon_on(&database), daemon_on(&database));
    let mut client = one.client();
    client.register("web", &[]);
    client.authenticate("web");
    let mut watcher = two.operator();
    let mut entry = || watcher.list("all_vms").swap_remove(0);
    assert_eq!(entry()["connected_since"], json!(null));
    let mut own = one.operator();
    assert!(own.list("all_vms")[0]["connected_since"].is_i64());
    client.succeed("logout", json!({}));
    let seen = own.list("all_vms")[0]["last_seen"].clone();
    wait_until("the other daemon knows it", DEADLINE, || entry()["last_seen"] == seen);
    assert_eq!(entry()["offline_since"], seen);
}

/// What can't be written is written when the database is back, also if the VM is never seen again.
#[test]
fn when_a_vm_was_last_seen_outlasts_an_outage() {
    let cluster = Cluster::start();
    let database = cluster.database();
    let mut daemon = daemon_on(&database);
    let mut client = daemon.client();
    client.register("web", &[]);
    client.authenticate("web");
    let mut operator = daemon.operator();
    cluster.stop();
    drop(client);
    daemon.wait_for_log("last seen is not stored yet");
    cluster.restart();
    let seen = || database.client().query_one("SELECT last_seen FROM vms", &[]).expect("a row").get(0);
    let mut stored: Option<i64> = None;
    wait_until("it is stored", DEADLINE, || {
        stored = seen();
        stored.is_some()
    });
    let vm = operator.list("all_vms").swap_remove(0);
    assert_eq!((&vm["last_seen"], &vm["offline_since"]), (&json!(stored), &json!(stored)));
    daemon.stop();
}

/// A login that an operator has ended is stale for the other daemon, too.
#[test]
fn a_logout_by_the_operator_reaches_other_daemons() {
    let database = Cluster::shared().database();
    let (one, two) = (daemon_on(&database), daemon_on(&database));
    let mut client = one.client();
    client.register("web", &[]);
    client.authenticate("web");
    two.operator().succeed("logout", json!({"vm_id": "web"}));
    let list = request("list", json!({"list_type": "all_vms"}));
    assert_eq!(client.fail(list), "You have to authenticate to run this operation");
}

#[test]
fn a_daemon_survives_a_database_restart() {
    let cluster = Cluster::start();
    let database = cluster.database();
    let daemon = daemon_on(&database);
    let mut client = daemon.client();
    client.register("web", &[10]);
    client.authenticate("web");
    cluster.stop();
    let list = || request("list", json!({"list_type": "all_vms"}));
    let failure = client.fail(list());
    assert!(failure.contains("unavailable"), "{failure}");
    client.ping();
    cluster.restart();
    wait_until("the database is used again", DEADLINE, || client.call(list())["status"] == "success");
    client.succeed("update", json!({"ram": 2048}));
    assert!(daemon.log().contains("the database can't be reached"), "{}", daemon.log());
    assert!(daemon.log().contains("the database is back"), "{}", daemon.log());
}

#[test]
fn a_hung_database_is_unavailable_and_other_requests_continue() {
    let cluster = Cluster::start();
    let database = cluster.database();
    let daemon = daemon_on(&database);
    let mut clients: Vec<_> = (0..8).map(|_| daemon.client()).collect();
    clients[0].register("web", &[10]);
    clients.iter_mut().for_each(|client| drop(client.authenticate("web")));
    let list = || request("list", json!({"list_type": "all_vms"}));
    cluster.pause();
    let begin = Instant::now();
    clients.iter_mut().for_each(|client| client.send(&list().to_string()));
    daemon.client().ping();
    assert!(begin.elapsed() < DEADLINE, "{:?}", begin.elapsed());
    for client in &mut clients {
        let failure = client.error();
        assert!(failure.contains("unavailable") || failure.contains("busy"), "{failure}");
    }
    assert!(begin.elapsed() < DEADLINE, "{:?}", begin.elapsed());
    cluster.resume();
    let begin = Instant::now();
    wait_until("it is back", DEADLINE, || clients[0].call(list())["status"] == "success");
    assert!(begin.elapsed() < DEADLINE, "{:?}", begin.elapsed());
    clients[1].succeed("update", json!({"ram": 2048}));
}

#[test]
fn vms_are_managed_on_the_database_beside_the_daemon() {
    let database = Cluster::shared().database();
    let daemon = daemon_on(&database);
    daemon.client().register("web", &[10]);
    let store = ["--store", &database.url()];
    let listed = daemon.vm_command(&[&["list"][..], &store].concat(), "").expect_success();
    assert!(listed.stdout.lines().nth(1).is_some_and(|line| line.starts_with("web")), "{listed:?}");
    daemon.vm_command(&[&["remove", "web"][..], &store].concat(), "").expect_success();
    daemon.client().register("web", &[20]);
}

#[test]
fn a_missing_database_fails_the_start_without_logging_the_password() {
    let database = Cluster::shared().database();
    let url = database.url().replace("//vmherd@", "//vmherd:hunter2@").replace(database.name(), "elsewhere");
    let ended = Daemon::builder().args(["--store", &url]).run_to_end();
    assert_eq!(ended.code(), Some(1));
    assert!(ended.stderr.contains("elsewhere") && ended.stderr.contains("3D000"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("hunter2"), "{}", ended.stderr);
}

#[test]
fn no_password_or_its_hash_is_logged_however_much_is_logged() {
    let database = Cluster::shared().database();
    let url = database.url().replace("//vmherd@", "//vmherd:hunter2@");
    let daemon = Daemon::builder().args(["--store", &url, "--log", "trace"]).start();
    let mut client = daemon.client();
    client.register("web", &[10]);
    client.authenticate("web");
    daemon.wait_for_log("executing statement");
    let log = daemon.log();
    assert!(!log.contains("hunter2") && !log.contains("$argon2") && !log.contains(PASSWORD), "{log}");
}

/// A client that watches one daemon is told of what clients of another do.
#[test]
fn daemons_tell_each_others_changes() {
    let database = Cluster::shared().database();
    let (one, two) = (daemon_on(&database), daemon_on(&database));
    let (mut client, mut watching) = (one.client(), two.client());
    assert_eq!(watching.call(request("watch", json!({})))["message"], "snapshot");
    let mut next = || {
        let begun = Instant::now();
        let reply = watching.reply();
        assert!(begun.elapsed() < DEADLINE / 4, "it took {:?}", begun.elapsed());
        (reply["data"]["kind"].clone(), reply["data"]["vm_id"].clone())
    };
    client.register("web", &[10]);
    assert_eq!(next(), (json!("registered"), json!("web")));
    client.authenticate("web");
    client.succeed("update", json!({"ram": 7}));
    assert_eq!(next(), (json!("updated"), json!("web")));
    one.operator().succeed("remove", json!({"vm_id": "web"}));
    assert_eq!(next(), (json!("removed"), json!("web")));
    two.client().register("own", &[]);
    assert_eq!(next(), (json!("registered"), json!("own")));
}
