//! HTTP/1.1 and HTTP/1.0 (RFC 9110, RFC 9112): requests cut out of the stream, answers written.
//!
//! A message is the body of a POST. One request is under way at a time: who asks for the next one has
//! answered the one before. It knows no dialect, and neither runs nor reads anything that [`verdict`]
//! refuses. Where two could disagree about where a request ends, the connection ends, and nothing that
//! follows is looked at. No byte is scanned twice; an idle connection costs nothing but [`Http`] itself.

pub mod answer;
pub mod authorization;
pub mod chunked;
pub mod fields;
pub mod head;
pub mod host;
pub mod lines;
pub mod verdict;
pub mod websocket_key;

pub use answer::{ContentType, Refused, Status, write_upgrade};
pub use authorization::Authorization;
pub use host::{AllowedHost, AllowedOrigin, HttpRules, RuleError};
pub use verdict::Page;
pub use websocket_key::WebSocketKey;

use super::is_white_space;
use crate::buffer::Buffer;
use crate::clock::HttpDate;
use crate::limits;
use answer::{Common, Exchange, PageOrigin};
use chunked::{Chunked, Progress};
use head::{Head, Length, Method, malformed};
use lines::{LineScan, Scanned};
use verdict::Verdict;

/// The state of one connection.
#[derive(Default)]
pub struct Http {
    stage: Stage,
    /// Counts the requests that have begun.
    begun: u32,
    /// How the answer to the last one that has begun looks.
    exchange: Exchange,
    /// Whose page is to be shown that answer, where a rule lets in one of another origin.
    reader: Option<Box<PageOrigin>>,
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
pub enum Piece {
    /// Nothing whole yet.
    NeedMore,
    /// A message: see [`Http::body`], and call [`Http::consume`] when it has been read.
    Message {
        /// Who it comes from.
        authorization: Authorization,
    },
    /// A page is asked for.
    Page(Page),
    /// What is asked for is what methods there are: see [`Http::write_methods`].
    Options(&'static str),
    /// The connection is to become one of WebSocket: see [`write_upgrade`]. What follows in the input is
    /// WebSocket's. Who does not want it calls [`Http::give_up`] and answers with an error.
    Upgrade(WebSocketKey),
    /// Not to be run: due an error.
    Refused(Refused),
}

enum Stage {
    /// Between requests, after so many bytes of white space.
    Between { blank: u8, is_first: bool },
    /// In a head, which begins at the front of the input.
    Head(LineScan),
    /// In the body of a message, all before it consumed.
    Body(Box<Incoming>),
    /// At the end of a body, which is still there to be read.
    Whole(Box<Incoming>),
    /// No more requests: the connection ends with the answer, or changes its protocol.
    Over,
}

struct Incoming {
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
    ) -> Piece {
        let body_bytes_max = body_bytes_max.into();
        self.consume(input);
        if let Stage::Between { .. } = self.stage
            && let Err(refused) = self.skip_blank(input)
        {
            return self.refuse(refused);
        }
        if let Stage::Head(scan) = &mut self.stage {
            match scan.advance(input.as_slice(), limits::HTTP_HEAD_BYTES_MAX) {
                Scanned::More => return Piece::NeedMore,
                Scanned::BareLineEnd => {
                    return self.refuse(malformed("a line of the head does not end in CR LF"));
                }
                Scanned::TooLong => return self.refuse(HEAD_TOO_LARGE),
                Scanned::End(length) => {
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
        match &self.stage {
            Stage::Whole(incoming) => match &incoming.body {
                Body::Sized(length) => &input.as_slice()[..*length],
                Body::Chunked(chunked) => chunked.body(),
            },
            _ => &[],
        }
    }

    /// Drops the body of the message that was found last.
    pub fn consume(&mut self, input: &mut Buffer) {
        if let Stage::Whole(incoming) = &self.stage {
            if let Body::Sized(length) = incoming.body {
                input.consume(length);
            }
            self.end_request();
        }
    }

    /// Asks for no more requests, whether one is under way (it takes too long or was cut short, the server
    /// stops) or was an upgrade that is not wanted: what is written next is the last answer.
    pub fn give_up(&mut self) {
        self.exchange.closes = true;
        self.stage = Stage::Over;
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
        let common = Common { date, reader: self.reader.as_deref() };
        self.exchange.write_whole(status, content_type, common, output, write);
    }

    /// Writes the answer that tells what `methods` there are: to a browser, which asks before it lets a page of another
    /// origin send a request, and to whoever looks whether there is a server.
    pub fn write_methods(&mut self, methods: &str, date: &HttpDate, output: &mut Buffer) {
        let common = Common { date, reader: self.reader.as_deref() };
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
        let common = Common { date, reader: self.reader.as_deref() };
        self.exchange.begin_pages(status, content_type, common, output);
        if self.exchange.closes && matches!(self.stage, Stage::Between { .. }) {
            self.stage = Stage::Over;
        }
    }

    /// Writes a page of an answer; `write` appends it. An answer whose last page never comes is told from a
    /// whole one by its missing end.
    pub fn write_page(&mut self, is_last: bool, output: &mut Buffer, write: impl FnOnce(&mut Vec<u8>)) {
        self.exchange.write_page(is_last, output, write);
    }

    /// Bytes of memory that it holds: a token that came in a head, what has come of a body in chunks.
    pub fn held_bytes(&self) -> usize {
        match &self.stage {
            Stage::Body(incoming) | Stage::Whole(incoming) => {
                let body = match &incoming.body {
                    Body::Sized(_) => 0,
                    Body::Chunked(chunked) => chunked.held_bytes(),
                };
                body + incoming.authorization.held_bytes()
            }
            Stage::Between { .. } | Stage::Head(_) | Stage::Over => 0,
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
        matches!(self.stage, Stage::Head(_) | Stage::Body(_))
    }

    /// The number of the request that has begun and is not whole, if there is one: the request timeout
    /// runs, anew for each.
    pub fn unfinished(&self) -> Option<u32> {
        self.is_inside_message().then_some(self.begun)
    }

    /// Drops what may stand before a request: white space that was there when the framing was chosen, or
    /// empty lines (RFC 9112, 2.2). Begins a request if there is more.
    fn skip_blank(&mut self, input: &mut Buffer) -> Result<(), Refused> {
        let Stage::Between { blank, is_first } = &mut self.stage else { return Ok(()) };
        let bytes = input.as_slice();
        let skipped = if *is_first {
            bytes.iter().take_while(|byte| is_white_space(**byte)).count()
        } else {
            2 * bytes.chunks_exact(2).take_while(|pair| pair == b"\r\n").count()
        };
        let is_beginning = !matches!(bytes[skipped..], [] | [b'\r']);
        let total = skipped + usize::from(*blank);
        if total > limits::HTTP_BLANK_BYTES_MAX {
            (self.exchange, self.reader) = (Exchange::default(), None);
            return Err(malformed("there are too many empty lines before the request"));
        }
        *blank = total as u8;
        input.consume(skipped);
        if is_beginning {
            self.begun = self.begun.wrapping_add(1);
            (self.exchange, self.reader) = (Exchange::default(), None);
            self.stage = Stage::Head(LineScan::in_first_line());
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
    ) -> Option<Piece> {
        let head = match Head::parse(bytes) {
            Ok(head) => head,
            Err(refused) => return Some(self.refuse(refused)),
        };
        self.exchange = Exchange {
            version: head.version,
            is_head: head.method == Method::Head,
            closes: !head.keeps_alive(),
            is_forwarded: head.fields.is_forwarded,
        };
        let body_bytes_max = body_bytes_max.of(self.exchange.is_forwarded);
        let verdict = head.length().and_then(|length| {
            let source = verdict::check_source(&head, rules);
            self.reader = source.ok().flatten().map(|origin| Box::new(PageOrigin(origin.into())));
            // A body that nobody reads can't be told from the next request.
            source
                .and_then(|_| verdict::judge(&head, length, body_bytes_max))
                .map(|verdict| (verdict, length))
                .map_err(|refused| Refused { closes: refused.closes || !length.is_zero(), ..refused })
        });
        match verdict {
            Err(refused) => Some(self.refuse(refused)),
            Ok((Verdict::Upgrade(key), _)) => {
                self.stage = Stage::Over;
                Some(Piece::Upgrade(key))
            }
            Ok((Verdict::Page(page), length)) => {
                self.exchange.closes |= !length.is_zero();
                self.end_request();
                Some(Piece::Page(page))
            }
            Ok((Verdict::Options(methods), length)) => {
                self.exchange.closes |= !length.is_zero();
                self.end_request();
                Some(Piece::Options(methods))
            }
            Ok((Verdict::Message { waits, authorization }, length)) => {
                if waits {
                    output.push(answer::CONTINUE);
                }
                let body = match length {
                    Length::Chunked => Body::Chunked(Chunked::default()),
                    Length::Sized(length) => Body::Sized(length as usize),
                    Length::None => Body::Sized(0),
                };
                self.stage = Stage::Body(Box::new(Incoming { authorization, body }));
                None
            }
        }
    }

    fn read_body(&mut self, input: &mut Buffer, body_bytes_max: BodyBytesMax) -> Piece {
        let body_bytes_max = body_bytes_max.of(self.exchange.is_forwarded);
        let Stage::Body(incoming) = &mut self.stage else { return Piece::NeedMore };
        let progress = match &mut incoming.body {
            Body::Sized(length) if input.len() < *length => Progress::More,
            Body::Sized(_) => Progress::Whole,
            Body::Chunked(chunked) => chunked.advance(input, body_bytes_max),
        };
        match progress {
            Progress::More => Piece::NeedMore,
            Progress::TooLarge => self.refuse(verdict::TOO_LARGE),
            Progress::TrailersTooLarge => self.refuse(TRAILERS_TOO_LARGE),
            Progress::Malformed(why) => self.refuse(malformed(why)),
            Progress::Whole => {
                let authorization = std::mem::take(&mut incoming.authorization);
                if let Stage::Body(incoming) = std::mem::replace(&mut self.stage, Stage::Over) {
                    self.stage = Stage::Whole(incoming);
                }
                Piece::Message { authorization }
            }
        }
    }

    fn refuse(&mut self, refused: Refused) -> Piece {
        self.exchange.closes |= refused.closes;
        self.end_request();
        Piece::Refused(Refused { closes: self.exchange.closes, ..refused })
    }

    fn end_request(&mut self) {
        self.stage =
            if self.exchange.closes { Stage::Over } else { Stage::Between { blank: 0, is_first: false } };
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

impl Default for Stage {
    fn default() -> Stage {
        Stage::Between { blank: 0, is_first: true }
    }
}

const HEAD_TOO_LARGE: Refused =
    Refused { status: Status::HeadTooLarge, why: "the head of the request is too large", closes: true };
const TRAILERS_TOO_LARGE: Refused =
    Refused { status: Status::HeadTooLarge, why: "there are too many fields behind the body", closes: true };

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
