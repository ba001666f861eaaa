//! The head of a request: request line and headers, parsed by httparse, and the length of the body.
//!
//! Parses complete heads whose lines end in CR LF (see [`super::line_scan`]). Decides whether a head is well formed and
//! where the body ends (RFC 9112), not whether the request is allowed. Copies nothing.

use std::mem::MaybeUninit;

use super::headers::{Expectation, HeaderValue, Headers};
use super::response::{HttpError, Status, Version};
use crate::limits;

/// A well-formed head.
#[derive(Debug)]
pub struct Head<'a> {
    /// The method.
    pub method: Method,
    /// The request target.
    pub target: Target<'a>,
    /// The protocol's version.
    pub version: Version,
    /// The headers that the server uses.
    pub headers: Headers<'a>,
}

/// The methods that the server distinguishes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Method {
    Get,
    Head,
    Post,
    Options,
    /// A request to a proxy for a tunnel.
    Connect,
    /// Another method of RFC 9110 or RFC 5789.
    Known,
    /// An unknown method.
    Unknown,
}

/// A request target (RFC 9112, 3.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Target<'a> {
    /// The authority of an absolute target; overrides the header `Host`.
    pub authority: Option<&'a str>,
    /// The path, or `*`; empty for a tunnel.
    pub path: &'a str,
    /// What follows the `?`.
    pub query: &'a str,
}

/// The length of the body (RFC 9112, 6.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BodyLength {
    /// No body is announced.
    None,
    /// This many bytes.
    Sized(u64),
    /// Chunked.
    Chunked,
}

impl<'a> Head<'a> {
    /// Parses `bytes`, which include the empty line at the end.
    pub fn parse(bytes: &'a [u8]) -> Result<Head<'a>, HttpError> {
        let mut headers = [const { MaybeUninit::uninit() }; limits::HTTP_HEADERS_MAX];
        let mut request = httparse::Request::new(&mut []);
        let parsed = request.parse_with_uninit_headers(bytes, &mut headers).map_err(parse_error)?;
        let (Some(method), Some(path), Some(version)) = (request.method, request.path, request.version)
        else {
            return Err(NO_HEAD);
        };
        if parsed != httparse::Status::Complete(bytes.len()) {
            return Err(NO_HEAD);
        }
        let target = Target::parse(method, path);
        Ok(Head {
            method: Method::of(method),
            target: target.ok_or(malformed("the request target is neither a path nor http://"))?,
            version: if version == 0 { Version::Http10 } else { Version::Http11 },
            headers: Headers::read(request.headers),
        })
    }

    /// The length of the body; an error if it is ambiguous.
    pub fn length(&self) -> Result<BodyLength, HttpError> {
        match (self.headers.content_length, self.headers.transfer_encoding) {
            (HeaderValue::Absent, HeaderValue::Absent) => Ok(BodyLength::None),
            (HeaderValue::Repeated, _) => Err(malformed("there is more than one Content-Length")),
            (HeaderValue::Once(_), HeaderValue::Once(_) | HeaderValue::Repeated) => {
                Err(malformed("Content-Length and Transfer-Encoding exclude each other"))
            }
            (HeaderValue::Once(text), HeaderValue::Absent) => match decimal(text) {
                Some(length) => Ok(BodyLength::Sized(length)),
                None => Err(malformed("Content-Length is not a number of bytes")),
            },
            (HeaderValue::Absent, _) if self.version == Version::Http10 => {
                Err(malformed("HTTP/1.0 has no Transfer-Encoding"))
            }
            (HeaderValue::Absent, HeaderValue::Once(coding)) if coding.eq_ignore_ascii_case(b"chunked") => {
                Ok(BodyLength::Chunked)
            }
            (HeaderValue::Absent, _) => {
                Err(HttpError::closing(Status::NotImplemented, "the only transfer coding here is chunked"))
            }
        }
    }

    /// Whether the connection is persistent (RFC 9112, 9.3).
    pub fn keeps_alive(&self) -> bool {
        let options = self.headers.connection;
        !options.close && (self.version == Version::Http11 || options.keep_alive)
    }

    /// Whether the client waits for `100 Continue` before it sends a body.
    pub fn awaits_continue(&self) -> bool {
        self.headers.expects == Expectation::Continue && self.version == Version::Http11
    }
}

impl Method {
    fn of(text: &str) -> Method {
        match text {
            "GET" => Method::Get,
            "HEAD" => Method::Head,
            "POST" => Method::Post,
            "OPTIONS" => Method::Options,
            "CONNECT" => Method::Connect,
            "PUT" | "DELETE" | "TRACE" | "PATCH" => Method::Known,
            _ => Method::Unknown,
        }
    }
}

impl<'a> Target<'a> {
    fn parse(method: &str, text: &'a str) -> Option<Target<'a>> {
        if text.starts_with('/') {
            let (path, query) = split_query(text);
            return Some(Target { authority: None, path, query });
        }
        match method {
            "OPTIONS" if text == "*" => return Some(Target { authority: None, path: text, query: "" }),
            "CONNECT" => return Some(Target { authority: Some(text), path: "", query: "" }),
            _ => {}
        }
        let scheme = text.get(..SCHEME.len()).filter(|scheme| scheme.eq_ignore_ascii_case(SCHEME))?;
        let rest = &text[scheme.len()..];
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let (path, query) = split_query(path);
        let path = if path.is_empty() { "/" } else { path };
        Some(Target { authority: Some(authority), path, query })
    }
}

impl BodyLength {
    /// Whether the body is empty.
    pub fn is_zero(self) -> bool {
        matches!(self, BodyLength::None | BodyLength::Sized(0))
    }
}

/// A 400 that closes the connection, because the start of the next request is uncertain.
pub(super) const fn malformed(why: &'static str) -> HttpError {
    HttpError::closing(Status::BadRequest, why)
}

fn parse_error(error: httparse::Error) -> HttpError {
    match error {
        httparse::Error::TooManyHeaders => {
            HttpError::closing(Status::HeadTooLarge, "there are too many headers")
        }
        httparse::Error::HeaderName => malformed("the name of a header has a byte that it must not have"),
        httparse::Error::HeaderValue => malformed("the value of a header has a byte that it must not have"),
        httparse::Error::Version => malformed("the version is neither HTTP/1.1 nor HTTP/1.0"),
        httparse::Error::Token | httparse::Error::NewLine | httparse::Error::Status => {
            malformed("the first line is no request line")
        }
    }
}

/// The path and the query of a target, without a fragment, which no client should send.
fn split_query(text: &str) -> (&str, &str) {
    let end_of = |text: &str, mark: u8| text.bytes().position(|byte| byte == mark);
    let text = end_of(text, b'#').map_or(text, |end| &text[..end]);
    end_of(text, b'?').map_or((text, ""), |end| (&text[..end], &text[end + 1..]))
}

/// Parses digits only; `None` if they exceed 64 bits.
fn decimal(text: &[u8]) -> Option<u64> {
    // `parse` alone would take a plus sign.
    let is_plain = text.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(text).ok().filter(|_| is_plain)?.parse().ok()
}

const NO_HEAD: HttpError = malformed("the head of the request is not one");
const SCHEME: &str = "http://";
