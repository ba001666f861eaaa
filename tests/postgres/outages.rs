//! The database is stopped or killed, the daemon is killed, or both, while clients register VMs: all clients are answered
//! in time, and acknowledged VMs are there, whole and once.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::common::{Client, DEADLINE, Daemon, PASSWORD, request, wait_until};
use crate::daemon_on;

const ROUNDS: usize = 4;
const CLIENTS: u64 = 4;
/// How long a client waits for an answer, at most, whatever happens to the database.
const ANSWER_MAX: Duration = DEADLINE;
/// How long after the database the service is back, at most.
const BACK_MAX: Duration = DEADLINE;

/// The answers to registrations, by the numbers of the VMs.
#[derive(Default)]
struct Registrations {
    registered: BTreeSet<u64>,
    /// The outcome is unknown, or there was no answer.
    unknown: BTreeSet<u64>,
}

impl Registrations {
    fn add(&mut self, other: Registrations) {
        self.registered.extend(other.registered);
        self.unknown.extend(other.unknown);
    }
}

fn rounds() -> usize {
    std::env::var("VMHERD_ROUNDS").map_or(ROUNDS, |rounds| rounds.parse().expect("a number"))
}

/// The VM of a number: name, memory and disks follow from it, so that a VM stored in part is detected.
fn vm(number: u64) -> Value {
    let disks = json!([{"disk_size": number + 1}, {"disk_size": number + 2}]);
    json!({"vm_id": format!("vm-{number}"), "ram": number + 1, "cpu": 1, "password": PASSWORD, "disks": disks})
}

#[test]
fn a_database_lost_under_load_loses_no_acknowledged_write() {
    let cluster = Cluster::start();
    let database = cluster.database();
    let daemon = daemon_on(&database);
    let mut answers = Registrations::default();
    let (is_over, done) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        let _end = EndOnDrop(&is_over);
        let work = |client| {
            let (address, is_over, done) = (daemon.address(), &is_over, &done);
            scope.spawn(move || register_all_the_time(address, client * 100_000, is_over, done))
        };
        let clients: Vec<_> = (0..CLIENTS).map(work).collect();
        let mut pinger = daemon.client();
        for round in 0..rounds() {
            some_are_registered(&done);
            if round % 2 == 0 {
                cluster.stop()
            } else {
                cluster.kill()
            }
            let begin = Instant::now();
            pinger.ping();
            assert!(begin.elapsed() < BACK_MAX, "ping took {:?}", begin.elapsed());
            cluster.restart();
            let begin = Instant::now();
            let before = done.load(Ordering::Relaxed);
            wait_until("it is back", DEADLINE, || done.load(Ordering::Relaxed) > before);
            assert!(begin.elapsed() < BACK_MAX, "back after {:?}", begin.elapsed());
        }
        is_over.store(true, Ordering::Relaxed);
        clients.into_iter().for_each(|client| answers.add(client.join().expect("no panic")));
    });
    check(&daemon, &answers);
}

#[test]
fn acknowledged_writes_survive_kills_of_daemon_and_database() {
    let cluster = Cluster::start();
    let database = cluster.database();
    let mut daemon = daemon_on(&database);
    let mut answers = Registrations::default();
    for round in 0..rounds() {
        let (kills_daemon, kills_database) = [(true, false), (false, true), (true, true)][round % 3];
        let (is_over, done) = (AtomicBool::new(false), AtomicUsize::new(0));
        thread::scope(|scope| {
            let _end = EndOnDrop(&is_over);
            let work = |client| {
                let (address, is_over, done) = (daemon.address(), &is_over, &done);
                let first = (round as u64 * CLIENTS + client) * 100_000;
                scope.spawn(move || register_all_the_time(address, first, is_over, done))
            };
            let clients: Vec<_> = (0..CLIENTS).map(work).collect();
            some_are_registered(&done);
            if kills_database {
                cluster.kill();
            }
            if kills_daemon {
                daemon.kill();
            }
            is_over.store(true, Ordering::Relaxed);
            clients.into_iter().for_each(|client| answers.add(client.join().expect("no panic")));
        });
        if kills_database {
            cluster.restart();
        }
        if kills_daemon {
            daemon.restart();
        }
        check(&daemon, &answers);
    }
}

/// Ends the clients also when a check has failed, so that the failure is reported.
struct EndOnDrop<'a>(&'a AtomicBool);

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[track_caller]
fn some_are_registered(done: &AtomicUsize) {
    let enough = done.load(Ordering::Relaxed) + 10;
    wait_until("some VMs are registered", DEADLINE, || done.load(Ordering::Relaxed) >= enough);
}

/// Registers VMs from number `first` on until it is over or the daemon is gone.
fn register_all_the_time(
    address: SocketAddr,
    first: u64,
    is_over: &AtomicBool,
    done: &AtomicUsize,
) -> Registrations {
    let mut client = Client::connect(address);
    let mut answers = Registrations::default();
    for number in first.. {
        if is_over.load(Ordering::Relaxed) {
            break;
        }
        let begin = Instant::now();
        let Some(reply) = client.try_call(&request("register", vm(number))) else {
            answers.unknown.insert(number);
            break;
        };
        assert!(begin.elapsed() < ANSWER_MAX, "{reply} took {:?}", begin.elapsed());
        match reply["message"].as_str() {
            _ if reply["status"] == "success" => {
                answers.registered.insert(number);
                done.fetch_add(1, Ordering::Relaxed);
            }
            Some("outcome unknown") => drop(answers.unknown.insert(number)),
            // Not registered. A client that is refused at once must not keep the processor busy.
            Some("store unavailable" | "busy") => thread::park_timeout(Duration::from_millis(5)),
            _ => panic!("{reply}"),
        }
    }
    answers
}

/// Checks that the daemon has the acknowledged VMs and no others.
#[track_caller]
fn check(daemon: &Daemon, answers: &Registrations) {
    let mut client = daemon.client();
    let credentials = json!({"vm_id": "checker", "ram": 1, "cpu": 1, "password": PASSWORD, "disks": []});
    wait_until("the daemon serves", DEADLINE, || {
        let reply = client.call(request("register", credentials.clone()));
        reply["status"] == "success" || reply["message"] == "VM is already registered"
    });
    client.authenticate("checker");
    let mut disks: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for disk in client.list("all_disks") {
        disks.entry(disk["vm_id"].as_str().expect("a name").to_owned()).or_default().push(disk);
    }
    let mut found = BTreeSet::new();
    for listed in client.list("all_vms") {
        let name = listed["vm_id"].as_str().expect("a name");
        let of_vm = disks.remove(name).unwrap_or_default();
        let Some(number) = name.strip_prefix("vm-") else { continue };
        let number: u64 = number.parse().expect("a number");
        let sizes: Vec<&Value> = of_vm.iter().map(|disk| &disk["disk_size"]).collect();
        assert_eq!(sizes, [&json!(number + 1), &json!(number + 2)], "{listed} is not whole");
        assert_eq!(listed["ram"], number + 1, "{listed}");
        assert!(found.insert(number), "vm-{number} is there twice");
    }
    assert!(disks.is_empty(), "disks without a VM: {disks:?}");
    let lost: Vec<_> = answers.registered.difference(&found).collect();
    assert!(lost.is_empty(), "acknowledged and gone: {lost:?}");
    let extra: Vec<_> =
        found.iter().filter(|vm| !answers.registered.contains(vm) && !answers.unknown.contains(vm)).collect();
    assert!(extra.is_empty(), "refused and there: {extra:?}");
    println!("{} VMs registered, {} unknown", answers.registered.len(), answers.unknown.len());
}
