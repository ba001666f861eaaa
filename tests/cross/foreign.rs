//! Requests that a foreign page makes a browser send: refused, without an effect.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::common::{Client, Daemon};
use crate::foreign_requests::{Foreign, own_requests, requests};
use crate::web::{Web, header, message, post};

/// The minimum number of requests, so that an emptied table is noticed.
const REQUESTS_MIN: usize = 40;

#[test]
fn requests_of_a_foreign_page_have_no_effect() {
    let daemon = Daemon::start();
    let mut operator = daemon.operator();
    let before = begun(&mut operator);
    let requests = requests(daemon.address().port());
    assert!(requests.len() >= REQUESTS_MIN, "{} requests", requests.len());
    let mut wrong = Vec::new();
    for Foreign { what, bytes, status } in &requests {
        let mut web = Web::connect(daemon.address());
        web.send(bytes);
        let reply = if bytes.starts_with(b"HEAD ") { web.reply_to_head() } else { web.reply() };
        web.half_close();
        let rest = web.rest();
        let tells = reply.head.to_ascii_lowercase().contains("access-control-allow");
        if reply.status != *status || !rest.is_empty() || tells {
            wrong.push(format!("{what}: {} instead of {status}, then {}", reply.head, rest.escape_ascii()));
        }
        let begun = begun(&mut operator);
        if begun != before {
            wrong.push(format!("{what}: {before:?} became {begun:?}"));
            break;
        }
    }
    assert!(wrong.is_empty(), "{} of {}: {wrong:#?}", wrong.len(), requests.len());
    assert_eq!(all_vms(&daemon), json!([]));
    println!("{} requests", requests.len());
}

/// The requests that are refused above because of their origin work otherwise.
#[test]
fn the_same_requests_of_an_own_page_take_effect() {
    let daemon = Daemon::start();
    let requests = own_requests(daemon.address().port());
    for (index, Foreign { what, bytes, status }) in requests.iter().enumerate() {
        let mut web = Web::connect(daemon.address());
        web.send(bytes);
        let reply = web.reply();
        assert_eq!(reply.status, *status, "{what}: {reply:?}");
        let vms = all_vms(&daemon);
        assert_eq!(vms.as_array().map(Vec::len), Some(index + 1), "{what}: {vms}");
    }
}

