//! Clients that put points all the time, and note what they send and what they are told.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::ledger::{Ledger, Told, since_begin};
use super::{FIRST_SECOND, Point, Random, object, put_line, request_of, try_answer};
use crate::common::{Client, DEADLINE, wait_until};

/// Clients at work.
pub struct Putters {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<Putter>>,
}

/// What a daemon may do while clients are at work.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum May {
    Live,
    /// Connections may end at any moment.
    Die,
}

struct Shared {
    address: SocketAddr,
    may: May,
    is_over: AtomicBool,
    done: AtomicUsize,
    failed: AtomicUsize,
}

/// One client, on a connection for text and one for JSON. It waits for all answers before it sends more.
struct Putter {
    number: u64,
    shared: Arc<Shared>,
    random: Random,
    ledger: File,
    path: PathBuf,
    keys: u64,
    points: u64,
    said: BTreeMap<String, usize>,
    worst: Duration,
}

/// What is sent at once.
enum Batch {
    /// Lines, each with an answer of its own.
    Lines(Vec<Point>),
    /// One request of JSON, whole or not at all.
    Whole(Vec<Point>),
    /// The same with a point that is none, so that it is refused.
    Bad(Vec<Point>),
}

impl Putters {
    /// Begins.
    pub fn start(address: SocketAddr, clients: usize, ledger: &Ledger, may: May) -> Putters {
        since_begin(Instant::now());
        let (is_over, done, failed) = Default::default();
        let shared = Arc::new(Shared { address, may, is_over, done, failed });
        let start = |_| {
            let putter = Putter::new(Arc::clone(&shared), ledger.folder());
            thread::spawn(|| putter.work())
        };
        let threads = (0..clients).map(start).collect();
        Putters { shared, threads }
    }

    /// Waits until `count` more batches have been done.
    #[track_caller]
    pub fn wait_done(&self, count: usize) {
        wait_for_more("points are put", &self.shared.done, count);
    }

    /// Waits until `count` more points or requests have failed.
    #[track_caller]
    pub fn wait_failed(&self, count: usize) {
        wait_for_more("points are refused", &self.shared.failed, count);
    }

    /// Ends it; what the clients were told comes to `ledger`.
    #[track_caller]
    pub fn finish(mut self, ledger: &mut Ledger) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        for thread in std::mem::take(&mut self.threads) {
            let putter = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            ledger.add(putter.number, &fs::read_to_string(&putter.path).expect("a ledger"));
            ledger.worst = ledger.worst.max(putter.worst);
            for (text, count) in putter.said {
                *ledger.said.entry(text).or_default() += count;
            }
        }
    }
}

impl Drop for Putters {
    /// A test has failed: its daemon is not to go before the clients do.
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
    }
}

impl Putter {
    fn new(shared: Arc<Shared>, folder: &Path) -> Putter {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(number.to_string());
        let ledger = File::create(&path).expect("a ledger");
        let (random, said, worst) = (Random::new(), BTreeMap::new(), Duration::ZERO);
        Putter { number, shared, random, ledger, path, keys: 0, points: 0, said, worst }
    }

