//! The daemon's counters, and the ways to read them.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;

use serde_json::{Value, json};

use crate::common::{Daemon, Finished, TempDir, request, run};
use crate::support::vmherd;

fn stats(state_dir: &std::path::Path, args: &[&str]) -> Finished {
    run(vmherd(state_dir).arg("stats").args(args))
}

fn counters(daemon: &Daemon) -> Value {
    let ran = stats(daemon.state_dir(), &["--json"]).expect_success();
    assert!(ran.stdout.ends_with("}\n") && ran.stdout.lines().count() == 1, "{ran:?}");
    serde_json::from_str(&ran.stdout).expect("it is JSON")
}

#[test]
fn requests_are_counted_by_command_and_outcome() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    client.register("a", &[1]);
    client.fail(request("authenticate", json!({"vm_id": "a", "password": "wrong password"})));
    client.authenticate("a");
    client.list("all_vms");
    client.fail(request("update", json!({})));
    client.fail(request("nonsense", json!({})));
    client.fail(json!("no object"));
    let counters = counters(&daemon);
    let expected = [
        ("requests_register", 1),
        ("requests_register_ok", 1),
        ("requests_register_failed", 0),
        ("requests_authenticate", 2),
        ("requests_authenticate_ok", 1),
        ("requests_authenticate_failed", 1),
        ("requests_list_ok", 1),
        ("requests_update_failed", 1),
        ("failed_invalid_credentials", 1),
        ("failed_no_fields", 1),
        ("requests_failed", 2),
        ("requests_stats", 1),
        ("requests_in_flight", 0),
        ("connections_open", 2),
        ("connections_authenticated", 1),
        ("auth_queued", 0),
        ("read_threads_stuck", 0),
        ("write_batches_running", 0),
        ("store_errors_busy", 0),
        ("store_errors_unavailable", 0),
        ("store_errors_outcome_unknown", 0),
        ("log_lines_dropped", 0),
    ];
    for (name, value) in expected {
        assert_eq!(counters[name], json!(value), "{name}: {counters}");
    }
    assert!(counters["requests_refused"].as_u64() >= Some(1), "{counters}");
    assert!(counters["write_batches_done"].as_u64() >= Some(2), "{counters}");
    assert!(counters["memory_resident_kib"].as_u64() > Some(1000), "{counters}");
    assert!(counters["uptime_s"].as_u64() < Some(600), "{counters}");
}

/// Points are counted one by one, requests as they came: adjacent lines of text are one request, each put in JSON is one.
#[test]
fn points_and_the_requests_for_them_are_counted() {
    const KEYS_MAX: usize = 100_000;
    let daemon = Daemon::builder().args(["--store", "memory:"]).start();
    let mut text = daemon.client();
    for line in ["put a 1 1", "put a 1 2", "put b 1 1"] {
        assert_eq!(text.call_text(line), "ok\n\n");
    }
    text.send("nonsense\nput c\nget a\nget *\nget nothing\n");
    (0..5).for_each(|_| drop(text.text_reply()));
    let mut client = daemon.client();
    client.succeed("put", json!({"key": "c", "value": 1}));
    client.succeed("put", json!({"points": [{"key": "c", "value": 1}, {"key": "d", "value": 1}]}));
    let puts =
        "{\"command\": \"put\", \"data\": {\"key\": \"d\", \"value\": 1, \"timestamp\": 1}}\n".repeat(3);
    client.send(&puts);
    (0..3).for_each(|_| assert_eq!(client.reply()["message"], "ok"));
    client.succeed("get", json!({"key": "*"}));
    client.fail(request("get", json!({})));
    client.fail(request("put", json!({"points": []})));
    let expect = |expected: &[(&str, u64)]| {
        let counters = counters(&daemon);
        for (name, value) in expected {
            assert_eq!(counters[name], json!(value), "{name}: {counters}");
        }
        counters
    };
    let counters = expect(&[
        ("requests_put", 9),
        ("requests_put_ok", 8),
        ("requests_put_failed", 1),
        ("requests_get", 5),
        ("requests_get_ok", 4),
        ("requests_get_failed", 1),
        ("points_put", 9),
        ("points_refused", 0),
        // Lines that are not commands are refused before they are run.
        ("requests_refused", 2),
        ("requests_in_flight", 0),
    ]);
    let requests_before = counters["requests_put"].as_u64().expect("a number");
    // With the four there are, one more than the limit for each of ten lines.
    let (mut sent, lines) = (0, |keys: std::ops::Range<usize>| -> String {
        keys.map(|key| format!("put key-{key} 1 1\n")).collect()
    });
    let mut verdicts = std::collections::BTreeMap::<String, usize>::new();
    while sent < KEYS_MAX - 4 + 10 {
        let batch = sent..(sent + 10_000).min(KEYS_MAX - 4 + 10);
        sent = batch.end;
        let count = batch.len();
        text.send(&lines(batch));
        (0..count).for_each(|_| *verdicts.entry(text.text_reply()).or_default() += 1);
    }
    let points = json!([{"key": "a", "value": 1}, {"key": "new", "value": 1}]);
    client.fail(request("put", json!({"points": points})));
    let verdicts: Vec<(&str, usize)> = verdicts.iter().map(|(text, count)| (&text[..], *count)).collect();
    assert_eq!(verdicts, [("error\nkey limit reached\n\n", 10), ("ok\n\n", KEYS_MAX - 4)]);
    let counters = expect(&[
        ("points_put", 9 + KEYS_MAX as u64 - 4),
        ("points_refused", 12),
        ("failed_key_limit_reached", 1),
        ("requests_refused", 2),
        ("requests_in_flight", 0),
    ]);
    let number = |name: &str| counters[name].as_u64().expect("a number");
    assert_eq!(number("requests_put"), number("requests_put_ok") + number("requests_put_failed"));
    let batches = number("requests_put") - requests_before;
    assert!((25..5000).contains(&batches), "{batches} requests for {sent} lines");
}

