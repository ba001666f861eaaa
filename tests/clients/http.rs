//! HTTP with curl: persistent connections, bodies of all kinds, pages, and refusals.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::json;

use crate::common::{Client, DEADLINE, Daemon, registration, run, run_with_input, wait_until};
use crate::programs::{Answer, curl, fetch, fetch_with_input, succeed};

const PING: &str = r#"{"command": "ping"}"#;

pub(crate) fn url(daemon: &Daemon) -> String {
    format!("http://{}/", daemon.address())
}

/// A ping's reply without the port, which differs each time.
#[track_caller]
pub(crate) fn assert_pong(answer: &Answer) {
    let (status, reply) = answer.json();
    assert_eq!((status, &reply["message"]), (200, &json!("PONG")), "{answer:?}");
    assert_eq!(reply["data"]["addr"][0], "127.0.0.1");
}

/// An error in the `command` dialect's shape; its message, which must not be empty.
#[track_caller]
pub(crate) fn assert_error(answer: &Answer, status: u16) -> String {
    let (found, reply) = answer.json();
    assert_eq!(found, status, "{answer:?}");
    assert_eq!((&reply["status"], &reply["data"]), (&json!("error"), &json!({})), "{answer:?}");
    assert_eq!(reply.as_object().map(|reply| reply.len()), Some(3), "{answer:?}");
    reply["message"].as_str().unwrap_or_else(|| panic!("no message: {answer:?}")).to_owned()
}

#[test]
fn one_connection_carries_many_requests() {
    let daemon = Daemon::start();
    let url = url(&daemon);
    let mut command = curl();
    let shown = "%{http_code} %{num_connects} %{local_port}\n";
    for number in 0..10 {
        if number > 0 {
            command.arg("--next").args(["--silent", "--show-error"]);
        }
        command.args(["-d", PING, "-w", shown, &url]);
    }
    let said = succeed(&mut command).stdout;
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 20, "{said}");
    let port = lines[1].rsplit(' ').next().expect("a port");
    for (number, pair) in lines.chunks(2).enumerate() {
        let reply =
            format!(r#"{{"status":"success","message":"PONG","data":{{"addr":["127.0.0.1",{port}]}}}}"#);
        let connects = u8::from(number == 0);
        assert_eq!(pair, [reply, format!("200 {connects} {port}")], "request {number}");
    }
}

