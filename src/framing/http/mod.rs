//! HTTP/1.1 and HTTP/1.0 (RFC 9110, RFC 9112): requests cut out of the stream, answers written.
//!
//! A message is the body of a POST. One request is under way at a time: who asks for the next one has
//! answered the one before. It knows no dialect, and neither runs nor reads anything that [`route`]
//! refuses. Where two could disagree about where a request ends, the connection ends, and nothing that
//! follows is looked at. No byte is scanned twice; an idle connection costs nothing but [`Http`] itself.

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
pub use host::{AllowedHost, AllowedOrigin, HttpRules, RuleError};
pub use response::{ContentType, HttpError, Status, write_upgrade};
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

/// The state of one connection.
#[derive(Default)]
pub struct Http {
    state: ParseState,
    /// Counts the requests that have begun.
    begun: u32,
    /// How the answer to the last one that has begun looks.
    exchange: Exchange,
    /// Whose page is to be shown that answer, where a rule lets in one of another origin.
    allowed_origin: Option<Box<PageOrigin>>,
}

/// How long a body may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BodyBytesMax {
    /// Of a request that comes from its client.
    pub direct: usize,
    /// Of one that a proxy passes on.
    pub forwarded: usize,
}

/// What comes next in the input.
#[derive(PartialEq, Eq, Debug)]
pub enum HttpEvent {
    /// Nothing whole yet.
    NeedMore,
    /// A message: see [`Http::body`], and call [`Http::consume`] when it has been read.
    Message {
        /// Who it comes from.
        authorization: Authorization,
    },
    /// A page is asked for.
    Page(HttpPage),
    /// What is asked for is what methods there are: see [`Http::write_methods`].
    Options(&'static str),
    /// The connection is to become one of WebSocket: see [`write_upgrade`]. What follows in the input is
    /// WebSocket's. Who does not want it calls [`Http::finish`] and answers with an error.
    Upgrade(WebSocketKey),
    /// Not to be run: due an error.
    Refused(HttpError),
}

enum ParseState {
    /// Between requests, after so many bytes of white space.
    Between { blank: u8, is_first: bool },
    /// In a head, which begins at the front of the input.
    Head(LineScan),
    /// In the body of a message, all before it consumed.
    Body(Box<PendingMessage>),
    /// At the end of a body, which is still there to be read.
    Whole(Box<PendingMessage>),
    /// No more requests: the connection ends with the answer, or changes its protocol.
    Finished,
}

struct PendingMessage {
    authorization: Authorization,
    body: Body,
}

enum Body {
    /// It is the first so many bytes of the input, or will be.
    Sized(usize),
    Chunked(Chunked),
}

impl Http {
    /// Looks for the next request; tells a client that waits for it to send its body. The request before
    /// has been answered.
    pub fn next(
        &mut self,
        input: &mut Buffer,
        output: &mut Buffer,
        body_bytes_max: impl Into<BodyBytesMax>,
        rules: &HttpRules,
    ) -> HttpEvent {
        let body_bytes_max = body_bytes_max.into();
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
                    let piece = self.read_head(&input.as_slice()[..length], output, body_bytes_max, rules);
                    input.consume(length);
                    if let Some(piece) = piece {
                        return piece;
                    }
                }
            }
        }
        self.read_body(input, body_bytes_max)
    }

    /// The body of the message that was found last and is not consumed yet.
    pub fn body<'a>(&'a self, input: &'a Buffer) -> &'a [u8] {
        match &self.state {
            ParseState::Whole(incoming) => match &incoming.body {
                Body::Sized(length) => &input.as_slice()[..*length],
                Body::Chunked(chunked) => chunked.body(),
            },
            _ => &[],
        }
    }

    /// Drops the body of the message that was found last.
    pub fn consume(&mut self, input: &mut Buffer) {
        if let ParseState::Whole(incoming) = &self.state {
            if let Body::Sized(length) = incoming.body {
                input.consume(length);
            }
            self.end_request();
        }
    }

    /// Asks for no more requests, whether one is under way (it takes too long or was cut short, the server
    /// stops) or was an upgrade that is not wanted: what is written next is the last answer.
    pub fn finish(&mut self) {
        self.exchange.closes = true;
        self.state = ParseState::Finished;
    }

    /// Writes an answer that is whole.
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

    /// Writes an answer that is whole; `write` appends its body.
    pub fn write_whole_with(
        &mut self,
        status: Status,
        content_type: ContentType,
        date: &HttpDate,
        output: &mut Buffer,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        let common = CommonHeaders { date, allowed_origin: self.allowed_origin.as_deref() };
        self.exchange.write_whole(status, content_type, common, output, write);
    }

    /// Writes the answer that tells what `methods` there are: to a browser, which asks before it lets a page of another
    /// origin send a request, and to whoever looks whether there is a server.
    pub fn write_methods(&mut self, methods: &str, date: &HttpDate, output: &mut Buffer) {
        let common = CommonHeaders { date, allowed_origin: self.allowed_origin.as_deref() };
        self.exchange.write_methods(methods, common, output);
    }

    /// Writes the head of an answer to a message that comes in pages; [`Http::write_page`] follows.
    pub fn begin_pages(
        &mut self,
        status: Status,
        content_type: ContentType,
        date: &HttpDate,
        output: &mut Buffer,
    ) {
        let common = CommonHeaders { date, allowed_origin: self.allowed_origin.as_deref() };
        self.exchange.begin_pages(status, content_type, common, output);
        if self.exchange.closes && matches!(self.state, ParseState::Between { .. }) {
            self.state = ParseState::Finished;
        }
    }

    /// Writes a page of an answer; `write` appends it. An answer whose last page never comes is told from a
    /// whole one by its missing end.
    pub fn write_page(&mut self, is_last: bool, output: &mut Buffer, write: impl FnOnce(&mut Vec<u8>)) {
        self.exchange.write_page(is_last, output, write);
    }

    /// Bytes of memory that it holds: a token that came in a head, what has come of a body in chunks.
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

    /// Whether a request has begun and is not whole: the input must not end here.
    pub fn is_inside_message(&self) -> bool {
        matches!(self.state, ParseState::Head(_) | ParseState::Body(_))
    }

    /// The number of the request that has begun and is not whole, if there is one: the request timeout
    /// runs, anew for each.
    pub fn unfinished(&self) -> Option<u32> {
        self.is_inside_message().then_some(self.begun)
    }

    /// Drops what may stand before a request: white space that was there when the framing was chosen, or
    /// empty lines (RFC 9112, 2.2). Begins a request if there is more.
    fn skip_blank(&mut self, input: &mut Buffer) -> Result<(), HttpError> {
        let ParseState::Between { blank, is_first } = &mut self.state else { return Ok(()) };
        let bytes = input.as_slice();
        let skipped = if *is_first {
            bytes.iter().take_while(|byte| is_white_space(**byte)).count()
        } else {
            2 * bytes.chunks_exact(2).take_while(|pair| pair == b"\r\n").count()
        };
        let is_beginning = !matches!(bytes[skipped..], [] | [b'\r']);
        let total = skipped + usize::from(*blank);
        if total > limits::HTTP_BLANK_BYTES_MAX {
            (self.exchange, self.allowed_origin) = (Exchange::default(), None);
            return Err(malformed("there are too many empty lines before the request"));
        }
        *blank = total as u8;
        input.consume(skipped);
        if is_beginning {
            self.begun = self.begun.wrapping_add(1);
            (self.exchange, self.allowed_origin) = (Exchange::default(), None);
            self.state = ParseState::Head(LineScan::in_first_line());
        }
        Ok(())
    }

    /// Reads a whole head. None where the body is to be read next.
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
            // A body that nobody reads can't be told from the next request.
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
            Ok((Route::Page(page), length)) => {
                self.exchange.closes |= !length.is_zero();
                self.end_request();
                Some(HttpEvent::Page(page))
            }
            Ok((Route::Options(methods), length)) => {
                self.exchange.closes |= !length.is_zero();
                self.end_request();
                Some(HttpEvent::Options(methods))
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

impl From<usize> for BodyBytesMax {
    /// The same, whoever brings it.
    fn from(bytes: usize) -> BodyBytesMax {
        BodyBytesMax { direct: bytes, forwarded: bytes }
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
    HttpError { status: Status::HeadTooLarge, reason: "the head of the request is too large", closes: true };
const TRAILERS_TOO_LARGE: HttpError = HttpError {
    status: Status::HeadTooLarge,
    reason: "there are too many fields behind the body",
    closes: true,
};

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
