//! The shortest request there is.

use super::{ROUNDS, TIME};
use crate::figures::{Line, Samples, Verdict, short};
use crate::load::{Load, Outcome};
use crate::process::{Cores, Server};

/// A ping, its line end included.
pub const PING: &str = "{\"command\": \"ping\", \"data\": {}}\n";
/// What the answer to it begins with.
pub const PONG: &str = "{\"status\":\"success\",\"message\":\"PONG\"";

/// A server and what it is asked.
pub struct Candidate {
    pub server: Server,
    pub request: &'static str,
    pub answer: &'static str,
    pub lines: usize,
    pub is_websocket: bool,
}

/// What the rounds have measured of one candidate.
#[derive(Default)]
pub struct Measured {
    pub rate: Samples,
    cpu_us: Samples,
    busy: Samples,
    p50_us: Samples,
}

pub fn one_at_a_time(cores: &Cores) -> Vec<Line> {
    let (candidates, measured) = measure(cores, candidates(cores), 64, 1);
    let ratio = measured[0].rate.ratio(&measured[1].rate);
    vec![rate_line("JSON ping, 64 connections, one at a time", 0.95, &ratio, &candidates, &measured)]
}

pub fn pipelined(cores: &Cores) -> Vec<Line> {
    let (candidates, measured) = measure(cores, candidates(cores), 64, 32);
    let ratio = measured[0].rate.ratio(&measured[1].rate);
    vec![rate_line("JSON ping, 64 connections × 32 pipelined", 0.65, &ratio, &candidates, &measured)]
}

pub fn single(cores: &Cores) -> Vec<Line> {
    let (candidates, measured) = measure(cores, candidates(cores), 1, 1);
    let ratio = measured[0].p50_us.ratio(&measured[1].p50_us);
    let others = candidates.iter().zip(&measured).skip(1);
    let beside: Vec<String> = others
        .map(|(candidate, measured)| {
            format!("{} {} µs", candidate.server.name, short(measured.p50_us.median()))
        })
        .collect();
    vec![Line {
        figure: "JSON ping, one connection, p50".into(),
        wanted: "≤ 1.05 × echo".into(),
        measured: format!("{} µs", measured[0].p50_us),
        beside: format!("{:.2} × echo; {}", ratio.median(), beside.join(", ")),
        verdict: Verdict::at_most(1.05, &ratio),
    }]
}

/// The daemon, the echo server and the peers that are there, in this order.
pub fn candidates(cores: &Cores) -> Vec<Candidate> {
    let vmherd = Server::vmherd(cores, "memory:", &[]);
    let mut candidates = vec![
        Candidate { server: vmherd, request: PING, answer: PONG, lines: 1, is_websocket: false },
        Candidate { server: Server::echo(cores), request: PING, answer: PING, lines: 1, is_websocket: false },
    ];
    let redis = Server::redis(cores);
    candidates.extend(redis.map(|server| Candidate {
        server,
        request: "PING\r\n",
        answer: "+PONG",
        lines: 1,
        is_websocket: false,
    }));
    let memcached = Server::memcached(cores);
    candidates.extend(memcached.map(|server| Candidate {
        server,
        request: "mn\r\n",
        answer: "MN",
        lines: 1,
        is_websocket: false,
    }));
    let request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let nginx = Server::nginx(cores);
    // Six header lines, an empty one, and the text.
    candidates.extend(nginx.map(|server| Candidate {
        server,
        request,
        answer: "HTTP/1.1 200",
        lines: 8,
        is_websocket: false,
    }));
    candidates
}

/// Rates of `candidates`, the first of which is ours and the second the echo server, 64 connections that ask one
/// thing at a time.
pub fn compared(cores: &Cores, figure: &str, wanted: f64, candidates: Vec<Candidate>) -> Line {
    let (candidates, measured) = measure(cores, candidates, 64, 1);
    let ratio = measured[0].rate.ratio(&measured[1].rate);
    rate_line(figure, wanted, &ratio, &candidates, &measured)
}

fn measure(
    cores: &Cores,
    candidates: Vec<Candidate>,
    connections: usize,
    depth: usize,
) -> (Vec<Candidate>, Vec<Measured>) {
    let mut measured: Vec<Measured> = candidates.iter().map(|_| Measured::default()).collect();
    for _ in 0..ROUNDS {
        for (candidate, measured) in candidates.iter().zip(&mut measured) {
            measured.add(cores.measure(&candidate.load(connections, depth)));
        }
    }
    (candidates, measured)
}

pub fn rate_line(
    figure: &str,
    wanted: f64,
    ratio: &Samples,
    candidates: &[Candidate],
    measured: &[Measured],
) -> Line {
    let describe = |measured: &Measured| {
        format!("{} µs CPU, {:.0} % busy", short(measured.cpu_us.median()), 100.0 * measured.busy.median())
    };
    let others = candidates.iter().zip(measured).skip(1);
    let beside: Vec<String> = others
        .map(|(candidate, measured)| {
            format!("{} {}/s ({})", candidate.server.name, short(measured.rate.median()), describe(measured))
        })
        .collect();
    Line {
        figure: figure.into(),
        wanted: format!("{wanted} × echo"),
        measured: format!("{}/s ({})", measured[0].rate, describe(&measured[0])),
        beside: format!("{ratio} × echo; {}", beside.join(", "))
            .replacen(" ±", " (±", 1)
            .replacen(" %", " %)", 1),
        verdict: Verdict::at_least(wanted, ratio),
    }
}

impl Candidate {
    /// Asking it with so many connections, so many requests at once on each.
    pub fn load(&self, connections: usize, depth: usize) -> Load {
        Load {
            address: self.server.address,
            server: self.server.id(),
            connections,
            idle: 0,
            depth,
            time: TIME,
            request: self.request.into(),
            answer: self.answer.into(),
            lines: self.lines,
            is_websocket: self.is_websocket,
            stride: 0,
            prelude: None,
        }
    }
}

impl Measured {
    pub fn add(&mut self, outcome: Outcome) {
        self.rate.push(outcome.rate);
        self.cpu_us.push(outcome.cpu_us);
        self.busy.push(outcome.busy);
        self.p50_us.push(outcome.p50_us);
    }
}
