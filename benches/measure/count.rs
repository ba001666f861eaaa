//! `make count`: the instructions of the daemon for a request, counted by valgrind. Unlike times they do not depend on the
//! machine's other load, so that one run shows what a change brings.
//!
//! A daemon runs under callgrind twice, for a number of rounds and for twice as many; the difference is that of the requests
//! alone. Instructions of the kernel do not count; valgrind runs one thread at a time and has no instructions for SHA-256.

use crate::load::{Load, PUT, PUT_JSON};
use crate::process::{Cores, Server, installed};
use crate::rows::load;
use crate::rows::metrics::{JSON_OK, OK, OK_LINES};
use crate::rows::ping::{PING, PONG};
use crate::rows::seeded_store::{SeededStore, TOKEN};
use crate::rows::stored::UPDATE_REQUEST;
use crate::rows::web::{MESSAGE, POST, POST_LINES};
use crate::websocket;

/// Requests by 64 connections.
struct Counted {
    name: &'static str,
    request: &'static str,
    answer: &'static str,
    lines: usize,
    depth: usize,
    rounds: usize,
}

const CONNECTIONS: usize = 64;

const COUNTED: &[Counted] = &[
    Counted { name: "ping 64 × 32", request: PING, answer: PONG, lines: 1, depth: 32, rounds: 8 },
    Counted { name: "ping 64 × 1", request: PING, answer: PONG, lines: 1, depth: 1, rounds: 128 },
    Counted {
        name: "HTTP ping 64 × 1",
        request: POST,
        answer: "HTTP/1.1 200 OK",
        lines: POST_LINES,
        depth: 1,
        rounds: 128,
    },
    Counted { name: WEBSOCKET, request: MESSAGE, answer: PONG, lines: 0, depth: 1, rounds: 128 },
    Counted { name: "put as text 64 × 32", request: PUT, answer: OK, lines: OK_LINES, depth: 32, rounds: 8 },
    Counted { name: "put as text 64 × 1", request: PUT, answer: OK, lines: OK_LINES, depth: 1, rounds: 64 },
    Counted {
        name: "put as JSON 64 × 32",
        request: PUT_JSON,
        answer: JSON_OK,
        lines: 1,
        depth: 32,
        rounds: 4,
    },
    Counted {
        name: SQLITE,
        request: UPDATE_REQUEST,
        answer: "{\"status\":\"success\"",
        lines: 1,
        depth: 1,
        rounds: 32,
    },
];

const WEBSOCKET: &str = "WebSocket ping 64 × 1";
const SQLITE: &str = "token update 64 × 1, SQLite";

/// Prints the counts whose names contain one of `names`, or all.
pub fn run(names: &[&str]) {
    assert!(installed("valgrind").is_some(), "valgrind is not installed");
    let cores = Cores::shared_out();
    println!("| request | instructions |\n| --- | --- |");
    for counted in COUNTED {
        if names.is_empty() || names.iter().any(|name| counted.name.contains(name)) {
            println!("| {} | {} |", counted.name, counted.instructions(&cores));
        }
    }
}

impl Counted {
    /// For one request.
    fn instructions(&self, cores: &Cores) -> u64 {
        let [once, twice] = [1, 2].map(|times| self.total(cores, times * self.rounds));
        (twice.saturating_sub(once)) / (self.rounds * self.depth * CONNECTIONS) as u64
    }

    /// Of a daemon that starts, answers and ends.
    fn total(&self, cores: &Cores, rounds: usize) -> u64 {
        let seeded = (self.name == SQLITE).then(|| SeededStore::new(1000, 1));
        let server = Server::counted(cores, seeded.as_ref().map_or("memory:", |seeded| &seeded.location));
        let mut load = Load {
            connections: CONNECTIONS,
            depth: self.depth,
            lines: self.lines,
            ..load(&server, &self.request.replace("{spread}", TOKEN), self.answer)
        };
        if self.name == WEBSOCKET {
            load.is_websocket = true;
            load.lines = websocket::answer_bytes(&mut websocket::connect(server.address), MESSAGE);
        }
        load.run_rounds(rounds);
        server.instructions()
    }
}
