//! Responses: status line, headers and body framing.
//!
//! Independent of the content. There is no `Server` header.

use crate::buffer::Buffer;
use crate::clock::HttpDate;
use crate::framing::resize_placeholder;
use crate::model::{Denial, VerbPath};

/// The status of a response, which implies the headers that it requires.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Status {
    Ok,
    NoContent,
    BadRequest,
    Unauthorized,
    Forbidden(Denial),
    NotFound,
    NotAcceptable,
    MethodNotAllowed(Methods),
    RequestTimeout,
    LengthRequired,
    ContentTooLarge,
    UnsupportedMediaType,
    /// Also 415, for an unsupported `Content-Encoding`.
    UnsupportedEncoding,
    ExpectationFailed,
    UpgradeRequired,
    HeadTooLarge,
    NotImplemented,
    Unavailable,
}

/// The methods that a path allows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Methods {
    Read,
    Post,
    ReadAndPost,
}

/// The type of a body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum ContentType {
    Json,
    Text,
    /// Metrics for Prometheus.
    Metrics,
    /// Server-sent events.
    Events,
    /// A page, which may load scripts and styles of this server only.
    Html,
    /// A file of the page, compressed with gzip, that never changes; its media type.
    Asset(&'static str),
}

/// The error response to a rejected request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HttpError {
    /// The status.
    pub status: Status,
    /// The reason, for people; never quotes the request.
    pub reason: &'static str,
    /// Whether the connection must be closed.
    pub closes: bool,
}

/// The versions of HTTP/1.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[allow(missing_docs)]
pub enum Version {
    Http10,
    #[default]
    Http11,
}

/// The properties of a request that determine the format of its response.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Exchange {
    /// The client's version.
    pub version: Version,
    /// Whether the request is a HEAD.
    pub is_head: bool,
    /// Whether the connection is closed after the response.
    pub closes: bool,
    /// Whether a proxy forwarded the request.
    pub is_forwarded: bool,
    /// The path, if it names a verb.
    pub verb_path: Option<VerbPath>,
    /// The origin of a foreign web page that may read the response, if any; verbatim from the request.
    pub allowed_origin: Option<Box<Box<[u8]>>>,
}

impl Status {
    /// The three-digit code.
    #[cfg(test)]
    pub fn code(self) -> u16 {
        self.line()["HTTP/1.1 ".len()..][..3].parse().expect("three digits")
    }

    /// The status line.
    fn line(self) -> &'static str {
        match self {
            Status::Ok => "HTTP/1.1 200 OK\r\n",
            Status::NoContent => "HTTP/1.1 204 No Content\r\n",
            Status::BadRequest => "HTTP/1.1 400 Bad Request\r\n",
            Status::Unauthorized => "HTTP/1.1 401 Unauthorized\r\n",
            Status::Forbidden(_) => "HTTP/1.1 403 Forbidden\r\n",
            Status::NotFound => "HTTP/1.1 404 Not Found\r\n",
            Status::NotAcceptable => "HTTP/1.1 406 Not Acceptable\r\n",
            Status::MethodNotAllowed(_) => "HTTP/1.1 405 Method Not Allowed\r\n",
            Status::RequestTimeout => "HTTP/1.1 408 Request Timeout\r\n",
            Status::LengthRequired => "HTTP/1.1 411 Length Required\r\n",
            Status::ContentTooLarge => "HTTP/1.1 413 Content Too Large\r\n",
            Status::UnsupportedMediaType | Status::UnsupportedEncoding => {
                "HTTP/1.1 415 Unsupported Media Type\r\n"
            }
            Status::ExpectationFailed => "HTTP/1.1 417 Expectation Failed\r\n",
            Status::UpgradeRequired => "HTTP/1.1 426 Upgrade Required\r\n",
            Status::HeadTooLarge => "HTTP/1.1 431 Request Header Fields Too Large\r\n",
            Status::NotImplemented => "HTTP/1.1 501 Not Implemented\r\n",
            Status::Unavailable => "HTTP/1.1 503 Service Unavailable\r\n",
        }
    }

    fn push_headers(self, bytes: &mut Vec<u8>) {
        let (name, value) = match self {
            Status::Unauthorized => ("WWW-Authenticate", "Bearer"),
            Status::MethodNotAllowed(methods) => ("Allow", methods.as_str()),
            Status::UnsupportedEncoding => ("Accept-Encoding", "identity"),
            Status::UpgradeRequired => ("Upgrade: websocket\r\nSec-WebSocket-Version", "13"),
            Status::Unavailable => ("Retry-After", "1"),
            _ => return,
        };
        push(bytes, &[name, ": ", value, "\r\n"]);
    }
}

