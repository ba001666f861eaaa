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

use crate::meter::{Meter, Outcome};
use crate::points::{Batches, put_line, put_request};
use crate::{codec, websocket};

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
    /// The time from one batch of a connection to the next, which then must be answered; none: it sends when all of the
    /// last is answered.
    pub every: Option<Duration>,
    /// How long to measure, after a tenth of it to warm up.
    pub time: Duration,
    /// A request; each `{n}` in it is replaced by another number every time, each `{small}` by one below a million that
    /// differs from the last. [`PUT`] and [`PUT_JSON`] put a new point of one of ten series of the connection's own.
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

impl Load {
    /// As text, for the generator's process.
    pub fn to_json(&self) -> String {
        json!({
            "address": self.address.to_string(), "server": self.server, "connections": self.connections,
            "idle": self.idle, "depth": self.depth, "time": self.time.as_secs_f64(),
            "every": self.every.map(|time| time.as_secs_f64()), "request": self.request,
            "answer": self.answer, "lines": self.lines, "prelude": self.prelude, "stride": self.stride,
            "is_websocket": self.is_websocket,
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
            every: value["every"].as_f64().map(Duration::from_secs_f64),
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
            let request = request.replace("{small}", "1");
            (&stream).write_all(request.as_bytes()).expect("the server reads");
            answer.clear();
            lines.read_line(&mut answer).expect("the server answers");
        }
        answer.len()
    }

    fn is_template(&self) -> bool {
        ["{n}", "{small}", "{spread}", PUT, PUT_JSON]
            .iter()
            .any(|placeholder| self.request.contains(placeholder))
    }

    /// Runs it.
    pub fn run(&self) -> Outcome {
        let _idle: Vec<TcpStream> = (0..self.idle).map(|_| self.connect()).collect();
        let streams: Vec<TcpStream> = (0..self.connections).map(|_| self.connect()).collect();
        let mut meter = Meter::new(self.server, self.depth, self.time);
        match streams.len() {
            // Waiting for readiness first would only add latency.
            1 => self.run_one(streams, &mut meter),
            _ => self.run_many(streams, &mut meter),
        }
        meter.outcome()
    }

    /// Sends so many batches on each connection: one on all, then one on all when these are answered.
    pub fn run_rounds(&self, rounds: usize) {
        let mut meter = Meter::new(self.server, self.depth, self.time);
        let mut connections: Vec<(TcpStream, Connection)> =
            (0..self.connections).map(|at| (self.connect(), Connection::new(at, self))).collect();
        let mut chunk = vec![0; CHUNK_BYTES];
        for _ in 0..rounds {
            for (stream, connection) in &mut connections {
                connection.send(stream, self, &mut meter);
            }
            for (stream, connection) in &mut connections {
                connection.wait(stream, &mut chunk, self);
            }
        }
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
            connection.wait(stream, &mut chunk, self);
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
        let (begin, mut batches) = (Instant::now(), 0);
        while !meter.is_over() {
            // Those that are due; without an interval, one of each connection, which sends the others after its answers.
            let due = match self.every {
                None => connections.len(),
                Some(every) => {
                    1 + (begin.elapsed().as_secs_f64() / every.as_secs_f64() * connections.len() as f64)
                        as usize
                }
            };
            for batch in batches..due {
                let (stream, connection) = &mut connections[batch % self.connections];
                assert_eq!(connection.lines_due, 0, "a batch is answered before the next is due");
                connection.send(stream, self, meter);
            }
            batches = due;
            // The next is due in less than the system's clock tells: the generator has a core of its own.
            let wait = if self.every.is_none() { DEADLINE } else { Duration::ZERO };
            poll.poll(&mut events, Some(wait)).expect("epoll");
            assert!(!events.is_empty() || self.every.is_some(), "nothing was answered for {DEADLINE:?}");
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
                        if self.every.is_none() {
                            connection.send(stream, self, meter);
                        }
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
    requests: Requests,
    lines_due: usize,
    is_fresh: bool,
    sent: Instant,
}

/// What a connection sends.
enum Requests {
    /// The same again and again.
    Constant(Vec<u8>),
    /// With other numbers each time.
    Numbered(String),
    Points(Batches),
}

impl Connection {
    fn new(at: usize, load: &Load) -> Connection {
        let own = load.request.replace("{spread}", &format!("{:064x}", 1 + at * load.stride));
        let requests = match &own[..] {
            PUT => Requests::Points(Batches::new(at, load.depth, first_second(), put_line)),
            PUT_JSON => Requests::Points(Batches::new(at, load.depth, first_second(), put_request)),
            numbered if ["{n}", "{small}"].iter().any(|number| numbered.contains(number)) => {
                Requests::Numbered(own)
            }
            text if load.is_websocket => Requests::Constant(codec::text_frame(text).repeat(load.depth)),
            text => Requests::Constant(text.repeat(load.depth).into_bytes()),
        };
        Connection { requests, lines_due: 0, is_fresh: true, sent: Instant::now() }
    }

    fn send(&mut self, stream: &mut impl Write, load: &Load, meter: &mut Meter) {
        let batch = match &mut self.requests {
            Requests::Constant(batch) => batch,
            Requests::Numbered(request) => meter.numbered(request),
            Requests::Points(points) => points.next(),
        };
        self.sent = Instant::now();
        let count = stream.write(batch).expect("the server reads");
        assert_eq!(count, batch.len(), "a socket's buffer takes a batch");
        self.lines_due = load.depth * load.lines;
        self.is_fresh = true;
    }

    /// Reads until its batch is answered.
    fn wait(&mut self, stream: &mut TcpStream, chunk: &mut [u8], load: &Load) {
        while self.lines_due > 0 {
            let count = stream.read(chunk).expect("the server answers");
            self.take(&chunk[..count], load);
        }
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

/// The first second of this process's points: those of different processes differ.
fn first_second() -> i64 {
    1_000_000_000 + i64::from(std::process::id() % 4000) * 1_000_000
}

fn lines_of(bytes: &[u8]) -> usize {
    bytes.iter().filter(|&&byte| byte == b'\n').count()
}

/// The requests that put a point: a line of text, and a JSON object without an id.
pub const PUT: &str = "{put}";
pub const PUT_JSON: &str = "{put as JSON}";
/// Answers take less.
const DEADLINE: Duration = Duration::from_secs(30);
const CHUNK_BYTES: usize = 256 << 10;
