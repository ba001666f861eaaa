//! Clients that put points all the time, and record what they send and which answers they get.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::history::{Outcome, PointHistory, since_begin};
use super::{FIRST_SECOND, Point, object, put_line, request_of, try_answer};
use crate::common::{BackgroundClients, Client, DaemonFate, Progress, Random};

/// The clients.
pub struct PointWriters(BackgroundClients<PointWriter>);

/// One client, on a connection for text and one for JSON. It waits for all answers before it sends more.
struct PointWriter {
    number: u64,
    address: SocketAddr,
    fate: DaemonFate,
    progress: Arc<Progress>,
    random: Random,
    record: File,
    path: PathBuf,
    keys: u64,
    points: u64,
    errors: BTreeMap<String, usize>,
    worst: Duration,
}

/// What is sent at once.
enum Batch {
    /// Lines, each with an answer of its own.
    Lines(Vec<Point>),
    /// One request of JSON, all or nothing.
    Whole(Vec<Point>),
    /// The same with an invalid point, so that it is refused.
    Bad(Vec<Point>),
}

impl PointWriters {
    /// Starts so many `clients`.
    pub fn start(
        address: SocketAddr,
        clients: usize,
        history: &PointHistory,
        fate: DaemonFate,
    ) -> PointWriters {
        since_begin(Instant::now());
        PointWriters(BackgroundClients::start(clients, |progress| {
            let writer = PointWriter::new(address, fate, progress, history.folder());
            || writer.work()
        }))
    }

    /// Waits until `count` more batches have been done.
    #[track_caller]
    pub fn wait_done(&self, count: usize) {
        self.0.wait_done(count);
    }

    /// Waits until `count` more points or requests have failed.
    #[track_caller]
    pub fn wait_failed(&self, count: usize) {
        self.0.wait_failed(count);
    }

    /// Ends the clients and adds what they have recorded to `history`.
    #[track_caller]
    pub fn finish(self, history: &mut PointHistory) {
        for writer in self.0.finish() {
            history.add(writer.number, &fs::read_to_string(&writer.path).expect("a record"));
            history.worst = history.worst.max(writer.worst);
            for (text, count) in writer.errors {
                *history.errors.entry(text).or_default() += count;
            }
        }
    }
}

impl PointWriter {
    fn new(address: SocketAddr, fate: DaemonFate, progress: Arc<Progress>, folder: &Path) -> PointWriter {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(number.to_string());
        let record = File::create(&path).expect("a new file");
        let (random, errors, worst) = (Random::new(), BTreeMap::new(), Duration::ZERO);
        PointWriter {
            number,
            address,
            fate,
            progress,
            random,
            record,
            path,
            keys: 0,
            points: 0,
            errors,
            worst,
        }
    }

    fn work(mut self) -> PointWriter {
        let connect = || Client::try_connect(self.address);
        let (Some(mut text), Some(mut json)) = (connect(), connect()) else {
            assert!(self.fate == DaemonFate::Dies, "the daemon does not accept");
            return self;
        };
        while !self.progress.is_over() {
            let batch = self.draw_batch();
            self.record_sent(&batch);
            let begin = Instant::now();
            let (outcomes, is_cut) = match &batch {
                Batch::Lines(points) => self.put_lines(&mut text, points),
                Batch::Whole(points) => self.put_whole(&mut json, points, false),
                Batch::Bad(points) => self.put_whole(&mut json, points, true),
            };
            self.worst = self.worst.max(begin.elapsed());
            self.record_outcomes(&outcomes);
            if is_cut {
                assert!(self.fate == DaemonFate::Dies, "the daemon closes");
                break;
            }
            if outcomes.iter().any(|(outcome, _)| *outcome != Outcome::Acknowledged) {
                // A client that is refused at once must not keep the processor busy.
                thread::park_timeout(Duration::from_millis(10));
            } else {
                self.progress.add_done();
            }
        }
        self
    }

    fn draw_batch(&mut self) -> Batch {
        match self.random.below(16) {
            0 => Batch::Bad(self.draw_points(16)),
            1 | 2 => Batch::Whole(self.draw_points(16)),
            _ => Batch::Lines(self.draw_points(64)),
        }
    }

    fn draw_points(&mut self, count_max: u64) -> Vec<Point> {
        (0..1 + self.random.below(count_max)).map(|_| self.draw_point()).collect()
    }

