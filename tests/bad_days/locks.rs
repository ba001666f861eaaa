//! Rows and tables that another session locks for long: requests that need them are answered `busy` in time, others are
//! not affected.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::common::{Client, Daemon, PASSWORD, registration, request, wait_until};
use crate::overload::{LatencyProbe, alone, best_of_three};
use crate::{BACK_MAX, STORE_DEADLINE, WAIT_MAX, amount, daemon_on};

/// How long the database waits for a lock.
const LOCK_WAIT: Duration = Duration::from_secs(2);

/// The VM whose connection is used, and a request.
type VmRequest = (&'static str, fn() -> Value);

const LOGIN: VmRequest = ("", || request("authenticate", json!({"vm_id": "held", "password": PASSWORD})));
const REGISTER: VmRequest = ("", || registration("new", &[1]));
const UPDATE_HELD: VmRequest = ("held", || request("update", json!({"ram": 77})));
const UPDATE_FREE: VmRequest = ("free", || request("update", json!({"ram": 78})));
const LIST: VmRequest = ("free", || request("list", json!({"list_type": "all_vms"})));
const LIST_HELD: VmRequest = ("held", || request("list", json!({"list_type": "authenticated_vms"})));
const LOGOUT_HELD: VmRequest = ("held", || request("logout", json!({})));

#[test]
fn a_locked_row_makes_its_writers_busy() {
    let held = "UPDATE vms SET cpus = 7 WHERE name = 'held'";
    hold("a row", held, &[LOGIN, UPDATE_HELD, LOGOUT_HELD], &[UPDATE_FREE, LIST, LIST_HELD]);
}

#[test]
fn a_locked_vm_counter_makes_only_registrations_busy() {
    let held = "SELECT vms FROM vm_total FOR UPDATE";
    hold("the number of VMs", held, &[REGISTER], &[UPDATE_FREE, UPDATE_HELD, LIST]);
}

#[test]
fn a_locked_table_makes_requests_busy() {
    let held = "LOCK TABLE disks IN ACCESS EXCLUSIVE MODE";
    hold("a table", held, &[REGISTER, LIST, LIST_HELD], &[UPDATE_FREE, UPDATE_HELD]);
    let held = "LOCK TABLE vms IN ACCESS EXCLUSIVE MODE";
    hold("the table of all", held, &[LOGIN, REGISTER, UPDATE_HELD, LIST], &[]);
}

/// Runs `held` in another session, which does not commit for a while. Meanwhile several clients send each of `waiting`,
/// which must be answered `busy` after the lock timeout, and one client each of `free`, which must work.
#[track_caller]
fn hold(row: &str, held: &str, waiting: &[VmRequest], free: &[VmRequest]) {
    let _alone = alone();
    best_of_three(row, || {
        let database = Cluster::shared().database();
        let daemon = daemon_on(&database).start();
        let mut client = daemon.client();
        client.register("held", &[1, 2]);
        client.register("free", &[1, 2]);
        let waiting = waiting.iter().flat_map(|asked| [asked; CLIENTS]);
        let waiting: Vec<_> = waiting.map(|asked| (connect(&daemon, asked), asked.1)).collect();
        let free: Vec<_> = free.iter().map(|asked| (connect(&daemon, asked), asked.1)).collect();
        let probe = LatencyProbe::start(&daemon);
        let mut other = database.client();
        other.batch_execute(&format!("BEGIN; {held}")).expect(held);
        let (time, is_over) =
            (amount(Duration::from_secs(3), Duration::from_secs(30)), AtomicBool::new(false));
        thread::scope(|scope| {
            let is_over = &is_over;
            for (client, asked) in waiting {
                scope.spawn(move || expect_busy(client, asked(), is_over));
            }
            for (client, asked) in free {
                scope.spawn(move || expect_done(client, asked(), is_over));
            }
            let end = Instant::now() + time;
            wait_until("it is held for long", 2 * time, || Instant::now() >= end);
            is_over.store(true, Ordering::SeqCst);
            other.batch_execute("ROLLBACK").expect("a rollback");
        });
        probe.finish()
    });
}

fn connect(daemon: &Daemon, (vm, _): &VmRequest) -> Client {
    let mut client = daemon.client();
    if !vm.is_empty() {
        client.authenticate(vm);
    }
    client
}

/// Repeats the request: the answer is `busy` after the lock timeout, not later.
fn expect_busy(mut client: Client, asked: Value, is_over: &AtomicBool) {
    while !is_over.load(Ordering::SeqCst) {
        let begin = Instant::now();
        let reply = client.call(asked.clone());
        let time = begin.elapsed();
        if is_over.load(Ordering::SeqCst) {
            break;
        }
        assert!(
            reply["message"] == "busy" || is_late(&asked, &reply, time),
            "{asked}: {reply} after {time:?}"
        );
        assert!(LOCK_WAIT <= time && time <= WAIT_MAX, "{asked}: busy after {time:?}");
    }
}

/// Whether the deadline of the store came first, as it may on a slow machine; the answer must be true then.
fn is_late(asked: &Value, reply: &Value, time: Duration) -> bool {
    let late = if asked["command"] == "list" { "store unavailable" } else { "outcome unknown" };
    reply["message"] == late && time >= STORE_DEADLINE
}

/// Repeats the request: it is done, soon.
fn expect_done(mut client: Client, asked: Value, is_over: &AtomicBool) {
    let (mut count, mut worst) = (0, Duration::ZERO);
    while !is_over.load(Ordering::SeqCst) {
        let begin = Instant::now();
        let reply = client.call(asked.clone());
        let time = begin.elapsed();
        worst = worst.max(time);
        count += usize::from(reply["status"] == "success");
        assert!(
            reply["status"] == "success" || is_late(&asked, &reply, time),
            "{asked}: {reply} after {time:?}"
        );
        thread::park_timeout(Duration::from_millis(5));
    }
    eprintln!("  {} {}: {count} times, worst {worst:?}", asked["command"], asked["data"]);
    assert!(count > 0, "{asked}: never done");
    assert!(worst <= BACK_MAX, "{asked}: done after {worst:?}");
}

/// Clients that wait for the same.
const CLIENTS: usize = 3;
