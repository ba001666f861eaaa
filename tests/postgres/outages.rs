//! The database is stopped or killed, the daemon is killed, or both, while clients register VMs: everybody
//! is answered in time, and what was acknowledged is there, whole and once.

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
/// What a client may wait for an answer, whatever happens to the database.
const ANSWER_MAX: Duration = DEADLINE;
/// When service has to be back after the database is.
const BACK_MAX: Duration = DEADLINE;

/// What clients were told of the VMs that they registered, by their numbers.
#[derive(Default)]
struct Told {
    registered: BTreeSet<u64>,
    /// The answer was that nobody knows, or there was none.
    unknown: BTreeSet<u64>,
}

impl Told {
    fn add(&mut self, other: Told) {
        self.registered.extend(other.registered);
        self.unknown.extend(other.unknown);
    }
}

fn rounds() -> usize {
    std::env::var("VMHERD_ROUNDS").map_or(ROUNDS, |rounds| rounds.parse().expect("a number"))
}

/// The VM of a number: name, memory and disks follow from it, so that any half of it shows.
fn vm(number: u64) -> Value {
    let disks = json!([{"disk_size": number + 1}, {"disk_size": number + 2}]);
    json!({"vm_id": format!("vm-{number}"), "ram": number + 1, "cpu": 1, "password": PASSWORD, "disks": disks})
}

#[test]
fn a_database_lost_under_load_loses_no_acknowledged_write() {
    let cluster = Cluster::start();
    let database = cluster.database();
    let daemon = daemon_on(&database);
    let mut told = Told::default();
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
        clients.into_iter().for_each(|client| told.add(client.join().expect("no panic")));
    });
    check(&daemon, &told);
}

#[test]
fn acknowledged_writes_survive_kills_of_daemon_and_database() {
    let cluster = Cluster::start();
    let database = cluster.database();
    let mut daemon = daemon_on(&database);
    let mut told = Told::default();
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
            clients.into_iter().for_each(|client| told.add(client.join().expect("no panic")));
        });
        if kills_database {
            cluster.restart();
        }
        if kills_daemon {
            daemon.restart();
        }
        check(&daemon, &told);
    }
}

/// Ends the clients also where a check has failed, so that the failure is told.
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
fn register_all_the_time(address: SocketAddr, first: u64, is_over: &AtomicBool, done: &AtomicUsize) -> Told {
    let mut client = Client::connect(address);
    let mut told = Told::default();
    for number in first.. {
        if is_over.load(Ordering::Relaxed) {
            break;
        }
        let begin = Instant::now();
        let Some(reply) = client.try_call(&request("register", vm(number))) else {
            told.unknown.insert(number);
            break;
        };
        assert!(begin.elapsed() < ANSWER_MAX, "{reply} took {:?}", begin.elapsed());
        match reply["message"].as_str() {
            _ if reply["status"] == "success" => {
                told.registered.insert(number);
                done.fetch_add(1, Ordering::Relaxed);
            }
            Some("outcome unknown") => drop(told.unknown.insert(number)),
            // Not registered. At once, so that trying without end would be all that this machine does.
            Some("store unavailable" | "busy") => thread::park_timeout(Duration::from_millis(5)),
            _ => panic!("{reply}"),
        }
    }
    told
}

/// That the daemon has what clients were told and nothing else.
#[track_caller]
fn check(daemon: &Daemon, told: &Told) {
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
    let lost: Vec<_> = told.registered.difference(&found).collect();
    assert!(lost.is_empty(), "acknowledged and gone: {lost:?}");
    let extra: Vec<_> =
        found.iter().filter(|vm| !told.registered.contains(vm) && !told.unknown.contains(vm)).collect();
    assert!(extra.is_empty(), "refused and there: {extra:?}");
    println!("{} VMs, of {} more nobody knew", told.registered.len(), told.unknown.len());
}