#[test]
fn a_connection_survives_dialect_errors_and_unknown_pages() {
    let daemon = Daemon::start();
    let url = url(&daemon);
    let page = format!("{url}nothing");
    let shown = "\n%{http_code} %{num_connects}\n";
    let mut command = curl();
    command.args(["-d", r#"{"command": "nothing"}"#, "-w", shown, &url]);
    for arguments in [
        ["-d", "no JSON", "-w", shown, &url],
        ["-X", "GET", "-w", shown, &page],
        ["-X", "DELETE", "-w", shown, &url],
        ["-d", PING, "-w", shown, &url],
    ] {
        command.arg("--next").args(["--silent", "--show-error"]).args(arguments);
    }
    let said = succeed(&mut command).stdout;
    let codes: Vec<&str> = said.lines().filter(|line| line.len() == 5).collect();
    assert_eq!(codes, ["200 1", "400 0", "404 0", "405 0", "200 0"], "{said}");
}

#[test]
fn http_1_0_gets_one_response_and_a_closed_connection() {
    let daemon = Daemon::start();
    let answer = fetch(["--http1.0", "-d", PING, &url(&daemon)]);
    assert_pong(&answer);
    assert_eq!(answer.header("Connection"), Some("close"));
    let kept = fetch(["--http1.0", "-H", "Connection: keep-alive", "-d", PING, &url(&daemon)]);
    assert_pong(&kept);
    assert_eq!(kept.header("Connection"), Some("keep-alive"));
}

#[test]
fn bodies_are_accepted_chunked_or_whole_with_any_content_type() {
    let daemon = Daemon::start();
    let url = url(&daemon);
    let chunked = ["-X", "POST", "-H", "Transfer-Encoding: chunked", "-T", "-", &url];
    assert_pong(&fetch_with_input(chunked, PING.as_bytes()));
    // More than curl puts into one chunk, and more than the daemon reads at once.
    let long = json!({"request_id": 1, "command": "ping", "data": {"token": "x".repeat(500_000)}});
    let answer = fetch_with_input(chunked, long.to_string().as_bytes());
    assert_pong(&answer);
    assert_eq!(answer.json().1["request_id"], 1);
    assert_pong(&fetch_with_input(["--data-binary", "@-", &url], long.to_string().as_bytes()));
    let types = ["Content-Type: application/json", "Content-Type: text/plain", "Content-Type:"];
    types.iter().for_each(|of_body| assert_pong(&fetch(["-H", of_body, "-d", PING, &url])));
    for path in ["api/v1", "?query=1", "%7E/x//y"] {
        assert_pong(&fetch(["-d", PING, &format!("{url}{path}")]));
    }
}

#[test]
fn expect_100_continue_is_answered() {
    let daemon = Daemon::start();
    let url = url(&daemon);
    let sends = |length: usize| {
        let body = format!("{PING}{}", " ".repeat(length - PING.len()));
        let arguments = ["--verbose", "-H", "Expect: 100-continue", "--data-binary", "@-", &url];
        let mut command = curl();
        // As long as the test's deadline: curl must get `100 Continue`, not time out.
        let said =
            run_with_input(command.args(["--expect100-timeout", "9"]).args(arguments), body.as_bytes());
        let said = said.expect_success();
        let heads = said.stderr.lines().filter_map(|line| line.strip_prefix("< HTTP/1.1 "));
        (heads.map(str::to_owned).collect::<Vec<_>>(), said.stdout)
    };
    for length in [PING.len(), 100_000, 1 << 20] {
        let (heads, body) = sends(length);
        assert_eq!(heads, ["100 Continue", "200 OK"], "{length} bytes");
        assert!(body.contains("PONG"), "{body}");
    }
    let (heads, body) = sends((1 << 20) + 1);
    assert_eq!(heads, ["413 Content Too Large"]);
    assert_eq!(
        body,
        "{\"status\":\"error\",\"message\":\"the body is larger than it may be\",\"data\":{}}\n"
    );
}

/// curl does not wait for `100 Continue` here, and reads the answer all the same.
#[test]
fn a_too_large_body_is_refused_sized_or_chunked() {
    let daemon = Daemon::start();
    let body = " ".repeat(5 << 20);
    let refused = |arguments: [&str; 4]| {
        let [a, b, c, d] = arguments;
        let answer = fetch_with_input(["-H", "Expect:", a, b, c, d, &url(&daemon)], body.as_bytes());
        assert_eq!(assert_error(&answer, 413), "the body is larger than it may be");
        assert_eq!(answer.header("Connection"), Some("close"));
    };
    refused(["-X", "POST", "--data-binary", "@-"]);
    refused(["-H", "Transfer-Encoding: chunked", "--data-binary", "@-"]);
    daemon.client().ping();
}

#[test]
fn the_front_page_and_the_health_check_are_served() {
    let daemon = Daemon::start();
    let url = url(&daemon);
    let root = fetch([&url]);
    assert_eq!((root.status, root.header("Content-Type")), (200, Some("text/plain; charset=utf-8")));
    assert!(root.body.contains("vmherd") && root.body.ends_with('\n'), "{root:?}");
    let length = root.body.len().to_string();
    assert_eq!(root.header("Content-Length"), Some(length.as_str()));
    let health = format!("{url}healthz");
    let answer = fetch([&health]);
    assert_eq!((answer.status, answer.body.as_str()), (200, "ok\n"));
    for (page, length) in [(&url, length.as_str()), (&health, "3")] {
        let head = fetch(["--head", page]);
        assert_eq!((head.status, head.header("Content-Length")), (200, Some(length)));
        assert_eq!(head.body, "");
    }
    let missing = format!("{url}nothing");
    assert_eq!(assert_error(&fetch([&missing]), 404), "there is no such page");
    assert_eq!(fetch(["--head", &missing]).status, 404);
}

#[test]
fn unsupported_requests_are_refused_with_an_explanation() {
    let daemon = Daemon::start();
    let url = url(&daemon);
    let health = format!("{url}healthz");
    let page = format!("{url}page");
    let not_allowed = |arguments: [&str; 3]| {
        let answer = fetch(arguments);
        assert_error(&answer, 405);
        answer.header("Allow").map(str::to_owned).expect("the methods that there are")
    };
    assert_eq!(not_allowed(["-X", "PUT", &url]), "GET, HEAD, POST, OPTIONS");
    assert_eq!(not_allowed(["-X", "DELETE", &page]), "POST, OPTIONS");
    assert_eq!(not_allowed(["-d", PING, &health]), "GET, HEAD, OPTIONS");
    for (page, methods) in
        [(&url, "GET, HEAD, POST, OPTIONS"), (&health, "GET, HEAD, OPTIONS"), (&page, "POST, OPTIONS")]
    {
        let answer = fetch(["-X", "OPTIONS", page]);
        assert_eq!((answer.status, answer.header("Allow"), answer.body.as_str()), (204, Some(methods), ""));
        assert_eq!((answer.header("Content-Length"), answer.header("Connection")), (None, None));
    }
    let head = format!("X-Long: {}", "x".repeat(17_000));
    let headers: String = (0..80).map(|number| format!("X-{number}: x\r\n")).collect();
    for (status, answer) in [
        (400, fetch(["-H", "Host:", "-d", PING, &url])),
        (400, fetch(["-d", "no JSON", &url])),
        (400, fetch(["-d", "", &url])),
        (400, fetch(["-d", "[1]", &url])),
        (400, fetch(["-d", "{}", &url])),
        (400, fetch(["-d", r#"{"action": "list_all_vms", "command": "ping"}"#, &url])),
        (400, fetch(["-d", r#"{"command": "ping"} {"command": "ping"}"#, &url])),
        (411, fetch(["-X", "POST", &url])),
        (415, fetch(["-F", "command=ping", &url])),
        (415, fetch(["-H", "Content-Encoding: gzip", "-d", PING, &url])),
        (415, fetch(["-H", "Content-Encoding: identity, br", "-d", PING, &url])),
        (417, fetch(["-H", "Expect: miracles", "-d", PING, &url])),
        (431, fetch(["-H", &head, "-d", PING, &url])),
        (431, fetch_with_input(["-H", "@-", "-d", PING, &url], headers.as_bytes())),
        (501, fetch(["-X", "BREW", "-d", PING, &url])),
        (501, fetch(["-H", "Transfer-Encoding: gzip", "-H", "Content-Length:", "-d", PING, &url])),
    ] {
        assert_error(&answer, status);
    }
    daemon.client().ping();
}

#[test]
fn a_compressed_body_is_refused_with_accept_encoding() {
    let daemon = Daemon::start();
    let url = url(&daemon);
    let packed = fetch(["-H", "Content-Encoding: gzip", "-d", PING, &url]);
    assert_eq!(packed.header("Accept-Encoding"), Some("identity"));
    assert_eq!(fetch(["-F", "command=ping", &url]).header("Accept-Encoding"), None);
    assert_pong(&fetch(["-H", "Content-Encoding: identity", "-d", PING, &url]));
}

#[test]
fn every_response_has_a_date() {
    let daemon = Daemon::builder().args(["--conversion-delay", "1100ms"]).start();
    let url = url(&daemon);
    let health = format!("{url}healthz");
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    for arguments in [
        ["-d", PING, &url],
        ["-d", r#"{"request_id": 1, "data": "a&&b&&c"}"#, &url],
        ["-d", "no JSON", &url],
        ["-X", "OPTIONS", &url],
        ["-X", "GET", &health],
    ] {
        let begin = now();
        let answer = fetch(arguments);
        let date = answer.header("Date").unwrap_or_else(|| panic!("no date: {answer:?}")).to_owned();
        // Another program's reading of it.
        let said = succeed(Command::new("date").args(["--date", &date, "+%s"])).stdout;
        let seconds: u64 = said.trim().parse().expect("seconds");
        assert!(date.ends_with(" GMT") && date.len() == 29, "{date}");
        // The daemon may read the clock a moment before it makes the answer.
        assert!((begin.saturating_sub(1)..=now()).contains(&seconds), "{date}");
        if arguments[1].contains("request_id") {
            assert!(seconds > begin, "{date}: it is that of the answer, not of the request");
        }
    }
}

#[test]
fn long_lists_are_chunked_and_complete() {
    let daemon = Daemon::start();
    let url = url(&daemon);
    let mut client = daemon.client();
    add_many(&mut client);
    let list = r#"{"action": "list_all_vms"}"#;
    client.send(list);
    let expected = format!("{}\n", client.raw_line());
    assert!(expected.len() > 100_000);
    let answer = fetch(["-d", list, &url]);
    assert_eq!((answer.status, answer.header("Transfer-Encoding")), (200, Some("chunked")));
    assert_eq!((answer.header("Content-Length"), answer.header("Connection")), (None, None));
    assert!(answer.body == expected, "the list is another");
    // HTTP/1.0 has no chunks: a list ends with the connection.
    let old = fetch(["--http1.0", "-H", "Connection: keep-alive", "-d", list, &url]);
    assert_eq!(
        (old.status, old.header("Transfer-Encoding"), old.header("Content-Length")),
        (200, None, None)
    );
    assert!(old.body == expected, "the list is another");
    // A short answer has a length; and the connection stays open after a list in chunks.
    let short = r#"{"action": "list_connected_vms"}"#;
    let mut command = curl();
    command.args(["-o", "/dev/null", "-w", "%{http_code} %{num_connects}\n", "-d", list, &url]);
    command.arg("--next").args(["--silent", "-i", "-w", "%{num_connects}", "-d", short, &url]);
    let said = succeed(&mut command).stdout;
    assert!(said.starts_with("200 1\nHTTP/1.1 200 OK\r\n"), "{said}");
    assert!(said.contains("Content-Length: 21\r\n"), "{said}");
    assert!(said.ends_with("{\"connected_vms\":[]}\n0"), "{said}");
}

/// VMs and disks that fill several pages of each list.
pub(crate) fn add_many(client: &mut Client) {
    for _ in 0..10 {
        let reply = client.call(json!({"action": "add_vm", "ram": 512, "disks": vec![5; 500]}));
        assert_eq!(reply["status"], "vm added");
    }
}

#[test]
fn a_busy_daemon_sends_retry_after() {
    let daemon = Daemon::builder().with_slow_hashes().args(["--auth-queue", "1"]).start();
    let url = url(&daemon);
    let is_over = AtomicBool::new(false);
    let answer = thread::scope(|scope| {
        // One is hashed, one waits, and others take each free slot of the queue.
        for index in 0..6 {
            let (is_over, mut client) = (&is_over, daemon.client());
            scope.spawn(move || {
                for count in 0.. {
                    if is_over.load(Ordering::Relaxed) {
                        return;
                    }
                    client.send(&registration(&format!("vm-{index}-{count}"), &[]).to_string());
                    client.reply();
                    thread::park_timeout(Duration::from_millis(1));
                }
            });
        }
        let mut answer = None;
        let mut count = 0;
        wait_until("curl comes while there is no room", DEADLINE, || {
            count += 1;
            let curls = registration(&format!("curl-{count}"), &[]).to_string();
            answer = Some(fetch(["-d", &curls, &url])).filter(|answer| answer.status != 200);
            answer.is_some()
        });
        is_over.store(true, Ordering::Relaxed);
        answer.expect("one that is no success")
    });
    assert_eq!(assert_error(&answer, 503), "busy");
    assert_eq!(answer.header("Retry-After"), Some("1"));
    assert_eq!(answer.header("Connection"), None, "the connection stays of use");
    // Other requests are accepted.
    assert_eq!(fetch([&format!("{url}healthz")]).status, 200);
}

/// In the shape of each dialect.
#[test]
fn busy_is_reported_in_the_dialect_of_the_request() {
    let daemon = Daemon::builder().args(["--conversion-delay", "1h", "--requests-max", "1"]).start();
    let mut waiting = daemon.client();
    waiting.send(r#"{"request_id": 1, "data": "a&&b&&c"}"#);
    daemon.wait_for_log("Timeout 3600.0 seconds");
    for (request, body) in [
        (r#"{"request_id": 2.0, "data": "a&&b&&c"}"#, "{\"request_id\":2.0,\"error\":\"busy\"}\n"),
        (r#"{"action": "list_all_vms"}"#, "{\"error\":\"busy\"}\n"),
        (
            r#"{"command": "authenticate", "data": {"vm_id": "a", "password": "12345678"}}"#,
            "{\"status\":\"error\",\"message\":\"busy\",\"data\":{}}\n",
        ),
    ] {
        let answer = fetch(["-d", request, &url(&daemon)]);
        assert_eq!((answer.status, answer.body.as_str()), (503, body));
        assert_eq!(answer.header("Retry-After"), Some("1"));
    }
    // Requests that need no queue are always accepted.
    assert_eq!(fetch(["-d", PING, &url(&daemon)]).status, 200);
}

#[test]
fn a_truncated_request_gets_an_error() {
    let daemon = Daemon::builder().args(["--request-timeout", "300ms"]).start();
    let head = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{";
    let mut client = daemon.client();
    client.send(head);
    client.half_close();
    assert!(client.rest().starts_with("HTTP/1.1 400 Bad Request\r\n"));
    let mut client = daemon.client();
    client.send(head);
    assert!(client.rest().starts_with("HTTP/1.1 408 Request Timeout\r\n"));
    // A connection without an open request has no request timeout.
    let said = run(curl().args(["-d", PING, &url(&daemon)])).expect_success();
    assert!(said.stdout.contains("PONG"));
}

/// An incomplete WebSocket handshake is refused with the reason; any other upgrade is ignored.
#[test]
fn impossible_upgrades_are_refused_or_ignored() {
    let daemon = Daemon::start();
    let url = url(&daemon);
    let handshake = |version: &str, key: &str| {
        let headers = ["Connection: Upgrade", "Upgrade: websocket", version, key];
        let [a, b, c, d] = headers;
        fetch(["-H", a, "-H", b, "-H", c, "-H", d, &url])
    };
    let (version, key) = ("Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==");
    assert_error(&handshake(version, "Sec-WebSocket-Key: c2hvcnQ="), 400);
    assert_error(&handshake(version, "X: "), 400);
    let other = handshake("Sec-WebSocket-Version: 8", key);
    assert_error(&other, 426);
    assert_eq!(other.header("Sec-WebSocket-Version"), Some("13"));
    assert_pong(&fetch(["--http2", "-d", PING, &url]));
}
