//! HTTP/1.1 and HTTP/1.0 (RFC 9110, RFC 9112): parses requests and writes responses.
//!
//! A message is the body of a POST. One request is active at a time: the caller answers it before it asks for the next.
//! It knows no dialect and does not read the body of a request that [`route`] rejects. If the end of a request is
//! ambiguous, the connection is closed and the rest of the input is ignored. No byte is scanned twice; an idle
//! connection holds no memory besides [`Http`].

pub mod authorization;
pub mod chunked;
pub mod head;
pub mod headers;
pub mod host;
pub mod line_scan;
pub mod response;
pub mod route;
pub mod websocket_key;

pub use authorization::Authorization;
pub use host::{AllowedHost, AllowedOrigin, HttpRules};
pub use response::{ContentType, HttpError, Status};
pub use route::HttpPage;
pub use websocket_key::WebSocketKey;

use super::is_white_space;
use crate::buffer::Buffer;
use crate::clock::HttpDate;
use crate::limits;
use chunked::{BodyProgress, Chunked};
use head::{BodyLength, Head, Method, malformed};
use line_scan::{LineScan, ScanProgress};
use response::{CommonHeaders, Exchange, PageOrigin};
use route::Route;

/// The framing state of one connection.
#[derive(Default)]
pub struct Http {
    state: ParseState,
    /// Number of requests so far, with the incomplete one.
    started: u32,
    /// The response format of the current request.
    exchange: Exchange,
    /// The allowed foreign origin that may read the response, if any.
    allowed_origin: Option<Box<PageOrigin>>,
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
    /// A message: read it with [`Http::body`], then call [`Http::consume`].
    Message {
        /// The client's credentials.
        authorization: Authorization,
    },
    /// A request for a page.
    Page(HttpPage),
    /// A request for the allowed methods: see [`Http::write_methods`].
    Options(&'static str),
    /// An upgrade to WebSocket: see [`response::write_upgrade`]. The rest of the input is WebSocket. To decline, call
    /// [`Http::finish`] and write an error.
    Upgrade(WebSocketKey),
    /// The request is rejected: write an error.
    Refused(HttpError),
}

enum ParseState {
    /// Between requests, after this many bytes of white space.
    Between { blank: u8, is_first: bool },
    /// In a head, which starts at the front of the input.
    Head(LineScan),
    /// In the body of a message; everything before is consumed.
    Body(Box<PendingMessage>),
    /// After a complete body that is not consumed yet.
    Whole(Box<PendingMessage>),
    /// No more requests: the connection ends after the response or changes its protocol.
    Finished,
}

struct PendingMessage {
    authorization: Authorization,
    body: Body,
}

enum Body {
    /// The first bytes of the input, this many once complete.
    Sized(usize),
    Chunked(Chunked),
}

impl Http {
    /// Returns the next event; sends `100 Continue` to a client that expects it. The previous request must have been
    /// answered.
    pub fn next(
        &mut self,
        input: &mut Buffer,
        output: &mut Buffer,
        body_bytes_max: BodyBytesMax,
        rules: &HttpRules,
    ) -> HttpEvent {
        self.consume(input);
        if let ParseState::Between { .. } = self.state
            && let Err(refused) = self.skip_blank(input)
        {
            return self.refuse(refused);
        }
        if let ParseState::Head(scan) = &mut self.state {
            match scan.advance(input.as_slice(), limits::HTTP_HEAD_BYTES_MAX) {
                ScanProgress::More => return HttpEvent::NeedMore,
                ScanProgress::BareLineEnd => {
                    return self.refuse(malformed("a line of the head does not end in CR LF"));
                }
                ScanProgress::TooLong => return self.refuse(HEAD_TOO_LARGE),
                ScanProgress::End(length) => {
                    let event = self.read_head(&input.as_slice()[..length], output, body_bytes_max, rules);
                    input.consume(length);
                    if let Some(event) = event {
                        return event;
                    }
                }
            }
        }
        self.read_body(input, body_bytes_max)
    }

    /// The body of the current message, until it is consumed.
    pub fn body<'a>(&'a self, input: &'a Buffer) -> &'a [u8] {
        match &self.state {
            ParseState::Whole(incoming) => match &incoming.body {
                Body::Sized(length) => &input.as_slice()[..*length],
                Body::Chunked(chunked) => chunked.body(),
            },
            _ => &[],
        }
    }

    /// Consumes the body of the current message.
    pub fn consume(&mut self, input: &mut Buffer) {
        if let ParseState::Whole(incoming) = &self.state {
            if let Body::Sized(length) = incoming.body {
                input.consume(length);
            }
            self.end_request();
        }
    }

