//! The other framings on the same port, HTTP and WebSocket, and conversions that are answered later.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use super::ROUNDS;
use super::memory::bytes_per_connection;
use super::ping::{Candidate, PING, PONG, compared};
use crate::figures::{Line, Samples, Verdict, short};
use crate::process::{Cores, Server};
use crate::websocket;

/// A ping as a client of HTTP sends it.
pub const POST: &str = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 32\r\n\r\n\
     {\"command\": \"ping\", \"data\": {}}\n";
/// Five header lines with the status, an empty one, and the text.
pub const POST_LINES: usize = 7;
pub const MESSAGE: &str = "{\"command\": \"ping\", \"data\": {}}";

/// Conversions that wait at the same time: as many as there may be.
const CONNECTIONS: usize = 64;
const WAITING: usize = 16_384;
const TICK_US_WANTED: f64 = 5000.0;

pub fn http(cores: &Cores) -> Vec<Line> {
    let mut candidates = vec![of_http(cores), Candidate::new(Server::echo(cores), PING, PING, 1)];
    candidates.extend(Candidate::nginx(cores));
    vec![compared(cores, "HTTP POST ping, 64 connections", &[("echo", 0.9), ("nginx", 1.1)], candidates, 1)]
}

pub fn websocket(cores: &Cores) -> Vec<Line> {
    let candidates = vec![of_websocket(cores), Candidate::new(Server::echo(cores), PING, PING, 1)];
    vec![compared(cores, "WebSocket ping, 64 connections", &[("echo", 0.92)], candidates, 1)]
}

pub fn idle(cores: &Cores) -> Vec<Line> {
    vmherd::internals::sys::process::raise_descriptor_limit().expect("a process may raise its limit");
    // New processes each time: a process may keep memory that it has had once.
    let http = (0..ROUNDS).map(|_| bytes_per_connection(&of_http(cores))).collect();
    let websocket = (0..ROUNDS).map(|_| bytes_per_connection(&of_websocket(cores))).collect();
    let line = |what: &str, wanted: f64, bytes: Samples| Line {
        figure: format!("user memory per idle {what}, 10 000 of them"),
        wanted: format!("≤ {wanted} B"),
        measured: bytes.to_string().replacen(" ±", " B ±", 1),
        beside: String::new(),
        verdict: Verdict::at_most(wanted, &bytes),
    };
    vec![line("HTTP connection", 256.0, http), line("WebSocket", 1024.0, websocket)]
}

/// A million conversions that wait and are answered: the memory of each, and the longest tick of the reactor meanwhile.
pub fn conversions(cores: &Cores) -> Vec<Line> {
    let (mut memory, mut ticks) = (Samples::default(), Samples::default());
    for _ in 0..ROUNDS {
        let server = Server::vmherd(cores, "memory:", &["--conversion-delay", "15s..17s"]);
        let before = server.status_kib("RssAnon");
        let clients: Vec<TcpStream> = (0..CONNECTIONS).map(|_| ask_for_conversions(&server)).collect();
        wait_for(&server, "requests_delayed", |waiting| waiting == (CONNECTIONS * WAITING) as u64);
        let after = server.status_kib("RssAnon");
        memory.push(1024.0 * (after - before) as f64 / (CONNECTIONS * WAITING) as f64);
        let readers: Vec<_> = clients.into_iter().map(|client| thread::spawn(|| answers(client))).collect();
        let answers: usize = readers.into_iter().map(|reader| reader.join().expect("it reads")).sum();
        assert_eq!(answers, CONNECTIONS * WAITING);
        ticks.push(server.counter("turn_us_max") as f64);
    }
    vec![Line {
        figure: format!("{CONNECTIONS} × {WAITING} conversions that wait, the longest tick of the reactor"),
        wanted: format!("≤ {} ms", TICK_US_WANTED / 1e3),
        measured: format!("{:.1} ms", ticks.median() / 1e3),
        beside: format!("{} B for each that waits", short(memory.median())),
        verdict: Verdict::at_most(TICK_US_WANTED, &ticks),
    }]
}

fn of_http(cores: &Cores) -> Candidate {
    Candidate::new(Server::vmherd(cores, "memory:", &[]), POST, "HTTP/1.1 200 OK", POST_LINES)
}

fn of_websocket(cores: &Cores) -> Candidate {
    let server = Server::vmherd(cores, "memory:", &[]);
    let bytes = websocket::answer_bytes(&mut websocket::connect(server.address), MESSAGE);
    Candidate { server, request: MESSAGE, answer: PONG, lines: bytes, is_websocket: true }
}

fn ask_for_conversions(server: &Server) -> TcpStream {
    let mut stream = TcpStream::connect(server.address).expect("it accepts");
    let request = |id| {
        format!(
            "{{\"request_id\":\"{id:05}\",\"data\":\"Hub&&name&&qwe&&id&&123&&%%Device&&name&&wqe&&id&&234&&\"}}\n"
        )
    };
    let requests: String = (0..WAITING).map(request).collect();
    stream.write_all(requests.as_bytes()).expect("it reads");
    stream
}

/// How many conversions are answered.
fn answers(client: TcpStream) -> usize {
    let is_converted = |line: &String| line.contains("\"Device\":{\"name\":\"wqe\",\"id\":\"234\"}");
    let lines = BufReader::new(client).lines().map(|line| line.expect("it answers"));
    lines.take(WAITING).filter(is_converted).count()
}

fn wait_for(server: &Server, name: &str, is_right: impl Fn(u64) -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !is_right(server.counter(name)) {
        assert!(Instant::now() < end, "waited in vain: {name}");
        thread::sleep(Duration::from_millis(10));
    }
}
