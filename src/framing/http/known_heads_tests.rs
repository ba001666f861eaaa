//! A request is answered as if its head were the first of its kind, whatever heads are known.

use super::super::replay_tests::{BODY_BYTES_MAX, post, request, rules};
use super::super::*;
use super::*;
use crate::framing::replay::{Numbers, single_bytes};

/// One connection to a listener.
#[derive(Default)]
struct Client {
    http: Http,
    input: Buffer,
}

impl Client {
    /// A connection whose last request had the head of `stream`.
    fn after(stream: &str, listener: &HttpListener) -> Client {
        let mut client = Client::default();
        client.send(&[stream.as_bytes()], listener);
        assert!(client.http.known_head.is_some(), "{stream}");
        client
    }

    /// All that is found in `chunks`: events, credentials, bodies, and how to respond.
    fn send(&mut self, chunks: &[&[u8]], listener: &HttpListener) -> Vec<String> {
        let (mut output, mut seen) = (Buffer::new(), Vec::new());
        for chunk in chunks {
            self.input.push(chunk);
            loop {
                let max = BodyBytesMax { direct: BODY_BYTES_MAX, forwarded: 2 };
                let event = self.http.next(&mut self.input, &mut output, max, listener);
                if event == HttpEvent::NeedMore {
                    break;
                }
                let body = self.http.body(&self.input).escape_ascii().to_string();
                let (authorization, exchange) = (self.http.take_authorization(), &self.http.exchange);
                seen.push(format!("{event:?} {authorization:?} {body} {exchange:?} {}", output.len()));
            }
        }
        let rest = self.input.as_slice().escape_ascii();
        seen.push(format!("{:?} {rest}", self.http.is_inside_message()));
        seen
    }
}

/// What `stream` is to a listener that knows no head. It is not the first of its connection, because any white space may
/// precede that one.
fn unknown(stream: &[u8]) -> Vec<String> {
    Client::after(&post("", "{}"), &rules()).send(&[stream], &rules())
}

fn count_known(listener: &HttpListener) -> usize {
    listener.known.borrow().heads.len()
}

/// Heads that are remembered.
fn plain_heads() -> [String; 5] {
    [
        post("", "{}"),
        post("User-Agent: curl/8.5.0\nAccept: */*\nContent-Type: application/json", "{\"a\": 1}"),
        request("POST /stat", "content-length:  2 \t\nConnection: close", "{}"),
        request("POST http://10.0.0.1/", "Content-Length: 007\nAccept-Encoding: gzip", "1234567"),
        "POST /create/x HTTP/1.0\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n".into(),
    ]
}

#[test]
fn a_known_head_means_what_it_meant_at_first() {
    let listener = rules();
    for (count, stream) in plain_heads().iter().enumerate() {
        let mut client = Client::after(stream, &listener);
        assert_eq!(count_known(&listener), count + 1);
        if client.http.exchange.closes {
            client.http.exchange.closes = false;
        }
        assert_eq!(client.send(&[stream.as_bytes()], &listener), unknown(stream.as_bytes()));
        assert_eq!(count_known(&listener), count + 1, "another connection knows it");
    }
}

/// Prefixes, one byte that is different, missing or added, and lengths, at every place.
#[test]
fn a_changed_head_is_not_taken_for_a_known_one() {
    for stream in plain_heads().iter().filter(|stream| !stream.contains("close")) {
        let listener = rules();
        let check = |changed: &[u8]| {
            let seen = Client::after(stream, &listener).send(&[changed], &listener);
            assert_eq!(seen, unknown(changed), "{}", changed.escape_ascii());
        };
        let bytes = stream.as_bytes();
        for at in 0..bytes.len() {
            check(&bytes[..at]);
            check(&[&bytes[..at], &bytes[at + 1..]].concat());
            check(&[&bytes[..at], bytes].concat());
            for other in (0..=u8::MAX).step_by(7).chain(*b" \t\r\n:,/0123456789") {
                check(&[&bytes[..at], &[other], &bytes[at + 1..]].concat());
                check(&[&bytes[..at], &[other], &bytes[at..]].concat());
            }
            for other in ["Origin: http://evil.example\r\n", "Authorization: Bearer t\r\n", "\r\n", "\n\n"] {
                check(&[&bytes[..at], other.as_bytes(), &bytes[at..]].concat());
            }
        }
    }
}

#[test]
fn the_length_is_that_of_the_request_itself() {
    let listener = rules();
    let values =
        ["0", "1", "2", "64", "65", "66", "064", "000000002", "0000000002", "1234567890", "+2", "2,2", ""];
    let odd = ["99999999999999999999", "18446744073709551618", "-1", "0x2", "2 2", "2\r\nContent-Length: 2"];
    for value in values.iter().chain(&odd) {
        let stream = request("POST /", &format!("Content-Length: {value}"), &"x".repeat(70));
        let seen = Client::after(&post("", "{}"), &listener).send(&[stream.as_bytes()], &listener);
        assert_eq!(seen, unknown(stream.as_bytes()), "{value}");
    }
}

