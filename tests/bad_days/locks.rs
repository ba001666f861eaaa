//! Rows and tables that somebody else holds for long: who needs them is told so in time, and nobody else
//! notices.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::common::{Client, Daemon, PASSWORD, registration, request, wait_until};
use crate::load::{Witness, alone, best_of_three};
use crate::{BACK_MAX, STORE_DEADLINE, WAIT_MAX, amount, daemon_on};

/// How long the database waits for a lock.
const LOCK_WAIT: Duration = Duration::from_secs(2);

/// A request, and on whose connection.
type Asked = (&'static str, fn() -> Value);

const LOGIN: Asked = ("", || request("authenticate", json!({"vm_id": "held", "password": PASSWORD})));
const REGISTER: Asked = ("", || registration("new", &[1]));
const UPDATE_HELD: Asked = ("held", || request("update", json!({"ram": 77})));
const UPDATE_FREE: Asked = ("free", || request("update", json!({"ram": 78})));
const LIST: Asked = ("free", || request("list", json!({"list_type": "all_vms"})));
const LIST_HELD: Asked = ("held", || request("list", json!({"list_type": "authenticated_vms"})));
const LOGOUT_HELD: Asked = ("held", || request("logout", json!({})));

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

/// Has somebody run `held` and not commit for a while. Meanwhile several clients ask for each of `waiting`,
/// which must come to `busy` when the lock was waited for, and one for each of `free`, which must work as if
/// nothing were.
#[track_caller]
fn hold(row: &str, held: &str, waiting: &[Asked], free: &[Asked]) {
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
        let witness = Witness::start(&daemon);
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
        witness.finish()
    });
}

fn connect(daemon: &Daemon, (vm, _): &Asked) -> Client {
    let mut client = daemon.client();
    if !vm.is_empty() {
        client.authenticate(vm);
    }
    client
}

/// Asks again and again: the answer is `busy`, when the lock was waited for and not later.
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

/// Whether the deadline of the store comes first, as it does on a slow machine; the answer must be true then.
fn is_late(asked: &Value, reply: &Value, time: Duration) -> bool {
    let late = if asked["command"] == "list" { "store unavailable" } else { "outcome unknown" };
    reply["message"] == late && time >= STORE_DEADLINE
}

/// Asks again and again: it is done, soon.
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
