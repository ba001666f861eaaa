//! Responses: status line, headers and body framing.
//!
//! Independent of the content. There is no `Server` header.

use crate::buffer::Buffer;
use crate::clock::HttpDate;
use crate::model::Denial;

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
    /// With the allowed methods.
    MethodNotAllowed(&'static str),
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

/// The type of a body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum ContentType {
    Json,
    Text,
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

/// The origin of a web page that may read a response, verbatim from the request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PageOrigin(pub Box<[u8]>);

/// Headers that all responses have in common.
#[derive(Clone, Copy, Debug)]
pub struct CommonHeaders<'a> {
    /// The `Date`.
    pub date: &'a HttpDate,
    /// The foreign origin that may read the response, if any.
    pub allowed_origin: Option<&'a PageOrigin>,
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
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Exchange {
    /// The client's version.
    pub version: Version,
    /// Whether the request is a HEAD.
    pub is_head: bool,
    /// Whether the connection is closed after the response.
    pub closes: bool,
    /// Whether a proxy forwarded the request.
    pub is_forwarded: bool,
}

impl Status {
    /// The three-digit code.
    #[cfg(test)]
    pub fn code(self) -> u16 {
        self.line().bytes().take(3).fold(0, |code, digit| 10 * code + u16::from(digit - b'0'))
    }

    fn line(self) -> &'static str {
        match self {
            Status::Ok => "200 OK",
            Status::NoContent => "204 No Content",
            Status::BadRequest => "400 Bad Request",
            Status::Unauthorized => "401 Unauthorized",
            Status::Forbidden(_) => "403 Forbidden",
            Status::NotFound => "404 Not Found",
            Status::MethodNotAllowed(_) => "405 Method Not Allowed",
            Status::RequestTimeout => "408 Request Timeout",
            Status::LengthRequired => "411 Length Required",
            Status::ContentTooLarge => "413 Content Too Large",
            Status::UnsupportedMediaType | Status::UnsupportedEncoding => "415 Unsupported Media Type",
            Status::ExpectationFailed => "417 Expectation Failed",
            Status::UpgradeRequired => "426 Upgrade Required",
            Status::HeadTooLarge => "431 Request Header Fields Too Large",
            Status::NotImplemented => "501 Not Implemented",
            Status::Unavailable => "503 Service Unavailable",
        }
    }

    fn push_headers(self, bytes: &mut Vec<u8>) {
        let (name, value) = match self {
            Status::Unauthorized => ("WWW-Authenticate", "Bearer"),
            Status::MethodNotAllowed(methods) => ("Allow", methods),
            Status::UnsupportedEncoding => ("Accept-Encoding", "identity"),
            Status::UpgradeRequired => ("Upgrade: websocket\r\nSec-WebSocket-Version", "13"),
            Status::Unavailable => ("Retry-After", "1"),
            _ => return,
        };
        push(bytes, &[name, ": ", value, "\r\n"]);
    }
}

impl HttpError {
    /// An error that closes the connection.
    pub(super) const fn closing(status: Status, reason: &'static str) -> HttpError {
        HttpError { status, reason, closes: true }
    }
}

impl ContentType {
    /// The header's value; text also gets `nosniff`, so that browsers do not guess another type.
    fn text(self) -> &'static str {
        match self {
            ContentType::Json => "application/json",
            ContentType::Text => "text/plain; charset=utf-8\r\nX-Content-Type-Options: nosniff",
        }
    }
}

impl Exchange {
    /// Writes a response whose body `write` appends directly to the output, so that a secret in it is never in any
    /// other memory.
    pub fn write_whole(
        self,
        status: Status,
        content_type: ContentType,
        common: CommonHeaders<'_>,
        output: &mut Buffer,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        output.append_with(|bytes| {
            self.push_head(status, content_type, common, bytes);
            push(bytes, &["Content-Length: "]);
            let length_at = bytes.len();
            push(bytes, &[LENGTH_PLACEHOLDER, "\r\n\r\n"]);
            let body_at = bytes.len();
            write(bytes);
            let length = (bytes.len() - body_at).to_string();
            if self.is_head {
                crate::sys::wipe(&mut bytes[body_at..]);
                bytes.truncate(body_at);
            }
            insert_length(bytes, length_at, &length);
        });
    }

