//! Live changes: how soon watchers get them, how long others wait meanwhile, and the memory of a watcher.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};

use super::ROUNDS;
use super::memory::bytes_per_connection;
use super::ping::{Candidate, PING, PONG};
use crate::figures::{Line, Samples, Verdict, short};
use crate::process::{Cores, Folder, Server};
use crate::sys;

/// How long changes are made in a round.
const TIME: Duration = Duration::from_secs(3);
/// How long the last of them may take to arrive.
const LAST_MAX: Duration = Duration::from_secs(30);
/// VMs that are changed in turn.
const VMS: usize = 100;
const DELIVERY_MS_WANTED: f64 = 100.0;
const PING_MS_WANTED: f64 = 25.0;
/// The pause between pings.
const PING_EVERY: Duration = Duration::from_millis(5);

const WATCH: &str = "{\"command\": \"watch\", \"data\": {\"what\": [\"presence\"]}}\n";

/// What changes.
#[derive(Clone, Copy)]
enum Change {
    /// The memory of a VM.
    Vm,
    /// The value of a point.
    Point,
}

/// What a round has measured, in milliseconds.
struct Delivery {
    p99: f64,
    slowest: f64,
    ping_p99: f64,
}

/// Few changes to many watchers, and many changes to few.
pub fn delivery(cores: &Cores) -> Vec<Line> {
    vmherd::internals::sys::process::raise_descriptor_limit().expect("a process may raise its limit");
    let mut lines = Vec::new();
    for (watchers, per_second) in [(1000, 50), (50, 1000)] {
        for change in [Change::Vm, Change::Point] {
            lines.push(delivered(cores, watchers, per_second, change));
        }
    }
    lines
}

/// The memory of a connection that watches, beside one that does not.
pub fn idle_watchers(cores: &Cores) -> Vec<Line> {
    vmherd::internals::sys::process::raise_descriptor_limit().expect("a process may raise its limit");
    // New processes each time: a process may keep memory that it has had once.
    let of = |request, answer| -> Samples {
        let candidate = || Candidate::new(Server::vmherd(cores, "memory:", &[]), request, answer, 1);
        (0..ROUNDS).map(|_| bytes_per_connection(&candidate())).collect()
    };
    let (watching, idle) = (of(WATCH, "{\"status\":\"success\""), of(PING, PONG));
    vec![Line {
        figure: "user memory per watcher to whom nothing happens, 10 000 of them".into(),
        wanted: String::new(),
        measured: watching.to_string().replacen(" ±", " B ±", 1),
        beside: format!("{} B for a connection that does not watch", short(idle.median())),
        verdict: Verdict::None,
    }]
}

fn delivered(cores: &Cores, watchers: usize, per_second: u32, change: Change) -> Line {
    let (mut p99, mut slowest, mut pings) = (Samples::default(), Samples::default(), Samples::default());
    for _ in 0..ROUNDS {
        let folder = Folder::new_data();
        let store = format!("sqlite:{}", folder.path().join("store").display());
        let server = Server::vmherd(cores, &store, &[]);
        sys::pin(&cores.generator);
        let round = round(&server, watchers, per_second, change);
        sys::pin(&cores.all);
        p99.push(round.p99);
        slowest.push(round.slowest);
        pings.push(round.ping_p99);
    }
    let what = match change {
        Change::Vm => "updates of VMs",
        Change::Point => "points",
    };
    Line {
        figure: format!("{per_second} {what} a second to {watchers} watchers, SQLite: from the request, p99"),
        wanted: format!("≤ {DELIVERY_MS_WANTED} ms, a ping meanwhile ≤ {PING_MS_WANTED} ms"),
        measured: format!("{:.1} ms, a ping {:.1} ms", p99.median(), pings.median()),
        beside: format!("the slowest of {}: {:.1} ms", count(watchers, per_second), slowest.median()),
        verdict: Verdict::at_most(DELIVERY_MS_WANTED, &p99).and(Verdict::at_most(PING_MS_WANTED, &pings)),
    }
}