impl Methods {
    /// The list, as in `Allow`.
    pub fn as_str(self) -> &'static str {
        match self {
            Methods::Read => "GET, HEAD, OPTIONS",
            Methods::Post => "POST, OPTIONS",
            Methods::ReadAndPost => "GET, HEAD, POST, OPTIONS",
        }
    }
}

impl HttpError {
    /// An error that closes the connection.
    pub(super) const fn closing(status: Status, reason: &'static str) -> HttpError {
        HttpError { status, reason, closes: true }
    }
}

impl ContentType {
    /// Writes the media type, and headers that depend on it. All but JSON get `nosniff`, so that browsers do not guess
    /// another type.
    fn push_headers(self, bytes: &mut Vec<u8>) {
        let (media_type, others) = match self {
            ContentType::Json => return push(bytes, &["Content-Type: application/json\r\n"]),
            ContentType::Text => ("text/plain; charset=utf-8", ""),
            ContentType::Metrics => ("text/plain; version=0.0.4; charset=utf-8", ""),
            ContentType::Events => ("text/event-stream", ""),
            ContentType::Html => ("text/html; charset=utf-8", PAGE_POLICY),
            ContentType::Asset(media_type) => (media_type, PACKED),
        };
        push(bytes, &["Content-Type: ", media_type, "\r\n", NO_SNIFF, others]);
    }

    fn cache_control(self) -> &'static str {
        match self {
            ContentType::Asset(_) => "Cache-Control: public, max-age=31536000, immutable\r\n",
            _ => NO_STORE,
        }
    }
}

impl Exchange {
    /// Writes a response whose body `write` appends directly to the output, so that a secret in it is never in any
    /// other memory.
    pub fn write_whole(
        &self,
        status: Status,
        content_type: ContentType,
        date: &HttpDate,
        output: &mut Buffer,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        output.append_with(|bytes| {
            self.push_head(status, content_type, date, bytes);
            push(bytes, &[CONTENT_LENGTH]);
            let body_at = bytes.len();
            write(bytes);
            let mut length = bytes.len() - body_at;
            if self.is_head {
                crate::sys::wipe(&mut bytes[body_at..]);
                bytes.truncate(body_at);
            }
            let digits = length.checked_ilog10().map_or(1, |power| power as usize + 1);
            let end = body_at - HEAD_END.len();
            for digit in resize_placeholder(bytes, end - LENGTH_DIGITS..end, digits).iter_mut().rev() {
                *digit = b'0' + (length % 10) as u8;
                length /= 10;
            }
        });
    }

    /// Writes the head of a response whose body comes in pages; unless the client wants the head only,
    /// [`Exchange::write_page`] follows. HTTP/1.0 has no chunks: the body ends with the connection.
    pub fn begin_pages(&mut self, content_type: ContentType, date: &HttpDate, output: &mut Buffer) {
        self.closes |= self.version == Version::Http10;
        output.append_with(|bytes| {
            self.push_head(Status::Ok, content_type, date, bytes);
            let end = match self.version {
                Version::Http10 => "\r\n",
                Version::Http11 => "Transfer-Encoding: chunked\r\n\r\n",
            };
            push(bytes, &[end]);
        });
    }

    /// Writes a page of the body; `write` appends it. The client recognizes a truncated response by its missing end.
    pub fn write_page(&self, is_last: bool, output: &mut Buffer, write: impl FnOnce(&mut Vec<u8>)) {
        if self.version == Version::Http10 {
            return output.append_with(write);
        }
        output.append_with(|bytes| {
            let size_at = bytes.len();
            push(bytes, &[SIZE_PLACEHOLDER, "\r\n"]);
            let page_at = bytes.len();
            write(bytes);
            match bytes.len() - page_at {
                // An empty chunk would end the body.
                0 => bytes.truncate(size_at),
                size => {
                    let size = format!("{size:0width$x}", width = SIZE_PLACEHOLDER.len());
                    bytes[size_at..size_at + SIZE_PLACEHOLDER.len()].copy_from_slice(size.as_bytes());
                    push(bytes, &["\r\n"]);
                }
            }
            if is_last {
                push(bytes, &["0\r\n\r\n"]);
            }
        });
    }

