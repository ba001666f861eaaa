//! The headers that the server uses, collected in one pass.
//!
//! Values are borrowed from the input and never copied: one may be a secret. A header that must not be repeated is
//! marked if it is; the code that uses it rejects the request.

use httparse::Header;

/// A header that must not be repeated.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[allow(missing_docs)]
pub enum HeaderValue<'a> {
    #[default]
    Absent,
    Once(&'a [u8]),
    Repeated,
}

/// The headers of a request.
#[derive(Default)]
pub struct Headers<'a> {
    /// `Host`.
    pub host: HeaderValue<'a>,
    /// `Origin`.
    pub origin: HeaderValue<'a>,
    /// `Content-Length`.
    pub content_length: HeaderValue<'a>,
    /// `Transfer-Encoding`.
    pub transfer_encoding: HeaderValue<'a>,
    /// `Authorization`: a secret.
    pub authorization: HeaderValue<'a>,
    /// `Sec-WebSocket-Key`.
    pub websocket_key: HeaderValue<'a>,
    /// `Sec-WebSocket-Version`.
    pub websocket_version: HeaderValue<'a>,
    /// `Connection`.
    pub connection: ConnectionOptions,
    /// Whether `Upgrade` names WebSocket.
    pub upgrades_to_websocket: bool,
    /// `Expect`.
    pub expects: Expectation,
    /// Whether `Sec-Fetch-Site` says that a page of another site sent the request.
    pub is_cross_site: bool,
    /// Whether `Content-Type` is multipart.
    pub is_multipart: bool,
    /// Whether `Content-Encoding` says that the body is compressed.
    pub is_encoded: bool,
    /// Whether a proxy says that it forwarded the request.
    pub is_forwarded: bool,
}

/// The options of `Connection` that the server uses.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[allow(missing_docs)]
pub struct ConnectionOptions {
    pub close: bool,
    pub keep_alive: bool,
    pub upgrade: bool,
}

/// What the client expects before it sends its body.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Expectation {
    /// Nothing.
    #[default]
    Nothing,
    /// `100 Continue`.
    Continue,
    /// An unknown expectation.
    Unknown,
}

impl<'a> Headers<'a> {
    /// Collects the headers.
    pub fn read(headers: &[Header<'a>]) -> Headers<'a> {
        let mut fields = Headers::default();
        for header in headers {
            fields.record(header.name, header.value);
        }
        fields
    }

    fn record(&mut self, name: &str, value: &'a [u8]) {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        if let Some(field) = self.unique_header_mut(name) {
            field.add(value);
        } else if is("connection") {
            for option in items(value) {
                self.connection.close |= option.eq_ignore_ascii_case(b"close");
                self.connection.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
                self.connection.upgrade |= option.eq_ignore_ascii_case(b"upgrade");
            }
        } else if is("upgrade") {
            self.upgrades_to_websocket |= items(value).any(|item| item.eq_ignore_ascii_case(b"websocket"));
        } else if is("expect") {
            for expectation in items(value) {
                let is_known = expectation.eq_ignore_ascii_case(b"100-continue");
                let is_first = self.expects != Expectation::Unknown;
                self.expects =
                    if is_known && is_first { Expectation::Continue } else { Expectation::Unknown };
            }
        } else if is("sec-fetch-site") {
            self.is_cross_site |= value.eq_ignore_ascii_case(b"cross-site");
        } else if is("content-type") {
            let kind = value.get(..MULTIPART.len());
            self.is_multipart |= kind.is_some_and(|kind| kind.eq_ignore_ascii_case(MULTIPART));
        } else if is("content-encoding") {
            self.is_encoded |= items(value).any(|coding| !coding.eq_ignore_ascii_case(b"identity"));
        } else {
            self.is_forwarded |= FORWARDED.iter().any(|known| is(known));
        }
    }

    /// The field for a header that must not be repeated.
    fn unique_header_mut(&mut self, name: &str) -> Option<&mut HeaderValue<'a>> {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        let field = if is("host") {
            &mut self.host
        } else if is("origin") {
            &mut self.origin
        } else if is("content-length") {
            &mut self.content_length
        } else if is("transfer-encoding") {
            &mut self.transfer_encoding
        } else if is("authorization") {
            &mut self.authorization
        } else if is("sec-websocket-key") {
            &mut self.websocket_key
        } else if is("sec-websocket-version") {
            &mut self.websocket_version
        } else {
            return None;
        };
        Some(field)
    }
}

impl std::fmt::Debug for Headers<'_> {
    /// Shows no values: one is a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Fields")
    }
}

impl<'a> HeaderValue<'a> {
    fn add(&mut self, value: &'a [u8]) {
        *self = if *self == HeaderValue::Absent { HeaderValue::Once(value) } else { HeaderValue::Repeated };
    }
}

/// The items of a list (RFC 9110, 5.6.1); empty ones do not count.
fn items(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).filter(|item| !item.is_empty())
}

const MULTIPART: &[u8] = b"multipart/";

/// Headers that proxies add (RFC 7239; RFC 9110, 7.6.3; and older conventions). Only their presence counts; their
/// values may be forged.
const FORWARDED: [&str; 4] = ["forwarded", "x-forwarded-for", "x-real-ip", "via"];
