//! What a request costs the daemon as there is more of everything.

use super::herd::Herd;
use super::ping::{PING, PONG};
use super::stored::{TOKEN_ANSWER, TOKEN_REQUEST};
use super::{ROUNDS, TIME};
use crate::figures::{Line, Samples, Verdict, short};
use crate::load::Load;
use crate::process::{Cores, Server};

/// VMs that are connected.
const CONNECTED: usize = 1000;
/// How much dearer the largest may be than the smallest.
const GROWTH_WANTED: f64 = 1.2;

/// Pings of 64 connections while others are open and idle.
pub fn connections(cores: &Cores) -> Vec<Line> {
    let server = Server::vmherd(cores, "memory:", &[]);
    let steps = [0, 1000, 9900];
    let mut cpu_us = steps.map(|_| Samples::default());
    for _ in 0..ROUNDS {
        for (idle, samples) in steps.into_iter().zip(&mut cpu_us) {
            let load = Load { idle, ..load(&server, PING.into(), PONG) };
            samples.push(cores.measure(&load).cpu_us);
        }
    }
    vec![line("CPU of a ping beside 0, 1000 and 9900 idle connections", &cpu_us)]
}

/// Token authentication among ever more VMs, a thousand of which are connected, from all over the table.
pub fn vms(cores: &Cores) -> Vec<Line> {
    let herds = [1000, 100_000, 1_000_000].map(|vms| Herd::new(vms, 1));
    let strides: Vec<usize> = herds.iter().map(|herd| herd.spread_tokens(CONNECTED)).collect();
    let servers: Vec<Server> = herds.iter().map(|herd| Server::vmherd(cores, &herd.location, &[])).collect();
    let mut cpu_us = [(); 3].map(|()| Samples::default());
    for _ in 0..ROUNDS {
        for ((server, stride), samples) in servers.iter().zip(&strides).zip(&mut cpu_us) {
            let load = load(server, TOKEN_REQUEST.into(), TOKEN_ANSWER);
            let load = Load { connections: CONNECTED, stride: *stride, ..load };
            samples.push(cores.measure(&load).cpu_us);
        }
    }
    vec![line(
        "CPU of a token authentication among 1 k, 100 k and 1 M VMs, SQLite, 1000 of them connected",
        &cpu_us,
    )]
}

fn line(figure: &str, cpu_us: &[Samples; 3]) -> Line {
    let [few, middle, many] = cpu_us;
    let ratio = many.ratio(few);
    Line {
        figure: figure.into(),
        wanted: format!("most ≤ {GROWTH_WANTED} × fewest"),
        measured: format!("{}, {}, {} µs", short(few.median()), short(middle.median()), short(many.median())),
        beside: format!("{:.2} ×", ratio.median()),
        verdict: Verdict::at_most(GROWTH_WANTED, &ratio),
    }
}

fn load(server: &Server, request: String, answer: &str) -> Load {
    Load {
        address: server.address,
        server: server.id(),
        connections: 64,
        idle: 0,
        depth: 1,
        time: TIME,
        request,
        answer: answer.into(),
        lines: 1,
        stride: 0,
        prelude: None,
    }
}
