//! HTTP/1.1 and HTTP/1.0 (RFC 9110, RFC 9112): parses requests and writes responses.
//!
//! A message is the body of a POST. One request is active at a time: the caller answers it before it asks for the next.
//! It knows no dialect and does not read the body of a request that [`route`] rejects. If the end of a request is
//! ambiguous, the connection is closed and the rest of the input is ignored. No byte is scanned twice, except to compare it
//! with known heads; an idle connection holds no memory besides [`Http`].

pub mod authorization;
pub mod chunked;
pub mod head;
pub mod headers;
pub mod host;
mod known_heads;
pub mod line_scan;
#[cfg(feature = "page")]
mod page;
pub mod response;
pub mod route;
pub mod websocket_key;

pub use authorization::Authorization;
pub use host::{AllowedHost, AllowedOrigin, HttpRules};
pub use known_heads::HttpListener;
pub use response::{ContentType, HttpError, Methods, Status};
pub use route::HttpPage;
pub use websocket_key::WebSocketKey;

use super::is_white_space;
use crate::buffer::Buffer;
use crate::limits;
use crate::model::WebResource;
use chunked::Chunked;
use head::{BodyLength, Head, Method, malformed};
use known_heads::Recalled;
use line_scan::{LineScan, ScanProgress};
use response::Exchange;

/// The framing state of one connection.
#[derive(Default)]
pub struct Http {
    /// The format of the response to the current request.
    pub exchange: Exchange,
    state: ParseState,
    /// Number of requests so far, with the incomplete one.
    started: u32,
    /// The client's credentials in the current message; boxed, since an idle connection has none.
    authorization: Option<Box<Authorization>>,
    /// Where the listener remembers the head of the last request; `None` if it does not.
    known_head: Option<u8>,
}

/// Limits of a request body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BodyBytesMax {
    /// For a request sent directly by its client.
    pub direct: usize,
    /// For a request forwarded by a proxy.
    pub forwarded: usize,
}

/// What is at the front of the input.
#[derive(PartialEq, Eq, Debug)]
pub enum HttpEvent {
    /// Nothing complete yet.
    NeedMore,
    /// A message: read it with [`Http::body`] and [`Http::take_authorization`], then call [`Http::consume`].
    Message,
    /// A request for a page.
    Page(HttpPage),
    /// A request for what is at a path, and its query; it may have credentials: see [`Http::take_authorization`].
    Web(WebResource, Box<str>),
    /// A request for the allowed methods: see [`Exchange::write_methods`].
    Options(Methods),
    /// An upgrade to WebSocket: see [`response::write_upgrade`]. The rest of the input is WebSocket. To decline, write
    /// an error, which closes the connection.
    Upgrade(WebSocketKey),
    /// The request is rejected: write an error.
    Refused(HttpError),
}

enum ParseState {
    /// Between requests, after this many bytes of white space. If the exchange closes the connection, no more requests
    /// are read.
    Between { blank: u8, is_first: bool },
    /// In a head, which starts at the front of the input.
    Head(LineScan),
    /// In the body of a message, or after it if it is whole but not consumed yet; everything before is consumed. The body
    /// is the first bytes of the input, this many.
    Sized { length: usize, is_whole: bool },
    /// The same with a body in chunks.
    Chunked { chunked: Box<Chunked>, is_whole: bool },
}

impl Http {
    /// Returns the next event; sends `100 Continue` to a client that expects it. The previous request must have been
    /// answered.
    pub fn next(
        &mut self,
        input: &mut Buffer,
        output: &mut Buffer,
        body_bytes_max: BodyBytesMax,
        listener: &HttpListener,
    ) -> HttpEvent {
        self.consume(input);
        self.next_event(input, output, body_bytes_max, listener).unwrap_or_else(|refused| {
            self.exchange.closes |= refused.closes;
            self.state = ParseState::BETWEEN;
            HttpEvent::Refused(HttpError { closes: self.exchange.closes, ..refused })
        })
    }

    /// The body of the current message, until it is consumed.
    pub fn body<'a>(&'a self, input: &'a Buffer) -> &'a [u8] {
        match &self.state {
            ParseState::Sized { length, is_whole: true } => &input.as_slice()[..*length],
            ParseState::Chunked { chunked, is_whole: true } => chunked.body(),
            _ => &[],
        }
    }

    /// Whether the current message has credentials that were not taken.
    pub fn has_authorization(&self) -> bool {
        self.authorization.is_some()
    }

