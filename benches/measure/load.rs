//! The load generator: one process on one core that keeps a number of connections busy and reports the rate of answers,
//! their latency, and the server's processor time for them.
//!
//! Each connection has a batch of requests in flight, and sends the next when all of the last are answered. Answers are
//! counted by their line breaks, or by their bytes over WebSocket, and only the first bytes of a batch's answers are
//! compared, so that errors never count: decoding all of them would cost more than the server's own work.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};
use serde_json::{Value, json};

use crate::points::{Batches, put_line};
use crate::{codec, process, websocket};

/// A load.
#[derive(Clone, Debug)]
pub struct Load {
    /// The server.
    pub address: SocketAddr,
    /// Its process, whose processor time is measured.
    pub server: u32,
    /// Connections that are busy.
    pub connections: usize,
    /// Connections that are open and idle after their first request.
    pub idle: usize,
    /// Requests that each connection sends at once.
    pub depth: usize,
    /// How long to measure, after a tenth of it to warm up.
    pub time: Duration,
    /// A request; each `{n}` in it is replaced by another number every time, each `{small}` by one below a million that
    /// differs from the last, and `{put}` by a new point of one of ten series of the connection's own.
    pub request: String,
    /// `{spread}` in the request is replaced by 64 hexadecimal digits: 1 for the first connection, so much more for each
    /// further one.
    pub stride: usize,
    /// The start of the answer.
    pub answer: String,
    /// Lines of an answer; over WebSocket its bytes, header included.
    pub lines: usize,
    /// Requests and answers are messages of WebSocket, the request without numbers in it.
    pub is_websocket: bool,
    /// The first request of each connection, answered by one line, such as a login.
    pub prelude: Option<String>,
}

/// The result.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// Requests answered in a second.
    pub rate: f64,
    /// Processor time of the server for each request, in microseconds.
    pub cpu_us: f64,
    /// The cores that the server's threads used: 1.0 is one core.
    pub busy: f64,
    /// The median of the time from a batch to its last answer, in microseconds.
    pub p50_us: f64,
    /// The 99th percentile of the same.
    pub p99_us: f64,
}

impl Load {
    /// As text, for the generator's process.
    pub fn to_json(&self) -> String {
        json!({
            "address": self.address.to_string(), "server": self.server, "connections": self.connections,
            "idle": self.idle, "depth": self.depth, "time": self.time.as_secs_f64(),
            "request": self.request, "answer": self.answer, "lines": self.lines, "prelude": self.prelude,
            "stride": self.stride, "is_websocket": self.is_websocket,
        })
        .to_string()
    }

    /// Reads what [`Load::to_json`] has written.
    pub fn from_json(text: &str) -> Load {
        let value: Value = serde_json::from_str(text).expect("a load");
        let number = |name: &str| value[name].as_u64().expect("a number") as usize;
        let string = |name: &str| value[name].as_str().expect("a string").to_owned();
        Load {
            address: string("address").parse().expect("an address"),
            server: number("server") as u32,
            connections: number("connections"),
            idle: number("idle"),
            depth: number("depth"),
            time: Duration::from_secs_f64(value["time"].as_f64().expect("seconds")),
            request: string("request"),
            answer: string("answer"),
            lines: number("lines"),
            stride: number("stride"),
            prelude: value["prelude"].as_str().map(str::to_owned),
            is_websocket: value["is_websocket"] == true,
        }
    }

    /// The bytes of one answer, its line break included.
    pub fn answer_bytes(&self) -> usize {
        let stream = TcpStream::connect(self.address).expect("the server accepts");
        let mut lines = BufReader::new(&stream);
        let mut answer = String::new();
        for request in self.prelude.iter().chain([&self.request]) {
            (&stream).write_all(request.as_bytes()).expect("the server reads");
            answer.clear();
            lines.read_line(&mut answer).expect("the server answers");
        }
        answer.len()
    }

    fn bytes_of_request(&self) -> Vec<u8> {
        if self.is_websocket { codec::text_frame(&self.request) } else { self.request.clone().into() }
    }

    fn is_template(&self) -> bool {
        ["{n}", "{small}", "{spread}", PUT].iter().any(|placeholder| self.request.contains(placeholder))
    }

    /// Runs it.
    pub fn run(&self) -> Outcome {
        let _idle: Vec<TcpStream> = (0..self.idle).map(|_| self.connect()).collect();
        let streams: Vec<TcpStream> = (0..self.connections).map(|_| self.connect()).collect();
        let mut meter = Meter::new(self);
        match streams.len() {
            // Waiting for readiness first would only add latency.
            1 => self.run_one(streams, &mut meter),
            _ => self.run_many(streams, &mut meter),
        }
        meter.outcome()
    }

