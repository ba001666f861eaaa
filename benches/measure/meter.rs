//! The generator's measurements.

use std::time::{Duration, Instant};

use crate::process;

/// The result.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// Requests answered in a second.
    pub rate: f64,
    /// Processor time of the server for each request, in microseconds.
    pub cpu_us: f64,
    /// The cores that the server's threads used: 1.0 is one core.
    pub busy: f64,
    /// The median of the time from a batch to its last answer, in microseconds.
    pub p50_us: f64,
    /// The 99th percentile of the same.
    pub p99_us: f64,
}

/// Counts once everything is warm.
pub struct Meter {
    batch: Vec<u8>,
    number: u64,
    server: u32,
    depth: usize,
    time: Duration,
    begin: Instant,
    /// The start of counting, and the server's processor time then.
    counting: Option<(Instant, Duration)>,
    last: Instant,
    waits_ns: Vec<u32>,
}

impl Meter {
    /// For batches of `depth` requests to the process `server`, which are counted for `time`.
    pub fn new(server: u32, depth: usize, time: Duration) -> Meter {
        let begin = Instant::now();
        Meter {
            batch: Vec::new(),
            // Numbers of different processes differ.
            number: u64::from(std::process::id()) * 100_000_000,
            server,
            depth,
            time,
            begin,
            counting: None,
            last: begin,
            waits_ns: Vec::with_capacity(1 << 20),
        }
    }

    /// A batch of `request` with new numbers in it.
    pub fn numbered(&mut self, request: &str) -> &[u8] {
        self.batch.clear();
        for _ in 0..self.depth {
            self.number += 1;
            let (number, small) = (self.number.to_string(), (1 + self.number % 999_999).to_string());
            let request = request.replace("{n}", &number).replace("{small}", &small);
            self.batch.extend(request.into_bytes());
        }
        &self.batch
    }

    pub fn count(&mut self, sent: Instant) {
        self.last = Instant::now();
        if self.counting.is_some() {
            self.waits_ns.push(u32::try_from((self.last - sent).as_nanos()).unwrap_or(u32::MAX));
        } else if self.last - self.begin > self.time / 10 {
            self.counting = Some((self.last, process::processor_time(self.server)));
        }
    }

    pub fn is_over(&self) -> bool {
        self.counting.is_some_and(|(since, _)| self.last - since > self.time)
    }

    pub fn outcome(mut self) -> Outcome {
        let (since, cpu_before) = self.counting.expect("it has counted");
        let cpu = (process::processor_time(self.server) - cpu_before).as_secs_f64();
        let (time, requests) = ((self.last - since).as_secs_f64(), self.waits_ns.len() * self.depth);
        self.waits_ns.sort_unstable();
        let quantile = |share: usize| {
            let at = (self.waits_ns.len() - 1) * share / 100;
            f64::from(self.waits_ns[at]) / 1e3
        };
        Outcome {
            rate: requests as f64 / time,
            cpu_us: cpu * 1e6 / requests as f64,
            busy: cpu / time,
            p50_us: quantile(50),
            p99_us: quantile(99),
        }
    }
}

impl Outcome {
    /// As text.
    pub fn to_line(self) -> String {
        let Outcome { rate, cpu_us, busy, p50_us, p99_us } = self;
        format!("{rate} {cpu_us} {busy} {p50_us} {p99_us}")
    }

    /// Reads what [`Outcome::to_line`] has written.
    pub fn from_line(line: &str) -> Option<Outcome> {
        let numbers: Option<Vec<f64>> = line.split_whitespace().map(|word| word.parse().ok()).collect();
        let &[rate, cpu_us, busy, p50_us, p99_us] = &numbers?[..] else { return None };
        Some(Outcome { rate, cpu_us, busy, p50_us, p99_us })
    }
}