#[test]
fn the_table_and_the_signal_show_the_same_names() {
    let daemon = Daemon::start();
    let ran = stats(daemon.state_dir(), &[]).expect_success();
    let rows: Vec<Vec<&str>> = ran.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert!(rows.len() > 40 && rows.iter().all(|row| row.len() == 2 && row[1].parse::<u64>().is_ok()));
    let width = ran.stdout.lines().next().map(str::len);
    assert!(ran.stdout.lines().all(|line| Some(line.len()) == width), "aligned: {}", ran.stdout);
    daemon.signal("USR1");
    daemon.wait_for_log("statistics: uptime_s=");
    let log = daemon.log();
    let line = log.lines().find(|line| line.contains("statistics: ")).expect("it is one line");
    for row in &rows {
        assert!(line.contains(&format!(" {}=", row[0])), "{}: {line}", row[0]);
    }
    daemon.client().ping();
}

#[test]
fn without_a_daemon_it_says_so() {
    let dir = TempDir::new();
    let socket = dir.path().join("vmherd.sock");
    let missing = stats(dir.path(), &[]);
    assert_eq!((missing.code(), missing.stdout.as_str()), (Some(69), ""), "{missing:?}");
    assert!(missing.stderr.contains(&format!("no daemon answers on {}", socket.display())), "{missing:?}");
    // A stale socket.
    let mut daemon = Daemon::start();
    daemon.kill();
    assert!(daemon.own_socket().exists());
    assert_eq!(stats(daemon.state_dir(), &["--json"]).code(), Some(69));
    for args in [&["--nonsense"][..], &["stray"], &["--json=yes"]] {
        let ran = stats(dir.path(), args);
        assert_eq!((ran.code(), ran.stderr.lines().count()), (Some(2), 1), "{ran:?}");
    }
    let help = stats(dir.path(), &["--help"]).expect_success();
    assert!(help.stdout.contains("vmherd stats --json") && help.stdout.contains("--state-dir"), "{help:?}");
}

#[test]
fn a_hung_daemon_is_not_waited_for_forever() {
    let dir = TempDir::new();
    let _silent = UnixListener::bind(dir.path().join("vmherd.sock")).expect("a new socket");
    let ran = stats(dir.path(), &[]);
    assert_eq!(ran.code(), Some(1), "{ran:?}");
    assert!(ran.stderr.contains("no reply for 5 s"), "{ran:?}");
}

#[test]
fn an_invalid_answer_is_an_error() {
    let cases = [
        ("", "it is incomplete"),
        ("{\"status\":", "it is incomplete"),
        ("nonsense\n", "it is not a reply"),
        ("{\"status\":\"success\",\"message\":null,\"data\":{\"a\":-1}}\n", "it is not a reply"),
        ("{\"status\":\"success\",\"message\":null,\"data\":{\"a\":\"x\"}}\n", "it is not a reply"),
        ("{\"status\":\"error\",\"message\":\"Unknown command\",\"data\":{}}\n", "Unknown command"),
    ];
    for (answer, part) in cases {
        let dir = TempDir::new();
        let daemon = UnixListener::bind(dir.path().join("vmherd.sock")).expect("a new socket");
        let answering = std::thread::spawn(move || {
            let (mut stream, _) = daemon.accept().expect("a client");
            let mut request = String::new();
            BufReader::new(&stream).read_line(&mut request).expect("a request");
            stream.write_all(answer.as_bytes()).expect("it listens");
            request
        });
        let ran = stats(dir.path(), &[]);
        assert_eq!((ran.code(), ran.stdout.as_str()), (Some(1), ""), "{ran:?}");
        assert!(ran.stderr.contains(part), "{ran:?}");
        assert_eq!(answering.join().expect("no panic"), "{\"command\":\"stats\",\"data\":{}}\n");
    }
}
