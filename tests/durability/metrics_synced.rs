//! No `ok` leaves the daemon before its point is on the disk: observed by strace, which stops each thread at the begin and
//! the end of a call, so that its lines are in the order of the events.
//!
//! Points are identified by the eight bytes of their values, which all differ: a point is committed when a frame of
//! SQLite's log that holds it, and then a frame that ends a transaction, has been written; it is on the disk when a sync
//! of the log that began later has ended.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fs;
use std::path::PathBuf;
use std::thread;

use crate::common::{Client, DEADLINE, Daemon, Random, TempDir, require, wait_until};
use crate::points::{Point, put_all, put_request};

/// A daemon whose calls are written to a file.
struct Traced {
    daemon: Daemon,
    folder: TempDir,
}

/// The requests on one connection: the values that each of its answers acknowledges.
#[derive(Default)]
struct Sent {
    /// The client's port.
    port: u16,
    answers: VecDeque<Vec<u64>>,
    /// Whether answers are lines of JSON.
    is_json: bool,
}

/// The state of the trace so far.
#[derive(Default)]
struct Reader {
    /// Connections by their descriptors.
    connections: HashMap<u32, Sent>,
    /// Those that are not accepted yet.
    awaited: Vec<Sent>,
    /// Values that were not written yet.
    unseen: HashSet<u64>,
    /// Values in frames of a transaction whose end is not written.
    written: HashSet<u64>,
    committed: HashSet<u64>,
    on_disk: HashSet<u64>,
    /// The frame whose page comes next ends a transaction.
    ends_transaction: bool,
    /// What a thread's sync covers when it ends.
    syncing: HashMap<u32, HashSet<u64>>,
    syncs: usize,
    answered: usize,
    /// Values that were acknowledged too early.
    early: Vec<u64>,
}

/// A call as strace writes it.
struct Call<'a> {
    name: &'a str,
    descriptor: u32,
    /// What the descriptor is.
    file: String,
    text: &'a str,
}

impl Traced {
    fn start(durability: &str) -> Traced {
        require("strace", "strace");
        let folder = TempDir::new();
        let file = folder.path().join("trace");
        let file = file.to_str().expect("a plain path");
        // -D: the daemon is the child of this process, and strace its sibling.
        let calls = "trace=accept4,fdatasync,fsync,pwrite64,write,writev,sendto,sendmsg";
        let arguments = ["-D", "-f", "-y", "-xx", "-s", "70000", "--seccomp-bpf", "-o", file, "-e", calls];
        let builder = Daemon::builder().args(["--metrics-durability", durability]);
        Traced { daemon: builder.through("strace", &arguments).start(), folder }
    }

    /// Ends the daemon, and goes through everything that it did.
    fn finish(mut self, sent: Vec<Sent>) -> Reader {
        let (id, path) = (self.daemon.id(), self.trace());
        self.daemon.stop();
        let end = format!("{id} +++ exited with 0 +++");
        let has_ended = |line: &str| line.split_whitespace().eq(end.split_whitespace());
        let mut text = String::new();
        wait_until("strace has written everything", DEADLINE, || {
            text = fs::read_to_string(&path).expect("a trace");
            text.lines().last().is_some_and(has_ended)
        });
        let unseen = sent.iter().flat_map(|sent| sent.answers.iter().flatten().copied()).collect();
        let mut reader = Reader { awaited: sent, unseen, ..Reader::default() };
        reader.read(&text);
        assert!(reader.unseen.is_empty(), "{} values were never seen written", reader.unseen.len());
        let left: usize = reader.connections.values().map(|sent| sent.answers.len()).sum();
        assert_eq!((left, reader.awaited.len()), (0, 0), "answers that were not seen");
        reader
    }

    fn trace(&self) -> PathBuf {
        self.folder.path().join("trace")
    }
}

impl Sent {
    fn on(client: &Client) -> Sent {
        Sent { port: client.local_address().port(), ..Sent::default() }
    }

    /// The next answer acknowledges `points`.
    fn expect(&mut self, points: &[Point]) {
        self.answers.push_back(points.iter().map(|point| point.value.to_bits()).collect());
    }
}