    /// Opens a connection and waits for the answer to its prelude or, if it has none, to one request.
    fn connect(&self) -> TcpStream {
        let mut stream = match self.is_websocket {
            true => websocket::connect(self.address),
            false => TcpStream::connect(self.address).expect("the server accepts"),
        };
        stream.set_nodelay(true).expect("a TCP socket");
        stream.set_read_timeout(Some(DEADLINE)).expect("a TCP socket");
        let (request, answer, lines) = match &self.prelude {
            Some(prelude) => (prelude.clone(), "", 1),
            None if self.is_websocket || self.is_template() => return stream,
            None => (self.request.clone(), &self.answer[..], self.lines),
        };
        stream.write_all(request.as_bytes()).expect("the server reads");
        let (mut seen, mut chunk) = (Vec::new(), [0; 4096]);
        while lines_of(&seen) < lines {
            let count = stream.read(&mut chunk).expect("the server answers");
            assert_ne!(count, 0, "the server closed after {}", seen.escape_ascii());
            seen.extend_from_slice(&chunk[..count]);
        }
        assert!(seen.starts_with(answer.as_bytes()), "{request} was answered by {}", seen.escape_ascii());
        stream
    }

    fn run_one(&self, mut streams: Vec<TcpStream>, meter: &mut Meter) {
        let mut connection = Connection::new(0, self);
        let stream = &mut streams[0];
        let mut chunk = vec![0; CHUNK_BYTES];
        while !meter.is_over() {
            connection.send(stream, self, meter);
            while connection.lines_due > 0 {
                let count = stream.read(&mut chunk).expect("the server answers");
                connection.take(&chunk[..count], self);
            }
            meter.count(connection.sent);
        }
    }

    fn run_many(&self, streams: Vec<TcpStream>, meter: &mut Meter) {
        let mut poll = Poll::new().expect("epoll");
        let mut events = Events::with_capacity(1024);
        let mut chunk = vec![0; CHUNK_BYTES];
        let mut connections: Vec<(mio::net::TcpStream, Connection)> = Vec::new();
        for (at, stream) in streams.into_iter().enumerate() {
            stream.set_nonblocking(true).expect("a TCP socket");
            let mut stream = mio::net::TcpStream::from_std(stream);
            poll.registry().register(&mut stream, Token(at), Interest::READABLE).expect("epoll");
            connections.push((stream, Connection::new(at, self)));
        }
        for (stream, connection) in &mut connections {
            connection.send(stream, self, meter);
        }
        while !meter.is_over() {
            poll.poll(&mut events, Some(DEADLINE)).expect("epoll");
            assert!(!events.is_empty(), "nothing was answered for {DEADLINE:?}");
            for event in &events {
                let (stream, connection) = &mut connections[event.token().0];
                loop {
                    let count = match stream.read(&mut chunk) {
                        Ok(count) => count,
                        Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                        Err(error) => panic!("the server answers: {error}"),
                    };
                    connection.take(&chunk[..count], self);
                    if connection.lines_due == 0 {
                        meter.count(connection.sent);
                        connection.send(stream, self, meter);
                    }
                    // Later input causes another event.
                    if count < chunk.len() {
                        break;
                    }
                }
            }
        }
    }
}

/// The state of one connection.
struct Connection {
    /// Its requests, if they differ from those of others.
    own_batch: Option<Vec<u8>>,
    /// Its requests, if they are puts of points.
    points: Option<Batches>,
    lines_due: usize,
    is_fresh: bool,
    sent: Instant,
}

impl Connection {
    fn new(at: usize, load: &Load) -> Connection {
        let own = load.request.replace("{spread}", &format!("{:064x}", 1 + at * load.stride));
        let own_batch = load.request.contains("{spread}").then(|| own.repeat(load.depth).into_bytes());
        let points = (load.request == PUT).then(|| Batches::new(at, load.depth, first_second(), put_line));
        Connection { own_batch, points, lines_due: 0, is_fresh: true, sent: Instant::now() }
    }

    fn send(&mut self, stream: &mut impl Write, load: &Load, meter: &mut Meter) {
        let batch = match (&self.own_batch, &mut self.points) {
            (Some(own), _) => own,
            (None, Some(points)) => points.next(),
            (None, None) => meter.batch(load),
        };
        self.sent = Instant::now();
        let count = stream.write(batch).expect("the server reads");
        assert_eq!(count, batch.len(), "a socket's buffer takes a batch");
        self.lines_due = load.depth * load.lines;
        self.is_fresh = true;
    }

