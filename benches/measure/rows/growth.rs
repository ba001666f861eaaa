//! The processor time of a request as connections and VMs grow.

use std::time::Duration;

use super::ping::{PING, PONG, candidates};
use super::seeded_store::SeededStore;
use super::stored::{TOKEN_ANSWER, TOKEN_REQUEST, UPDATE_REQUEST};
use super::{ROUNDS, TIME, load};
use crate::figures::{Line, Samples, Verdict, short};
use crate::load::Load;
use crate::process::{Cores, Server};

/// VMs that are connected.
const CONNECTED: usize = 1000;
/// The largest costs at most so many times the smallest.
const GROWTH_WANTED: f64 = 1.2;
const HEARTBEAT_WANTED: f64 = 1.08;

/// Pings of ever more connections, and of 64 while ever more others are open and idle.
pub fn connections(cores: &Cores) -> Vec<Line> {
    let server = Server::vmherd(cores, "memory:", &[]);
    let (busy, idle) = ([1, 64, 1000, 10_000], [0, 1000, 9900]);
    let (mut of_busy, mut of_idle) = (busy.map(|_| Samples::default()), idle.map(|_| Samples::default()));
    let (echo, mut of_echo) = (Server::echo(cores), busy.map(|_| Samples::default()));
    for _ in 0..ROUNDS {
        for ((connections, own), limit) in busy.into_iter().zip(&mut of_busy).zip(&mut of_echo) {
            own.push(cores.measure(&Load { connections, ..load(&server, PING, PONG) }).cpu_us);
            limit.push(cores.measure(&Load { connections, ..load(&echo, PING, PING) }).cpu_us);
        }
        for (idle, samples) in idle.into_iter().zip(&mut of_idle) {
            let load = Load { connections: 64, idle, ..load(&server, PING, PONG) };
            samples.push(cores.measure(&load).cpu_us);
        }
    }
    let limit = line("", &of_echo);
    let mut busy = line("CPU of a ping, 1, 64, 1000 and 10 000 connections busy", &of_busy);
    busy.beside += &format!("; echo {}: {}", limit.measured, limit.beside);
    vec![busy, line("CPU of a ping beside 0, 1000 and 9900 idle connections", &of_idle)]
}

/// Ten thousand connections that send a ping each second.
pub fn heartbeats(cores: &Cores) -> Vec<Line> {
    let candidates = candidates(cores);
    let mut cpu_us: Vec<Samples> = candidates.iter().map(|_| Samples::default()).collect();
    for _ in 0..ROUNDS {
        for (candidate, samples) in candidates.iter().zip(&mut cpu_us) {
            let every = Some(Duration::from_secs(1));
            let load = Load { every, time: 4 * TIME, ..candidate.load(10_000, 1) };
            samples.push(cores.measure(&load).cpu_us);
        }
    }
    let others = candidates.iter().zip(&cpu_us).skip(1).map(|(candidate, other)| {
        let (name, ratio) = (candidate.server.name, cpu_us[0].ratio(other));
        format!("{} × {name}: {} µs", ratio.in_words(), short(other.median()))
    });
    vec![Line {
        figure: "CPU of a ping, 10 000 connections that send one each second".into(),
        wanted: format!("≤ {HEARTBEAT_WANTED} × echo"),
        measured: format!("{} µs", cpu_us[0]),
        beside: others.collect::<Vec<_>>().join(", "),
        verdict: Verdict::at_most(HEARTBEAT_WANTED, &cpu_us[0].ratio(&cpu_us[1])),
    }]
}

/// Tokens and updates by token among ever more VMs, a thousand of which are connected, from all over the table.
pub fn vms(cores: &Cores) -> Vec<Line> {
    let stores = [1000, 100_000, 1_000_000].map(|vms| SeededStore::new(vms, 1));
    let strides: Vec<usize> = stores.iter().map(|seeded| seeded.spread_tokens(CONNECTED)).collect();
    let servers: Vec<Server> =
        stores.iter().map(|seeded| Server::vmherd(cores, &seeded.location, &[])).collect();
    let requests = [
        ("a token authentication", TOKEN_REQUEST, TOKEN_ANSWER),
        ("an update by token", UPDATE_REQUEST, "{\"status\":\"success\""),
    ];
    requests
        .map(|(name, request, answer)| {
            let mut cpu_us = [(); 3].map(|()| Samples::default());
            for _ in 0..ROUNDS {
                for ((server, stride), samples) in servers.iter().zip(&strides).zip(&mut cpu_us) {
                    let load = load(server, request, answer);
                    let load = Load { connections: CONNECTED, stride: *stride, ..load };
                    samples.push(cores.measure(&load).cpu_us);
                }
            }
            let figure =
                format!("CPU of {name} among 1 k, 100 k and 1 M VMs, SQLite, 1000 of them connected");
            line(&figure, &cpu_us)
        })
        .into()
}

fn line(figure: &str, cpu_us: &[Samples]) -> Line {
    // One connection alone may cost more: it shares its tick with no other.
    let (many, fewer) = cpu_us.split_last().expect("there are some");
    let cheapest = fewer[1..].iter().fold(fewer[0].clone(), |least, one| least.zip(one, f64::min));
    let ratio = many.ratio(&cheapest);
    let medians: Vec<String> = cpu_us.iter().map(|samples| short(samples.median())).collect();
    Line {
        figure: figure.into(),
        wanted: format!("most ≤ {GROWTH_WANTED} × fewer"),
        measured: format!("{} µs", medians.join(", ")),
        beside: format!("{:.2} × the cheapest of fewer", ratio.median()),
        verdict: Verdict::at_most(GROWTH_WANTED, &ratio),
    }
}