impl Reader {
    fn read(&mut self, text: &str) {
        let mut unfinished: HashMap<u32, String> = HashMap::new();
        for line in text.lines() {
            let (thread, rest) = line.split_once(' ').expect("a thread");
            let (thread, rest) = (thread.parse().expect("a thread"), rest.trim_start());
            if rest.starts_with("+++") || rest.starts_with("---") {
                continue;
            }
            if let Some(begin) = rest.strip_suffix(" <unfinished ...>") {
                self.begins(thread, &Call::parse(begin));
                unfinished.insert(thread, begin.to_owned());
                continue;
            }
            if rest.starts_with("<... ") {
                let (_, end) = rest.split_once(" resumed>").expect("the rest of a call");
                let whole = unfinished.remove(&thread).expect("it had begun") + end;
                self.ends(thread, &Call::parse(&whole));
                continue;
            }
            let call = Call::parse(rest);
            self.begins(thread, &call);
            self.ends(thread, &call);
        }
    }

    fn begins(&mut self, thread: u32, call: &Call<'_>) {
        let is_log = call.file.ends_with("-wal");
        match call.name {
            "fdatasync" | "fsync" if is_log => drop(self.syncing.insert(thread, self.committed.clone())),
            "pwrite64" | "write" if is_log => self.sees_log(&call.data()),
            "write" | "writev" | "sendto" | "sendmsg" => self.sees_output(call),
            _ => {}
        }
    }

    fn ends(&mut self, thread: u32, call: &Call<'_>) {
        match call.name {
            // A call that the end of the process has cut short has no result.
            "fdatasync" | "fsync" if call.file.ends_with("-wal") && !call.text.ends_with(" = ?") => {
                assert_eq!(call.result(), Some(0), "{}", call.text);
                self.on_disk.extend(self.syncing.remove(&thread).expect("it had begun"));
                self.syncs += 1;
            }
            "accept4" => self.sees_connection(call),
            // The rest of a partial write would be seen twice.
            "write" | "writev" | "sendto" | "sendmsg" if self.connections.contains_key(&call.descriptor) => {
                assert_eq!(call.result(), Some(call.data().len() as i64), "{}", call.text);
            }
            _ => {}
        }
    }

    /// A frame's head, or its page.
    fn sees_log(&mut self, data: &[u8]) {
        match data.len() {
            FRAME_HEAD_BYTES => self.ends_transaction = data[4..8] != [0; 4],
            LOG_HEAD_BYTES => {}
            _ => {
                for value in data.windows(8) {
                    let value = u64::from_be_bytes(value.try_into().expect("eight bytes"));
                    if self.unseen.remove(&value) {
                        self.written.insert(value);
                    }
                }
                if std::mem::take(&mut self.ends_transaction) {
                    self.committed.extend(self.written.drain());
                }
            }
        }
    }

    fn sees_connection(&mut self, call: &Call<'_>) {
        let port = call.text.split_once("sin_port=htons(").and_then(|(_, rest)| rest.split_once(')'));
        let Some((port, _)) = port else { return };
        let index = self.awaited.iter().position(|sent| sent.port.to_string() == port);
        let (Some(index), Some(descriptor)) = (index, call.result()) else { return };
        self.connections.insert(descriptor as u32, self.awaited.remove(index));
    }