    /// A point that no other client puts, of a key of its own or one that all clients use. The points of a key do not
    /// come in the order of their times.
    fn draw_point(&mut self) -> Point {
        if self.keys < 3 || self.random.below(64) == 0 {
            self.keys += 1;
        }
        let key = match self.random.below(4) {
            0 => format!("all.key-{}", self.random.below(self.keys)),
            _ => format!("client-{}.key-{}", self.number, self.random.below(self.keys)),
        };
        self.points += 1;
        let second = FIRST_SECOND + (self.number * SECONDS_PER_CLIENT + (self.points ^ 5)) as i64;
        Point { key, second, value: self.random.value() }
    }

    fn record_sent(&mut self, batch: &Batch) {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let now = since_begin(Instant::now());
        let (points, request) = match batch {
            Batch::Lines(points) => (points, "-".to_owned()),
            Batch::Whole(points) | Batch::Bad(points) => {
                (points, NEXT.fetch_add(1, Ordering::Relaxed).to_string())
            }
        };
        let line = |Point { key, second, value }: &Point| {
            format!("sent {now} {request} {key} {second} {:x}\n", value.to_bits())
        };
        self.write_record(&points.iter().map(line).collect::<String>());
    }

    fn record_outcomes(&mut self, outcomes: &[(Outcome, usize)]) {
        let now = since_begin(Instant::now());
        let line = |(outcome, count): &(Outcome, usize)| {
            let word = match outcome {
                Outcome::Acknowledged => "acknowledged",
                Outcome::Refused => "refused",
                Outcome::Unknown => "unknown",
                Outcome::Unanswered => return String::new(),
            };
            format!("{word} {now} {count}\n")
        };
        self.write_record(&outcomes.iter().map(line).collect::<String>());
    }

    fn write_record(&mut self, lines: &str) {
        self.record.write_all(lines.as_bytes()).expect("a file can be written");
        self.record.sync_data().expect("a file can be synced");
    }

    /// The outcome of each point, and whether the connection ended.
    fn put_lines(&mut self, client: &mut Client, points: &[Point]) -> (Vec<(Outcome, usize)>, bool) {
        let text: String = points.iter().map(put_line).collect();
        let mut outcomes = Vec::new();
        // In one packet or two, of which the first ends anywhere.
        let (first, second) = text.split_at(self.random.below(text.len() as u64) as usize);
        if client.try_send(first.as_bytes()).is_err() || client.try_send(second.as_bytes()).is_err() {
            return (outcomes, true);
        }
        for _ in points {
            let Some(answer) = try_answer(client) else { return (outcomes, true) };
            outcomes.push((self.outcome(answer.err()), 1));
        }
        (outcomes, false)
    }

    /// The outcome of all points together, and whether the connection ended.
    fn put_whole(
        &mut self,
        client: &mut Client,
        points: &[Point],
        is_bad: bool,
    ) -> (Vec<(Outcome, usize)>, bool) {
        let mut objects: Vec<String> = points.iter().map(object).collect();
        if is_bad {
            let index = self.random.below(objects.len() as u64 + 1) as usize;
            objects.insert(index, r#"{"key": "no key", "value": 1, "timestamp": 1}"#.to_owned());
        }
        if client.try_send(request_of(&objects).as_bytes()).is_err() {
            return (Vec::new(), true);
        }
        let Some(line) = client.try_line() else { return (Vec::new(), true) };
        let reply: Value = serde_json::from_str(&line).expect("a whole line is a whole reply");
        let outcome = match (reply["status"] == "success", is_bad) {
            (true, true) => panic!("an invalid point was put: {reply}"),
            (true, false) => self.outcome(None),
            (false, true) => Outcome::Refused,
            (false, false) => self.outcome(Some(reply["message"].as_str().expect("a message").to_owned())),
        };
        (vec![(outcome, points.len())], false)
    }

    /// What an answer means; without an `error` it is a success.
    fn outcome(&mut self, error: Option<String>) -> Outcome {
        let Some(error) = error else { return Outcome::Acknowledged };
        self.progress.add_failed();
        let outcome = if error == "outcome unknown" { Outcome::Unknown } else { Outcome::Refused };
        *self.errors.entry(error).or_default() += 1;
        outcome
    }
}

/// More points than a client puts.
const SECONDS_PER_CLIENT: u64 = 100_000;
