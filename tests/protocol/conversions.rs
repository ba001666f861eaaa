//! Conversions: their results and their delays.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::json;
use socket2::SockRef;

use crate::common::{Client, DEADLINE, Daemon};

/// A packed text and its meaning, from the description of the format.
const REQUEST: &str = r#"{
	"request_id": "01",
	"data": "Hub&&name&&qwe&&id&&123&&%%Device&&name&&wqe&&id&&234&&"
	}"#;
const REPLY: &str =
    r#"{"request_id":"01","data":{"Hub":{"name":"qwe","id":"123"},"Device":{"name":"wqe","id":"234"}}}"#;

fn at_once() -> Daemon {
    Daemon::builder().args(["--conversion-delay", "0"]).start()
}

#[test]
fn the_example_of_the_format_is_converted() {
    let daemon = at_once();
    let mut client = daemon.client();
    client.send(REQUEST);
    assert_eq!(client.raw_line().trim_end(), REPLY);
}

#[test]
fn an_invalid_conversion_fails_at_once() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    let cases = [
        (r#"{"request_id":1.50}"#, r#"{"request_id":1.50,"error":"missing field: data"}"#),
        (
            r#"{"request_id":"a","data":[1]}"#,
            r#"{"request_id":"a","error":"data: a list is not allowed; it must be a string"}"#,
        ),
    ];
    for (request, reply) in cases {
        client.send(request);
        assert_eq!(client.raw_line().trim_end(), reply);
    }
}

/// Each has a delay of its own, which is logged; none waits for another.
#[test]
fn answers_come_after_their_delays_in_order() {
    let daemon = Daemon::builder().args(["--conversion-delay", "2s..4s"]).start();
    let mut client = daemon.client();
    let asked = Instant::now();
    let requests: Vec<String> =
        (0..50).map(|id| json!({"request_id": id, "data": format!("e&&id&&{id}")}).to_string()).collect();
    client.send(&requests.concat());
    client.ping();
    let mut came: Vec<u64> = Vec::new();
    while came.len() < 50 {
        let reply = client.reply();
        let id = reply["request_id"].as_u64().expect("an id");
        assert_eq!(reply["data"], json!({"e": {"id": id.to_string()}}));
        if came.is_empty() {
            assert!(asked.elapsed() >= Duration::from_secs(2));
        }
        came.push(id);
    }
    assert!(asked.elapsed() < DEADLINE, "they wait at the same time: a minute by turns");
    assert!(!came.is_sorted(), "fifty random delays in the order of the requests?");
    daemon.wait_for_log("seconds for this one.");
    let log = daemon.log();
    let logged = log.matches("Timeout 2.").count() + log.matches("Timeout 3.").count();
    assert!(logged + log.matches("Timeout 4.0").count() == 50, "{logged} are logged");
}

#[test]
fn a_half_closed_client_gets_all_answers_and_a_closed_one_none() {
    let daemon = Daemon::builder().args(["--conversion-delay", "300ms..400ms"]).start();
    let mut client = daemon.client();
    client.send(&REQUEST.repeat(20));
    client.half_close();
    assert_eq!(client.rest().lines().filter(|line| *line == REPLY).count(), 20);

    let daemon = Daemon::builder().args(["--conversion-delay", "1h"]).start();
    let mut stream = TcpStream::connect(daemon.address()).expect("the daemon accepts");
    stream.write_all(REQUEST.repeat(1000).as_bytes()).expect("the daemon reads");
    daemon.wait_for_counter("requests_delayed", |count| count == 1000);
    // A reset: after an end of input the answers would still be due.
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("a socket option");
    drop(stream);
    daemon.wait_for_counter("requests_delayed", |count| count == 0);
}

#[test]
fn waiting_conversions_count_as_open_requests() {
    let daemon =
        Daemon::builder().args(["--conversion-delay", "1h", "--requests-per-connection", "100"]).start();
    let mut client = daemon.client();
    client.send(&REQUEST.repeat(103));
    for _ in 0..3 {
        assert_eq!(client.raw_line().trim_end(), r#"{"request_id":"01","error":"busy"}"#);
    }
    client.ping();
}

#[test]
fn texts_of_waiting_conversions_are_bounded_over_all_connections() {
    let daemon = Daemon::builder().args(["--conversion-delay", "1h"]).start();
    let text = "x".repeat(1_000_000);
    let request = json!({"request_id": 1, "data": text}).to_string();
    let mut clients: Vec<Client> = (0..3).map(|_| daemon.client()).collect();
    let mut busy = 0;
    for _ in 0..100 {
        for client in &mut clients {
            client.send(&request);
            client.send(r#"{"command":"ping"}"#);
            let reply = client.reply();
            if reply["error"] == "busy" {
                busy += 1;
                client.reply();
            }
        }
    }
    assert_eq!(300 - busy, 268, "256 MiB of them");
}

#[test]
fn a_stopping_daemon_sends_pending_answers() {
    let mut daemon = Daemon::builder().args(["--conversion-delay", "500ms"]).start();
    let mut client = daemon.client();
    client.send(&REQUEST.repeat(5));
    client.ping();
    daemon.stop();
    assert_eq!(client.rest().lines().filter(|line| *line == REPLY).count(), 5);
}
