//! Puts of points as lines of text, one reply each.

use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};
use rusqlite::{Connection, params};

use super::ping::{Candidate, Measured, measure, rate_line};
use super::seeded_store::SeededStore;
use super::{ROUNDS, TIME, load, postgres};
use crate::figures::{Line, Samples, Verdict, short};
use crate::load::{Load, PUT, PUT_JSON};
use crate::points::{Batches, Drawn, METRICS, Points, key, put_line};
use crate::process::{Cores, Folder, Server, processor_time};
use crate::sys;

/// Into memory, by 64 clients that have 32 points on their way each.
pub fn put(cores: &Cores) -> Vec<Line> {
    let folder = Folder::new_data();
    let store = format!("sqlite:{}", folder.path().join("store").display());
    let mut write_behind = Server::vmherd(cores, &store, &["--metrics-durability", "memory"]);
    write_behind.name = "vmherd with write-behind to SQLite";
    let candidates = [
        Candidate::new(Server::vmherd(cores, "memory:", &[]), PUT, OK, OK_LINES),
        Candidate::new(Server::putting(cores), PUT, OK, OK_LINES),
        Candidate::new(Server::answering(cores, OK.len()), PUT, "xxx\n", 1),
        Candidate::new(write_behind, PUT, OK, OK_LINES),
    ];
    let mut measured: Vec<Measured> = candidates.iter().map(|_| Measured::default()).collect();
    let (mut own, mut peer) = (Streamed::default(), Streamed::default());
    let other = Server::victoria_metrics(cores);
    for round in 0..ROUNDS {
        for (candidate, measured) in candidates.iter().zip(&mut measured) {
            measured.add(cores.measure(&candidate.load(CLIENTS, DEPTH)));
        }
        if let Some((server, counters)) = &other {
            sys::pin(&cores.generator);
            own.add(&candidates[0].server, None, round);
            peer.add(server, Some(*counters), round);
            sys::pin(&cores.all);
        }
    }
    let figure = format!("metrics put, ok each, in memory, {CLIENTS} connections × {DEPTH} pipelined");
    let wanted = &[("(echo + parse + map)", 0.8)];
    let mut lines = vec![rate_line(&figure, wanted, &candidates, &measured)];
    lines.extend(other.map(|_| {
        let ratio = own.rate.ratio(&peer.rate);
        Line {
            figure: format!("metrics put in memory, {CLIENTS} connections that send all they can"),
            wanted: "≥ VictoriaMetrics".into(),
            measured: own.to_string(),
            beside: format!(
                "{ratio} × VictoriaMetrics, which gets lines of Graphite and answers nothing: until it has closed \
                 all connections after their last line; its counter then shows all ({peer})"
            ),
            verdict: Verdict::at_least(1.0, &ratio),
        }
    }));
    lines
}

/// The same as JSON without ids, into memory and, by one client, into a file; beside the same as text.
pub fn json(cores: &Cores) -> Vec<Line> {
    let line = |stores: [&str; 2], figure: &str, wanted: f64, connections, depth| {
        let [json, mut text] = stores.map(|store| Server::vmherd(cores, store, &[]));
        text.name = "text";
        let candidates =
            vec![Candidate::new(json, PUT_JSON, JSON_OK, 1), Candidate::new(text, PUT, OK, OK_LINES)];
        let (candidates, measured) = measure(cores, candidates, connections, depth);
        rate_line(figure, &[("text", wanted)], &candidates, &measured)
    };
    let in_memory = format!("metrics put as JSON, in memory, {CLIENTS} connections × {DEPTH} pipelined");
    let in_file = format!("metrics put as JSON, SQLite, one connection, {WRITER_DEPTH} pipelined");
    let (seeded, of_text) = (SeededStore::new(1, 1), SeededStore::new(1, 1));
    vec![
        line(["memory:"; 2], &in_memory, 0.5, CLIENTS, DEPTH),
        line([&seeded.location, &of_text.location], &in_file, 0.6, 1, WRITER_DEPTH),
    ]
}

/// Points that a server stores of a stream as fast as its sockets take it.
#[derive(Default)]
struct Streamed {
    rate: Samples,
    cpu_us: Samples,
}

