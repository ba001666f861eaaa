//! Randomly mutated heads, compared with httparse's own result and the additional rules: never more lenient than both,
//! and stricter only because of a rule.

use super::*;
use crate::framing::replay::Numbers;

const HEADS: [&str; 8] = [
    "GET / HTTP/1.1\r\nHost: localhost:8888\r\nUser-Agent: curl/8\r\nAccept: */*\r\n",
    "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 17\r\n",
    "POST /a?b HTTP/1.1\r\nHost: [::1]:8888\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n",
    "POST http://localhost/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nAuthorization: Bearer abc\r\n",
    "GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n",
    "POST /x HTTP/1.0\r\nContent-Length: 2\r\n",
    "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
    "OPTIONS * HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost\r\nSec-Fetch-Site: same-origin\r\n",
];

const SNIPPETS: [&[u8]; 26] = [
    b"\r\n",
    b"\n",
    b"\r",
    b" ",
    b"\t",
    b":",
    b"\0",
    b"\x7f",
    b"\xff",
    b",",
    b"+",
    b"-",
    b"0",
    b"chunked",
    b"Content-Length: 3\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Host: localhost\r\n",
    b"Host: a b\r\n",
    b"X: y\r\n",
    b" folded\r\n",
    b"X : y\r\n",
    b"\r\n\r\n",
    b"HTTP/1.1",
    b"X: \x01\r\n",
    b"/",
    b"X:\r\n",
];

/// A head with one to three mutations and an empty line at the end.
fn damaged(numbers: &mut Numbers) -> Vec<u8> {
    let mut head = HEADS[numbers.below(HEADS.len())].as_bytes().to_vec();
    for _ in 0..=numbers.below(3) {
        let at = numbers.below(head.len());
        match numbers.below(6) {
            0 => head[at] = numbers.below(256) as u8,
            1 => drop(head.remove(at)),
            2 => head[at] ^= 0x20,
            3 => {
                let end = (at + 1 + numbers.below(12)).min(head.len());
                let copied = head[at..end].to_vec();
                head.splice(at..at, copied);
            }
            _ => {
                let line = head[..at].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
                let at = if numbers.below(2) == 0 { at } else { line };
                head.splice(at..at, SNIPPETS[numbers.below(SNIPPETS.len())].iter().copied());
            }
        }
    }
    head.extend_from_slice(b"\r\n");
    if !head.ends_with(b"\r\n\r\n") {
        head.extend_from_slice(b"\r\n");
    }
    head
}

/// The result of httparse: method, target, version, headers and the length of the head.
struct Parsed<'a> {
    method: &'a str,
    target: &'a str,
    version: u8,
    headers: Vec<(String, &'a [u8])>,
    length: usize,
}

fn parse(bytes: &[u8]) -> Option<Parsed<'_>> {
    let mut headers = [httparse::EMPTY_HEADER; limits::HTTP_HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let Ok(httparse::Status::Complete(length)) = request.parse(bytes) else { return None };
    Some(Parsed {
        method: request.method.unwrap(),
        target: request.path.unwrap(),
        version: request.version.unwrap(),
        headers: request.headers.iter().map(|it| (it.name.to_ascii_lowercase(), it.value)).collect(),
        length,
    })
}

