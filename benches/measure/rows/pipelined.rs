//! Writes that one connection sends without waiting for answers, beside bare statements.

use rusqlite::{Connection, params};
use vmherd::internals::clock::unix_now;

use super::load;
use super::seeded_store::SeededStore;
use super::stored::{Compared, per_second, token_request};
use crate::figures::Line;
use crate::load::Load;
use crate::process::{Cores, Server};

/// Requests on their way at once.
const DEPTH: usize = 1024;
/// Statements in a commit of the loops beside them.
const BATCH: usize = 64;
const WANTED: f64 = 0.6;

/// VMs without a password.
pub fn adds(cores: &Cores) -> Vec<Line> {
    let request = "{\"action\": \"add_vm\", \"ram\": 512, \"cpu\": 4, \"disks\": [100, 100]}\n";
    vec![compared(cores, "add_vm", request, "{", add)]
}

/// Updates of the VM of the connection, each of which changes its row.
pub fn updates(cores: &Cores) -> Vec<Line> {
    let request = "{\"command\": \"update\", \"data\": {\"ram\": {small}}}\n";
    vec![compared(cores, "update", request, "{\"status\":\"success\"", update)]
}

/// `change` is given a number that differs from the last.
fn compared(
    cores: &Cores,
    name: &str,
    request: &str,
    answer: &str,
    change: impl Fn(&Connection, i64),
) -> Line {
    let (seeded, bare_seeded) = (SeededStore::new(1000, 2), SeededStore::new(1000, 2));
    let server = Server::vmherd(cores, &seeded.location, &[]);
    let load = load(&server, request, answer);
    let load = Load { depth: DEPTH, prelude: Some(token_request()), ..load };
    let (bare, mut number) = (bare_seeded.bare_writer(), 0);
    let compared = Compared::measure(cores, &load, |_| {
        per_second(BATCH, || {
            bare.execute_batch("BEGIN IMMEDIATE").expect("a transaction");
            for _ in 0..BATCH {
                number += 1;
                change(&bare, number);
            }
            bare.execute_batch("COMMIT").expect("a commit");
        })
    });
    let figure = format!("{name}, SQLite, one connection, {DEPTH} pipelined without ids");
    compared.line(&figure, WANTED, &format!("{BATCH} in each commit"), "")
}

fn add(connection: &Connection, number: i64) {
    let sql = "INSERT INTO vms (name, ram_mib, cpus, registered_at) VALUES (?1, 512, 4, ?2)";
    let mut statement = connection.prepare_cached(sql).expect("a statement");
    statement.execute(params![number.to_string(), unix_now().0]).expect("a new VM");
    let id = connection.last_insert_rowid();
    let sql = "INSERT INTO disks (vm, size_gib) VALUES (?1, 100)";
    let mut statement = connection.prepare_cached(sql).expect("a statement");
    (0..2).for_each(|_| assert_eq!(statement.execute([id]).expect("a new disk"), 1));
}

fn update(connection: &Connection, number: i64) {
    let sql = "UPDATE vms SET ram_mib = ?1 WHERE id = 1 AND epoch = 0";
    let mut statement = connection.prepare_cached(sql).expect("a statement");
    assert_eq!(statement.execute([1 + number % 1_000_000]).expect("a change"), 1);
}
