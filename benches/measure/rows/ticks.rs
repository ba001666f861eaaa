//! The longest tick of the reactor while the largest requests of each dialect and framing are read and answered.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};

use vmherd::internals::limits::POINTS_PER_REQUEST_MAX;

use super::ROUNDS;
use crate::figures::{Line, Samples, Verdict};
use crate::process::{Cores, Server};

/// Bytes of a request, at most.
const REQUEST_BYTES: usize = 1 << 20;
const TICK_US_WANTED: f64 = 5000.0;
/// The second of the first point.
const FIRST: usize = 1_501_864_247;
/// So many clients send each at the same time.
const CLIENTS: usize = 4;

/// A request of the maximum size: its start, the part that is repeated, and its end.
struct Large {
    name: &'static str,
    start: &'static str,
    unit: &'static str,
    end: &'static str,
}

const LARGE: &[Large] = &[
    Large { name: "fields", start: "{\"command\":\"ping\",\"data\":{", unit: "\"a\":0,", end: "\"b\":0}}" },
    Large {
        name: "fields with escapes",
        start: "{\"command\":\"ping\",\"data\":{",
        unit: "\"\\u0061\":0,",
        end: "\"b\":0}}",
    },
    Large { name: "disks", start: "{\"action\":\"add_vm\",\"ram\":1,\"disks\":[", unit: "1,", end: "1]}" },
    Large {
        name: "points",
        start: "{\"command\":\"put\",\"data\":{\"points\":[",
        unit: "{\"key\":\"k\",\"value\":1},",
        end: "{\"key\":\"k\",\"value\":1}]}}",
    },
    Large { name: "brackets", start: "{\"command\":\"ping\",\"data\":[", unit: "[],", end: "[]]}" },
    Large {
        name: "an entity again and again",
        start: "{\"request_id\":1,\"data\":\"",
        unit: "e&&a&&1%%",
        end: "\"}",
    },
    Large {
        name: "escapes of a conversion",
        start: "{\"request_id\":1,\"data\":\"",
        unit: "\\u00e9",
        end: "\"}",
    },
];

pub fn largest_requests(cores: &Cores) -> Vec<Line> {
    let mut lines: Vec<Line> =
        LARGE.iter().map(|large| measured(cores, large.name, &large.text(), false)).collect();
    let entities: String = (0..80_000).map(|index| format!("e{index}&&a&&1%%")).collect();
    let entities = format!("{{\"request_id\":1,\"data\":\"{entities}\"}}");
    lines.push(measured(cores, "entities", &entities, false));
    let large = LARGE[0].text();
    let post = format!(
        "POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{large}",
        large.len()
    );
    lines.push(measured(cores, "fields over HTTP", &post, false));
    let points: String = (0..REQUEST_BYTES / 23).map(|at| format!("put key 1.5 {}\n", FIRST + at)).collect();
    lines.push(measured(cores, "lines of text", &points, false));
    let points: String = (0..POINTS_PER_REQUEST_MAX)
        .map(|at| format!("{{\"key\":\"k{at}\",\"value\":1,\"timestamp\":{}}},", FIRST + at))
        .collect();
    let points = points.trim_end_matches(',');
    let put = format!("{{\"command\":\"put\",\"data\":{{\"points\":[{points}]}}}}\n").repeat(5);
    lines.push(measured(cores, "puts of as many points as may be", &put, false));
    lines.push(measured(cores, "errors", &"x\n".repeat(REQUEST_BYTES / 2), false));
    lines.push(measured(cores, "the longest reply: points of the longest keys", "get *\n", true));
    lines
}

impl Large {
    fn text(&self) -> String {
        let count = (REQUEST_BYTES - self.start.len() - self.end.len()) / self.unit.len();
        format!("{}{}{}", self.start, self.unit.repeat(count), self.end)
    }
}

/// The longest tick while several clients send `text` at the same time and read the answers.
fn measured(cores: &Cores, name: &str, text: &str, has_points: bool) -> Line {
    let mut ticks = Samples::default();
    for _ in 0..ROUNDS {
        let server = Server::vmherd(cores, "memory:", &["--conversion-delay", "0"]);
        if has_points {
            put_points(&server);
        }
        std::thread::scope(|scope| {
            for _ in 0..CLIENTS {
                scope.spawn(|| ask(&server, text));
            }
        });
        ticks.push(server.counter("turn_us_max") as f64);
    }
    Line {
        figure: format!("{CLIENTS} requests of 1 MiB at once, {name}: the longest tick of the reactor"),
        wanted: format!("≤ {} ms", TICK_US_WANTED / 1e3),
        measured: format!("{:.1} ms", ticks.median() / 1e3),
        beside: String::new(),
        verdict: Verdict::at_most(TICK_US_WANTED, &ticks),
    }
}

/// Sends `text` and reads to the end.
fn ask(server: &Server, text: &str) {
    let mut stream = TcpStream::connect(server.address).expect("it accepts");
    let mut reader = stream.try_clone().expect("a descriptor");
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut chunk = [0; 64 << 10];
            while reader.read(&mut chunk).is_ok_and(|count| count > 0) {}
        });
        stream.write_all(text.as_bytes()).expect("it reads");
        let _ = stream.shutdown(Shutdown::Write);
    });
}

/// Makes the longest pages: many series with keys of the maximum length.
fn put_points(server: &Server) {
    let mut stream = TcpStream::connect(server.address).expect("it accepts");
    let lines: String = (0..20_000).map(|index| format!("put {index:0>200} 1.5 1501864247\n")).collect();
    let mut reader = BufReader::new(stream.try_clone().expect("a descriptor"));
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for _ in 0..40_000 {
                let mut line = String::new();
                reader.read_line(&mut line).expect("it answers");
            }
        });
        stream.write_all(lines.as_bytes()).expect("it reads");
    });
}