impl Streamed {
    /// Measures `server`; one with `counters`, which show what it has, answers with the end of the connection.
    fn add(&mut self, server: &Server, counters: Option<SocketAddr>, round: usize) {
        let (cpu, points) = (processor_time(server.id()), (CLIENTS * STREAMED) as f64);
        let wanted = counters.map(|counters| inserted(counters) + points);
        let mut poll = Poll::new().expect("epoll");
        let mut clients: Vec<Client> = Vec::new();
        for at in 0..CLIENTS {
            let mut stream = mio::net::TcpStream::connect(server.address).expect("it accepts");
            let both = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(&mut stream, Token(at), both).expect("epoll");
            let first_second = 1_600_000_000 + (round * STREAMED) as i64;
            let batches = match counters {
                None => Batches::new(at, STREAMED_AT_ONCE, first_second, put_line),
                Some(_) => Batches::new(at, STREAMED_AT_ONCE, first_second, |key, value, second| {
                    format!("{key} {value:?} {second}\n")
                }),
            };
            let answer_due = if counters.is_none() { STREAMED * OK.len() } else { 0 };
            let (batches_left, end_due) = (STREAMED / STREAMED_AT_ONCE, counters.is_some());
            clients.push(Client { stream, batches, batches_left, due: Vec::new(), answer_due, end_due });
        }
        let (begin, mut events, mut chunk) = (Instant::now(), Events::with_capacity(1024), vec![0; 64 << 10]);
        while clients.iter().any(|client| !client.is_done()) {
            poll.poll(&mut events, Some(DEADLINE)).expect("epoll");
            assert!(!events.is_empty(), "{} does nothing for {DEADLINE:?}", server.name);
            for event in &events {
                let client = &mut clients[event.token().0];
                client.read(&mut chunk);
                client.write();
            }
        }
        self.rate.push(points / begin.elapsed().as_secs_f64());
        self.cpu_us.push((processor_time(server.id()) - cpu).as_secs_f64() * 1e6 / points);
        // Its counter is a second late.
        while counters.zip(wanted).is_some_and(|(counters, wanted)| inserted(counters) < wanted) {
            assert!(begin.elapsed() < DEADLINE, "{} does not have all after {DEADLINE:?}", server.name);
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl fmt::Display for Streamed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s ({} µs CPU)", self.rate, short(self.cpu_us.median()))
    }
}

/// A connection that sends what it can.
struct Client {
    stream: mio::net::TcpStream,
    batches: Batches,
    batches_left: usize,
    due: Vec<u8>,
    /// Bytes.
    answer_due: usize,
    /// The server has to end the connection as well.
    end_due: bool,
}

impl Client {
    fn is_done(&self) -> bool {
        self.due.is_empty() && self.batches_left == 0 && self.answer_due == 0 && !self.end_due
    }

    fn write(&mut self) {
        loop {
            if self.due.is_empty() {
                if self.batches_left == 0 {
                    return;
                }
                self.batches_left -= 1;
                self.due.extend_from_slice(self.batches.next());
            }
            match self.stream.write(&self.due) {
                Ok(count) => self.due.drain(..count),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => panic!("it reads: {error}"),
            };
            if self.due.is_empty() && self.batches_left == 0 && self.end_due {
                self.stream.shutdown(Shutdown::Write).expect("it is open");
            }
        }
    }

