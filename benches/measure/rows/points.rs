//! A million stored points: the time to list them, and their memory and disk space.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use vmherd::internals::limits::SQLITE_CACHE_KIB;

use super::seeded_store::SeededStore;
use super::{ROUNDS, postgres};
use crate::figures::{Line, Samples, Verdict, short};
use crate::points::{key, put_line, value_at};
use crate::process::{Cores, Server, processor_time};
use crate::sys;

/// All points as lines.
pub fn get(cores: &Cores) -> Vec<Line> {
    let in_memory = Server::vmherd(cores, "memory:", &[]);
    put_through(&in_memory);
    let seeded = SeededStore::new(1, 1);
    seeded.put_points(SERIES, seconds());
    let in_file = Server::vmherd(cores, &seeded.location, &[]);
    let series: Vec<(String, Vec<(i64, f64)>)> = (0..SERIES).map(|at| (key(at), points_of(at))).collect();
    let mut memory = GetResults::new("in memory", "formatting alone", 1.5, 0.0);
    let mut file = GetResults::new("SQLite", "one scan, formatted", 1.3, SQLITE_CACHE_KIB as f64);
    for _ in 0..ROUNDS {
        memory.add(cores, &in_memory, || format_all(&series));
        file.add(cores, &in_file, || scan_and_format(&seeded.bare()));
    }
    memory.add_stalled(&in_memory);
    file.add_stalled(&in_file);
    memory.lines().into_iter().chain(file.lines()).collect()
}

/// The measurements of one store.
struct GetResults {
    store: &'static str,
    bare_name: &'static str,
    /// The time that is wanted, by that of `bare`.
    wanted: f64,
    own: Samples,
    bare: Samples,
    growth: Samples,
    /// While the client takes nothing.
    stalled_growth: f64,
    /// What the store keeps of pages that it has read.
    cache_kib: f64,
}

impl GetResults {
    fn new(store: &'static str, bare_name: &'static str, wanted: f64, cache_kib: f64) -> GetResults {
        let empty = Samples::default;
        GetResults {
            store,
            bare_name,
            wanted,
            own: empty(),
            bare: empty(),
            growth: empty(),
            stalled_growth: 0.0,
            cache_kib,
        }
    }

    /// Measures `server`, and `bare`, which returns how many bytes it made.
    fn add(&mut self, cores: &Cores, server: &Server, bare: impl FnOnce() -> usize) {
        server.reset_peak();
        let before = server.status_kib("VmHWM");
        sys::pin(&cores.generator);
        let (seconds, bytes) = ask_all(server);
        sys::pin(&cores.server);
        self.own.push(seconds);
        self.growth.push((server.status_kib("VmHWM") - before) as f64);
        let begin = Instant::now();
        let made = bare();
        self.bare.push(begin.elapsed().as_secs_f64());
        sys::pin(&cores.all);
        assert_eq!(bytes, made + "ok\n\n".len(), "the daemon and the loop make the same");
    }

    /// Measures `server` while its client asks for all and takes nothing.
    fn add_stalled(&mut self, server: &Server) {
        server.reset_peak();
        let before = server.status_kib("VmHWM");
        let mut stream = TcpStream::connect(server.address).expect("it accepts");
        stream.write_all(b"get *\n").expect("it reads");
        stream.read_exact(&mut [0]).expect("it answers");
        let mut spent = None;
        while spent != Some(processor_time(server.id())) {
            spent = Some(processor_time(server.id()));
            thread::sleep(Duration::from_millis(50));
        }
        self.stalled_growth = (server.status_kib("VmHWM") - before) as f64;
    }

    fn lines(&self) -> [Line; 2] {
        let ratio = self.own.ratio(&self.bare);
        [
            Line {
                figure: format!("metrics get of 1 M points, {}, one client: time", self.store),
                wanted: format!("≤ {} × {}", self.wanted, self.bare_name),
                measured: format!("{} ms", self.own.scaled(1e3)),
                beside: format!("{ratio} × {} ({} ms)", self.bare_name, short(1e3 * self.bare.median())),
                verdict: Verdict::at_most(self.wanted, &ratio),
            },
            Line {
                figure: "the same: growth of the daemon's memory, the first time".into(),
                wanted: "≤ 1 MiB of output".into(),
                measured: format!("{} KiB", self.growth.first()),
                beside: format!(
                    "with what a thread has, and {} KiB of the store's cache; in later rounds {} KiB; while a \
                     client takes nothing {} KiB",
                    self.cache_kib,
                    self.growth.median(),
                    self.stalled_growth
                ),
                verdict: Verdict::exact(
                    self.growth.first() <= 1024.0 + THREAD_KIB + self.cache_kib
                        && self.stalled_growth <= 1024.0,
                ),
            },
        ]
    }
}

