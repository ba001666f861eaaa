//! What callbacks of an embedding program cost its server.

use super::ping::{Candidate, PING, PONG, measure, rate_line};
use crate::figures::Line;
use crate::process::{Cores, Server};

/// Of the rate without callbacks.
const WANTED: &[(&str, f64)] = &[("without callbacks", 0.95)];

/// The rate of pings while each causes an event, beside that without callbacks. All threads share the server's core.
pub fn callbacks(cores: &Cores) -> Vec<Line> {
    let loads = [(1, "one at a time"), (32, "× 32 pipelined")];
    loads
        .map(|(depth, name)| {
            line(cores, &format!("JSON ping, 64 connections, {name}, a callback for each kind"), depth)
        })
        .into()
}

fn line(cores: &Cores, figure: &str, depth: usize) -> Line {
    let candidates = [true, false]
        .map(|has_callbacks| Candidate::new(Server::embedded(cores, has_callbacks), PING, PONG, 1));
    let (candidates, measured) = measure(cores, candidates.into(), 64, depth);
    let mut line = rate_line(figure, WANTED, &candidates, &measured);
    let [lost, requests] = ["events_lost", "requests_ping"].map(|name| candidates[0].server.counter(name));
    line.beside += &format!("; {lost} of {requests} events lost");
    line
}
