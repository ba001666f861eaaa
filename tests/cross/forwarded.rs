//! Proxies on the daemon's own host: requests that they forward come from elsewhere, and do not have the rights of
//! programs of this host.

use std::net::TcpStream;
use std::os::unix::net::UnixStream;

use serde_json::{Value, json};

use crate::common::{Client, Daemon, PASSWORD, registration, request};
use crate::web::{HANDSHAKE, Web, message, post};

/// The headers of forwarded requests, as proxies really send them.
const FORWARDED: [&str; 6] = [
    "Forwarded: for=192.0.2.60;proto=https;by=203.0.113.43",
    "X-Forwarded-For: 203.0.113.7",
    "x-forwarded-for:",
    "X-Real-IP: 203.0.113.7",
    "Via: 1.1 varnish",
    "VIA: 1.0 fred, 1.1 p.example.net (Apache/1.1)",
];

/// Requests that are open to programs of this host, and the answers to others.
const OPEN: [(&str, &str); 6] = [
    (r#"{"action": "add_vm", "ram": 1, "disks": [1]}"#, "registration is closed"),
    (r#"{"action": "list_all_vms"}"#, "authentication required"),
    (
        r#"{"command": "put", "data": {"key": "k", "value": 1}}"#,
        "You have to authenticate to run this operation",
    ),
    (r#"{"command": "get", "data": {"key": "*"}}"#, "You have to authenticate to run this operation"),
    (r#"{"request_id": 1, "data": "a&&b&&c"}"#, "authentication required"),
    (
        r#"{"command": "register", "data": {"vm_id": "new", "ram": 1, "cpu": 1, "password": "securePass123", "disks": []}}"#,
        "Registration is closed",
    ),
];

fn with_header(request: &str, header: &str) -> String {
    request.replacen("\r\n\r\n", &format!("\r\n{header}\r\n\r\n"), 1)
}

fn error(reply: &str) -> Option<String> {
    let reply: Value = serde_json::from_str(reply).unwrap_or_else(|error| panic!("{error}: {reply}"));
    let is_error = reply["status"] == "error";
    reply["error"].as_str().or(reply["message"].as_str().filter(|_| is_error)).map(str::to_owned)
}

fn daemon() -> Daemon {
    Daemon::builder().args(["--conversion-delay", "0", "--registration", "open"]).start()
}

#[test]
fn a_forwarded_request_has_anonymous_rights() {
    let daemon = daemon();
    let mut web = Web::connect(daemon.address());
    for header in FORWARDED {
        for (body, refusal) in OPEN {
            web.send(with_header(&post(body), header));
            let reply = web.reply();
            assert_eq!(
                (reply.status, error(&reply.body).as_deref()),
                (200, Some(refusal)),
                "{header}: {body}"
            );
        }
        web.send(with_header(&post(r#"{"command": "ping"}"#), header));
        assert_eq!(error(&web.reply().body), None, "{header}: a ping is for all");
    }
    // The same connection may carry requests of programs of this host: each counts for itself.
    for (body, _) in OPEN {
        web.send(post(body));
        assert_eq!(error(&web.reply().body), None, "{body}");
    }
    // Similar headers do not count.
    for (body, _) in &OPEN[..5] {
        web.send(with_header(&post(body), "X-Forwarded-Proto: https\r\nX-Via: a\r\nForward: b"));
        assert_eq!(error(&web.reply().body), None, "{body}");
    }
}

#[test]
fn a_vm_can_authenticate_through_a_proxy() {
    let daemon = daemon();
    daemon.client().register("a", &[]);
    let token = daemon.client().authenticate("a");
    let mut web = Web::connect(daemon.address());
    let through = |body: &str, headers: &str| with_header(&post(body), &format!("Via: 1.1 p{headers}"));
    web.send(through(&request("authenticate", json!({"vm_id": "a", "password": PASSWORD})).to_string(), ""));
    assert_eq!(error(&web.reply().body), None);
    for (body, _) in &OPEN[1..5] {
        web.send(through(body, &format!("\r\nAuthorization: Bearer {token}")));
        assert_eq!(error(&web.reply().body), None, "{body}");
        web.send(through(body, ""));
        assert!(error(&web.reply().body).is_some(), "{body}: without the token");
    }
}

#[test]
fn a_forwarded_handshake_marks_the_whole_connection() {
    let daemon = daemon();
    daemon.client().register("a", &[]);
    for header in FORWARDED {
        let mut web = Web::connect(daemon.address());
        web.send(with_header(HANDSHAKE, header));
        web.expect_upgrade();
        for (body, refusal) in OPEN {
            web.send(message(body));
            assert_eq!(error(&web.message()).as_deref(), Some(refusal), "{header}: {body}");
        }
        web.send(message(&request("authenticate", json!({"vm_id": "a", "password": PASSWORD})).to_string()));
        assert_eq!(error(&web.message()), None);
        for (body, _) in &OPEN[1..5] {
            web.send(message(body));
            assert_eq!(error(&web.message()), None, "{header}: {body}, as a VM");
        }
        web.send(message(r#"{"command": "logout"}"#));
        assert_eq!(error(&web.message()), None);
        web.send(message(OPEN[1].0));
        assert_eq!(error(&web.message()).as_deref(), Some(OPEN[1].1), "{header}: after the logout");
    }
    let mut web = Web::websocket(daemon.address());
    web.send(message(OPEN[1].0));
    assert_eq!(error(&web.message()), None, "one that no proxy has passed on");
}

#[test]
fn a_proxied_client_has_the_anonymous_request_limit() {
    let daemon = daemon();
    let large = format!(r#"{{"command": "ping", "data": {{}}{}}}"#, " ".repeat(65 << 10));
    let mut web = Web::connect(daemon.address());
    web.send(post(&large));
    assert_eq!(web.reply().status, 200);
    web.try_send(with_header(&post(&large), "Via: 1.1 p")).ok();
    assert_eq!(web.reply().status, 413);
    let chunked = "POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut web = Web::connect(daemon.address());
    web.try_send(with_header(chunked, "Via: 1.1 p") + &format!("{:x}\r\n{large}\r\n0\r\n\r\n", large.len()))
        .ok();
    assert_eq!(web.reply().status, 413);
    let mut web = Web::connect(daemon.address());
    web.send(with_header(HANDSHAKE, "Via: 1.1 p"));
    web.expect_upgrade();
    web.try_send(message(&large)).ok();
    web.expect_close(1009);
}

/// A worker decodes long requests; their source stays the same.
#[test]
fn long_requests_have_no_more_rights() {
    let daemon = daemon();
    let body = format!(r#"{{"action": "list_all_vms"{}}}"#, " ".repeat(50_000));
    let mut web = Web::connect(daemon.address());
    web.send(with_header(&post(&body), "Via: 1.1 p"));
    assert_eq!(error(&web.reply().body).as_deref(), Some("authentication required"));
    web.send(post(&body));
    assert_eq!(error(&web.reply().body), None);
    let mut web = Web::connect(daemon.address());
    web.send(with_header(HANDSHAKE, "Via: 1.1 p"));
    web.expect_upgrade();
    web.send(message(&body));
    assert_eq!(error(&web.message()).as_deref(), Some("authentication required"));
}

#[test]
fn a_proxy_changes_nothing_on_an_open_listener() {
    let builder = Daemon::builder().arg("--allow-plaintext").args(["--registration", "open"]);
    let daemon = builder.listen("tcp://0.0.0.0:0?open=metrics").start();
    let address = (std::net::Ipv4Addr::LOCALHOST, daemon.addresses()[1].port()).into();
    let mut web = Web::connect(address);
    for (at, (body, refusal)) in OPEN.into_iter().enumerate() {
        web.send(with_header(&post(body), "X-Forwarded-For: 203.0.113.7"));
        let expected = if matches!(at, 0 | 1 | 4) { Some(refusal) } else { None };
        let expected = if at == 0 { Some("authentication required") } else { expected };
        assert_eq!(error(&web.reply().body).as_deref(), expected, "{body}");
    }
}

/// Sends one request of HTTP over a unix socket; the body of its answer.
fn ask_unix(path: &std::path::Path, request: &str) -> String {
    let mut web = Web::over(UnixStream::connect(path).expect("the daemon accepts"));
    web.send(with_header(request, "Connection: close"));
    web.reply().body
}

#[test]
fn a_proxy_on_a_unix_socket_is_not_the_operator() {
    let builder = Daemon::builder();
    let path = builder.state_dir().join("clients.sock");
    let daemon = builder.listen(format!("unix:{}", path.display())).start();
    let list = post(OPEN[1].0);
    assert_eq!(error(&ask_unix(&path, &list)), None);
    assert_eq!(error(&ask_unix(&path, &with_header(&list, "Via: 1.1 p"))).as_deref(), Some(OPEN[1].1));
    let stats = post(r#"{"command": "stats"}"#);
    assert_eq!(error(&ask_unix(&daemon.own_socket(), &stats)), None, "the operator");
    let forwarded = with_header(&stats, "X-Real-IP: 203.0.113.7");
    assert_eq!(error(&ask_unix(&daemon.own_socket(), &forwarded)).as_deref(), Some("Unknown command"));
}

#[test]
fn a_listener_may_close_every_group() {
    let builder = Daemon::builder().listen("tcp://127.0.0.1:0?open=none").args(["--registration", "closed"]);
    let daemon = builder.start();
    let mut client = Client::connect(daemon.addresses()[1]);
    assert_eq!(client.fail(registration("a", &[])), "Registration is closed");
    for (body, refusal) in OPEN {
        let mut web = Web::over(TcpStream::connect(daemon.addresses()[1]).expect("the daemon accepts"));
        web.send(post(body));
        let refused = error(&web.reply().body);
        let expected = if body.contains("add_vm") { "registration is closed" } else { refusal };
        assert_eq!(refused.as_deref(), Some(expected), "{body}");
    }
    let lines: Vec<String> = daemon
        .log()
        .lines()
        .filter(|line| line.contains("open without a password"))
        .map(str::to_owned)
        .collect();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains(" WARN ") && lines[0].contains("tcp://127.0.0.1:"), "{lines:?}");
    assert!(
        lines[0].contains("(action,metrics,convert,verb,page) to every program on this host"),
        "{lines:?}"
    );
    assert!(!lines[0].contains("registration)") && !lines[0].contains(&daemon.addresses()[1].to_string()));
}

#[test]
fn a_closed_listener_logs_no_proxy_warning() {
    let builder = Daemon::builder().only_on("tcp://127.0.0.1:0?open=none");
    let daemon = builder.args(["--registration", "closed"]).start();
    assert!(!daemon.log().contains(" WARN "), "{}", daemon.log());
}