#[test]
fn pages_of_the_same_or_an_allowed_origin_may_upgrade() {
    let daemon = Daemon::builder().args(["--http-origin", "https://vms.example.org"]).start();
    let port = daemon.address().port();
    for origin in [format!("http://127.0.0.1:{port}"), "https://vms.example.org".into()] {
        let mut web = Web::connect(daemon.address());
        let handshake = crate::web::HANDSHAKE
            .replace("Host: localhost", &format!("Host: 127.0.0.1:{port}\r\nOrigin: {origin}"));
        web.send(handshake);
        web.expect_upgrade();
        web.send(message(r#"{"action":"add_vm","ram":1,"disks":[1]}"#));
        assert!(web.message().contains("vm added"));
    }
    // Only the allowed page is.
    let mut web = Web::connect(daemon.address());
    web.send(
        crate::web::HANDSHAKE.replace("Host: localhost", "Host: localhost\r\nOrigin: http://vms.example.org"),
    );
    let reply = web.reply();
    assert_eq!((reply.status, header(&reply.head, "Connection")), (403, Some("close")));
    web.expect_end();
}

/// The headers with which, by the Fetch standard, a browser shows an answer to a page.
#[test]
fn only_an_allowed_origin_may_read_responses() {
    let allowed = "https://vms.example.org";
    let daemon =
        Daemon::builder().args(["--http-origin", allowed, "--http-origin", "http://10.0.0.1:3000"]).start();
    let port = daemon.address().port();
    let preflight = "OPTIONS /any HTTP/1.1\r\nHost: localhost\r\nAccess-Control-Request-Method: POST\r\n\
        Access-Control-Request-Headers: authorization,content-type\r\nSec-Fetch-Site: cross-site\r\n\r\n";
    let ping = post("{\"command\":\"ping\"}");
    let requests = [
        (preflight.to_owned(), 204),
        (ping.clone(), 200),
        (ping.replace("\r\n\r\n", "\r\nSec-Fetch-Site: cross-site\r\n\r\n"), 200),
        (post("no JSON"), 400),
        (ping.replace("\r\n\r\n", "\r\nAuthorization: Bearer unknown\r\n\r\n"), 401),
        ("GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n".into(), 404),
        ("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n".into(), 200),
        ("PUT / HTTP/1.1\r\nHost: localhost\r\n\r\n".into(), 405),
        (post("{\"action\":\"list_all_vms\"}"), 200),
    ];
    let mut web = Web::connect(daemon.address());
    for origin in [allowed, "HTTPS://VMS.example.org:443", "http://10.0.0.1:3000"] {
        for (request, status) in &requests {
            web.send(request.replacen("\r\n", &format!("\r\nOrigin: {origin}\r\n"), 1));
            let reply = web.reply();
            assert_eq!(reply.status, *status, "{request}: {reply:?}");
            assert_eq!(header(&reply.head, "Access-Control-Allow-Origin"), Some(origin), "{request}");
            assert_eq!(header(&reply.head, "Vary"), Some("Origin"), "{request}");
            let is_preflight = *status == 204;
            for (name, value) in [
                ("Access-Control-Allow-Methods", "POST, OPTIONS"),
                ("Access-Control-Allow-Headers", "Authorization, Content-Type"),
            ] {
                assert_eq!(header(&reply.head, name), is_preflight.then_some(value), "{request}");
            }
            // The next answer on the connection is not for that page.
            web.send(&ping);
            assert!(!web.reply().head.contains("Access-Control"));
        }
    }
    // The daemon's own page may see them without; no other page may.
    let own = format!("http://localhost:{port}");
    for (origin, host, expected) in [
        (own.as_str(), format!("localhost:{port}"), None),
        ("null", "localhost".into(), Some(403)),
        ("http://vms.example.org", "localhost".into(), Some(403)),
    ] {
        for (request, status) in &requests[..2] {
            let mut web = Web::connect(daemon.address());
            let request = request.replace("Host: localhost", &format!("Host: {host}\r\nOrigin: {origin}"));
            web.send(request.replace("Sec-Fetch-Site: cross-site", "X: y"));
            let reply = web.reply();
            assert_eq!(reply.status, expected.unwrap_or(*status), "{origin}: {reply:?}");
            assert!(!reply.head.contains("Access-Control") && !reply.head.contains("Vary"), "{reply:?}");
        }
    }
    // A page of another site needs an allowed origin.
    let mut web = Web::connect(daemon.address());
    web.send(preflight);
    assert_eq!(web.reply().status, 403);
}

/// The counts of requests by command, without the requests for these counts.
fn begun(operator: &mut Client) -> BTreeMap<String, u64> {
    let statistics = operator.succeed("stats", json!({}));
    let Value::Object(counters) = statistics else { panic!("{statistics}") };
    let is_begun = |name: &str| {
        let has_outcome = name.ends_with("_ok") || name.ends_with("_failed") || name.ends_with("_refused");
        name.starts_with("requests_") && !has_outcome && name != "requests_stats"
    };
    let numbers = counters.into_iter().filter(|(name, _)| is_begun(name));
    let numbers: BTreeMap<String, u64> =
        numbers.map(|(name, value)| (name, value.as_u64().expect("a number"))).collect();
    assert!(numbers.contains_key("requests_add_vm"), "{numbers:?}");
    numbers
}

fn all_vms(daemon: &Daemon) -> Value {
    daemon.client().call(json!({"action": "list_all_vms"}))["all_vms"].take()
}