#[test]
fn known_heads_may_be_pipelined_and_cut_anywhere() {
    let streams = plain_heads();
    let mut numbers = Numbers::new(1);
    for _ in 0..20 {
        let listener = rules();
        let pick = |numbers: &mut Numbers| &*streams[numbers.below(streams.len())];
        let many: String = (0..6).map(|_| pick(&mut numbers)).collect();
        // A new listener for each event knows nothing.
        let expected = unknown_each(many.as_bytes());
        assert_eq!(Client::default().send(&[many.as_bytes()], &listener), expected);
        assert_eq!(Client::default().send(&[many.as_bytes()], &listener), expected, "known from the start");
        assert_eq!(Client::default().send(&single_bytes(many.as_bytes()), &listener), expected);
        for cut in 0..many.len() {
            let (head, tail) = many.as_bytes().split_at(cut);
            let mut client = Client::default();
            let (first, second) = (client.send(&[head], &listener), client.send(&[tail], &listener));
            assert_eq!([&first[..first.len() - 1], &second].concat(), expected, "cut at {cut}");
        }
    }
}

/// What a connection finds in `stream` whose listener forgets all heads after each event.
fn unknown_each(stream: &[u8]) -> Vec<String> {
    let mut client = Client::default();
    let mut seen: Vec<String> = Vec::new();
    for byte in single_bytes(stream) {
        let found = client.send(&[byte], &rules());
        seen.pop();
        seen.extend(found);
    }
    seen
}

/// After a reload, and at another listener, other rules hold.
#[test]
fn a_head_is_known_by_its_own_rules_only() {
    let named = request("POST /", "Content-Length: 2", "{}").replace("localhost:8888", "vms.example.org");
    let (open, closed) = (rules(), HttpListener::default());
    let mut client = Client::after(&named, &open);
    assert_eq!(open, open.clone());
    assert_eq!(count_known(&open.clone()), 0, "a copy may get other rules");
    // The same place is known to the other listener.
    Client::after(&post("", "{}"), &closed);
    let refused = client.send(&[named.as_bytes()], &closed);
    assert!(refused[0].contains("ForeignHost"), "{refused:?}");
    assert_eq!(count_known(&closed), 1);
}

#[test]
fn only_plain_heads_are_kept() {
    let listener = rules();
    let headers = [
        "Authorization: Bearer token",
        "authorization: Basic dXNlcjpw",
        "Cookie: a=b",
        "Origin: https://vms.example.org",
        "Origin: http://localhost:8888",
        "X-Forwarded-For: 10.1.1.1",
        "X-Api-Key: secret",
        "Proxy-Authorization: secret",
        "X-A-Header-With-A-Name-That-Is-Longer-Than-Any: secret",
        "Expect: 100-continue",
    ];
    let mut streams: Vec<String> = headers.iter().map(|header| post(header, "{}")).collect();
    streams.push(request("POST /?token=secret", "Content-Length: 2", "{}"));
    streams.push(request("POST /", "Transfer-Encoding: chunked", "2\r\n{}\r\n0\r\n\r\n"));
    streams.push(request("GET /stat", "", ""));
    streams.push(request("GET /", "Content-Length: 0", ""));
    streams.push(post(&format!("User-Agent: {}", "a".repeat(limits::HTTP_KNOWN_HEAD_BYTES_MAX)), "{}"));
    for stream in &streams {
        // Also by a connection that has sent another before.
        let mut client = Client::after(&post("", "{}"), &listener);
        for _ in 0..2 {
            assert_eq!(client.send(&[stream.as_bytes()], &listener), unknown(stream.as_bytes()), "{stream}");
            assert_eq!((count_known(&listener), client.http.known_head), (1, None), "{stream}");
        }
    }
}

#[test]
fn new_heads_replace_old_ones() {
    let listener = rules();
    let named = |number: usize| post(&format!("User-Agent: {number}"), "{}");
    let mut first = Client::after(&named(0), &listener);
    for number in 0..3 * limits::HTTP_KNOWN_HEADS_MAX {
        Client::after(&named(number), &listener);
        assert!(count_known(&listener) <= limits::HTTP_KNOWN_HEADS_MAX);
        let stream = named(number / 2);
        assert_eq!(first.send(&[stream.as_bytes()], &listener), unknown(stream.as_bytes()));
    }
    assert_eq!(count_known(&listener), limits::HTTP_KNOWN_HEADS_MAX);
}
