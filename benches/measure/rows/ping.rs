//! The shortest request.

use super::{ROUNDS, load};
use crate::figures::{Line, Samples, Verdict, short};
use crate::load::Load;
use crate::meter::Outcome;
use crate::process::{Cores, Server};

/// A ping, its line end included.
pub const PING: &str = "{\"command\": \"ping\", \"data\": {}}\n";
/// The start of the answer to it.
pub const PONG: &str = "{\"status\":\"success\",\"message\":\"PONG\"";

/// A server, a request to it, and the start and the lines of the answer; over WebSocket its bytes.
pub struct Candidate {
    pub server: Server,
    pub request: &'static str,
    pub answer: &'static str,
    pub lines: usize,
    pub is_websocket: bool,
}

/// The measurements of one candidate.
#[derive(Default)]
pub struct Measured {
    pub rate: Samples,
    cpu_us: Samples,
    busy: Samples,
    p50_us: Samples,
}

pub fn one_at_a_time(cores: &Cores) -> Vec<Line> {
    let wanted = &[("echo", 0.93), ("redis", 1.0), ("redis with RESP", 1.0), ("memcached", 1.0)];
    let candidates = with_resp(cores);
    vec![compared(cores, "JSON ping, 64 connections, one at a time", wanted, candidates, 1)]
}

pub fn pipelined(cores: &Cores) -> Vec<Line> {
    let wanted = &[("echo", 0.6), ("redis", 1.3), ("redis with RESP", 1.3)];
    let candidates = with_resp(cores);
    vec![compared(cores, "JSON ping, 64 connections × 32 pipelined", wanted, candidates, 32)]
}

/// [`candidates`], and redis with requests in the protocol of its clients: their length is known, not searched for.
fn with_resp(cores: &Cores) -> Vec<Candidate> {
    let mut candidates = candidates(cores);
    candidates.extend(Server::redis(cores).map(|mut server| {
        server.name = "redis with RESP";
        Candidate::new(server, "*1\r\n$4\r\nPING\r\n", "+PONG", 1)
    }));
    candidates
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

/// The daemon, the echo server and the peers that are installed, in this order.
pub fn candidates(cores: &Cores) -> Vec<Candidate> {
    let mut candidates = vec![
        Candidate::new(Server::vmherd(cores, "memory:", &[]), PING, PONG, 1),
        Candidate::new(Server::echo(cores), PING, PING, 1),
    ];
    candidates.extend(Server::redis(cores).map(|server| Candidate::new(server, "PING\r\n", "+PONG", 1)));
    candidates.extend(Server::memcached(cores).map(|server| Candidate::new(server, "mn\r\n", "MN", 1)));
    candidates.extend(Candidate::nginx(cores));
    candidates
}

/// The rate of the daemon, the first of `candidates`, beside the others, with 64 connections that each have `depth` requests
/// in flight; `wanted` are shares of the rates of others, by their names.
pub fn compared(
    cores: &Cores,
    figure: &str,
    wanted: &[(&str, f64)],
    candidates: Vec<Candidate>,
    depth: usize,
) -> Line {
    let (candidates, measured) = measure(cores, candidates, 64, depth);
    rate_line(figure, wanted, &candidates, &measured)
}

/// What `candidates` do with so many connections that each have `depth` requests in flight.
pub fn measure(
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

/// The line of the first of `candidates`; `wanted` are shares of the rates of others, by their names.
pub fn rate_line(
    figure: &str,
    wanted: &[(&str, f64)],
    candidates: &[Candidate],
    measured: &[Measured],
) -> Line {
    let describe = |measured: &Measured| {
        format!("{} µs CPU, {:.0} % busy", short(measured.cpu_us.median()), 100.0 * measured.busy.median())
    };
    let own = &measured[0];
    let (mut beside, mut verdict) = (Vec::new(), Verdict::Holds);
    for (Candidate { server, .. }, other) in candidates.iter().zip(measured).skip(1) {
        let (name, ratio) = (server.name, own.rate.ratio(&other.rate));
        let rate = short(other.rate.median());
        beside.push(format!("{} × {name}: {rate}/s ({})", ratio.in_words(), describe(other)));
        if let Some((_, share)) = wanted.iter().find(|(wanted, _)| *wanted == name) {
            verdict = verdict.and(Verdict::at_least(*share, &ratio));
        }
    }
    let wanted: Vec<String> = wanted.iter().map(|(name, share)| format!("{share} × {name}")).collect();
    Line {
        figure: figure.into(),
        wanted: wanted.join(", "),
        measured: format!("{}/s ({})", own.rate, describe(own)),
        beside: beside.join(", "),
        verdict,
    }
}

impl Candidate {
    /// A `server` whose answer has so many `lines`.
    pub fn new(server: Server, request: &'static str, answer: &'static str, lines: usize) -> Candidate {
        Candidate { server, request, answer, lines, is_websocket: false }
    }

    /// nginx, if it is installed.
    pub fn nginx(cores: &Cores) -> Option<Candidate> {
        // Six header lines, an empty one, and the text.
        let request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        Some(Candidate::new(Server::nginx(cores)?, request, "HTTP/1.1 200", 8))
    }

    /// So many `connections` with `depth` requests in flight each.
    pub fn load(&self, connections: usize, depth: usize) -> Load {
        let load = load(&self.server, self.request, self.answer);
        Load { connections, depth, lines: self.lines, is_websocket: self.is_websocket, ..load }
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
