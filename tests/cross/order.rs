//! Many requests of HTTP: on one connection, in order, and as fast as a load generator can.

use std::io::{BufReader, Read};
use std::process::Command;
use std::time::Instant;

use crate::common::{Daemon, require, run};
use crate::flood::send_in_background;
use crate::overload::{MemoryBounds, alone, attack_in_bounds, statistic};
use crate::web::{Web, post};

#[test]
fn pipelined_requests_are_answered_in_order() {
    const COUNT: usize = 20_000;
    let _alone = alone();
    let bounds = MemoryBounds { peak_kib: 2 << 10, kept_kib: 1 << 10 };
    attack_in_bounds("20 000 pipelined requests of HTTP", bounds, Daemon::builder, |daemon| {
        let begin = Instant::now();
        let (stream, sender) = send_in_background(daemon.address(), (0..COUNT).map(numbered));
        let (mut stream, mut received) = (BufReader::new(stream), Vec::new());
        for number in 0..COUNT {
            let expected = answer(number);
            received.resize(expected.len(), 0);
            stream.read_exact(&mut received).unwrap_or_else(|error| panic!("number {number}: {error}"));
            let received = without_date(&String::from_utf8_lossy(&received));
            assert_eq!(received, expected, "number {number}");
        }
        received.clear();
        assert_eq!(stream.read_to_end(&mut received).expect("an end in good order"), 0);
        eprintln!("  {:.0} requests a second", COUNT as f64 / begin.elapsed().as_secs_f64());
        sender.join().expect("everything is sent");
    });
}

/// A request whose answer has its number; several kinds take turns.
fn numbered(number: usize) -> String {
    let id = format!("{{\"request_id\":{number},\"command\":\"nothing\"}}");
    match number % 5 {
        0 => "GET / HTTP/1.1\r\nHost: localhost\r\nX: y\r\n\r\n".replace("/ ", &format!("/{number} ")),
        1 => {
            let (start, end) = id.split_at(5);
            let (first, second) = (start.len(), end.len());
            format!(
                "POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n\
                 {first:x}\r\n{start}\r\n{second:x}\r\n{end}\r\n0\r\n\r\n"
            )
        }
        2 => format!("\r\n{}", post(&id)),
        3 => post(&format!("{{\"action\":{number}}}")),
        _ => post(&id),
    }
}

/// Its answer.
fn answer(number: usize) -> String {
    let (status, body) = match number % 5 {
        0 => ("404 Not Found", error("there is no such page")),
        3 => ("200 OK", "{\"error\":\"invalid action\"}\n".to_owned()),
        _ => {
            let body = error("Unknown command");
            ("200 OK", body.replacen('{', &format!("{{\"request_id\":{number},"), 1))
        }
    };
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nDate: {SOME_DATE}\r\nCache-Control: no-store\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    )
}

/// The same with [`SOME_DATE`] for its date.
fn without_date(answer: &str) -> String {
    let (before, rest) = answer.split_once("Date: ").unwrap_or_else(|| panic!("no date: {answer}"));
    format!("{before}Date: {SOME_DATE}{}", &rest[SOME_DATE.len()..])
}

const SOME_DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

fn error(message: &str) -> String {
    format!("{{\"status\":\"error\",\"message\":\"{message}\",\"data\":{{}}}}\n")
}

/// A slow and a quick request on one connection: the quick one has to wait, since answers are matched by order.
#[test]
fn a_slow_response_holds_up_later_ones() {
    let daemon = Daemon::builder().args(["--conversion-delay", "300ms..300ms"]).start();
    let mut web = Web::connect(daemon.address());
    let convert = post("{\"request_id\":\"slow\",\"data\":\"Hub&&name&&qwe\"}");
    let quick = post("{\"request_id\":\"quick\",\"command\":\"ping\"}");
    let begin = Instant::now();
    web.send(format!("{convert}{quick}"));
    assert!(web.reply().body.contains("slow"));
    assert!(begin.elapsed().as_millis() >= 300);
    assert!(web.reply().body.contains("quick"));
}

#[test]
fn a_load_generator_sees_no_error() {
    const CONNECTIONS: &str = "64";
    require("wrk", "wrk");
    let _alone = alone();
    let daemon = Daemon::start();
    let mut operator = daemon.operator();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cross/ping.lua");
    let url = format!("http://{}/", daemon.address());
    let load = ["-t", "1", "-c", CONNECTIONS, "-d", "3s", "--timeout", "2s", "-s", script];
    let finished = run(Command::new("wrk").args(load).arg(&url)).expect_success();
    let line = finished.stdout.lines().find_map(|line| line.strip_prefix("counted: "));
    let line = line.unwrap_or_else(|| panic!("the script did not count: {finished:?}"));
    eprintln!("  {line}");
    let counted = |name: &str| -> u64 {
        let mut words = line.split(' ').skip_while(|word| *word != name);
        words.nth(1).and_then(|word| word.parse().ok()).unwrap_or_else(|| panic!("no {name}: {line}"))
    };
    let errors = ["connect", "read", "write", "timeout", "status", "body"].map(counted);
    assert_eq!(errors, [0; 6], "{line}");
    assert!(counted("requests") > 1000, "{line}");
    // The load generator does not count the requests in flight at its end.
    let (pings, answered) = (statistic(&mut operator, "requests_ping"), counted("requests"));
    assert!((answered..=answered + 1000).contains(&pings), "{pings} begun, {answered} answered");
    assert_eq!(statistic(&mut operator, "requests_failed"), 0);
    assert_eq!(statistic(&mut operator, "requests_refused"), 0);
}
