//! More clients and logins than slots and queues hold.

use std::time::Duration;

use serde_json::{Value, json};

use crate::common::{Client, Daemon, registration, request};

/// Silent connections are evicted, the one that has been silent for the longest first.
#[test]
fn silent_connections_are_evicted_when_slots_run_out() {
    let daemon = Daemon::builder().args(["--connections-max", "4"]).start();
    let mut spoken = vec![daemon.client()];
    spoken[0].ping();
    // They are accepted in the order of their arrival.
    let silent: Vec<Client> = (0..3).map(|_| daemon.client()).collect();
    for mut gone in silent {
        let mut new = daemon.client();
        new.ping();
        gone.expect_closed();
        spoken.push(new);
        spoken.iter_mut().for_each(Client::ping);
    }
}

/// No client that has authenticated is closed: the new ones wait, in the system's queue.
#[test]
fn new_connections_wait_when_all_others_have_authenticated() {
    let daemon = Daemon::builder().args(["--connections-max", "10"]).start();
    let mut clients: Vec<Client> = (0..10).map(|_| daemon.client()).collect();
    clients[0].register("vm", &[1]);
    clients.iter_mut().for_each(|client| drop(client.authenticate("vm")));
    let mut waiting = daemon.client();
    waiting.send(r#"{"command":"ping"}"#);
    waiting.expect_silence(Duration::from_millis(200));
    clients.iter_mut().for_each(Client::ping);
    let idle = daemon.cpu_time();
    waiting.expect_silence(Duration::from_millis(500));
    let busy = daemon.cpu_time() - idle;
    assert!(busy < Duration::from_millis(100), "waiting for room took {busy:?} of the processor");
    clients.truncate(8);
    assert_eq!(waiting.reply()["message"], "PONG");
    clients.iter_mut().for_each(Client::ping);
}

/// Logins beyond the queue are refused at once; queued ones are answered.
#[test]
fn logins_beyond_the_queue_are_busy() {
    let daemon = Daemon::builder().with_slow_hashes().args(["--auth-queue", "2"]).start();
    let mut clients: Vec<Client> = (0..12).map(|_| daemon.client()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.send(&registration(&format!("vm-{number}"), &[]).to_string());
    }
    // A ping does not wait for any of them.
    daemon.client().ping();
    let replies: Vec<Value> = clients.iter_mut().map(Client::reply).collect();
    let count = |status: &str| replies.iter().filter(|reply| reply["status"] == status).count();
    assert!((2..=4).contains(&count("success")), "{replies:?}");
    let is_known = |reply: &Value| reply["status"] == "success" || reply["message"] == "busy";
    assert!(replies.iter().all(is_known), "{replies:?}");
    // Refused requests have changed nothing, and their connections stay open.
    let refused = replies.iter().position(|reply| reply["status"] == "error").expect("one at least");
    clients[refused].register(&format!("vm-{refused}"), &[]);
}

/// A hash of less than the current cost is replaced at a login with the right password.
#[test]
fn a_login_upgrades_an_outdated_hash() {
    let weak = Daemon::start();
    weak.client().register("a", &[]);
    let strong = Daemon::builder().on_state_dir_of(&weak);
    drop(weak);
    let mut daemon =
        strong.with_costly_hashes().args(["--argon2-memory", "256", "--argon2-passes", "3"]).start();
    let hashes = |daemon: &Daemon| {
        let files = std::fs::read_dir(daemon.state_dir()).expect("the state directory");
        let bytes = files.map(|file| std::fs::read(file.expect("a file").path()).unwrap_or_default());
        String::from_utf8_lossy(&bytes.collect::<Vec<_>>().concat()).into_owned()
    };
    let mut client = daemon.client();
    let wrong = json!({"vm_id": "a", "password": "wrong-password"});
    assert_eq!(client.fail(request("authenticate", wrong)), "Invalid credentials");
    assert!(!hashes(&daemon).contains("m=256,t=3,p=1"), "only with the right password");
    let token = client.authenticate("a");
    daemon.restart();
    assert!(hashes(&daemon).contains("m=256,t=3,p=1"));
    assert!(!hashes(&daemon).contains("m=64,t=1,p=1"), "the weak one is gone");
    let mut client = daemon.client();
    client.succeed("list", json!({"list_type": "all_vms", "token": token}));
    client.authenticate("a");
}
