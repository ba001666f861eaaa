//! How long the daemon waits for a client: for its first byte, for the rest of a request, for the next
//! request, and for it to read.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::common::{Client, DEADLINE, Daemon, registration};

const TIMED_OUT: &str = "Request timeout: the request did not end in time";
/// The timeout that the tests set; no connection may end earlier.
const SHORT: Duration = Duration::from_millis(500);

fn daemon_with(flag: &str) -> Daemon {
    Daemon::builder().args([flag, "500ms"]).start()
}

/// Sends a byte now and then until the daemon closes; its output.
#[track_caller]
fn drip(client: &mut Client, byte: &[u8]) -> String {
    let end = Instant::now() + DEADLINE;
    while Instant::now() < end && client.try_send(byte).is_ok() && !client.has_input(SHORT / 20) {}
    client.rest()
}

fn message(line: &str) -> String {
    let reply: serde_json::Value = serde_json::from_str(line).expect("a reply");
    reply["message"].as_str().expect("a message").to_owned()
}

#[test]
fn a_silent_client_is_closed_without_a_reply() {
    let daemon = daemon_with("--first-request-timeout");
    let (mut silent, mut blank) = (daemon.client(), daemon.client());
    blank.send(" \r\n");
    let mut spoken = daemon.client();
    spoken.ping();
    let begun = Instant::now();
    silent.expect_closed();
    blank.expect_closed();
    assert!(begun.elapsed() >= SHORT / 2, "not at once");
    // A client that has sent something has other timeouts.
    spoken.expect_silence(SHORT);
    spoken.ping();
    daemon.wait_for_counter("connections_timed_out", |value| value == 2);
}

#[test]
fn an_unfinished_request_times_out_with_an_error() {
    let daemon = daemon_with("--request-timeout");
    for begun in ["{", "[", "{\"command\":\"ping\",\"data\":{", "{\"a"] {
        let mut client = daemon.client();
        client.ping();
        let start = Instant::now();
        client.send(begun);
        assert_eq!(client.error(), TIMED_OUT, "{begun}");
        assert!(start.elapsed() >= SHORT / 2, "not at once");
        client.expect_closed();
    }
}

#[test]
fn further_bytes_do_not_reset_the_request_timeout() {
    let daemon = daemon_with("--request-timeout");
    let mut client = daemon.client();
    client.send("{");
    let start = Instant::now();
    let said = drip(&mut client, b" ");
    assert_eq!(message(said.trim_end()), TIMED_OUT);
    assert!(start.elapsed() < DEADLINE, "it took {:?}", start.elapsed());
}

/// Also the first bytes, which only select the protocol.
#[test]
fn an_undecided_framing_has_the_request_timeout() {
    let daemon = daemon_with("--request-timeout");
    for begun in ["P", "GET ", "SSH"] {
        let mut client = daemon.client();
        client.send(begun);
        let said = client.rest();
        assert_eq!(said.lines().count(), 1, "{begun}: {said:?}");
    }
}

#[test]
fn a_skipped_line_has_the_request_timeout() {
    let daemon = daemon_with("--request-timeout");
    let mut client = daemon.client();
    client.ping();
    client.send("x");
    assert!(client.error().starts_with("Invalid JSON: "));
    let said = drip(&mut client, b"y");
    assert_eq!(message(said.trim_end()), TIMED_OUT);
}

#[test]
fn white_space_starts_no_request() {
    let daemon = daemon_with("--request-timeout");
    let mut client = daemon.client();
    client.send("\n");
    client.expect_silence(2 * SHORT);
    client.ping();
    client.send(" \n");
    client.expect_silence(2 * SHORT);
    client.ping();
}

#[test]
fn between_requests_only_the_idle_timeout_applies() {
    let daemon = daemon_with("--idle-timeout");
    let mut client = daemon.client();
    client.register("a", &[]);
    let start = Instant::now();
    client.expect_closed();
    assert!(start.elapsed() >= SHORT / 2, "not at once");
    // A configured timeout applies to all clients.
    let mut client = daemon.client();
    client.authenticate("a");
    client.expect_closed();
    // Requests keep a connection open.
    let mut client = daemon.client();
    for _ in 0..8 {
        client.ping();
        client.expect_silence(SHORT / 4);
    }
    client.expect_closed();
    // The first request has a timeout of its own.
    let mut client = daemon.client();
    client.expect_silence(2 * SHORT);
    client.ping();
}

#[test]
fn a_client_with_a_pending_request_is_not_closed() {
    let daemon = Daemon::builder()
        .args(["--idle-timeout", "none", "--first-request-timeout", "none", "--request-timeout", "500ms"])
        .start();
    let (mut silent, mut client) = (daemon.client(), daemon.client());
    client.register("a", &[]);
    client.authenticate("a");
    silent.expect_silence(2 * SHORT);
    silent.ping();
    client.ping();
}

