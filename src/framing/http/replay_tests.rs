//! Test helper: feeds a stream to a connection in chunks and records the events.

use super::*;
use crate::clock::HttpDate;
use crate::framing::replay::replay_every_split;

/// An event of a connection.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Found {
    /// `100 Continue` was sent.
    Continue,
    /// A message without `Authorization`.
    Message(String),
    /// A message with a token.
    MessageFrom(String, String),
    /// A message with an unusable `Authorization`.
    MessageWithBadToken(String),
    Page(HttpPage),
    /// What is at a path, with its query.
    Web(WebResource, String),
    Options(&'static str),
    Upgrade(String),
    /// An error that keeps the connection open.
    Refused(u16),
    /// An error that ends the connection.
    Ended(u16),
    /// The connection ended after a response; the rest of the input was ignored.
    Closed,
    /// The stream ended between requests.
    End,
    /// The stream ended inside a request.
    Inside,
}

/// The date of all responses.
pub(super) fn date() -> HttpDate {
    HttpDate::new(crate::clock::UnixSeconds(784_111_777))
}

/// The limit of a body.
pub(super) const BODY_BYTES_MAX: usize = 64;

impl From<usize> for BodyBytesMax {
    /// The same limit for both.
    fn from(bytes: usize) -> BodyBytesMax {
        BodyBytesMax { direct: bytes, forwarded: bytes }
    }
}

pub(super) fn rules() -> HttpListener {
    HttpListener::new(std::sync::Arc::new(HttpRules {
        customs: Default::default(),
        hosts: vec![AllowedHost::parse("vms.example.org").unwrap(), AllowedHost::parse("herd.").unwrap()],
        origins: ["https://vms.example.org", "http://10.0.0.1:3000"]
            .map(|origin| AllowedOrigin::parse(origin).unwrap())
            .to_vec(),
    }))
}

/// Feeds `chunks` and answers each request, as a session does.
pub(super) fn replay(chunks: &[&[u8]]) -> Vec<Found> {
    let (mut http, rules, mut seen) = (Http::default(), rules(), Vec::new());
    let (mut input, mut output) = (Buffer::new(), Buffer::new());
    let mut is_over = false;
    for chunk in chunks {
        input.push(chunk);
        loop {
            let event = http.next(&mut input, &mut output, BODY_BYTES_MAX.into(), &rules);
            if is_over {
                assert_eq!(event, HttpEvent::NeedMore, "no input is read after the end");
                break;
            }
            if !output.is_empty() {
                assert_eq!(output.as_slice(), response::CONTINUE);
                output.clear();
                seen.push(Found::Continue);
            }
            assert_eq!(http.incomplete().is_some(), http.is_inside_message());
            let refused = match event {
                HttpEvent::NeedMore => break,
                HttpEvent::Message => {
                    let authorization = http.take_authorization();
                    let body = String::from_utf8_lossy(http.body(&input)).into_owned();
                    http.consume(&mut input);
                    seen.push(match authorization {
                        Authorization::Absent => Found::Message(body),
                        Authorization::Bearer(token) => Found::MessageFrom(token.expose().into(), body),
                        Authorization::Unusable => Found::MessageWithBadToken(body),
                    });
                    None
                }
                HttpEvent::Page(page) => {
                    seen.push(Found::Page(page));
                    None
                }
                HttpEvent::Web(resource, query) => {
                    http.take_authorization();
                    seen.push(Found::Web(resource, query.into()));
                    None
                }
                HttpEvent::Options(methods) => {
                    seen.push(Found::Options(methods.as_str()));
                    None
                }
                HttpEvent::Upgrade(key) => {
                    seen.push(Found::Upgrade(String::from_utf8_lossy(key.as_bytes()).into_owned()));
                    is_over = true;
                    break;
                }
                HttpEvent::Refused(refused) => {
                    let code = refused.status.code();
                    seen.push(if refused.closes { Found::Ended(code) } else { Found::Refused(code) });
                    assert_eq!(refused.closes, http.exchange.closes);
                    Some(refused)
                }
            };
            is_over = http.exchange.closes;
            if is_over && refused.is_none() {
                seen.push(Found::Closed);
            }
        }
    }
    if !is_over {
        assert!(http.is_inside_message() || matches!(input.as_slice(), [] | [b'\r']));
        seen.push(if http.is_inside_message() { Found::Inside } else { Found::End });
    }
    seen
}

/// The events of `stream`, which must be the same with every split.
pub(super) fn events(stream: impl AsRef<[u8]>) -> Vec<Found> {
    let bytes = stream.as_ref();
    replay_every_split(bytes, replay)
}

/// Replays each stream of a table.
pub(super) fn check<T: AsRef<str>>(cases: &[(T, &[Found])]) {
    for (stream, expected) in cases {
        assert_eq!(events(stream.as_ref()), *expected, "{}", stream.as_ref());
    }
}

/// A request with a valid `Host`: its method and target, its other headers and its body.
pub(super) fn request(first: &str, headers: &str, body: &str) -> String {
    let mut text = format!("{first} HTTP/1.1\r\nHost: localhost:8888\r\n");
    for line in headers.lines() {
        text += &format!("{line}\r\n");
    }
    text + "\r\n" + body
}

/// A POST with a valid `Host` and a complete body.
pub(super) fn post(headers: &str, body: &str) -> String {
    let length = format!("Content-Length: {}", body.len());
    let headers = if headers.is_empty() { length } else { format!("{headers}\n{length}") };
    request("POST /", &headers, body)
}

pub(super) fn message(body: &str) -> Found {
    Found::Message(body.into())
}
