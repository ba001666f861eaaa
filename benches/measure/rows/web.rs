//! The other ways to ask on the same port: HTTP, WebSocket, and conversions that are answered later.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use super::ROUNDS;
use super::memory::bytes_per_connection;
use super::ping::{Candidate, PING, PONG, compared};
use crate::figures::{Line, Samples, Verdict, short};
use crate::process::{Cores, Server};
use crate::websocket;

/// A ping as a client of HTTP sends it.
const POST: &str = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 32\r\n\r\n\
     {\"command\": \"ping\", \"data\": {}}\n";
const MESSAGE: &str = "{\"command\": \"ping\", \"data\": {}}";

const IDLE_BYTES_WANTED: f64 = 1024.0;

/// Conversions that wait at the same time: as many as there may be.
const CONNECTIONS: usize = 64;
const WAITING: usize = 16_384;
const TURN_US_WANTED: f64 = 5000.0;

pub fn http(cores: &Cores) -> Vec<Line> {
    let server = Server::vmherd(cores, "memory:", &[]);
    let candidate =
        |server, request, answer, lines| Candidate { server, request, answer, lines, is_websocket: false };
    let mut candidates = vec![
        // Four header lines with the status, an empty one, and the text.
        candidate(server, POST, "HTTP/1.1 200 OK", 6),
        candidate(Server::echo(cores), PING, PING, 1),
    ];
    let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    candidates.extend(Server::nginx(cores).map(|server| candidate(server, get, "HTTP/1.1 200", 8)));
    vec![compared(cores, "HTTP POST ping, 64 connections", 0.8, candidates)]
}

pub fn websocket(cores: &Cores) -> Vec<Line> {
    let own = of_websocket(cores);
    let echo =
        Candidate { server: Server::echo(cores), request: PING, answer: PING, lines: 1, is_websocket: false };
    vec![compared(cores, "WebSocket ping, 64 connections", 0.8, vec![own, echo])]
}

pub fn idle_websockets(cores: &Cores) -> Vec<Line> {
    vmherd::internals::sys::process::raise_descriptor_limit().expect("one may have what one may have");
    // New ones each time: what a process has once had of memory it may keep.
    let bytes: Samples = (0..ROUNDS).map(|_| bytes_per_connection(&of_websocket(cores))).collect();
    vec![Line {
        figure: "user memory per idle WebSocket, 10 000 of them".into(),
        wanted: format!("≤ {IDLE_BYTES_WANTED} B"),
        measured: bytes.to_string().replacen(" ±", " B ±", 1),
        beside: String::new(),
        verdict: Verdict::at_most(IDLE_BYTES_WANTED, &bytes),
    }]
}

/// A million conversions that wait and are answered: what each takes, and how long a turn of the reactor was at
/// most meanwhile.
pub fn conversions(cores: &Cores) -> Vec<Line> {
    let (mut memory, mut turns) = (Samples::default(), Samples::default());
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
        turns.push(statistic(&server, "turn_us_max") as f64);
    }
    vec![Line {
        figure: format!("{CONNECTIONS} × {WAITING} conversions that wait, the longest turn of the reactor"),
        wanted: format!("≤ {} ms", TURN_US_WANTED / 1e3),
        measured: format!("{:.1} ms", turns.median() / 1e3),
        beside: format!("{} B for each that waits", short(memory.median())),
        verdict: Verdict::at_most(TURN_US_WANTED, &turns),
    }]
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
    while !is_right(statistic(server, name)) {
        assert!(Instant::now() < end, "waited in vain: {name}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// One of the daemon's counters.
pub(super) fn statistic(server: &Server, name: &str) -> u64 {
    let mut stream = UnixStream::connect(server.own_socket()).expect("it listens");
    stream.write_all(b"{\"command\":\"stats\"}").expect("it reads");
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).expect("it answers");
    let reply: serde_json::Value = serde_json::from_str(&line).expect("a reply");
    reply["data"][name].as_u64().expect("a counter")
}
