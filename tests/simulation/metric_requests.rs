//! Random puts and gets of points, and their texts.

use super::point_model::{Batch, NewPoint, PointModel, PointQuery, Requester};
use super::random::Random;
use super::request::Request;
use vmherd::internals::clock::Instant;
use vmherd::internals::limits;

/// A kind of request for points.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum MetricRequest {
    /// Puts one point, or several where a request can.
    Put,
    /// Replaces the value of the last point.
    PutAgain,
    /// Gets the points of one of its own keys.
    Get,
    GetAll,
    /// Gets a key without points.
    GetNothing,
    /// Any of these.
    Any,
}

/// The client that sends it.
#[derive(Clone, Copy)]
pub(super) struct MetricContext {
    pub(super) requester: Requester,
    pub(super) is_text: bool,
    pub(super) now: Instant,
}

impl MetricRequest {
    /// Makes a request; `marks` counts the numbers that the client has used.
    pub(super) fn choose(
        self,
        by: MetricContext,
        marks: &mut u64,
        point_model: &mut PointModel,
        random: &mut Random,
    ) -> Request {
        let client = by.requester.client;
        match self {
            MetricRequest::Any => {
                let (put, again, get) = (MetricRequest::Put, MetricRequest::PutAgain, MetricRequest::Get);
                let any = [put, put, put, put, again, again, get, get, get, MetricRequest::GetNothing];
                let any = if random.chance(6) { MetricRequest::GetAll } else { random.pick(&any) };
                any.choose(by, marks, point_model, random)
            }
            MetricRequest::Put => put(by, marks, point_model, random),
            MetricRequest::PutAgain => match point_model.last_of(client) {
                Some((key, second)) => {
                    *marks += 1;
                    let point = NewPoint { key, second: Some(second), value: value(*marks) };
                    put_points(vec![point], false, by, point_model, random)
                }
                None => put(by, marks, point_model, random),
            },
            MetricRequest::Get => {
                let key = match point_model.last_of(client) {
                    Some((key, _)) if random.chance(60) => key,
                    _ => key(client, random),
                };
                let mut bound = || {
                    let near = point_model.second_of(client, random).filter(|_| !by.is_text)?;
                    random.chance(40).then(|| near + random.between(0, 2) as i64 - 1)
                };
                let (from, to) = (bound(), bound());
                Request::Get { query: PointQuery { key, from, to }, token: None }
            }
            MetricRequest::GetAll => {
                let query = PointQuery { key: "*".to_owned(), from: None, to: None };
                Request::Get { query, token: None }
            }
            MetricRequest::GetNothing => {
                let query = PointQuery { key: format!("none.{client}"), from: None, to: None };
                Request::Get { query, token: None }
            }
        }
    }
}

fn put(by: MetricContext, marks: &mut u64, point_model: &mut PointModel, random: &mut Random) -> Request {
    let client = by.requester.client;
    let count = if by.is_text || random.chance(50) { 1 } else { random.mostly_few(1, 40) };
    let (mut points, mut bytes) = (Vec::new(), 0);
    while points.len() < count && bytes < BATCH_BYTES {
        *marks += 1;
        let (key, second) = match !by.is_text && random.chance(10) {
            true => (format!("u{client}.{marks}"), None),
            false => (key(client, random), Some(second(*marks))),
        };
        bytes += key.len() + POINT_BYTES;
        points.push(NewPoint { key, second, value: value(*marks) });
    }
    let is_bad = points.len() > 1 && random.chance(10);
    put_points(points, is_bad, by, point_model, random)
}

fn put_points(
    points: Vec<NewPoint>,
    is_bad: bool,
    by: MetricContext,
    point_model: &mut PointModel,
    random: &mut Random,
) -> Request {
    let text = match (by.is_text, points.as_slice()) {
        (true, [point]) => line(point, random),
        (_, [point]) => fields(point, false),
        (_, points) => {
            let last = points.len() - 1;
            let listed = points.iter().enumerate();
            let listed = listed.map(|(at, point)| format!("{{{}}}", fields(point, is_bad && at == last)));
            format!("\"points\": [{}]", listed.collect::<Vec<_>>().join(", "))
        }
    };
    let batch: Batch = point_model.put(points, is_bad, by.requester, by.now);
    Request::Put { batch, text, token: None }
}

/// One of the keys of a client.
fn key(client: usize, random: &mut Random) -> String {
    match random.between(0, 9) {
        0 => {
            let key = format!("k{client}.long.");
            let rest = limits::METRIC_KEY_BYTES_MAX - key.len();
            key + &"x".repeat(rest)
        }
        1 => format!("k{client}.ключ"),
        at => format!("k{client}.{}", at % 2),
    }
}

/// A second that no other mark of a client has; not ascending.
fn second(mark: u64) -> i64 {
    (mark % PRIME * 7919 % PRIME) as i64 - 500_000
}

/// A value that no other mark of a client has.
fn value(mark: u64) -> f64 {
    (mark % 1_000_000) as f64 / 4.0 - 10.0
}

/// A line that puts a point, its end left out.
fn line(point: &NewPoint, random: &mut Random) -> String {
    let NewPoint { key, second, value } = point;
    let second = second.unwrap_or_default();
    let value = match random.between(0, 3) {
        0 if *value > 0.0 => format!("+{value}"),
        1 => format!("{value:e}"),
        2 => format!("{value:?}"),
        _ => value.to_string(),
    };
    let blanks = [" ", " ", " ", "  ", "\t", " \t "];
    let [one, two, three] = [0; 3].map(|_| random.pick(&blanks));
    let before = random.pick(&["", "", "", " ", "\t"]);
    let after = random.pick(&["", "", "", " ", " \t"]);
    format!("{before}put{one}{key}{two}{value}{three}{second}{after}")
}

/// The fields of a point.
fn fields(point: &NewPoint, is_bad: bool) -> String {
    let NewPoint { key, second, value } = point;
    let value = if is_bad { "\"none\"".to_owned() } else { value.to_string() };
    let second = second.map(|second| format!(", \"timestamp\": {second}")).unwrap_or_default();
    format!("\"key\": \"{key}\", \"value\": {value}{second}")
}

/// The line of a request in metrics text with its end, and sometimes with blank lines after it.
pub(super) fn line_of(request: &Request, random: &mut Random) -> String {
    let line = match request {
        Request::Put { text, .. } => text.clone(),
        Request::Get { query, .. } => format!("get {}", query.key),
        _ => random.pick(&BAD_LINES).to_owned(),
    };
    let end = random.pick(&["\n", "\n", "\n", "\n", "\r\n", "\n\n", "\r\n\r\n", "\n \t\n"]);
    line + end
}

/// Invalid lines, after which the connection goes on.
const BAD_LINES: [&str; 13] = [
    "x",
    "put",
    "put k 1",
    "put k 1 2 3",
    "put k nan 2",
    "put k 1e999 2",
    "put k 1 2.0",
    "put k 0x1 2",
    "PUT k 1 2",
    "get",
    "get a b",
    "get wrong command test",
    "{\"command\": \"ping\", \"data\": {}}",
];

/// About as many bytes as an anonymous request may have; the last point may exceed them.
const BATCH_BYTES: usize = 1400;
/// Bytes of a point in JSON besides its key, at most.
const POINT_BYTES: usize = 70;
const PRIME: u64 = 1_000_003;