    fn read(&mut self, chunk: &mut [u8]) {
        while self.answer_due > 0 || self.end_due {
            match self.stream.read(chunk) {
                Ok(0) if self.answer_due == 0 && self.batches_left == 0 => self.end_due = false,
                Ok(0) => panic!("it closed a connection"),
                Ok(count) => {
                    assert!(!chunk[..count].contains(&b'e'), "an error among the answers");
                    self.answer_due -= count;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => panic!("it answers: {error}"),
            }
        }
    }
}

/// How many points VictoriaMetrics says that it has.
fn inserted(counters: SocketAddr) -> f64 {
    let mut stream = TcpStream::connect(counters).expect("it listens");
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").expect("it reads");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("it answers");
    let count = text.lines().find_map(|line| line.strip_prefix("vm_rows_inserted_total{type=\"graphite\"} "));
    count.and_then(|count| count.trim().parse().ok()).unwrap_or_else(|| panic!("no counter in {text}"))
}

/// Into a file, by 8 clients that have 64 points on their way each.
pub fn durable(cores: &Cores) -> Vec<Line> {
    vec![durable_line(cores, &format!("{WRITERS} connections × {WRITER_DEPTH}"), WRITERS, WRITER_DEPTH, 0)]
}

/// The same, by 100 clients with a point of each of their ten series on its way; every series has 300 earlier points.
pub fn many_series(cores: &Cores) -> Vec<Line> {
    let figure = "1000 series with 300 earlier points each, 100 connections × 10";
    vec![durable_line(cores, figure, 100, METRICS.len(), 300)]
}

/// So many clients with `depth` points on their way each; their series have some `earlier` points.
fn durable_line(cores: &Cores, figure: &str, clients: usize, depth: usize, earlier: i64) -> Line {
    let (seeded, bare_seeded) = (SeededStore::new(1, 1), SeededStore::new(1, 1));
    seeded.put_points(clients * METRICS.len(), 0..earlier);
    bare_seeded.put_points(clients * METRICS.len(), 0..earlier);
    let server = Server::vmherd(cores, &seeded.location, &[]);
    let mut bare = Bare::new(&bare_seeded, clients, depth);
    let compared = Durable::measure(cores, &put_load(&server, clients, depth), &server, |batch| {
        let (begin, mut count) = (Instant::now(), 0);
        while begin.elapsed() < TIME {
            bare.commit(batch);
            count += batch;
        }
        count as f64 / begin.elapsed().as_secs_f64()
    });
    compared.line("SQLite", figure, "a bare loop of upserts")
}

/// What the daemon reaches through sockets, and a loop without them that commits as many points at once.
struct Durable {
    own: Samples,
    cpu_us: Samples,
    batch: Samples,
    /// KiB that the daemon writes for a point.
    written: Samples,
    bare: Samples,
}

impl Durable {
    /// Asks `bare` how many points it commits in a second, so many at once.
    fn measure(cores: &Cores, load: &Load, server: &Server, mut bare: impl FnMut(usize) -> f64) -> Durable {
        let empty = Samples::default;
        let mut durable =
            Durable { own: empty(), cpu_us: empty(), batch: empty(), written: empty(), bare: empty() };
        for _ in 0..ROUNDS {
            let (before, written) = (server.counters(), server.written_bytes());
            let own = cores.measure(load);
            let written = (server.written_bytes() - written) as f64 / 1024.0;
            let after = server.counters();
            let counted = |name: &str| after[name].as_f64().zip(before[name].as_f64()).map(|(a, b)| a - b);
            let counted = |name: &str| counted(name).unwrap_or_else(|| panic!("{name} is not in {after}"));
            let batch = counted("points_put") / counted("write_batches_done");
            durable.written.push(written / counted("points_put"));
            durable.own.push(own.rate);
            durable.cpu_us.push(own.cpu_us);
            durable.batch.push(batch);
            sys::pin(&cores.server);
            durable.bare.push(bare(batch.round().max(1.0) as usize));
            sys::pin(&cores.all);
        }
        durable
    }

