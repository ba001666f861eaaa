//! Sources of requests: requests of foreign pages are neither run nor read.

use super::HttpPage::{Health, Root};
use super::replay_tests::Found::*;
use super::replay_tests::*;

#[test]
fn host_must_be_an_address_or_an_allowed_name() {
    let named = |host: &str| format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let hosts = [
        (
            Page(Root),
            vec!["localhost", "LocalHost:8888", "localhost.", "localhost.:1", "127.0.0.1", "10.1.2.3:80"],
        ),
        (Page(Root), vec!["[::1]", "[::1]:8888", "[fe80::1]:", "[::ffff:1.2.3.4]", "localhost:", "0.0.0.0"]),
        (Page(Root), vec!["vms.example.org", "VMS.example.ORG.:9", "herd", "herd.", "Herd:65535"]),
        (
            Ended(403),
            vec!["evil.example", "localhost.evil.example", "127.0.0.1.nip.io", "xlocalhost", "localhost.."],
        ),
        (
            Ended(403),
            vec!["2130706433", "127.1", "0x7f.0.0.1", "127.0.0.01", "sub.vms.example.org", "-", ".", "org"],
        ),
        (
            Ended(400),
            vec!["", ":80", "localhost:x", "localhost:+80", "localhost:65536", "local host", "a,b", "a/b"],
        ),
        (
            Ended(400),
            vec![
                "[::1",
                "::1",
                "[::1]x",
                "[::g]",
                "[127.0.0.1]",
                "user@localhost",
                "[fe80::1%25lo]",
                "h\u{f6}st",
            ],
        ),
        (Ended(400), vec!["localhost:80:80", "localhost\t:80", "[]", "http://localhost", "localhost%00"]),
    ];
    for (seen, hosts) in hosts {
        for host in hosts {
            let goes_on = !matches!(seen, Ended(_));
            let expected = if goes_on { vec![seen.clone(), End] } else { vec![seen.clone()] };
            assert_eq!(events(named(host)), expected, "{host}");
            // The authority of an absolute target overrides `Host`.
            let is_possible = !host.contains(['/', ' ', '\t']);
            if is_possible {
                let absolute = format!("GET http://{host}/ HTTP/1.1\r\nHost: evil.example\r\n\r\n");
                assert_eq!(events(absolute), expected, "absolute: {host}");
            }
        }
    }
}

#[test]
fn host_must_occur_once() {
    check(&[
        ("GET / HTTP/1.1\r\n\r\n", &[Ended(400)]),
        ("GET http://localhost/ HTTP/1.1\r\n\r\n", &[Ended(400)]),
        ("GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n", &[Ended(400)]),
        ("GET / HTTP/1.1\r\nHost: localhost\r\nHOST: evil.example\r\n\r\n", &[Ended(400)]),
        ("GET http://localhost/ HTTP/1.1\r\nHost: a/b\r\n\r\n", &[Ended(400)]),
        ("GET / HTTP/1.0\r\n\r\n", &[Page(Root), Closed]),
        ("GET / HTTP/1.0\r\nHost: evil.example\r\n\r\n", &[Ended(403)]),
        ("GET http://evil.example/ HTTP/1.0\r\n\r\n", &[Ended(403)]),
        ("GET / HTTP/1.0\r\nHost: localhost\r\nHost: localhost\r\n\r\n", &[Ended(400)]),
        // Without `Host`, no origin is the server's own.
        ("GET / HTTP/1.0\r\nOrigin: http://localhost\r\n\r\n", &[Ended(403)]),
        ("GET / HTTP/1.0\r\nOrigin: https://vms.example.org\r\n\r\n", &[Page(Root), Closed]),
    ]);
}

#[test]
fn foreign_origins_are_rejected_unless_allowed() {
    let cases = [
        ("localhost:8888", "http://localhost:8888", true),
        ("LOCALHOST:8888", "HTTP://localhost:8888", true),
        ("localhost", "http://localhost", true),
        ("localhost:80", "http://localhost", true),
        ("localhost", "http://localhost:80", true),
        ("localhost:", "http://localhost", true),
        ("[::1]:8888", "http://[0:0::1]:8888", true),
        ("127.0.0.1:8888", "https://vms.example.org", true),
        ("127.0.0.1:8888", "https://VMS.example.org:443", true),
        ("127.0.0.1:8888", "http://10.0.0.1:3000", true),
        ("localhost:8888", "http://localhost:8889", false),
        ("localhost:8888", "http://localhost", false),
        ("localhost:8888", "https://localhost:8888", false),
        ("localhost:443", "https://localhost", false),
        ("localhost:8888", "http://127.0.0.1:8888", false),
        ("localhost:8888", "http://localhost:8888/", false),
        ("localhost:8888", "http://localhost:8888 http://localhost:8888", false),
        ("localhost:8888", "http://localhost:8888, http://localhost:8888", false),
        ("localhost:8888", "http://localhost.:8888", false),
        ("localhost:8888", "http://user@localhost:8888", false),
        ("localhost:8888", "localhost:8888", false),
        ("localhost:8888", "null", false),
        ("localhost:8888", "", false),
        ("localhost:8888", "file://", false),
        ("localhost:8888", "http://evil.example", false),
        ("localhost:8888", "http://vms.example.org", false),
        ("localhost:8888", "https://vms.example.org:8888", false),
        ("localhost:8888", "https://vms.example.org.evil.example", false),
        ("localhost:8888", "http://10.0.0.1:30000", false),
    ];
    for (host, origin, is_allowed) in cases {
        let sends = format!("Host: {host}\r\nOrigin: {origin}\r\nContent-Length: 2\r\n\r\n{{}}");
        let expected = if is_allowed { vec![message("{}"), End] } else { vec![Ended(403)] };
        assert_eq!(events(format!("POST / HTTP/1.1\r\n{sends}")), expected, "{origin} to {host}");
        let expected = if is_allowed { vec![Page(Health), End] } else { vec![Ended(403)] };
        let reads = format!("GET /healthz HTTP/1.1\r\nHost: {host}\r\nOrigin: {origin}\r\n\r\n");
        assert_eq!(events(reads), expected, "{origin} from {host}");
    }
}

