//! Points of metrics: hosts with ten series each, which come second by second.

/// A point that is to be put.
#[derive(Clone, Copy, Debug)]
pub struct Drawn {
    /// The number of its series: those of one host stand together.
    pub series: usize,
    pub second: i64,
    pub value: f64,
}

/// The points that so many hosts put, each so many at once, one host after the other; none comes twice.
#[derive(Clone, Debug)]
pub struct Points {
    hosts: usize,
    depth: usize,
    first_second: i64,
    /// The host that is next, and which of its points.
    host: usize,
    place: usize,
}

/// What one host sends, as text.
#[derive(Clone, Debug)]
pub struct Batches {
    text: Vec<u8>,
    /// Where the seconds stand.
    places: Vec<usize>,
    points: Points,
}

impl Points {
    pub fn new(hosts: usize, depth: usize, first_second: i64) -> Points {
        Points { hosts, depth, first_second, host: 0, place: 0 }
    }
}

impl Iterator for Points {
    type Item = Drawn;

    fn next(&mut self) -> Option<Drawn> {
        let (host, place) = (self.host, self.place);
        let second = self.first_second + (place / METRICS.len()) as i64;
        self.place += 1;
        if self.place == self.depth {
            (self.host, self.place) = (host + 1, 0);
            if self.host == self.hosts {
                self.host = 0;
                self.first_second += self.depth.div_ceil(METRICS.len()) as i64;
            }
        }
        Some(Drawn {
            series: host * METRICS.len() + place % METRICS.len(),
            second,
            value: value(host + place),
        })
    }
}

impl Batches {
    /// Batches of `depth` lines that `line` makes of a series' key, a value and the text of a second, which is
    /// the end of the line. All seconds have ten digits.
    pub fn new(
        host: usize,
        depth: usize,
        first_second: i64,
        line: impl Fn(&str, f64, &str) -> String,
    ) -> Batches {
        let (mut text, mut places) = (Vec::new(), Vec::new());
        for place in 0..depth {
            let key = key(host * METRICS.len() + place % METRICS.len());
            text.extend(line(&key, value(host + place), SECOND).into_bytes());
            places.push(text.len() - 1 - SECOND.len());
            assert!(text.ends_with(format!("{SECOND}\n").as_bytes()), "a line ends with its second");
        }
        Batches { text, places, points: Points::new(1, depth, first_second) }
    }

    /// The next of them.
    pub fn next(&mut self) -> &[u8] {
        let mut digits = (i64::MIN, String::new());
        for (place, Drawn { second, .. }) in self.places.iter().zip(&mut self.points) {
            if digits.0 != second {
                digits = (second, second.to_string());
            }
            self.text[*place..place + SECOND.len()].copy_from_slice(digits.1.as_bytes());
        }
        &self.text
    }
}

/// A line of the daemon's.
pub fn put_line(key: &str, value: f64, second: &str) -> String {
    format!("put {key} {value:?} {second}\n")
}

/// What the series of this number is called.
pub fn key(series: usize) -> String {
    format!("web{}.{}", series / METRICS.len(), METRICS[series % METRICS.len()])
}

/// A number between 0 and 100 with one decimal place.
pub fn value(seed: usize) -> f64 {
    (seed * 37 % 1000) as f64 / 10.0
}

pub const METRICS: [&str; 10] =
    ["cpu", "load", "ram.used", "ram.free", "disk.read", "disk.write", "net.in", "net.out", "temp", "users"];

const SECOND: &str = "1700000123";