    fn line(&self, store: &str, clients: &str, bare: &str) -> Line {
        let ratio = self.own.ratio(&self.bare);
        Line {
            figure: format!("metrics put, ok when committed, {store}, {clients}"),
            wanted: "0.9 × bare loop".into(),
            measured: format!("{}/s ({} µs CPU)", self.own, short(self.cpu_us.median())),
            beside: format!(
                "{:.2} × {bare}, {:.0} in each commit, as the daemon's are, on the same core ({}/s); \
                 the daemon writes {} KiB for each",
                ratio.median(),
                self.batch.median(),
                short(self.bare.median()),
                short(self.written.median())
            ),
            verdict: Verdict::at_least(0.9, &ratio),
        }
    }
}

/// One point at a time.
pub fn single(cores: &Cores) -> Vec<Line> {
    let (seeded, bare_seeded) = (SeededStore::new(1, 1), SeededStore::new(1, 1));
    let server = Server::vmherd(cores, &seeded.location, &[]);
    let mut bare = Bare::new(&bare_seeded, 1, 1);
    let sockets = Server::answering(cores, OK.len());
    let bare_load = Load { lines: 1, answer: "xxx\n".into(), ..put_load(&sockets, 1, 1) };
    let (mut own, mut commit, mut round_trip) = (Samples::default(), Samples::default(), Samples::default());
    for _ in 0..ROUNDS {
        own.push(cores.measure(&put_load(&server, 1, 1)).p50_us);
        round_trip.push(cores.measure(&bare_load).p50_us);
        sys::pin(&cores.server);
        let (begin, mut times) = (Instant::now(), Samples::default());
        while begin.elapsed() < TIME {
            let begin = Instant::now();
            bare.commit(1);
            times.push(begin.elapsed().as_secs_f64() * 1e6);
        }
        sys::pin(&cores.all);
        commit.push(times.median());
    }
    let ratio = own.ratio(&commit);
    let both = commit.zip(&round_trip, |commit, sockets| commit + sockets);
    vec![Line {
        figure: "metrics put, ok when committed, SQLite, one at a time, p50".into(),
        wanted: "≤ 1.35 × bare commit".into(),
        measured: format!("{own} µs"),
        beside: format!(
            "{ratio} × a bare commit of one upsert ({} µs); {:.2} × that commit and bare sockets ({} µs)",
            short(commit.median()),
            own.ratio(&both).median(),
            short(both.median())
        ),
        verdict: Verdict::at_most(1.35, &ratio),
    }]
}

/// The same as [`durable`], in PostgreSQL.
pub fn postgres(cores: &Cores) -> Vec<Line> {
    let Some(cluster) = postgres::start(cores) else { return Vec::new() };
    let (database, bare_database) = (cluster.database(), cluster.database());
    let seeded = SeededStore::in_postgres(database.url(), 1, 1);
    let bare_seeded = SeededStore::in_postgres(bare_database.url(), 1, 1);
    let server = Server::vmherd(cores, &seeded.location, &[]);
    let mut upserts = postgres::Upserts::new(&bare_seeded.location, WRITERS, WRITER_DEPTH);
    let mut fastest = "";
    let load = put_load(&server, WRITERS, WRITER_DEPTH);
    let compared = Durable::measure(cores, &load, &server, |batch| {
        let (rate, name) = upserts.fastest(batch, TIME / 2);
        fastest = name;
        rate
    });
    let clients = format!("{WRITERS} connections × {WRITER_DEPTH}");
    vec![compared.line("PostgreSQL", &clients, &format!("the fastest bare loop, {fastest}"))]
}

fn put_load(server: &Server, connections: usize, depth: usize) -> Load {
    Load { connections, depth, lines: OK_LINES, ..load(server, PUT, OK) }
}

/// A file of the same tables, and nothing between it and the statements.
struct Bare {
    connection: Connection,
    points: Points,
    /// The store's number of each series.
    ids: Vec<i64>,
}

impl Bare {
    fn new(seeded: &SeededStore, hosts: usize, depth: usize) -> Bare {
        let connection = seeded.bare_writer();
        let add = |series| {
            let sql =
                "INSERT INTO series (key) VALUES (?1) ON CONFLICT (key) DO UPDATE SET key = key RETURNING id";
            connection.query_row(sql, [key(series)], |row| row.get(0)).expect("a series")
        };
        let ids = (0..hosts * METRICS.len()).map(add).collect();
        Bare { connection, points: Points::new(hosts, depth, 1_000_000_000), ids }
    }

    /// Puts the next `count` points.
    fn commit(&mut self, count: usize) {
        self.connection.execute_batch("BEGIN IMMEDIATE").expect("a transaction");
        let mut upsert = self.connection.prepare_cached(UPSERT).expect("a statement");
        for Drawn { series, second, value } in self.points.by_ref().take(count) {
            upsert.execute(params![self.ids[series], second, value]).expect("a point");
        }
        self.connection.execute_batch("COMMIT").expect("a commit");
    }
}

const UPSERT: &str = "INSERT INTO points (series, second, value) VALUES (?1, ?2, ?3)
    ON CONFLICT (series, second) DO UPDATE SET value = excluded.value";

pub const OK: &str = "ok\n\n";
pub const OK_LINES: usize = 2;
pub const JSON_OK: &str = "{\"status\":\"success\",\"message\":\"ok\"";
/// Of the row in memory.
const CLIENTS: usize = 64;
const DEPTH: usize = 32;
/// Of the rows on disk.
const WRITERS: usize = 8;
const WRITER_DEPTH: usize = 64;
/// Points that one connection sends in one round where it does not wait, and how many of them are made at once.
const STREAMED: usize = 20_000;
const STREAMED_AT_ONCE: usize = 1000;
const DEADLINE: Duration = Duration::from_secs(60);
