//! Clients of HTTP and WebSocket that are slow, or idle.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use crate::common::{DEADLINE, Daemon};
use crate::overload::{Baseline, LatencyProbe, alone, best_of_three, statistic};
use crate::swarm::{Swarm, connections_that_fit};
use crate::web::{HANDSHAKE, TEXT, Web, frame, frame_head, post};

/// How late a connection is closed, at most.
const LATE_MAX: Duration = Duration::from_secs(20);
const PING: &str = r#"{"command":"ping"}"#;
const CHUNKED: &str = "POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";

/// The bytes that are sent at once, those that follow at a byte a second, and the reply in the end.
fn dribbles() -> Vec<(&'static str, Vec<u8>, Vec<u8>, &'static str)> {
    let ping = post(PING);
    let (head, body) = ping.split_at(ping.len() - PING.len());
    let text = |text: &str| text.as_bytes().to_vec();
    let late = "HTTP/1.1 408 ";
    let message = frame(TEXT, true, PING.as_bytes());
    let upgraded = |bytes: &[u8]| [HANDSHAKE.as_bytes(), bytes].concat();
    vec![
        ("raw JSON", text("{"), text("\"command\":\"ping\"}"), "{\"status\":\"error\""),
        ("the first line from its first byte", text("P"), text(&ping[1..]), "{\"status\":\"error\""),
        ("the first line, which is one after two seconds", text("POST"), text(&ping[4..]), late),
        ("the first line from where it is one", text("POST /"), text(&ping[6..]), late),
        ("a head", text("POST / HTTP/1.1\r\n"), text(&ping[17..]), late),
        ("the end of a head", text(&head[..head.len() - 1]), text(&ping[head.len() - 1..]), late),
        ("a body", text(head), text(body), late),
        ("a length of a chunk", text(CHUNKED), text("00000012\r\n"), late),
        ("a chunk", text(&format!("{CHUNKED}12\r\n")), text(PING), late),
        ("fields after chunks", text(&format!("{CHUNKED}12\r\n{PING}\r\n0\r\n")), text("X: y\r\nZ: a"), late),
        ("a second request", text(&format!("{ping}{}", &ping[..9])), text(&ping[9..]), late),
        ("empty lines, then a head", text("POST / HTTP/1.1\r\n"), text("Host: localhost"), late),
        ("a handshake", text(&HANDSHAKE[..40]), text(&HANDSHAKE[40..]), late),
        ("a frame's header", upgraded(b"\x81"), frame_head(1, true, 126)[1..].to_vec(), "timeout"),
        ("a frame's payload", upgraded(&message[..10]), message[10..].to_vec(), "timeout"),
        ("empty fragments", upgraded(&frame_head(1, false, 0)), frame_head(0, false, 0).repeat(4), "timeout"),
        ("a ping's payload", upgraded(&frame_head(9, true, 100)), vec![b'x'; 20], "timeout"),
    ]
}

#[test]
fn a_byte_a_second_is_timed_out_with_an_error() {
    const OF_EACH: usize = 20;
    const TIMEOUT: Duration = Duration::from_millis(2500);
    let _alone = alone();
    best_of_three("a byte a second", || {
        let daemon = Daemon::builder().args(["--request-timeout", "2500ms"]).start();
        let probe = LatencyProbe::start(&daemon);
        let baseline = Baseline::of(&daemon);
        let mut operator = daemon.operator();
        let dribbles = dribbles();
        let mut swarm = Swarm::new();
        let begin = Instant::now();
        for (_, at_once, ..) in &dribbles {
            for _ in 0..OF_EACH {
                swarm.connect(daemon.address(), at_once);
            }
        }
        let connected = begin.elapsed();
        for second in 0.. {
            let next = begin + Duration::from_secs(second + 1);
            swarm.run_for(next.saturating_duration_since(Instant::now()));
            if swarm.open == 0 {
                break;
            }
            assert!(begin.elapsed() < TIMEOUT + 5 * LATE_MAX, "still open: {:?}", open(&swarm, &dribbles));
            for index in 0..swarm.members.len() {
                let rest = &dribbles[index / OF_EACH].2;
                if let Some(byte) = rest.get(second as usize)
                    && swarm.members[index].is_open()
                {
                    swarm.send(index, &[*byte]);
                }
            }
        }
        for (index, member) in swarm.members.iter().enumerate() {
            let (what, .., last_words) = &dribbles[index / OF_EACH];
            let (ended, how) = member.ended.as_ref().expect("all are ended");
            let text = String::from_utf8_lossy(&member.received);
            assert!(how.is_ok() && text.contains(last_words), "{what}: {how:?} after {text}");
            assert!(text.contains("timeout"), "{what}: {text}");
            let took = ended.duration_since(begin);
            assert!(
                took >= TIMEOUT && took <= TIMEOUT + connected + LATE_MAX,
                "{what}: closed after {took:?}"
            );
        }
        let count = (OF_EACH * dribbles.len()) as u64;
        assert_eq!(statistic(&mut operator, "connections_timed_out"), count);
        drop((operator, swarm));
        baseline.expect_back(&daemon, 2 << 10);
        probe.finish()
    });
}