    /// The client's credentials in the current message, once.
    pub fn take_authorization(&mut self) -> Authorization {
        self.authorization.take().map_or(Authorization::Absent, |authorization| *authorization)
    }

    /// Consumes the body of the current message.
    pub fn consume(&mut self, input: &mut Buffer) {
        match self.state {
            ParseState::Sized { length, is_whole: true } => input.consume(length),
            ParseState::Chunked { is_whole: true, .. } => {}
            _ => return,
        }
        self.state = ParseState::BETWEEN;
    }

    /// Accepts no more requests: the next response is the last one. Called on timeout, end of input or shutdown.
    pub fn finish(&mut self) {
        self.exchange.closes = true;
        self.state = ParseState::BETWEEN;
        self.authorization = None;
    }

    /// Heap size in bytes: the token of a head, and the chunks of a body received so far.
    pub fn held_bytes(&self) -> usize {
        let chunks = match &self.state {
            ParseState::Chunked { chunked, .. } => chunked.held_bytes(),
            _ => 0,
        };
        chunks + self.authorization.as_ref().map_or(0, |authorization| authorization.held_bytes())
    }

    /// Whether a request is incomplete: end of input is an error now.
    pub fn is_inside_message(&self) -> bool {
        match self.state {
            ParseState::Between { .. } => false,
            ParseState::Head(_) => true,
            ParseState::Sized { is_whole, .. } | ParseState::Chunked { is_whole, .. } => !is_whole,
        }
    }

    /// The number of the incomplete request, if any. The request timeout applies to each separately.
    pub fn incomplete(&self) -> Option<u32> {
        self.is_inside_message().then_some(self.started)
    }

    fn next_event(
        &mut self,
        input: &mut Buffer,
        output: &mut Buffer,
        body_bytes_max: BodyBytesMax,
        listener: &HttpListener,
    ) -> Result<HttpEvent, HttpError> {
        self.skip_blank(input)?;
        if self.recall_head(input, body_bytes_max, listener) {
            return self.read_body(input, body_bytes_max);
        }
        if let ParseState::Head(scan) = &mut self.state {
            match scan.advance(input.as_slice(), limits::HTTP_HEAD_BYTES_MAX) {
                ScanProgress::More => return Ok(HttpEvent::NeedMore),
                ScanProgress::BareLineEnd => {
                    return Err(malformed("a line of the head does not end in CR LF"));
                }
                ScanProgress::TooLong => return Err(HEAD_TOO_LARGE),
                ScanProgress::End(length) => {
                    let event = self.read_head(&input.as_slice()[..length], output, body_bytes_max, listener);
                    input.consume(length);
                    match event? {
                        HttpEvent::Message => {}
                        event => return Ok(event),
                    }
                }
            }
        }
        self.read_body(input, body_bytes_max)
    }

    /// Skips what may precede a request: white space that was there when the framing was detected, or empty lines
    /// (RFC 9112, 2.2). Starts a request if there are more bytes.
    fn skip_blank(&mut self, input: &mut Buffer) -> Result<(), HttpError> {
        let ParseState::Between { blank, is_first } = &mut self.state else { return Ok(()) };
        if self.exchange.closes {
            return Ok(());
        }
        let bytes = input.as_slice();
        let skipped = if *is_first {
            bytes.iter().take_while(|byte| is_white_space(**byte)).count()
        } else {
            2 * bytes.as_chunks::<2>().0.iter().take_while(|pair| *pair == b"\r\n").count()
        };
        let has_request = !matches!(bytes[skipped..], [] | [b'\r']);
        let total = skipped + usize::from(*blank);
        if total > limits::HTTP_BLANK_BYTES_MAX {
            self.exchange = Exchange::default();
            return Err(malformed("there are too many empty lines before the request"));
        }
        *blank = total as u8;
        input.skip(skipped);
        if has_request {
            self.started = self.started.wrapping_add(1);
            self.exchange = Exchange::default();
            self.state = ParseState::Head(LineScan::IN_FIRST_LINE);
        }
        Ok(())
    }

    /// Consumes a head that the listener knows, if the request that has just begun has one: that of a message, whose body
    /// is to be read next.
    fn recall_head(
        &mut self,
        input: &mut Buffer,
        body_bytes_max: BodyBytesMax,
        listener: &HttpListener,
    ) -> bool {
        let ParseState::Head(LineScan::IN_FIRST_LINE) = self.state else { return false };
        let recalled = self.known_head.take().and_then(|last| listener.recall(last, input.as_slice()));
        let Some(Recalled { index, head_bytes, body_bytes, exchange }) = recalled else { return false };
        if body_bytes > body_bytes_max.of(exchange.is_forwarded) {
            return false;
        }
        // It has no secret.
        input.skip(head_bytes);
        (self.known_head, self.exchange, self.authorization) = (Some(index), exchange, None);
        self.state = ParseState::Sized { length: body_bytes, is_whole: false };
        true
    }