/// The time of an answer with all points, and its bytes.
fn ask_all(server: &Server) -> (f64, usize) {
    let mut stream = TcpStream::connect(server.address).expect("it accepts");
    let begin = Instant::now();
    stream.write_all(b"get *\n").expect("it reads");
    let (mut chunk, mut bytes, mut end) = (vec![0; 256 << 10], 0, [0; 2]);
    while end != *b"\n\n" {
        let count = stream.read(&mut chunk).expect("it answers");
        assert_ne!(count, 0, "it closed after {bytes} bytes");
        bytes += count;
        end = if count == 1 { [end[1], chunk[0]] } else { [chunk[count - 2], chunk[count - 1]] };
    }
    (begin.elapsed().as_secs_f64(), bytes)
}

/// Writes every point from memory into memory that is used again; how many bytes that are.
fn format_all(series: &[(String, Vec<(i64, f64)>)]) -> usize {
    let mut output = Output::default();
    for (key, points) in series {
        for (second, value) in points {
            output.line(key, *second, *value);
        }
    }
    output.bytes + output.text.len()
}

/// The same of what one statement reads.
fn scan_and_format(connection: &Connection) -> usize {
    let sql = "SELECT series.key, points.second, points.value FROM series CROSS JOIN points
               ON points.series = series.id ORDER BY series.id, points.second";
    let mut statement = connection.prepare(sql).expect("a statement");
    let mut rows = statement.query([]).expect("rows");
    let mut output = Output::default();
    while let Some(row) = rows.next().expect("a row") {
        let key = row.get_ref_unwrap(0).as_str().expect("a text");
        output.line(key, row.get_unwrap(1), row.get_unwrap(2));
    }
    output.bytes + output.text.len()
}

#[derive(Default)]
struct Output {
    text: Vec<u8>,
    /// Those that have been written and thrown away.
    bytes: usize,
}

impl Output {
    fn line(&mut self, key: &str, second: i64, value: f64) {
        self.text.extend_from_slice(key.as_bytes());
        self.text.push(b' ');
        serde_json::to_writer(&mut self.text, &value).expect("a number");
        self.text.push(b' ');
        serde_json::to_writer(&mut self.text, &second).expect("a number");
        self.text.push(b'\n');
        if self.text.len() > 32 << 10 {
            self.bytes += self.text.len();
            self.text.clear();
        }
    }
}

/// Disk space of a point.
pub fn disk(cores: &Cores) -> Vec<Line> {
    let seeded = SeededStore::new(1, 1);
    seeded.put_points(SERIES, seconds());
    seeded.bare().query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).expect("a checkpoint");
    let path = seeded.location.trim_start_matches("sqlite:");
    let size = |suffix| fs::metadata(Path::new(&format!("{path}{suffix}"))).map_or(0, |file| file.len());
    let mut sizes = vec![("SQLite", size("") + size("-wal"))];
    if let Some(cluster) = postgres::start(cores) {
        let database = cluster.database();
        let seeded = SeededStore::in_postgres(database.url(), 1, 1);
        seeded.put_points(SERIES, seconds());
        let sql = "SELECT pg_total_relation_size('points') + pg_total_relation_size('series')";
        let size: i64 = database.client().query_one(sql, &[]).expect("a size").get(0);
        sizes.push(("PostgreSQL", size.unsigned_abs()));
    }
    let words = sizes.iter().map(|(store, bytes)| format!("{store} {:.1} B", *bytes as f64 / POINTS as f64));
    vec![Line {
        figure: "1 M points of 1000 series on disk, each".into(),
        wanted: String::new(),
        measured: words.collect::<Vec<_>>().join(", "),
        beside: "16 B are a time and a value".into(),
        verdict: Verdict::None,
    }]
}

/// Puts the million points through a daemon.
fn put_through(server: &Server) {
    let mut stream = TcpStream::connect(server.address).expect("it accepts");
    let mut answers = stream.try_clone().expect("a socket");
    let reader = thread::spawn(move || {
        let mut chunk = vec![0; OK.len() * POINTS / 16];
        (0..16).for_each(|_| answers.read_exact(&mut chunk).expect("it answers"));
        assert!(chunk.chunks(OK.len()).all(|answer| answer == OK), "they are kept");
    });
    for second in seconds() {
        let line = |series| put_line(&key(series), value_at(series, second), &second.to_string());
        let lines: String = (0..SERIES).map(line).collect();
        stream.write_all(lines.as_bytes()).expect("it reads");
    }
    reader.join().expect("it ends");
}

fn points_of(series: usize) -> Vec<(i64, f64)> {
    seconds().map(|second| (second, value_at(series, second))).collect()
}

fn seconds() -> std::ops::Range<i64> {
    1_700_000_000..1_700_000_000 + (POINTS / SERIES) as i64
}

const OK: &[u8] = b"ok\n\n";
const SERIES: usize = 1000;
const POINTS: usize = 1_000_000;
/// What a thread touches, and an allocator of its own.
const THREAD_KIB: f64 = 256.0;