/// How many of each are open.
fn open<T>(swarm: &Swarm, dribbles: &[(&'static str, T, T, &'static str)]) -> BTreeMap<&'static str, usize> {
    let of_each = swarm.members.len() / dribbles.len();
    let mut open = BTreeMap::new();
    for (index, _) in swarm.members.iter().enumerate().filter(|(_, member)| member.is_open()) {
        *open.entry(dribbles[index / of_each].0).or_default() += 1;
    }
    open
}

#[test]
fn ten_thousand_idle_keep_alive_connections_are_closed_in_time() {
    const TIMEOUT: Duration = Duration::from_secs(3);
    /// The memory of one of them.
    const CONNECTION_BYTES_MAX: u64 = 1024;
    let _alone = alone();
    let count = connections_that_fit(10_000);
    best_of_three("10 000 idle connections of HTTP", || {
        let daemon = Daemon::builder().args(["--idle-timeout", "3s"]).start();
        let probe = LatencyProbe::start(&daemon);
        let baseline = Baseline::of(&daemon);
        let mut operator = daemon.operator();
        let (mut swarm, request) = (Swarm::new(), post(PING));
        let mut answered: Vec<Option<Instant>> = Vec::new();
        let begin = Instant::now();
        while swarm.members.len() < count || answered.iter().any(Option::is_none) {
            for _ in 0..200.min(count - swarm.members.len()) {
                swarm.connect(daemon.address(), request.as_bytes());
                answered.push(None);
            }
            swarm
                .turn(Duration::from_millis(1), |index| _ = answered[index].get_or_insert_with(Instant::now));
            assert!(begin.elapsed() < 2 * DEADLINE, "not all are served");
        }
        eprintln!("  connected and served within {:.2?}", begin.elapsed());
        let grown = baseline.growth_kib(&daemon) * 1024;
        while swarm.open > 0 {
            swarm.run_for(Duration::from_millis(50));
            assert!(begin.elapsed() < 2 * DEADLINE + TIMEOUT, "{} are still open", swarm.open);
        }
        let mut times = Vec::new();
        for (member, answered) in swarm.members.iter().zip(&answered) {
            assert!(member.received.starts_with(b"HTTP/1.1 200 "), "{}", member.received.escape_ascii());
            assert!(member.received.ends_with(b"}\n"), "nothing is said at the end");
            let (ended, how) = member.ended.as_ref().expect("all are ended");
            assert!(how.is_ok(), "{how:?}");
            times.push(ended.duration_since(answered.expect("all are answered")));
        }
        let (first, last) = (times.iter().min().expect("some"), times.iter().max().expect("some"));
        eprintln!("  closed {first:.2?} to {last:.2?} after the answer; {} bytes each", grown / count as u64);
        // The client sees the answer a moment after it was sent.
        expect_within(
            "closed after the answer",
            [*first, *last],
            TIMEOUT - Duration::from_millis(250)..=TIMEOUT + LATE_MAX,
        );
        assert_eq!(statistic(&mut operator, "connections_timed_out"), count as u64);
        assert!(
            grown < CONNECTION_BYTES_MAX * count as u64 + (2 << 20),
            "{grown} bytes for {count} connections"
        );
        drop((operator, swarm));
        baseline.expect_back(&daemon, count as u64);
        probe.finish()
    });
}

/// A client that sends a request within each idle timeout keeps its connection.
#[test]
fn a_request_within_the_idle_timeout_keeps_the_connection() {
    let daemon = Daemon::builder().args(["--idle-timeout", "400ms", "--request-timeout", "400ms"]).start();
    let mut web = Web::connect(daemon.address());
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_millis(1200) {
        web.send(post(PING));
        assert_eq!(web.reply().status, 200);
        std::thread::park_timeout(Duration::from_millis(50));
    }
    let silent_since = Instant::now();
    web.expect_end();
    assert!(silent_since.elapsed() < Duration::from_millis(400) + LATE_MAX);
}

#[track_caller]
fn expect_within<const N: usize>(what: &str, times: [Duration; N], range: RangeInclusive<Duration>) {
    for time in times {
        assert!(range.contains(&time), "{what}: {time:?} is not within {range:?}");
    }
}