/// The additional rule that a head violates, implemented independently.
fn broken_rule(bytes: &[u8], head: &Parsed<'_>) -> Option<&'static str> {
    let all = |name: &str| -> Vec<&[u8]> {
        head.headers.iter().filter(|(known, _)| known == name).map(|(_, value)| *value).collect()
    };
    let text = |value: &[u8]| String::from_utf8_lossy(value).to_ascii_lowercase();
    let (lengths, codings, hosts) = (all("content-length"), all("transfer-encoding"), all("host"));
    let line_feeds = bytes.iter().filter(|byte| **byte == b'\n').count();
    let line_ends = bytes.windows(2).filter(|pair| pair == b"\r\n").count();
    let absolute = text(head.target.as_bytes()).starts_with("http://");
    let authority = absolute.then(|| head.target[7..].split(['/', '?', '#']).next().unwrap());
    let is_bad_host = |host: &str| {
        let (name, port) = match host.strip_prefix('[') {
            Some(rest) => match rest.split_once(']') {
                Some((address, port)) if address.parse::<std::net::Ipv6Addr>().is_ok() => ("v6", port),
                _ => return true,
            },
            None => host.split_at(host.find(':').unwrap_or(host.len())),
        };
        let is_bad_port = !port.is_empty()
            && (!port.starts_with(':')
                || port[1..].contains(|c: char| !c.is_ascii_digit())
                || port.len() > 1 && port[1..].parse::<u32>().is_ok_and(|port| port > 65_535));
        name.is_empty()
            || name.contains(|c: char| !(c.is_ascii_alphanumeric() || "-._".contains(c)))
            || is_bad_port
    };
    let lists = |name: &str, item: &str| {
        all(name).iter().any(|value| text(value).split(',').any(|part| part.trim_ascii() == item))
    };
    let is_handshake = head.method == "GET"
        && head.version == 1
        && lists("upgrade", "websocket")
        && lists("connection", "upgrade");
    let is_of_our_version = all("sec-websocket-version") == [b"13"];
    let key = all("sec-websocket-key");
    let is_bad_key = key.len() != 1
        || key[0].len() != 24
        || !key[0].ends_with(b"==")
        || key[0][..22].iter().any(|byte| !(byte.is_ascii_alphanumeric() || b"+/".contains(byte)));
    let is_bad_length = |value: &[u8]| {
        value.is_empty()
            || value.iter().any(|byte| !byte.is_ascii_digit())
            || text(value).parse::<u64>().is_err()
    };
    let has_body = lengths.iter().any(|value| text(value).parse() != Ok(0)) || !codings.is_empty();
    let rules = [
        ("a bare line feed", line_feeds != line_ends),
        ("no host", head.version == 1 && hosts.is_empty()),
        ("several hosts", hosts.len() > 1),
        ("a bad host", hosts.iter().any(|host| is_bad_host(&text(host)))),
        ("a bad authority", authority.is_some_and(is_bad_host)),
        ("several lengths", lengths.len() > 1),
        ("a bad length", lengths.iter().any(|value| is_bad_length(value))),
        ("length and coding", !lengths.is_empty() && !codings.is_empty()),
        ("a coding of 1.0", head.version == 0 && !codings.is_empty()),
        (
            "a target of no form",
            !(head.target.starts_with('/')
                || absolute
                || head.method == "CONNECT"
                || head.method == "OPTIONS" && head.target == "*"),
        ),
        ("a handshake with a bad key", is_handshake && is_of_our_version && is_bad_key),
        ("a handshake with a body", is_handshake && has_body),
    ];
    rules.iter().find(|(_, is_broken)| *is_broken).map(|(rule, _)| *rule)
}

/// The result under test: the status of an error, or `Ok`. The head is not the first of its connection, because any
/// white space may precede that one.
fn parse_and_route(bytes: &[u8]) -> Result<(), u16> {
    let (mut http, mut input, mut output) = (Http::default(), Buffer::new(), Buffer::new());
    let mut next = |bytes: &[u8]| {
        input.push(bytes);
        http.next(&mut input, &mut output, limits::REQUEST_BYTES_MAX.into(), &HttpListener::default())
    };
    assert_eq!(next(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"), HttpEvent::Page(HttpPage::Root));
    match next(bytes) {
        HttpEvent::Refused(refused) => {
            let is_malformed = matches!(refused.status.code(), 400 | 431);
            assert!(refused.closes || !is_malformed, "{}", bytes.escape_ascii());
            Err(refused.status.code())
        }
        HttpEvent::NeedMore => {
            assert!(
                matches!(http.state, ParseState::Sized { .. } | ParseState::Chunked { .. }),
                "waits for a head: {}",
                bytes.escape_ascii()
            );
            Ok(())
        }
        HttpEvent::Message
        | HttpEvent::Page(_)
        | HttpEvent::Web(..)
        | HttpEvent::Options(_)
        | HttpEvent::Upgrade(_) => Ok(()),
    }
}

#[test]
fn mutated_heads_are_accepted_only_if_httparse_and_the_rules_agree() {
    let (mut parsed, mut passed, mut by_rule) = (0, 0, std::collections::BTreeMap::new());
    for seed in 1..=20_000u64 {
        let bytes = damaged(&mut Numbers::new(seed));
        let shown = bytes.escape_ascii();
        let Some(head) = parse(&bytes) else {
            assert!(
                matches!(parse_and_route(&bytes), Err(400)),
                "httparse refuses this: seed {seed}, {shown}"
            );
            continue;
        };
        parsed += 1;
        let routed = parse_and_route(&bytes[..head.length]);
        match broken_rule(&bytes[..head.length], &head) {
            Some(rule) => {
                // An unknown coding is checked first, and so are the other errors of a handshake.
                let is_refused = match routed {
                    Err(400) => true,
                    Err(501) => head.headers.iter().any(|(name, _)| name == "transfer-encoding"),
                    Err(_) => rule.contains("handshake"),
                    Ok(()) => false,
                };
                assert!(is_refused, "{rule}, and {routed:?}: seed {seed}, {shown}");
                *by_rule.entry(rule).or_insert(0) += 1;
            }
            None => {
                let is_known =
                    matches!(routed, Ok(()) | Err(403 | 404 | 405 | 411 | 413 | 415 | 417 | 426 | 501));
                assert!(is_known, "no rule is broken, and {routed:?}: seed {seed}, {shown}");
                passed += usize::from(routed.is_ok());
            }
        }
    }
    assert!(parsed > 4000 && passed > 1000 && parsed < 18_000, "{parsed} parsed, {passed} passed");
    assert!(by_rule.len() >= 11 && by_rule.values().all(|count| *count >= 2), "{by_rule:?}");
}