    /// Accepts no more requests: the next response is the last one. Called on timeout, end of input, shutdown, or to
    /// decline an upgrade.
    pub fn finish(&mut self) {
        self.exchange.closes = true;
        self.state = ParseState::Finished;
    }

    /// Writes a complete response.
    pub fn write_whole(
        &mut self,
        status: Status,
        content_type: ContentType,
        date: &HttpDate,
        body: &[u8],
        output: &mut Buffer,
    ) {
        self.write_whole_with(status, content_type, date, output, |bytes| bytes.extend_from_slice(body));
    }

    /// Writes a complete response; `write` appends its body.
    pub fn write_whole_with(
        &mut self,
        status: Status,
        content_type: ContentType,
        date: &HttpDate,
        output: &mut Buffer,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        self.exchange.write_whole(status, content_type, self.common(date), output, write);
    }

    /// Writes the response that lists the allowed `methods`, for CORS preflights and for plain `OPTIONS`.
    pub fn write_methods(&mut self, methods: &str, date: &HttpDate, output: &mut Buffer) {
        self.exchange.write_methods(methods, self.common(date), output);
    }

    /// Writes the head of a response whose body is JSON in pages; [`Http::write_page`] follows.
    pub fn begin_pages(&mut self, date: &HttpDate, output: &mut Buffer) {
        let common = CommonHeaders { date, allowed_origin: self.allowed_origin.as_deref() };
        self.exchange.begin_pages(common, output);
        if self.exchange.closes && matches!(self.state, ParseState::Between { .. }) {
            self.state = ParseState::Finished;
        }
    }

    /// Writes a page of a response; `write` appends it. The client recognizes a truncated response by its missing
    /// end.
    pub fn write_page(&mut self, is_last: bool, output: &mut Buffer, write: impl FnOnce(&mut Vec<u8>)) {
        self.exchange.write_page(is_last, output, write);
    }

    /// Heap size in bytes: the token of a head, and the chunks of a body received so far.
    pub fn held_bytes(&self) -> usize {
        match &self.state {
            ParseState::Body(incoming) | ParseState::Whole(incoming) => {
                let body = match &incoming.body {
                    Body::Sized(_) => 0,
                    Body::Chunked(chunked) => chunked.held_bytes(),
                };
                body + incoming.authorization.held_bytes()
            }
            ParseState::Between { .. } | ParseState::Head(_) | ParseState::Finished => 0,
        }
    }

    /// Whether the connection ends after the answer that was written last.
    pub fn closes(&self) -> bool {
        self.exchange.closes
    }

    /// Whether a proxy has passed on the request that was found last.
    pub fn is_forwarded(&self) -> bool {
        self.exchange.is_forwarded
    }

    /// Whether a request is incomplete: end of input is an error now.
    pub fn is_inside_message(&self) -> bool {
        matches!(self.state, ParseState::Head(_) | ParseState::Body(_))
    }

    /// The number of the incomplete request, if any. The request timeout applies to each separately.
    pub fn incomplete(&self) -> Option<u32> {
        self.is_inside_message().then_some(self.started)
    }

    fn common<'a>(&'a self, date: &'a HttpDate) -> CommonHeaders<'a> {
        CommonHeaders { date, allowed_origin: self.allowed_origin.as_deref() }
    }

    /// Skips what may precede a request: white space that was there when the framing was detected, or empty lines
    /// (RFC 9112, 2.2). Starts a request if there are more bytes.
    fn skip_blank(&mut self, input: &mut Buffer) -> Result<(), HttpError> {
        let ParseState::Between { blank, is_first } = &mut self.state else { return Ok(()) };
        let bytes = input.as_slice();
        let skipped = if *is_first {
            bytes.iter().take_while(|byte| is_white_space(**byte)).count()
        } else {
            2 * bytes.chunks_exact(2).take_while(|pair| pair == b"\r\n").count()
        };
        let has_request = !matches!(bytes[skipped..], [] | [b'\r']);
        let total = skipped + usize::from(*blank);
        if total > limits::HTTP_BLANK_BYTES_MAX {
            (self.exchange, self.allowed_origin) = (Exchange::default(), None);
            return Err(malformed("there are too many empty lines before the request"));
        }
        *blank = total as u8;
        input.consume(skipped);
        if has_request {
            self.started = self.started.wrapping_add(1);
            (self.exchange, self.allowed_origin) = (Exchange::default(), None);
            self.state = ParseState::Head(LineScan::in_first_line());
        }
        Ok(())
    }