#[test]
fn cross_site_requests_are_rejected() {
    let own = "Origin: http://localhost:8888";
    let allowed = "Origin: https://vms.example.org";
    check(&[
        (post("Sec-Fetch-Site: cross-site", "{}"), &[Ended(403)]),
        (post("sec-fetch-site: Cross-Site", "{}"), &[Ended(403)]),
        (post("Sec-Fetch-Site: none\nSec-Fetch-Site: cross-site", "{}"), &[Ended(403)]),
        (post("Sec-Fetch-Site: cross-site\nSec-Fetch-Site: none", "{}"), &[Ended(403)]),
        (post(&format!("{own}\nSec-Fetch-Site: cross-site"), "{}"), &[Ended(403)]),
        (request("GET /", "Sec-Fetch-Site: cross-site", ""), &[Ended(403)]),
        (request("OPTIONS /", "Sec-Fetch-Site: cross-site", ""), &[Ended(403)]),
        (
            request("OPTIONS /", &format!("{allowed}\nSec-Fetch-Site: cross-site"), ""),
            &[Options("GET, HEAD, POST, OPTIONS"), End],
        ),
        (request("BREW /", "Sec-Fetch-Site: cross-site", ""), &[Ended(403)]),
        (post(&format!("{own}\n{own}"), "{}"), &[Ended(403)]),
        (post(&format!("{allowed}\n{allowed}"), "{}"), &[Ended(403)]),
        // Pages of an allowed origin are cross-site for the browser.
        (post(&format!("{allowed}\nSec-Fetch-Site: cross-site"), "{}"), &[message("{}"), End]),
        (post(&format!("{own}\nSec-Fetch-Site: same-origin"), "{}"), &[message("{}"), End]),
        (post("Sec-Fetch-Site: none", "{}"), &[message("{}"), End]),
        // Same host, another port: only `Origin` reveals it, and a POST always has one.
        (post("Origin: http://localhost:3000\nSec-Fetch-Site: same-site", "{}"), &[Ended(403)]),
        (request("GET /", "Sec-Fetch-Site: same-site", ""), &[Page(Root), End]),
    ]);
}

#[test]
fn a_link_on_a_page_of_another_site_can_be_followed() {
    let link = "Sec-Fetch-Site: cross-site\nSec-Fetch-Mode: navigate\nSec-Fetch-Dest: document";
    let with = |more: &str| format!("{link}\n{more}");
    let but = |from: &str, to: &str| link.replace(from, to);
    let socket = "Upgrade: websocket\nConnection: upgrade\nSec-WebSocket-Version: 13\n\
                  Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
    check(&[
        (request("GET /", link, ""), &[Page(Root), End]),
        (request("HEAD /healthz", &with("Sec-Fetch-User: ?1"), ""), &[Page(Health), End]),
        (request("GET /nothing", link, ""), &[Refused(404), End]),
        // What is shown in a frame, or loaded by a page.
        (request("GET /", &but("document", "iframe"), ""), &[Ended(403)]),
        (request("GET /", &but("navigate", "no-cors"), ""), &[Ended(403)]),
        (request("GET /", &but("\nSec-Fetch-Dest: document", ""), ""), &[Ended(403)]),
        (request("GET /", &but("\nSec-Fetch-Mode: navigate", ""), ""), &[Ended(403)]),
        // What could have an effect.
        (post(link, "{}"), &[Ended(403)]),
        (request("OPTIONS /", link, ""), &[Ended(403)]),
        (request("GET /", &with(socket), ""), &[Ended(403)]),
        // A link has no origin.
        (request("GET /", &with("Origin: http://localhost:8888"), ""), &[Ended(403)]),
        (request("GET /", &with("Origin: null"), ""), &[Ended(403)]),
    ]);
}

#[test]
fn source_checks_apply_to_every_kind_of_request() {
    let foreign = "Origin: http://evil.example";
    check(&[
        (post(foreign, "{}"), &[Ended(403)]),
        (
            request("POST /", &format!("{foreign}\nContent-Length: 2\nExpect: 100-continue"), ""),
            &[Ended(403)],
        ),
        (request("POST /", &format!("{foreign}\nTransfer-Encoding: chunked"), ""), &[Ended(403)]),
        (request("POST /", &format!("{foreign}\nContent-Length: 1000000"), ""), &[Ended(403)]),
        (request("GET /nothing", foreign, ""), &[Ended(403)]),
        (request("POST /healthz", foreign, ""), &[Ended(403)]),
        (request("OPTIONS *", foreign, ""), &[Ended(403)]),
    ]);
}