/// The daemon's own time is not the client's.
#[test]
fn client_timeouts_pause_while_the_daemon_works() {
    let daemon = Daemon::builder()
        .with_slow_hashes()
        .args(["--idle-timeout", "500ms", "--request-timeout", "500ms"])
        .start();
    // So many that the last one waits for long on a fast machine, too.
    let mut first: Vec<Client> = (0..8).map(|_| daemon.client()).collect();
    for (number, client) in first.iter_mut().enumerate() {
        client.send(&registration(&format!("vm-{number}"), &[]).to_string());
    }
    let mut second = daemon.client();
    daemon.wait_in_flight(4);
    daemon.wait_for_counter("auth_threads", |threads| threads == 1);
    second.send(&format!("{}{{\"command\":", registration("b", &[])));
    let start = Instant::now();
    assert_eq!(second.reply()["data"], json!({"auth_id": "b"}));
    assert!(start.elapsed() > SHORT, "the hashes took {:?} only", start.elapsed());
    second.send("\"ping\"}");
    assert_eq!(second.reply()["message"], "PONG");
}

#[test]
fn a_client_that_never_reads_is_closed() {
    let daemon = daemon_with("--write-timeout");
    let mut client = daemon.client();
    let pings = r#"{"command":"ping"}"#.repeat(4096);
    let end = Instant::now() + DEADLINE;
    while client.try_send(pings.as_bytes()).is_ok() {
        assert!(Instant::now() < end, "it goes on taking requests whose replies the client does not read");
    }
    daemon.wait_for_counter("connections_stalled", |value| value == 1);
    daemon.wait_for_counter("connections_open", |value| value == 1);
}

#[test]
fn a_client_that_reads_slowly_is_served() {
    let daemon = daemon_with("--write-timeout");
    let mut client = daemon.client();
    const COUNT: usize = 100_000;
    let mut sender = client.another_handle();
    let writer = std::thread::spawn(move || sender.send(&r#"{"command":"ping"}"#.repeat(COUNT)));
    for reply in 0..COUNT {
        if reply % (COUNT / 10) == 0 {
            std::thread::park_timeout(SHORT / 4);
        }
        assert!(client.raw_line().contains("PONG"));
    }
    writer.join().expect("all is sent");
}

/// It may take long to read its replies, and ask again after that.
#[test]
fn a_client_that_is_still_reading_is_not_idle() {
    const BATCH: u64 = 100;
    let daemon = daemon_with("--idle-timeout");
    let (mut client, mut operator) = (daemon.client(), daemon.operator());
    let mut sent = 0;
    // Until the system takes no more replies, and the daemon has to keep the last ones.
    let end = Instant::now() + DEADLINE;
    while operator.succeed("stats", json!({}))["buffers_bytes"].as_u64() < Some(8 << 10) {
        assert!(Instant::now() < end, "the system takes all replies");
        client.send(&r#"{"command":"ping"}"#.repeat(BATCH as usize));
        sent += BATCH;
        daemon.wait_for_counter("requests_ping", |count| count >= sent);
    }
    let mut idle = daemon.client();
    idle.ping();
    idle.expect_closed();
    client.send(r#"{"command":"ping"}"#);
    for reply in 0..=sent {
        assert!(client.raw_line().contains("PONG"), "{reply} of {sent}");
    }
}

/// The timeout of each line begins with its first byte; blanks between lines begin no line.
#[test]
fn an_unfinished_text_line_times_out_with_an_error() {
    const LATE: &str = "error\nthe line did not end in time\n\n";
    let daemon = daemon_with("--request-timeout");
    for start in ["g", "put a 1", "get *\r", "get k\nget"] {
        let mut client = daemon.client();
        let begin = Instant::now();
        client.send(start);
        let before = if start.contains('\n') { "ok\n\n" } else { "" };
        assert_eq!(client.rest(), [before, LATE].concat(), "{start:?}");
        let took = begin.elapsed();
        assert!(took >= SHORT && took < SHORT + Duration::from_secs(2), "{start:?}: {took:?}");
    }
    let mut client = daemon.client();
    assert_eq!(client.call_text("get k"), "ok\n\n");
    let begin = Instant::now();
    while begin.elapsed() < 2 * SHORT {
        client.send(" \t\n\r\n  ");
        client.expect_silence(Duration::from_millis(50));
        assert_eq!(client.call_text("get k"), "ok\n\n");
    }
    // Further bytes do not reset it.
    let begin = Instant::now();
    assert_eq!(drip(&mut client, b"put "), LATE);
    assert!(begin.elapsed() < DEADLINE, "{:?}", begin.elapsed());
}
