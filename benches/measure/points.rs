//! Points of metrics: hosts with ten series each, second by second.

/// A point to put.
#[derive(Clone, Copy, Debug)]
pub struct Drawn {
    /// The number of its series; those of one host are consecutive.
    pub series: usize,
    pub second: i64,
    pub value: f64,
}

/// The points of `hosts`, `depth` at once for each, one host after the other; no point comes twice.
#[derive(Clone, Debug)]
pub struct Points {
    hosts: usize,
    depth: usize,
    first_second: i64,
    /// The next host, and the index of its next point.
    host: usize,
    index: usize,
}

/// The lines of one host.
#[derive(Clone, Debug)]
pub struct Batches {
    text: Vec<u8>,
    /// The offsets of the seconds in the text.
    offsets: Vec<usize>,
    points: Points,
}

impl Points {
    pub fn new(hosts: usize, depth: usize, first_second: i64) -> Points {
        Points { hosts, depth, first_second, host: 0, index: 0 }
    }
}

impl Iterator for Points {
    type Item = Drawn;

    fn next(&mut self) -> Option<Drawn> {
        let (host, index) = (self.host, self.index);
        let second = self.first_second + (index / METRICS.len()) as i64;
        self.index += 1;
        if self.index == self.depth {
            (self.host, self.index) = (host + 1, 0);
            if self.host == self.hosts {
                self.host = 0;
                self.first_second += self.depth.div_ceil(METRICS.len()) as i64;
            }
        }
        Some(Drawn {
            series: host * METRICS.len() + index % METRICS.len(),
            second,
            value: value(host + index),
        })
    }
}

impl Batches {
    /// Batches of `depth` lines, which `line` formats from a series' key, a value and the text of a second. All seconds have
    /// ten digits.
    pub fn new(
        host: usize,
        depth: usize,
        first_second: i64,
        line: impl Fn(&str, f64, &str) -> String,
    ) -> Batches {
        let (mut text, mut offsets) = (Vec::new(), Vec::new());
        for index in 0..depth {
            let key = key(host * METRICS.len() + index % METRICS.len());
            let line = line(&key, value(host + index), SECOND);
            offsets.push(text.len() + line.rfind(SECOND).expect("a line contains its second"));
            text.extend(line.into_bytes());
        }
        Batches { text, offsets, points: Points::new(1, depth, first_second) }
    }

    /// The next batch.
    pub fn next(&mut self) -> &[u8] {
        let mut digits = (i64::MIN, String::new());
        for (offset, Drawn { second, .. }) in self.offsets.iter().zip(&mut self.points) {
            if digits.0 != second {
                digits = (second, second.to_string());
            }
            self.text[*offset..offset + SECOND.len()].copy_from_slice(digits.1.as_bytes());
        }
        &self.text
    }
}

/// A `put` of the daemon's metrics text.
pub fn put_line(key: &str, value: f64, second: &str) -> String {
    format!("put {key} {value:?} {second}\n")
}

/// The same as a request in JSON.
pub fn put_request(key: &str, value: f64, second: &str) -> String {
    format!(
        "{{\"command\": \"put\", \"data\": {{\"key\": \"{key}\", \"value\": {value:?}, \"timestamp\": {second}}}}}\n"
    )
}

/// The key of the series of this number.
pub fn key(series: usize) -> String {
    format!("web{}.{}", series / METRICS.len(), METRICS[series % METRICS.len()])
}

/// A number between 0 and 100 with one decimal place.
pub fn value(seed: usize) -> f64 {
    (seed * 37 % 1000) as f64 / 10.0
}

/// The value of a series in a second.
pub fn value_at(series: usize, second: i64) -> f64 {
    value(series + second as usize)
}

pub const METRICS: [&str; 10] =
    ["cpu", "load", "ram.used", "ram.free", "disk.read", "disk.write", "net.in", "net.out", "temp", "users"];

const SECOND: &str = "1700000123";