    fn take(&mut self, bytes: &[u8], load: &Load) {
        assert!(!bytes.is_empty(), "the server closed a connection");
        if self.is_fresh {
            let header = if load.is_websocket { websocket::ANSWER_HEADER_BYTES.min(bytes.len()) } else { 0 };
            let text = &bytes[header..];
            let answer = &load.answer.as_bytes()[..load.answer.len().min(text.len())];
            assert!(text.starts_with(answer), "{} is no answer", bytes.escape_ascii());
            self.is_fresh = false;
        }
        let lines = if load.is_websocket { bytes.len() } else { lines_of(bytes) };
        self.lines_due = self.lines_due.checked_sub(lines).expect("no more answers than requests");
    }
}

/// Counts once everything is warm.
struct Meter {
    batch: Vec<u8>,
    number: u64,
    server: u32,
    depth: usize,
    time: Duration,
    begin: Instant,
    /// The start of counting, and the server's processor time then.
    counting: Option<(Instant, Duration)>,
    last: Instant,
    waits_ns: Vec<u32>,
}

impl Meter {
    fn new(load: &Load) -> Meter {
        let begin = Instant::now();
        Meter {
            batch: load.bytes_of_request().repeat(load.depth),
            // Numbers of different processes differ.
            number: u64::from(std::process::id()) * 100_000_000,
            server: load.server,
            depth: load.depth,
            time: load.time,
            begin,
            counting: None,
            last: begin,
            waits_ns: Vec::with_capacity(1 << 20),
        }
    }

    fn batch(&mut self, load: &Load) -> &[u8] {
        if load.is_template() {
            self.batch.clear();
            for _ in 0..load.depth {
                self.number += 1;
                let (number, small) = (self.number.to_string(), (1 + self.number % 999_999).to_string());
                let request = load.request.replace("{n}", &number).replace("{small}", &small);
                self.batch.extend(request.into_bytes());
            }
        }
        &self.batch
    }

    fn count(&mut self, sent: Instant) {
        self.last = Instant::now();
        if self.counting.is_some() {
            self.waits_ns.push(u32::try_from((self.last - sent).as_nanos()).unwrap_or(u32::MAX));
        } else if self.last - self.begin > self.time / 10 {
            self.counting = Some((self.last, process::processor_time(self.server)));
        }
    }

    fn is_over(&self) -> bool {
        self.counting.is_some_and(|(since, _)| self.last - since > self.time)
    }

    fn outcome(mut self) -> Outcome {
        let (since, cpu_before) = self.counting.expect("it has counted");
        let cpu = (process::processor_time(self.server) - cpu_before).as_secs_f64();
        let (time, requests) = ((self.last - since).as_secs_f64(), self.waits_ns.len() * self.depth);
        self.waits_ns.sort_unstable();
        let quantile = |share: usize| {
            let at = (self.waits_ns.len() - 1) * share / 100;
            f64::from(self.waits_ns[at]) / 1e3
        };
        Outcome {
            rate: requests as f64 / time,
            cpu_us: cpu * 1e6 / requests as f64,
            busy: cpu / time,
            p50_us: quantile(50),
            p99_us: quantile(99),
        }
    }
}

impl Outcome {
    /// As text.
    pub fn to_line(self) -> String {
        let Outcome { rate, cpu_us, busy, p50_us, p99_us } = self;
        format!("{rate} {cpu_us} {busy} {p50_us} {p99_us}")
    }

    /// Reads what [`Outcome::to_line`] has written.
    pub fn from_line(line: &str) -> Option<Outcome> {
        let numbers: Option<Vec<f64>> = line.split_whitespace().map(|word| word.parse().ok()).collect();
        let &[rate, cpu_us, busy, p50_us, p99_us] = &numbers?[..] else { return None };
        Some(Outcome { rate, cpu_us, busy, p50_us, p99_us })
    }
}

/// The first second of this process's points: those of different processes differ.
fn first_second() -> i64 {
    1_000_000_000 + i64::from(std::process::id() % 4000) * 1_000_000
}

fn lines_of(bytes: &[u8]) -> usize {
    bytes.iter().filter(|&&byte| byte == b'\n').count()
}

/// The request that puts a point.
pub const PUT: &str = "{put}";
/// Answers take less.
const DEADLINE: Duration = Duration::from_secs(30);
const CHUNK_BYTES: usize = 256 << 10;
