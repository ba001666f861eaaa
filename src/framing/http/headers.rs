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
    /// `Last-Event-ID`.
    pub last_event_id: HeaderValue<'a>,
    /// `Expect`.
    pub expects: Expectation,
    /// Whether `Sec-Fetch-Site` says that a page of another site sent the request.
    pub is_cross_site: bool,
    /// Whether `Sec-Fetch-Mode` says that the browser navigates.
    pub navigates: bool,
    /// Whether `Sec-Fetch-Dest` says that the answer becomes the document of a tab, not of a frame.
    pub fills_tab: bool,
    /// Whether `Accept` names JSON.
    pub accepts_json: bool,
    /// Whether `Accept` names HTML.
    pub accepts_html: bool,
    /// Whether `Accept-Encoding` allows gzip.
    pub accepts_gzip: bool,
    /// Whether `Content-Type` is multipart.
    pub is_multipart: bool,
    /// Whether `Content-Encoding` says that the body is compressed.
    pub is_encoded: bool,
    /// Whether a proxy says that it forwarded the request.
    pub is_forwarded: bool,
    /// Whether there are other headers than plain ones, which say what the client is and what it sends, and never who.
    pub has_others: bool,
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
        let mut lowercase = [0; NAME_BYTES_MAX];
        let Some(lowercase) = lowercase.get_mut(..name.len()) else {
            self.has_others = true;
            return;
        };
        lowercase.copy_from_slice(name.as_bytes());
        lowercase.make_ascii_lowercase();
        self.has_others |= !PLAIN.contains(&&*lowercase);
        match &*lowercase {
            b"host" => self.host.add(value),
            b"origin" => self.origin.add(value),
            b"content-length" => self.content_length.add(value),
            b"transfer-encoding" => self.transfer_encoding.add(value),
            b"authorization" => self.authorization.add(value),
            b"last-event-id" => self.last_event_id.add(value),
            b"sec-websocket-key" => self.websocket_key.add(value),
            b"sec-websocket-version" => self.websocket_version.add(value),
            b"connection" => {
                for option in items(value) {
                    self.connection.close |= option.eq_ignore_ascii_case(b"close");
                    self.connection.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
                    self.connection.upgrade |= option.eq_ignore_ascii_case(b"upgrade");
                }
            }
            b"upgrade" => {
                self.upgrades_to_websocket |=
                    items(value).any(|item| item.eq_ignore_ascii_case(b"websocket"));
            }
            b"expect" => {
                for expectation in items(value) {
                    let is_known = expectation.eq_ignore_ascii_case(b"100-continue");
                    let is_first = self.expects != Expectation::Unknown;
                    self.expects =
                        if is_known && is_first { Expectation::Continue } else { Expectation::Unknown };
                }
            }
            b"sec-fetch-site" => self.is_cross_site |= value.eq_ignore_ascii_case(b"cross-site"),
            b"sec-fetch-mode" => self.navigates |= value.eq_ignore_ascii_case(b"navigate"),
            b"sec-fetch-dest" => self.fills_tab |= value.eq_ignore_ascii_case(b"document"),
            b"accept" => {
                for kind in items(value).filter_map(|item| item.split(|&byte| byte == b';').next()) {
                    self.accepts_json |= kind.trim_ascii().eq_ignore_ascii_case(b"application/json");
                    self.accepts_html |= kind.trim_ascii().eq_ignore_ascii_case(b"text/html");
                }
            }
            b"accept-encoding" => self.accepts_gzip |= items(value).any(allows_gzip),
            b"content-type" => {
                let kind = value.get(..MULTIPART.len());
                self.is_multipart |= kind.is_some_and(|kind| kind.eq_ignore_ascii_case(MULTIPART));
            }
            b"content-encoding" => {
                self.is_encoded |= items(value).any(|coding| !coding.eq_ignore_ascii_case(b"identity"));
            }
            // A proxy adds these (RFC 7239; RFC 9110, 7.6.3; and older conventions). Only their presence counts; their
            // values may be forged.
            b"forwarded" | b"x-forwarded-for" | b"x-real-ip" | b"via" => self.is_forwarded = true,
            _ => {}
        }
    }
}

impl std::fmt::Debug for Headers<'_> {
    /// Shows no values: one is a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Headers")
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

/// Whether an item of `Accept-Encoding` allows gzip: not with the weight 0 (RFC 9110, 12.5.3).
fn allows_gzip(item: &[u8]) -> bool {
    let mut parts = item.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
    let is_gzip = parts.next().is_some_and(|coding| coding.eq_ignore_ascii_case(b"gzip") || coding == b"*");
    let is_zero = |weight: &[u8]| weight.iter().all(|byte| matches!(byte, b'0' | b'.'));
    let forbids = |part: &[u8]| {
        part.get(..2).is_some_and(|name| name.eq_ignore_ascii_case(b"q=")) && is_zero(&part[2..])
    };
    is_gzip && !parts.any(forbids)
}

/// The names of plain headers, by how common they are.
const PLAIN: [&[u8]; 8] = [
    b"host",
    b"content-type",
    b"content-length",
    b"user-agent",
    b"accept",
    b"accept-encoding",
    b"connection",
    b"accept-language",
];

const MULTIPART: &[u8] = b"multipart/";

/// Longer than the name of any header that is used.
const NAME_BYTES_MAX: usize = 32;
