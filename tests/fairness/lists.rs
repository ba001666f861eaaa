//! Lists that many clients request at the same time.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use vmherd::internals::clock::unix_now;
use vmherd::internals::model::{NewVm, VmName, VmShape};
use vmherd::internals::store::{self, Location, Write};

use crate::common::{Client, Daemon, request};
use crate::overload::{alone, statistic};
use crate::swarm::Swarm;

/// A deadline for all lists: many times what a busy machine needs.
const LISTS_MAX: Duration = Duration::from_secs(300);
/// A deadline for a test that takes an hour.
const SOAK_MAX: Duration = Duration::from_secs(4 * 3600);
/// VMs that are written at once.
const SEEDED_AT_ONCE: usize = 10_000;
/// The VM whose client is healthy.
const HEALTHY: &str = "healthy";

#[test]
fn concurrent_lists_are_complete_and_updates_continue() {
    list_beside_updates(200, 20_000, LISTS_MAX);
}

#[test]
fn a_thousand_clients_list_a_million_vms_completely() {
    match std::env::var_os("VMHERD_FAIRNESS").is_some_and(|amount| amount == "full") {
        true => list_beside_updates(1000, 1_000_000, SOAK_MAX),
        false => list_beside_updates(20, 2_000, LISTS_MAX),
    }
}

/// So many clients list so many VMs at the same time and all get the same bytes, while another client updates its VM with
/// its token.
fn list_beside_updates(clients: usize, vms: usize, deadline: Duration) {
    let _alone = alone();
    let builder = Daemon::builder();
    seed(&builder.state_dir().join("vmherd.sqlite3"), vms);
    let daemon = builder.args(["--vms-max", "2000000"]).start();
    let token = {
        let mut client = daemon.client();
        client.register(HEALTHY, &[1]);
        client.authenticate(HEALTHY)
    };
    let list = json!({"action": "list_all_vms"}).to_string();
    let expected = {
        let mut client = daemon.client();
        client.send(&list);
        client.raw_line() + "\n"
    };
    let entries: Value = serde_json::from_str(&expected).expect("a list is JSON");
    let entries = entries.as_object().expect("an object").values().find_map(Value::as_array);
    assert_eq!(entries.expect("with an array").len(), vms + 1);

    let is_over = AtomicBool::new(false);
    let (begin, mut updates) = (Instant::now(), 0);
    thread::scope(|scope| {
        let healthy = scope.spawn(|| update_until(&daemon, &token, &is_over));
        // The updates end even if this thread panics.
        let over = Over(&is_over);
        let mut swarm = Swarm::new();
        for _ in 0..clients {
            swarm.connect(daemon.address(), list.as_bytes());
        }
        let mut received = vec![0; clients];
        while received.iter().any(|count| *count < expected.len()) {
            let mut came = Vec::new();
            swarm.turn(Duration::from_secs(1), |index| came.push(index));
            for index in came {
                let member = &mut swarm.members[index];
                let bytes = std::mem::take(&mut member.received);
                let before = received[index];
                received[index] += bytes.len();
                assert!(
                    expected.as_bytes().get(before..received[index]) == Some(&bytes[..]),
                    "client {index} got {:?} after {before} of {} bytes",
                    String::from_utf8_lossy(&bytes[..bytes.len().min(200)]),
                    expected.len(),
                );
                assert!(member.is_open(), "client {index} was cut after {} bytes", received[index]);
            }
            assert!(
                begin.elapsed() < deadline,
                "{} of {clients} lists are whole",
                whole(&received, &expected)
            );
        }
        drop(over);
        updates = healthy.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    eprintln!("{clients} lists of {vms} VMs in {:.1?}, {updates} updates meanwhile", begin.elapsed());
    assert!(updates > 0);
    assert_eq!(statistic(&mut daemon.operator(), "answers_cut"), 0);
}

/// Updates the healthy VM, by its token on connections that have not authenticated, until it `is_over`; how often.
fn update_until(daemon: &Daemon, token: &str, is_over: &AtomicBool) -> usize {
    let update = request("update", json!({"token": token, "ram": 512}));
    let mut updates = 0;
    while !is_over.load(Ordering::Relaxed) {
        let mut client = Client::connect(daemon.address());
        let reply = client.call(update.clone());
        assert_eq!(reply["status"], "success", "after {updates} updates: {reply}");
        updates += 1;
    }
    updates
}

#[test]
fn a_truncated_response_is_counted_and_logged() {
    let _alone = alone();
    let builder = Daemon::builder();
    let path = builder.state_dir().join("vmherd.sqlite3");
    seed(&path, 20_000);
    let mut daemon = builder.start();
    let mut client = daemon.client();
    // The client does not read, so the list stops in the middle; then the store fails.
    client.send(&json!({"action": "list_all_vms"}).to_string());
    daemon.wait_for_counter("read_batches_done", |done| done > 0);
    let store = rusqlite::Connection::open(&path).expect("a database");
    store.execute_batch("ALTER TABLE vms RENAME TO elsewhere").expect("a table can be renamed");
    let _ = client.rest();
    daemon.wait_for_counter("answers_cut", |cut| cut == 1);
    daemon.wait_for_log("cut 1 answers");
    daemon.kill();
}

/// Sets a flag when it is dropped.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn whole(received: &[usize], expected: &str) -> usize {
    received.iter().filter(|count| **count == expected.len()).count()
}

/// Makes a store with so many VMs, whose passwords are unknown.
fn seed(path: &Path, vms: usize) {
    let factory = store::open(&Location::Sqlite(path.to_owned())).expect("a store");
    let (mut store, now) = (factory.connect().expect("a connection"), unix_now());
    for begin in (0..vms).step_by(SEEDED_AT_ONCE) {
        let register = |number: usize| Write::Register {
            vm: NewVm {
                name: VmName::from_store(&format!("vm-{number:07}")),
                shape: VmShape { ram_mib: 512, cpus: 4 },
                disk_sizes_gib: vec![100],
                password_hash: Some("none".to_owned()),
                management: None,
            },
            vms_max: u64::MAX >> 1,
            now,
        };
        let writes: Vec<Write> = (begin..vms.min(begin + SEEDED_AT_ONCE)).map(register).collect();
        for written in store.write(&writes.iter().collect::<Vec<_>>()) {
            written.expect("a VM is written");
        }
    }
}
