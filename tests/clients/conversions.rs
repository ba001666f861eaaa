//! The conversion service's documented request, alone and many at once.

use std::time::{Duration, Instant};

use crate::common::Daemon;
use crate::program_client::{Framing, ProgramClient};
use crate::programs::{python, succeed};

/// The request as the document prints it, and the answer, byte for byte.
pub(crate) const REQUEST: &str = r#"{ 
	"request_id": "01",
	"data": "Hub&&name&&qwe&&id&&123&&%%Device&&name&&wqe&&id&&234&&"
	}"#;
pub(crate) const REPLY: &str =
    r#"{"request_id":"01","data":{"Hub":{"name":"qwe","id":"123"},"Device":{"name":"wqe","id":"234"}}}"#;

/// The precision of delays in the log, in seconds.
const LOGGED_EXACTLY_TO: f64 = 0.05;

#[test]
fn a_conversion_is_answered_after_a_delay_over_each_framing() {
    for framing in Framing::ALL {
        let daemon = Daemon::builder().args(["--conversion-delay", "200ms..300ms"]).start();
        let mut program = ProgramClient::of(&daemon, framing);
        let asked = Instant::now();
        assert_eq!(program.call_text(REQUEST), REPLY, "{framing:?}");
        assert!(asked.elapsed() >= Duration::from_millis(200), "{framing:?}: {:?}", asked.elapsed());
        program.close();
        assert_eq!(logged_delays(&daemon).len(), 1);
    }
}

/// With the delays of the document, 1 to 5 s, by its client: the answers come in the order of their delays,
/// each after its own.
#[test]
fn the_documented_client_gets_answers_in_the_order_of_delays() {
    const COUNT: usize = 12;
    let daemon = Daemon::start();
    let address = format!("ws://localhost:{}", daemon.address().port());
    let said = succeed(python("client.py").arg(address).arg(COUNT.to_string())).stdout;
    // The log has the delays in the order of the requests.
    let delays = logged_delays(&daemon);
    assert_eq!(delays.len(), COUNT);
    assert!(delays.iter().all(|delay| (1.0..=5.0).contains(delay)), "{delays:?}");
    let mut last = 0.0;
    let mut answered: Vec<usize> = Vec::new();
    for line in said.lines() {
        let (id, seconds) = line.split_once(' ').expect("an id and a time");
        let (number, seconds): (usize, f64) = (id.parse().expect("an id"), seconds.parse().expect("a time"));
        let delay = delays[number - 1];
        assert!(seconds > delay - LOGGED_EXACTLY_TO, "{id} after {seconds} instead of {delay}:\n{said}");
        assert!(seconds < delay + 2.0, "{id} after {seconds} instead of {delay}:\n{said}");
        assert!(delay >= last - 2.0 * LOGGED_EXACTLY_TO, "{id} has overtaken another:\n{said}");
        last = delay;
        answered.push(number);
    }
    answered.sort_unstable();
    assert_eq!(answered, (1..=COUNT).collect::<Vec<_>>(), "each is answered once");
}

#[test]
fn concurrent_conversions_work_over_each_persistent_framing() {
    const COUNT: usize = 100;
    for framing in [Framing::RawJson, Framing::WebSocket] {
        let daemon = Daemon::builder().args(["--conversion-delay", "500ms..700ms"]).start();
        let mut program = ProgramClient::of(&daemon, framing);
        // Once it has an answer it is connected.
        program.call_text(r#"{"command": "ping"}"#);
        let asked = Instant::now();
        (0..COUNT).for_each(|_| program.send(REQUEST));
        (0..COUNT).for_each(|_| assert_eq!(program.reply(), REPLY));
        let took = asked.elapsed();
        assert!(took >= Duration::from_millis(500), "{framing:?}: {took:?}");
        assert!(took < Duration::from_secs(5), "they wait at the same time: {framing:?}: {took:?}");
        program.close();
    }
}

/// Requests of one HTTP connection are answered in order, so each conversion has a connection of its own.
#[test]
fn concurrent_conversions_work_with_curl() {
    const COUNT: usize = 16;
    let daemon = Daemon::builder().args(["--conversion-delay", "500ms..700ms"]).start();
    let asked = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..COUNT {
            scope.spawn(|| assert_eq!(ProgramClient::of(&daemon, Framing::Http).call_text(REQUEST), REPLY));
        }
    });
    let took = asked.elapsed();
    assert!(took >= Duration::from_millis(500), "{took:?}");
    assert!(took < Duration::from_secs(5), "they wait at the same time: {took:?}");
}

/// A result has no empty parts; data that is not text is an error at once, with the request's id as it came.
#[test]
fn empty_and_non_text_conversions_are_handled() {
    let cases = [
        (r#"{"request_id": "02", "data": ""}"#, r#"{"request_id":"02","data":{}}"#),
        (
            r#"{"request_id": "03", "data": "Hub&&name&&&&id&&123%%&&a&&b%%Device&&name"}"#,
            r#"{"request_id":"03","data":{"Hub":{"id":"123"}}}"#,
        ),
        (r#"{"request_id": 4.0}"#, r#"{"request_id":4.0,"error":"missing field: data"}"#),
    ];
    let daemon = Daemon::builder().args(["--conversion-delay", "0"]).start();
    for framing in Framing::ALL {
        let mut program = ProgramClient::of(&daemon, framing);
        for (request, reply) in cases {
            assert_eq!(program.call_text(request), reply, "{framing:?}: {request}");
        }
        program.close();
    }
    assert!(logged_delays(&daemon).is_empty(), "none of them has waited");
}

/// The delays in the log, in seconds, in order.
fn logged_delays(daemon: &Daemon) -> Vec<f64> {
    let log = daemon.log();
    let delays = log.lines().filter_map(|line| {
        let (_, rest) = line.split_once("Timeout ")?;
        rest.strip_suffix(" seconds for this one.")?.parse().ok()
    });
    delays.collect()
}