    /// Reads a complete head. If it is that of a message, the body is to be read next.
    fn read_head(
        &mut self,
        bytes: &[u8],
        output: &mut Buffer,
        body_bytes_max: BodyBytesMax,
        listener: &HttpListener,
    ) -> Result<HttpEvent, HttpError> {
        let head = Head::parse(bytes)?;
        let is_forwarded = head.headers.is_forwarded;
        self.exchange = Exchange {
            version: head.version,
            is_head: head.method == Method::Head,
            closes: !head.keeps_alive(),
            is_forwarded,
            verb_path: listener.rules.verb_path(head.target.path),
            allowed_origin: None,
        };
        let length = head.length()?;
        // An unread body cannot be distinguished from the next request.
        let unread =
            |refused: HttpError| HttpError { closes: refused.closes || !length.is_zero(), ..refused };
        let allowed_origin = route::check_source(&head, &listener.rules).map_err(unread)?;
        self.exchange.allowed_origin = allowed_origin.map(|origin| Box::new(origin.into()));
        let event = route::route(&head, length, body_bytes_max.of(is_forwarded), self.exchange.verb_path)
            .map_err(unread)?;
        if matches!(event, HttpEvent::Message | HttpEvent::Web(..)) {
            let authorization = Authorization::parse(head.headers.authorization);
            self.authorization = (authorization != Authorization::Absent).then(|| Box::new(authorization));
        }
        if event == HttpEvent::Message {
            self.known_head = listener.remember(bytes, &head, &self.exchange);
            if head.awaits_continue() && !length.is_zero() {
                output.push(response::CONTINUE);
            }
            self.state = match length {
                BodyLength::Chunked => ParseState::Chunked { chunked: Box::default(), is_whole: false },
                BodyLength::Sized(length) => ParseState::Sized { length: length as usize, is_whole: false },
                BodyLength::None => ParseState::Sized { length: 0, is_whole: false },
            };
        } else {
            self.exchange.closes |= !length.is_zero() || matches!(event, HttpEvent::Upgrade(_));
            self.state = ParseState::BETWEEN;
        }
        Ok(event)
    }

    fn read_body(
        &mut self,
        input: &mut Buffer,
        body_bytes_max: BodyBytesMax,
    ) -> Result<HttpEvent, HttpError> {
        let is_whole = match &mut self.state {
            ParseState::Sized { length, is_whole } => {
                *is_whole = input.len() >= *length;
                *is_whole
            }
            ParseState::Chunked { chunked, is_whole } => {
                *is_whole = chunked.advance(input, body_bytes_max.of(self.exchange.is_forwarded))?;
                *is_whole
            }
            ParseState::Between { .. } | ParseState::Head(_) => false,
        };
        Ok(if is_whole { HttpEvent::Message } else { HttpEvent::NeedMore })
    }
}

impl BodyBytesMax {
    fn of(self, is_forwarded: bool) -> usize {
        if is_forwarded { self.forwarded } else { self.direct }
    }
}

impl ParseState {
    const BETWEEN: ParseState = ParseState::Between { blank: 0, is_first: false };
}

impl Default for ParseState {
    fn default() -> ParseState {
        ParseState::Between { blank: 0, is_first: true }
    }
}

const HEAD_TOO_LARGE: HttpError =
    HttpError::closing(Status::HeadTooLarge, "the head of the request is too large");

const _: () = assert!(limits::HTTP_BLANK_BYTES_MAX <= u8::MAX as usize, "blank bytes are counted in 8 bits");
const _: () = assert!(limits::HTTP_HEAD_BYTES_MAX <= u32::MAX as usize, "a scan counts in 32 bits");
const _: () = assert!(size_of::<Http>() <= 48, "most of very many connections are idle");

#[cfg(all(test, feature = "page"))]
mod page_tests;

#[cfg(test)]
mod replay_tests;

#[cfg(test)]
mod connection_tests;

#[cfg(test)]
mod mutation_tests;

#[cfg(test)]
mod smuggling_tests;

#[cfg(test)]
mod source_tests;