    /// Reads a complete head. `None` if the body is to be read next.
    fn read_head(
        &mut self,
        bytes: &[u8],
        output: &mut Buffer,
        body_bytes_max: BodyBytesMax,
        rules: &HttpRules,
    ) -> Option<HttpEvent> {
        let head = match Head::parse(bytes) {
            Ok(head) => head,
            Err(refused) => return Some(self.refuse(refused)),
        };
        self.exchange = Exchange {
            version: head.version,
            is_head: head.method == Method::Head,
            closes: !head.keeps_alive(),
            is_forwarded: head.headers.is_forwarded,
        };
        let body_bytes_max = body_bytes_max.of(self.exchange.is_forwarded);
        let routed = head.length().and_then(|length| {
            let source = route::check_source(&head, rules);
            self.allowed_origin = source.ok().flatten().map(|origin| Box::new(PageOrigin(origin.into())));
            // An unread body cannot be distinguished from the next request.
            source
                .and_then(|_| route::route(&head, length, body_bytes_max))
                .map(|route| (route, length))
                .map_err(|refused| HttpError { closes: refused.closes || !length.is_zero(), ..refused })
        });
        match routed {
            Err(refused) => Some(self.refuse(refused)),
            Ok((Route::Upgrade(key), _)) => {
                self.state = ParseState::Finished;
                Some(HttpEvent::Upgrade(key))
            }
            Ok((Route::Page(page), length)) => Some(self.without_body(length, HttpEvent::Page(page))),
            Ok((Route::Options(methods), length)) => {
                Some(self.without_body(length, HttpEvent::Options(methods)))
            }
            Ok((Route::Message { awaits_continue, authorization }, length)) => {
                if awaits_continue {
                    output.push(response::CONTINUE);
                }
                let body = match length {
                    BodyLength::Chunked => Body::Chunked(Chunked::default()),
                    BodyLength::Sized(length) => Body::Sized(length as usize),
                    BodyLength::None => Body::Sized(0),
                };
                self.state = ParseState::Body(Box::new(PendingMessage { authorization, body }));
                None
            }
        }
    }

    /// Ends a request whose body is not read.
    fn without_body(&mut self, length: BodyLength, event: HttpEvent) -> HttpEvent {
        self.exchange.closes |= !length.is_zero();
        self.end_request();
        event
    }

    fn read_body(&mut self, input: &mut Buffer, body_bytes_max: BodyBytesMax) -> HttpEvent {
        let body_bytes_max = body_bytes_max.of(self.exchange.is_forwarded);
        let ParseState::Body(incoming) = &mut self.state else { return HttpEvent::NeedMore };
        let progress = match &mut incoming.body {
            Body::Sized(length) if input.len() < *length => BodyProgress::More,
            Body::Sized(_) => BodyProgress::Whole,
            Body::Chunked(chunked) => chunked.advance(input, body_bytes_max),
        };
        match progress {
            BodyProgress::More => HttpEvent::NeedMore,
            BodyProgress::TooLarge => self.refuse(route::TOO_LARGE),
            BodyProgress::TrailersTooLarge => self.refuse(TRAILERS_TOO_LARGE),
            BodyProgress::Malformed(why) => self.refuse(malformed(why)),
            BodyProgress::Whole => {
                let authorization = std::mem::take(&mut incoming.authorization);
                if let ParseState::Body(incoming) = std::mem::replace(&mut self.state, ParseState::Finished) {
                    self.state = ParseState::Whole(incoming);
                }
                HttpEvent::Message { authorization }
            }
        }
    }

    fn refuse(&mut self, refused: HttpError) -> HttpEvent {
        self.exchange.closes |= refused.closes;
        self.end_request();
        HttpEvent::Refused(HttpError { closes: self.exchange.closes, ..refused })
    }

    fn end_request(&mut self) {
        self.state = if self.exchange.closes {
            ParseState::Finished
        } else {
            ParseState::Between { blank: 0, is_first: false }
        };
    }
}

impl BodyBytesMax {
    fn of(self, is_forwarded: bool) -> usize {
        if is_forwarded { self.forwarded } else { self.direct }
    }
}

impl Default for ParseState {
    fn default() -> ParseState {
        ParseState::Between { blank: 0, is_first: true }
    }
}

const HEAD_TOO_LARGE: HttpError =
    HttpError::closing(Status::HeadTooLarge, "the head of the request is too large");
const TRAILERS_TOO_LARGE: HttpError =
    HttpError::closing(Status::HeadTooLarge, "there are too many fields behind the body");

const _: () = assert!(limits::HTTP_BLANK_BYTES_MAX <= u8::MAX as usize, "blank bytes are counted in 8 bits");
const _: () = assert!(limits::HTTP_HEAD_BYTES_MAX <= u32::MAX as usize, "a scan counts in 32 bits");
const _: () = assert!(size_of::<Http>() <= 32, "most of very many connections are idle");

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