    fn work(mut self) -> Putter {
        let connect = || Client::try_connect(self.shared.address);
        let (Some(mut text), Some(mut json)) = (connect(), connect()) else {
            assert!(self.shared.may == May::Die, "the daemon does not accept");
            return self;
        };
        while !self.shared.is_over.load(Ordering::Relaxed) {
            let batch = self.draw_batch();
            self.note_sent(&batch);
            let begin = Instant::now();
            let (told, is_cut) = match &batch {
                Batch::Lines(points) => self.put_lines(&mut text, points),
                Batch::Whole(points) => self.put_whole(&mut json, points, false),
                Batch::Bad(points) => self.put_whole(&mut json, points, true),
            };
            self.worst = self.worst.max(begin.elapsed());
            self.note_told(&told);
            if is_cut {
                assert!(self.shared.may == May::Die, "the daemon closes");
                break;
            }
            if told.iter().any(|(told, _)| *told != Told::Done) {
                // Who is refused at once asks again, but does nothing else with the processor.
                thread::park_timeout(Duration::from_millis(10));
            } else {
                self.shared.done.fetch_add(1, Ordering::Relaxed);
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

    /// A point that nobody else puts, of a key of its own or one of all clients. Those of a key do not come in
    /// the order of their times.
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

    fn note_sent(&mut self, batch: &Batch) {
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
        self.note(&points.iter().map(line).collect::<String>());
    }

    fn note_told(&mut self, told: &[(Told, usize)]) {
        let now = since_begin(Instant::now());
        let line = |(told, count): &(Told, usize)| {
            let word = match told {
                Told::Done => "done",
                Told::Refused => "refused",
                Told::Unknown => "unknown",
                Told::Nothing => return String::new(),
            };
            format!("{word} {now} {count}\n")
        };
        self.note(&told.iter().map(line).collect::<String>());
    }

    fn note(&mut self, lines: &str) {
        self.ledger.write_all(lines.as_bytes()).expect("a ledger can be written");
        self.ledger.sync_data().expect("a ledger can be synced");
    }

    /// What was told of each point, and whether the connection ended.
    fn put_lines(&mut self, client: &mut Client, points: &[Point]) -> (Vec<(Told, usize)>, bool) {
        let text: String = points.iter().map(put_line).collect();
        let mut told = Vec::new();
        // In one packet or two, of which the first ends anywhere.
        let (first, second) = text.split_at(self.random.below(text.len() as u64) as usize);
        if client.try_send(first.as_bytes()).is_err() || client.try_send(second.as_bytes()).is_err() {
            return (told, true);
        }
        for _ in points {
            let Some(answer) = try_answer(client) else { return (told, true) };
            told.push((self.judge(answer.err()), 1));
        }
        (told, false)
    }

    /// What was told of all of them, and whether the connection ended.
    fn put_whole(
        &mut self,
        client: &mut Client,
        points: &[Point],
        is_bad: bool,
    ) -> (Vec<(Told, usize)>, bool) {
        let mut objects: Vec<String> = points.iter().map(object).collect();
        if is_bad {
            let place = self.random.below(objects.len() as u64 + 1) as usize;
            objects.insert(place, r#"{"key": "no key", "value": 1, "timestamp": 1}"#.to_owned());
        }
        if client.try_send(request_of(&objects).as_bytes()).is_err() {
            return (Vec::new(), true);
        }
        let Some(line) = client.try_line() else { return (Vec::new(), true) };
        let reply: Value = serde_json::from_str(&line).expect("a whole line is a whole reply");
        let told = match (reply["status"] == "success", is_bad) {
            (true, true) => panic!("a point that is none was put: {reply}"),
            (true, false) => self.judge(None),
            (false, true) => Told::Refused,
            (false, false) => self.judge(Some(reply["message"].as_str().expect("a message").to_owned())),
        };
        (vec![(told, points.len())], false)
    }

    /// What an answer means; nothing stands for success.
    fn judge(&mut self, error: Option<String>) -> Told {
        if error.is_some() {
            self.shared.failed.fetch_add(1, Ordering::Relaxed);
        }
        let told = match error.as_deref() {
            None => Told::Done,
            Some("outcome unknown") => Told::Unknown,
            Some(_) => Told::Refused,
        };
        *self.said.entry(error.unwrap_or_default()).or_default() += 1;
        told
    }
}

#[track_caller]
fn wait_for_more(what: &str, counter: &AtomicUsize, count: usize) {
    let wanted = counter.load(Ordering::Relaxed) + count;
    wait_until(what, DEADLINE, || counter.load(Ordering::Relaxed) >= wanted);
}

/// More than a client puts points.
const SECONDS_PER_CLIENT: u64 = 100_000;