    /// Writes the head of a response whose body is JSON in pages. HTTP/1.0 has no chunks: the body ends with
    /// the connection.
    pub fn begin_pages(&mut self, common: CommonHeaders<'_>, output: &mut Buffer) {
        debug_assert!(!self.is_head, "a page was asked for whose head alone is wanted");
        self.closes |= self.version == Version::Http10;
        output.append_with(|bytes| {
            self.push_head(Status::Ok, ContentType::Json, common, bytes);
            let end = match self.version {
                Version::Http10 => "\r\n",
                Version::Http11 => "Transfer-Encoding: chunked\r\n\r\n",
            };
            push(bytes, &[end]);
        });
    }

    /// Writes a page of the body; `write` appends it.
    pub fn write_page(self, is_last: bool, output: &mut Buffer, write: impl FnOnce(&mut Vec<u8>)) {
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

    /// Writes a response without a body that lists the allowed `methods`.
    pub fn write_methods(self, methods: &str, common: CommonHeaders<'_>, output: &mut Buffer) {
        output.append_with(|bytes| {
            push(bytes, &["HTTP/1.1 ", Status::NoContent.line(), "\r\nAllow: ", methods, "\r\n"]);
            if common.allowed_origin.is_some() {
                push(bytes, &["Access-Control-Allow-Methods: ", methods, "\r\n", PREFLIGHT]);
            }
            self.push_common_headers(Status::NoContent, common, bytes);
            push(bytes, &["\r\n"]);
        });
    }

    /// Writes the head without the body's length.
    fn push_head(
        self,
        status: Status,
        content_type: ContentType,
        common: CommonHeaders<'_>,
        bytes: &mut Vec<u8>,
    ) {
        push(bytes, &["HTTP/1.1 ", status.line(), "\r\nContent-Type: ", content_type.text(), "\r\n"]);
        self.push_common_headers(status, common, bytes);
    }

    /// Writes the headers that every response has.
    fn push_common_headers(self, status: Status, common: CommonHeaders<'_>, bytes: &mut Vec<u8>) {
        push(bytes, &["Date: "]);
        bytes.extend_from_slice(common.date.as_bytes());
        push(bytes, &["\r\nCache-Control: no-store\r\n"]);
        status.push_headers(bytes);
        if let Some(PageOrigin(origin)) = common.allowed_origin {
            push(bytes, &["Access-Control-Allow-Origin: "]);
            bytes.extend_from_slice(origin);
            push(bytes, &["\r\nVary: Origin\r\n"]);
        }
        let connection = match (status, self.closes, self.version) {
            (Status::UpgradeRequired, true, _) => "Connection: close, upgrade\r\n",
            (Status::UpgradeRequired, false, _) => "Connection: upgrade\r\n",
            (_, true, _) => "Connection: close\r\n",
            (_, false, Version::Http10) => "Connection: keep-alive\r\n",
            (_, false, Version::Http11) => "",
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

/// Writes `length` over its placeholder and closes the gap.
fn insert_length(bytes: &mut Vec<u8>, length_at: usize, length: &str) {
    let length_end = length_at + length.len();
    bytes[length_at..length_end].copy_from_slice(length.as_bytes());
    let surplus = LENGTH_PLACEHOLDER.len() - length.len();
    bytes.copy_within(length_end + surplus.., length_end);
    let end = bytes.len() - surplus;
    crate::sys::wipe(&mut bytes[end..]);
    bytes.truncate(end);
}

/// The interim response to `Expect: 100-continue`.
pub(super) const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Headers of a CORS preflight response (Fetch standard): additional request headers that are allowed, and a cache time
/// of ten minutes.
const PREFLIGHT: &str =
    "Access-Control-Allow-Headers: Authorization, Content-Type\r\nAccess-Control-Max-Age: 600\r\n";

/// Placeholder for any 64-bit length.
const LENGTH_PLACEHOLDER: &str = "00000000000000000000";
/// Placeholder for the size of a chunk of up to 4 GiB.
const SIZE_PLACEHOLDER: &str = "00000000";

#[cfg(test)]
#[path = "response_tests.rs"]
mod tests;
