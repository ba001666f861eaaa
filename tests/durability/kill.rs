//! Kills during registrations: every acknowledged VM is there, whole, with its tokens.

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use serde_json::{Value, json};

use crate::common::{Client, DEADLINE, Daemon, PASSWORD, Random, request};

const ROUNDS: usize = 20;
/// Rounds with the same store, which must not grow without end.
const ROUNDS_PER_STORE: usize = 10;
const CLIENTS: usize = 4;

/// What the daemon has acknowledged.
#[derive(Default)]
struct Acknowledged {
    /// VMs, by their numbers.
    vms: Vec<u64>,
    /// Tokens that were issued.
    tokens: Vec<String>,
    /// Tokens that were ended.
    ended: Vec<String>,
}

/// The VM of a number: name, memory and disks follow from it, so that a VM stored in part is detected.
fn vm(number: u64) -> Value {
    let disks = json!([{"disk_size": number + 1}, {"disk_size": number + 2}]);
    json!({"vm_id": name(number), "ram": number + 1, "cpu": 1, "password": PASSWORD, "disks": disks})
}

fn name(number: u64) -> String {
    format!("vm-{number}")
}

#[test]
fn a_kill_loses_no_acknowledged_write() {
    let rounds = std::env::var("VMHERD_ROUNDS").map_or(ROUNDS, |rounds| rounds.parse().expect("a number"));
    let mut total = 0;
    for first in (0..rounds).step_by(ROUNDS_PER_STORE) {
        let mut daemon = Daemon::start();
        let mut acknowledged = Acknowledged::default();
        for round in first..rounds.min(first + ROUNDS_PER_STORE) {
            let before = acknowledged.vms.len();
            work_until_killed(&mut daemon, round as u64, &mut acknowledged);
            assert!(acknowledged.vms.len() > before, "the daemon was killed before it did anything");
            daemon.restart();
            check(&daemon, round, &acknowledged);
        }
        total += acknowledged.vms.len();
    }
    println!("{rounds} rounds, {total} VMs acknowledged");
}

/// Clients register VMs until the daemon is killed, at a random moment.
fn work_until_killed(daemon: &mut Daemon, round: u64, acknowledged: &mut Acknowledged) {
    let address = daemon.address();
    let done = AtomicUsize::new(0);
    let mut random = Random::new();
    let kill_after = 1 + random.below(100) as usize;
    thread::scope(|scope| {
        let done = &done;
        let work = |client| {
            let first = 1_000_000 * round + 100_000 * client;
            scope.spawn(move || register_until_killed(address, first, done))
        };
        let clients: Vec<_> = (0..CLIENTS as u64).map(work).collect();
        let end = Instant::now() + DEADLINE;
        while done.load(Ordering::Relaxed) < kill_after && Instant::now() < end {
            thread::yield_now();
        }
        random.spin();
        daemon.kill();
        for client in clients {
            let part = client.join().expect("the client does not panic");
            acknowledged.vms.extend(part.vms);
            acknowledged.tokens.extend(part.tokens);
            acknowledged.ended.extend(part.ended);
        }
    });
}

fn register_until_killed(address: SocketAddr, first: u64, done: &AtomicUsize) -> Acknowledged {
    let mut client = Client::connect(address);
    let mut acknowledged = Acknowledged::default();
    for number in first.. {
        let Some(reply) = client.try_call(&request("register", vm(number))) else { break };
        assert_eq!(reply["status"], "success", "{reply}");
        acknowledged.vms.push(number);
        done.fetch_add(1, Ordering::Relaxed);
        if number % 4 != 0 {
            continue;
        }
        let credentials = json!({"vm_id": name(number), "password": PASSWORD});
        let Some(reply) = client.try_call(&request("authenticate", credentials)) else { break };
        let token = reply["data"]["token"].as_str().expect("a token").to_owned();
        if number % 8 != 0 {
            acknowledged.tokens.push(token);
            // A connection of its own for each, since a logout ends all tokens of one.
            let Some(next) = Client::try_connect(address) else { break };
            client = next;
            continue;
        }
        let Some(reply) = client.try_call(&request("logout", json!({}))) else { break };
        assert_eq!(reply["status"], "success", "{reply}");
        acknowledged.ended.push(token);
    }
    acknowledged
}

#[track_caller]
fn check(daemon: &Daemon, round: usize, acknowledged: &Acknowledged) {
    let mut client = daemon.client();
    let checker = format!("checker-{round}");
    client.register(&checker, &[]);
    client.authenticate(&checker);
    let mut disks: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for disk in client.list("all_disks") {
        disks.entry(disk["vm_id"].as_str().expect("a name").to_owned()).or_default().push(disk);
    }
    let mut found = HashSet::new();
    for listed in client.list("all_vms") {
        let name = listed["vm_id"].as_str().expect("a name");
        let of_vm = disks.remove(name).unwrap_or_default();
        assert_eq!(listed["disks"], json!(of_vm), "both lists show the same disks");
        let Some(number) = name.strip_prefix("vm-") else { continue };
        let number: u64 = number.parse().expect("a number");
        let sizes: Vec<&Value> = of_vm.iter().map(|disk| &disk["disk_size"]).collect();
        assert_eq!(sizes, [&json!(number + 1), &json!(number + 2)], "{listed} is not whole");
        assert_eq!(listed["ram"], number + 1, "{listed}");
        found.insert(number);
    }
    assert!(disks.is_empty(), "disks without a VM: {disks:?}");
    for number in &acknowledged.vms {
        assert!(found.contains(number), "vm-{number} was acknowledged and is gone");
    }
    // VMs without an acknowledgement were in flight: one for each client and kill.
    let rounds = round % ROUNDS_PER_STORE + 1;
    assert!(found.len() <= acknowledged.vms.len() + CLIENTS * rounds, "VMs that no client registered");
    let status = |token: &String| {
        let list = request("list", json!({"list_type": "all_disks", "token": token}));
        daemon.client().call(list)["status"].take()
    };
    // Older ones were checked in their rounds.
    for token in acknowledged.tokens.iter().rev().take(50) {
        assert_eq!(status(token), "success", "a token was acknowledged and is invalid");
    }
    for token in acknowledged.ended.iter().rev().take(50) {
        assert_eq!(status(token), "error", "a token was ended and is valid again");
    }
}