    fn sees_output(&mut self, call: &Call<'_>) {
        let Some(connection) = self.connections.get_mut(&call.descriptor) else { return };
        let data = String::from_utf8(call.data()).expect("answers are text");
        let answers: Vec<&str> = match connection.is_json {
            true => data.split_inclusive('\n').collect(),
            false => data.split_inclusive("\n\n").collect(),
        };
        for answer in answers {
            let is_success = answer == "ok\n\n" || connection.is_json && answer.contains(r#""success""#);
            assert!(is_success && answer.ends_with('\n'), "{answer:?}");
            let values = connection.answers.pop_front().expect("it was asked");
            self.answered += values.len();
            self.early.extend(values.into_iter().filter(|value| !self.on_disk.contains(value)));
        }
    }
}

impl<'a> Call<'a> {
    fn parse(text: &'a str) -> Call<'a> {
        let (name, rest) = text.split_once('(').unwrap_or_else(|| panic!("{text:?} is no call"));
        let (descriptor, file) = rest.split_once('<').unwrap_or((rest, ""));
        let file = file.split('>').next().unwrap_or_default();
        let file = String::from_utf8_lossy(&decode(file)).into_owned();
        Call { name, descriptor: descriptor.parse().unwrap_or(u32::MAX), file, text }
    }

    /// The bytes that it writes.
    fn data(&self) -> Vec<u8> {
        assert!(!self.text.contains("\"..."), "strace has cut it: {}", self.text);
        // All strings are in hexadecimal, so that they have no quotes inside.
        self.text.split('"').skip(1).step_by(2).flat_map(decode).collect()
    }

    fn result(&self) -> Option<i64> {
        let (_, result) = self.text.rsplit_once(" = ")?;
        result.split(['<', ' ']).next()?.parse().ok()
    }
}

/// Bytes from `\x6f\x6b`.
fn decode(text: &str) -> Vec<u8> {
    let bytes = text.split("\\x").skip(1);
    bytes.map(|byte| u8::from_str_radix(&byte[..2], 16).expect("hexadecimal")).collect()
}

/// Points of a few keys with unique values that do not occur elsewhere.
struct Points {
    random: Random,
    second: i64,
}

impl Points {
    fn new() -> Points {
        Points { random: Random::new(), second: 1_500_000_000 }
    }

    fn draw(&mut self, count: usize) -> Vec<Point> {
        (0..count).map(|_| self.next()).collect()
    }

    fn next(&mut self) -> Point {
        self.second += 1;
        let key = format!("key-{}", self.random.below(5));
        // Between 1 and 2, with 52 bits at random.
        let value = f64::from_bits(0x3ff0_0000_0000_0000 | self.random.any() >> 12);
        Point { key, second: self.second, value }
    }
}

#[test]
fn one_put_at_a_time_is_answered_after_its_own_sync() {
    const COUNT: usize = 40;
    let traced = Traced::start("store");
    let mut client = traced.daemon.client();
    let (mut sent, mut points) = (Sent::on(&client), Points::new());
    for _ in 0..COUNT {
        let point = points.draw(1);
        sent.expect(&point);
        put_all(&mut client, &point);
    }
    let reader = traced.finish(vec![sent]);
    assert_eq!((reader.answered, reader.early.len()), (COUNT, 0), "acknowledged before the disk had it");
    assert!(reader.syncs >= COUNT, "{} syncs for {COUNT} points", reader.syncs);
}

#[test]
fn concurrent_points_are_acknowledged_after_their_sync() {
    let traced = Traced::start("store");
    let sent = put_on_many_connections(&traced.daemon);
    let reader = traced.finish(sent);
    assert_eq!(reader.early, [0; 0], "{} of {} points", reader.early.len(), reader.answered);
    println!("{} points acknowledged after their syncs, {} of them", reader.answered, reader.syncs);
}

/// The same check detects a daemon that does not wait for the disk.
#[test]
fn write_behind_is_detected_by_the_sync_check() {
    let traced = Traced::start("memory");
    let sent = put_on_many_connections(&traced.daemon);
    assert!(!traced.finish(sent).early.is_empty(), "every point was on the disk first");
}

fn put_on_many_connections(daemon: &Daemon) -> Vec<Sent> {
    thread::scope(|scope| {
        let work = |number| scope.spawn(move || put_batches(daemon.client(), number));
        let threads: Vec<_> = (0..8).map(work).collect();
        threads.into_iter().map(|thread| thread.join().expect("the client does not panic")).collect()
    })
}

/// Puts batches, one after the other; every fourth client does so in JSON.
fn put_batches(mut client: Client, number: i64) -> Sent {
    const BATCHES: usize = 25;
    let mut sent = Sent { is_json: number % 4 == 3, ..Sent::on(&client) };
    let mut points = Points::new();
    points.second += 10_000 * number;
    for _ in 0..BATCHES {
        let count = 1 + points.random.below(16) as usize;
        let batch = points.draw(count);
        if sent.is_json {
            sent.expect(&batch);
            client.send(&put_request(&batch));
            assert_eq!(client.reply()["status"], "success");
        } else {
            batch.chunks(1).for_each(|point| sent.expect(point));
            put_all(&mut client, &batch);
        }
    }
    sent
}

const FRAME_HEAD_BYTES: usize = 24;
const LOG_HEAD_BYTES: usize = 32;