fn count(watchers: usize, per_second: u32) -> usize {
    watchers * per_second as usize * TIME.as_secs() as usize
}

/// Makes changes at a steady rate; each has to reach each watcher once.
fn round(server: &Server, watchers: usize, per_second: u32, change: Change) -> Delivery {
    let mut operator = UnixStream::connect(server.own_socket()).expect("it listens");
    let answers = operator.try_clone().expect("a descriptor");
    add_vms(&mut operator, &answers);
    let connections: Vec<Watcher> = (0..watchers).map(|_| Watcher::begin(server, change)).collect();
    let changes = per_second as usize * TIME.as_secs() as usize;
    let sent = Mutex::new(Vec::with_capacity(changes));
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let readers = scope.spawn(|| read_changes(connections, changes, change, &sent));
        let pings = scope.spawn(|| ping_until(server, &is_over));
        let confirmed = scope.spawn(|| confirm(&answers, changes));
        let begin = Instant::now();
        for number in 0..changes {
            let due = begin + TIME * number as u32 / changes as u32;
            thread::sleep(due.saturating_duration_since(Instant::now()));
            sent.lock().expect("the readers go on").push(Instant::now());
            operator.write_all(change.request(number).as_bytes()).expect("it reads");
        }
        let mut times = readers.join().expect("all changes arrive");
        confirmed.join().expect("all changes are confirmed");
        is_over.store(true, Ordering::Relaxed);
        let (p99, slowest) = p99_and_max(&mut times);
        Delivery { p99, slowest, ping_p99: p99_and_max(&mut pings.join().expect("it answers")).0 }
    })
}

impl Change {
    fn what(self) -> &'static str {
        match self {
            Change::Vm => "vms",
            Change::Point => "points:",
        }
    }

    /// The request that makes the change `number`, which it contains. It has an id, so that it does not wait for the one
    /// before.
    fn request(self, number: usize) -> String {
        match self {
            Change::Vm => format!(
                "{{\"request_id\": 1, \"command\": \"update\", \"data\": {{\"vm_id\": \"{}\", \"ram\": {}}}}}\n",
                number % VMS + 1,
                number + 1
            ),
            Change::Point => format!(
                "{{\"request_id\": 1, \"command\": \"put\", \"data\": {{\"key\": \"vm-{}.cpu\", \"value\": {}}}}}\n",
                number % VMS,
                number + 1
            ),
        }
    }

    /// The number in the message of a change.
    fn number(self, message: &[u8]) -> usize {
        let field = match self {
            Change::Vm => &b"\"ram\":"[..],
            Change::Point => b"\"value\":",
        };
        let at = message.windows(field.len()).position(|window| window == field);
        let digits =
            message[at.expect("the field") + field.len()..].iter().take_while(|b| b.is_ascii_digit());
        let number = digits.fold(0, |number, digit| 10 * number + usize::from(digit - b'0'));
        number.checked_sub(1).expect("a number of the generator")
    }
}

/// A connection that watches.
struct Watcher {
    stream: mio::net::TcpStream,
    /// The beginning of a message.
    rest: Vec<u8>,
}

impl Watcher {
    fn begin(server: &Server, change: Change) -> Watcher {
        let mut stream = TcpStream::connect(server.address).expect("it accepts");
        let watch = format!("{{\"command\": \"watch\", \"data\": {{\"what\": [\"{}\"]}}}}\n", change.what());
        stream.write_all(watch.as_bytes()).expect("it reads");
        let (mut reader, mut line) = (BufReader::new(&stream), String::new());
        while !line.contains("\"more\":false") {
            line.clear();
            assert_ne!(reader.read_line(&mut line).expect("it answers"), 0, "it is not closed");
            assert!(line.contains("\"message\":\"snapshot\""), "{line}");
        }
        assert!(reader.buffer().is_empty(), "nothing has changed yet");
        stream.set_nonblocking(true).expect("a TCP socket");
        Watcher { stream: mio::net::TcpStream::from_std(stream), rest: Vec::new() }
    }

