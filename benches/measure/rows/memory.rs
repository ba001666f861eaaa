//! The daemon's memory.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::ROUNDS;
use super::ping::{Candidate, candidates};
use crate::figures::{Line, Samples, Verdict, short};
use crate::process::{Cores, Folder, Server};
use crate::websocket;

const IDLE: usize = 10_000;
const IDLE_BYTES_WANTED: f64 = 192.0;
const RESIDENT_KIB_WANTED: f64 = 4.5 * 1024.0;

/// Memory of the process for each connection that has had an answer and waits.
pub fn idle_connections(cores: &Cores) -> Vec<Line> {
    vmherd::internals::sys::process::raise_descriptor_limit().expect("a process may raise its limit");
    let mut measured: Vec<(&str, Samples)> = Vec::new();
    for round in 0..ROUNDS {
        // New processes each time: a process may keep memory that it has had once.
        for (at, candidate) in candidates(cores).iter().enumerate() {
            if round == 0 {
                measured.push((candidate.server.name, Samples::default()));
            }
            measured[at].1.push(bytes_per_connection(candidate));
        }
    }
    let (_, own) = &measured[0];
    let others: Vec<String> =
        measured[1..].iter().map(|(name, bytes)| format!("{name} {} B", short(bytes.median()))).collect();
    vec![Line {
        figure: format!("user memory per idle connection, {IDLE} of them"),
        wanted: format!("≤ {IDLE_BYTES_WANTED} B"),
        measured: own.to_string().replacen(" ±", " B ±", 1),
        beside: others.join(", "),
        verdict: Verdict::at_most(IDLE_BYTES_WANTED, own),
    }]
}

pub fn bytes_per_connection(candidate: &Candidate) -> f64 {
    // The first connection also needs memory that all share.
    let first = connect(candidate);
    let before = candidate.server.status_kib("RssAnon");
    let connections: Vec<TcpStream> = (0..IDLE).map(|_| connect(candidate)).collect();
    let after = candidate.server.status_kib("RssAnon");
    drop((first, connections));
    1024.0 * (after as f64 - before as f64) / IDLE as f64
}

/// A connection that has had an answer.
fn connect(candidate: &Candidate) -> TcpStream {
    if candidate.is_websocket {
        let mut stream = websocket::connect(candidate.server.address);
        websocket::answer_bytes(&mut stream, candidate.request);
        return stream;
    }
    let mut stream = TcpStream::connect(candidate.server.address).expect("it accepts");
    stream.write_all(candidate.request.as_bytes()).expect("it reads");
    let (mut chunk, mut lines) = ([0; 1024], 0);
    while lines < candidate.lines {
        let count = stream.read(&mut chunk).expect("it answers");
        assert_ne!(count, 0, "{} closed a connection", candidate.server.name);
        lines += chunk[..count].iter().filter(|&&byte| byte == b'\n').count();
    }
    stream
}

/// Memory of a daemon that has made its store and answered one ping.
pub fn at_start(cores: &Cores) -> Vec<Line> {
    let (mut resident, mut own, mut redis) = (Samples::default(), Samples::default(), None);
    for _ in 0..ROUNDS {
        let folder = Folder::new_data();
        let store = format!("sqlite:{}", folder.path().join("store").display());
        let server = Server::vmherd(cores, &store, &[]);
        server.ask(super::ping::PING);
        resident.push(server.status_kib("VmRSS") as f64);
        own.push(server.status_kib("RssAnon") as f64);
        if let Some(server) = Server::redis(cores) {
            server.ask("PING\r\n");
            redis.get_or_insert_with(Samples::default).push(server.status_kib("VmRSS") as f64);
        }
    }
    let redis = redis.map(|kib| format!("; redis {} KiB", kib.median())).unwrap_or_default();
    vec![Line {
        figure: "resident memory at start, SQLite".into(),
        wanted: format!("≤ {RESIDENT_KIB_WANTED} KiB"),
        measured: format!("{:.0} KiB", resident.median()),
        beside: format!(
            "of that {:.0} KiB its own, the rest pages of the program and of libraries{redis}",
            own.median()
        ),
        verdict: Verdict::at_most(RESIDENT_KIB_WANTED, &resident),
    }]
}