    /// Writes the response that lists the allowed `methods`, for CORS preflights and for plain `OPTIONS`. It has no
    /// body.
    pub fn write_methods(&self, methods: Methods, date: &HttpDate, output: &mut Buffer) {
        let methods = methods.as_str();
        output.append_with(|bytes| {
            push(bytes, &[Status::NoContent.line(), "Allow: ", methods, "\r\n"]);
            if self.allowed_origin.is_some() {
                push(bytes, &["Access-Control-Allow-Methods: ", methods, "\r\n", PREFLIGHT]);
            }
            self.push_common_headers(Status::NoContent, NO_STORE, date, bytes);
            push(bytes, &["\r\n"]);
        });
    }

    /// Writes the head without the body's length.
    fn push_head(&self, status: Status, content_type: ContentType, date: &HttpDate, bytes: &mut Vec<u8>) {
        push(bytes, &[status.line()]);
        content_type.push_headers(bytes);
        self.push_common_headers(status, content_type.cache_control(), date, bytes);
    }

    /// Writes the headers that every response has.
    fn push_common_headers(&self, status: Status, cache_control: &str, date: &HttpDate, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(date.line());
        push(bytes, &[cache_control]);
        status.push_headers(bytes);
        if let Some(origin) = &self.allowed_origin {
            push(bytes, &["Access-Control-Allow-Origin: "]);
            bytes.extend_from_slice(origin);
            push(bytes, &["\r\nVary: Origin\r\n"]);
        }
        let connection = match (status, self.closes, self.version) {
            (Status::UpgradeRequired, true, _) => "Connection: close, upgrade\r\n",
            (Status::UpgradeRequired, false, _) => "Connection: upgrade\r\n",
            (_, true, _) => "Connection: close\r\n",
            (_, false, Version::Http10) => "Connection: keep-alive\r\n",
            (_, false, Version::Http11) => return,
        };
        push(bytes, &[connection]);
    }
}

/// Writes the response that switches the connection to WebSocket (RFC 6455, 4.2.2); `accept` is the
/// `Sec-WebSocket-Accept`.
pub fn write_upgrade(accept: &str, output: &mut Buffer) {
    let head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n";
    output.append_with(|bytes| push(bytes, &[head, "Sec-WebSocket-Accept: ", accept, "\r\n\r\n"]));
}

fn push(bytes: &mut Vec<u8>, texts: &[&str]) {
    for text in texts {
        bytes.extend_from_slice(text.as_bytes());
    }
}

const NO_STORE: &str = "Cache-Control: no-store\r\n";
const NO_SNIFF: &str = "X-Content-Type-Options: nosniff\r\n";
const PACKED: &str = "Content-Encoding: gzip\r\nVary: Accept-Encoding\r\n";
/// A page runs no code but the server's own, loads nothing from elsewhere, and is part of no other page. The only forms
/// are filters of this server.
const PAGE_POLICY: &str = "Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'\r\n\
    Referrer-Policy: no-referrer\r\n";

/// The interim response to `Expect: 100-continue`.
pub(super) const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Headers of a CORS preflight response (Fetch standard): additional request headers that are allowed, and a cache time
/// of ten minutes.
const PREFLIGHT: &str =
    "Access-Control-Allow-Headers: Authorization, Content-Type\r\nAccess-Control-Max-Age: 600\r\n";

/// The last header, with a placeholder for the length: most whole responses have two digits.
const CONTENT_LENGTH: &str = "Content-Length: 00\r\n\r\n";
const LENGTH_DIGITS: usize = 2;
const HEAD_END: &str = "\r\n\r\n";

/// Placeholder for the size of a chunk of up to 4 GiB.
const SIZE_PLACEHOLDER: &str = "00000000";

#[cfg(test)]
#[path = "response_tests.rs"]
mod tests;