    /// Reads all that is there, and calls `each` with each message.
    fn read(&mut self, chunk: &mut [u8], mut each: impl FnMut(&[u8])) {
        loop {
            match self.stream.read(chunk) {
                Ok(0) => panic!("a watcher was closed"),
                Ok(count) => self.rest.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
        }
        let end = self.rest.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        self.rest[..end].split_inclusive(|&byte| byte == b'\n').for_each(&mut each);
        self.rest.drain(..end);
    }
}

/// Reads until each watcher has had all changes, in their order; the time that each took.
fn read_changes(
    mut watchers: Vec<Watcher>,
    changes: usize,
    change: Change,
    sent: &Mutex<Vec<Instant>>,
) -> Vec<Duration> {
    let (mut poll, mut events) = (Poll::new().expect("a poll"), Events::with_capacity(1024));
    for (index, watcher) in watchers.iter_mut().enumerate() {
        poll.registry().register(&mut watcher.stream, Token(index), Interest::READABLE).expect("a socket");
    }
    let mut seen = vec![0; watchers.len()];
    let mut times = Vec::with_capacity(changes * watchers.len());
    let mut chunk = vec![0; 64 << 10];
    let end = Instant::now() + TIME + LAST_MAX;
    while times.len() < changes * watchers.len() {
        assert!(Instant::now() < end, "{} changes are missing", changes * watchers.len() - times.len());
        poll.poll(&mut events, Some(Duration::from_millis(100))).expect("a poll");
        let sent_by_now = sent.lock().expect("the generator goes on").clone();
        for event in &events {
            let index = event.token().0;
            watchers[index].read(&mut chunk, |message| {
                let number = change.number(message);
                assert_eq!(number, seen[index], "each change once, in order");
                seen[index] += 1;
                let begin = sent_by_now.get(number).copied();
                let begin = begin.unwrap_or_else(|| sent.lock().expect("it goes on")[number]);
                times.push(begin.elapsed());
            });
        }
    }
    times
}

/// Pings one after the other until it is over; the time of each.
fn ping_until(server: &Server, is_over: &AtomicBool) -> Vec<Duration> {
    let mut stream = TcpStream::connect(server.address).expect("it accepts");
    stream.set_nodelay(true).expect("a TCP socket");
    let mut reader = BufReader::new(stream.try_clone().expect("a descriptor"));
    let (mut times, mut line) = (Vec::new(), String::new());
    while !is_over.load(Ordering::Relaxed) {
        let begin = Instant::now();
        stream.write_all(PING.as_bytes()).expect("it reads");
        line.clear();
        reader.read_line(&mut line).expect("it answers");
        times.push(begin.elapsed());
        thread::sleep(PING_EVERY);
    }
    times
}

/// Reads the answers to all changes, which have to succeed.
fn confirm(answers: &UnixStream, changes: usize) {
    for line in BufReader::new(answers).lines().take(changes) {
        let line = line.expect("it answers");
        assert!(line.contains("\"status\":\"success\""), "{line}");
    }
}

/// VMs without passwords, whose names are their ids.
fn add_vms(operator: &mut UnixStream, answers: &UnixStream) {
    let add = "{\"action\": \"add_vm\", \"ram\": 512, \"disks\": [10]}\n";
    operator.write_all(add.repeat(VMS).as_bytes()).expect("it reads");
    for line in BufReader::new(answers).lines().take(VMS) {
        let line = line.expect("it answers");
        assert!(line.contains("vm added"), "{line}");
    }
}

/// The 99th percentile and the longest of some times, in milliseconds.
fn p99_and_max(times: &mut [Duration]) -> (f64, f64) {
    times.sort_unstable();
    let at = |index: usize| times[index.min(times.len() - 1)].as_secs_f64() * 1e3;
    (at(times.len() * 99 / 100), at(times.len()))
}
