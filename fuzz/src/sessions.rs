//! Whole sessions: any bytes in any chunks, answered in any order and at any time.
//!
//! Nothing panics, a request is answered once, the output is in the framing that the first bytes chose, and its size is
//! bounded.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use vmherd::internals::buffer::Buffer;
use vmherd::internals::clock::{HttpDate, Instant, UnixSeconds};
use vmherd::internals::dialect::decode_message;
use vmherd::internals::framing::http::{HttpListener, HttpRules};
use vmherd::internals::framing::sniff::{Sniffed, sniff};
use vmherd::internals::ids::RequestSeq;
use vmherd::internals::limits;
use vmherd::internals::model::{
    Answer, CommandName, Failure, List, Listing, LongMessage, Peer, Query, Request,
};
use vmherd::internals::session::{Capacity, Ending, RequestHead, Rules, Session, Step, StepContext};

use crate::codec::{Decoder, Malformed, TextReply};
use crate::decisions::Decisions;
use crate::{dialects, replies};

/// Sixteen decisions about chunks and answers, and what a client sends.
pub fn session(input: &[u8]) {
    let (mut cuts, rest) = Decisions::split_off(input, 4);
    let (decisions, stream) = Decisions::split_off(rest, 12);
    let mut replay = Replay::new(decisions);
    for chunk in cuts.cut(stream) {
        replay.input.push(chunk);
        replay.received += chunk.len();
        replay.run();
        replay.pass_time();
        replay.answer_some();
        if replay.ending.is_some() {
            break;
        }
    }
    replay.end();
    replay.answer_after_end();
    replay.check(&stream[..replay.received]);
}

/// A session, its client and its server.
struct Replay<'a> {
    decisions: Decisions<'a>,
    session: Session,
    input: Buffer,
    output: Buffer,
    rules: Rules,
    now: Instant,
    seq: u64,
    /// Requests that are begun and not answered.
    open: VecDeque<(RequestSeq, Box<Request>)>,
    /// The long message that is being decoded.
    decoding: Option<(RequestSeq, LongMessage)>,
    /// Delayed requests.
    delayed: Vec<(RequestSeq, Box<Request>)>,
    /// The listing that is being written, and the page of it that is requested.
    paged: Option<(RequestSeq, Box<Request>)>,
    page_pending: Option<(RequestSeq, Listing)>,
    /// Pages that were written.
    pages: usize,
    /// Replies that are due to the begun requests.
    calls: usize,
    answered: usize,
    refused: usize,
    /// Bytes of the stream that were received.
    received: usize,
    sent: Vec<u8>,
    ending: Option<Ending>,
}

impl<'a> Replay<'a> {
    fn new(decisions: Decisions<'a>) -> Replay<'a> {
        let second = Duration::from_secs(1);
        let rules = Rules {
            customs: dialects::customs(),
            inline_bytes_max: 64,
            first_request_timeout: Some(300 * second),
            request_timeout: 10 * second,
            idle_timeout_anonymous: Some(3600 * second),
            idle_timeout_authenticated: None,
            idle_timeout_http: Some(75 * second),
            http: HttpListener::new(Arc::new(HttpRules {
                customs: dialects::customs(),
                ..HttpRules::default()
            })),
            write_timeout: 10 * second,
            request_bytes_max_anonymous: 2000,
            request_bytes_max_forwarded: 2000,
            requests_max: 5,
            sealed: None,
        };
        Replay {
            decisions,
            session: Session::default(),
            input: Buffer::new(),
            output: Buffer::new(),
            rules,
            now: Instant::ORIGIN + second,
            seq: 0,
            open: VecDeque::new(),
            decoding: None,
            delayed: Vec::new(),
            paged: None,
            page_pending: None,
            pages: 0,
            calls: 0,
            answered: 0,
            refused: 0,
            received: 0,
            sent: Vec::new(),
            ending: None,
        }
    }

    /// Steps until the session waits for something.
    fn run(&mut self) {
        let mut steps = 0;
        while self.ending.is_none() {
            steps += 1;
            assert!(steps < STEPS_MAX, "the session does not stop");
            let capacity = Capacity { for_request: self.open.len() < 3, for_page: true };
            let date = date();
            let Replay { session, input, output, rules, now, seq, .. } = &mut *self;
            *seq += 1;
            let (now, date, seq) = (*now, &date, RequestSeq(*seq));
            let context = StepContext { rules, capacity, now, date, seq, keeps_refusals: false };
            let step = session.next(input, output, context);
            assert!(output.len() < limits::OUTPUT_BYTES_PAUSE + OUTPUT_AT_ONCE_MAX, "too much output");
            match step {
                Step::Call(head, request) => self.begin(head, request),
                Step::Ping => self.pong(),
                Step::Decode(seq, message) => {
                    assert!(message.text.as_slice().len() > self.rules.inline_bytes_max);
                    assert!(
                        self.decoding.replace((seq, message)).is_none(),
                        "two messages are decoded at once"
                    );
                    if self.decisions.take().is_multiple_of(2) {
                        self.decode();
                    }
                }
                Step::NextPage(seq, of, _) => {
                    assert_eq!(self.paged.as_ref().map(|(seq, _)| *seq), Some(seq));
                    assert!(self.page_pending.replace((seq, of)).is_none(), "a page is requested twice");
                    if self.decisions.take().is_multiple_of(2) {
                        self.write_page();
                    }
                }
                Step::Exchange(..) => panic!("the session is not sealed"),
                Step::Due(seq, data) => self.deliver(seq, &data),
                Step::NeedInput => {
                    self.flush();
                    return;
                }
                Step::NeedRoom => panic!("there is capacity"),
                Step::Blocked if self.output.is_empty() => return,
                Step::Blocked => self.flush(),
                Step::Finished(ending) => {
                    self.flush();
                    self.ending = Some(ending);
                }
            }
        }
        self.refused += self.session.take_refused() as usize;
    }

    fn pong(&mut self) {
        assert_eq!(self.session.open_count(), 0, "a ping overtakes another request");
        self.calls += 1;
        self.answered += 1;
        let pong = Answer::Pong(Peer::Unix { uid: None });
        self.session.pong(&pong, &mut self.output, &date());
    }

    fn decode(&mut self) {
        if let Some((seq, message)) = self.decoding.take() {
            let decoded = decode_message(message.text.as_slice(), message.path, &self.rules.customs);
            self.session.decoded(seq, decoded);
        }
    }

    fn begin(&mut self, head: RequestHead, request: Box<Request>) {
        self.calls += request.reply_count();
        self.session.set_authenticated(self.decisions.take().is_multiple_of(4));
        let choice = self.decisions.take();
        if choice % 5 == 1 && !request.is_paged() {
            self.answered += request.reply_count();
            let answer = dialects::answer(&request, choice);
            return self.session.answer(head, &answer, &mut self.output, &date());
        }
        let seq = self.session.open(head);
        let is_new = self.open.iter().chain(&self.delayed).chain(&self.paged).all(|(other, _)| *other != seq);
        assert!(is_new, "a sequence number is used twice");
        if request.name == CommandName::Convert && !choice.is_multiple_of(3) && request.command.is_ok() {
            let after = Duration::from_secs(u64::from(choice % 6));
            assert!(self.session.delay(seq, self.now + after, format!("a&&b&&{choice}").into()));
            self.delayed.push((seq, request));
        } else if choice.is_multiple_of(2) {
            self.open.push_back((seq, request));
        } else {
            self.answer(seq, request);
        }
    }

    fn deliver(&mut self, seq: RequestSeq, data: &str) {
        let at =
            self.delayed.iter().position(|(other, _)| *other == seq).expect("only delayed requests are due");
        let (_, request) = self.delayed.remove(at);
        assert!(data.starts_with("a&&b&&"));
        let answer = dialects::answer(&request, 1);
        self.complete(seq, &answer, request.reply_count());
    }

    fn answer(&mut self, seq: RequestSeq, request: Box<Request>) {
        let choice = self.decisions.take();
        if request.name.is_paged() && !choice.is_multiple_of(4) {
            let Some(of) = dialects::paged(&request) else {
                return self.complete(seq, &Answer::Failed(Failure::UnknownList), 1);
            };
            self.paged = Some((seq, request));
            self.page_pending = Some((seq, of));
            self.write_page();
        } else {
            let answer = dialects::answer(&request, choice);
            self.complete(seq, &answer, request.reply_count());
        }
    }

    fn write_page(&mut self) {
        let Some((seq, of)) = self.page_pending.take() else { return };
        let choice = self.decisions.take();
        if choice == 255 && self.calls < 9 {
            // The listing fails after some pages.
            let failed = Answer::Failed(Failure::StoreUnavailable);
            self.paged = None;
            return self.complete(seq, &failed, 1);
        }
        self.pages += 1;
        let has_more = choice >= 128 && self.decisions.take().is_multiple_of(2) && self.pages < PAGES_MAX;
        let mut page = dialects::page(&of, choice);
        page.next = page.next.filter(|_| has_more);
        let is_last = page.next.is_none();
        assert!(
            self.session.complete_page(seq, &page, &mut self.output, &date()),
            "an open request takes its page"
        );
        if is_last {
            self.answered += 1;
            self.paged = None;
            self.check_second_answer(seq);
        }
    }

    fn complete(&mut self, seq: RequestSeq, answer: &Answer, reply_count: usize) {
        assert!(
            self.session.complete(seq, answer, &mut self.output, &date()),
            "an open request takes its answer"
        );
        self.answered += reply_count;
        self.check_second_answer(seq);
    }

    /// A second answer is ignored.
    fn check_second_answer(&mut self, seq: RequestSeq) {
        let before = self.output.len();
        let busy = Answer::Failed(Failure::Busy);
        assert!(!self.session.complete(seq, &busy, &mut self.output, &date()), "answered twice");
        assert_eq!(self.output.len(), before);
    }

    fn answer_some(&mut self) {
        for _ in 0..self.decisions.take() % 4 {
            let None = self.ending else { return };
            if self.page_pending.is_some() {
                self.write_page();
            } else if self.decoding.is_some() {
                self.decode();
            } else if let Some((seq, request)) = match self.decisions.take() % 2 {
                0 => self.open.pop_front(),
                _ => self.open.pop_back(),
            } {
                self.answer(seq, request);
            }
            self.run();
        }
    }

    fn pass_time(&mut self) {
        self.now = self.now + Duration::from_millis(u64::from(self.decisions.take()) * 20);
        if self.session.expire(&self.rules, self.now) {
            self.run();
        }
        self.run();
    }

    /// The client ends its input or the server stops, and all requests are answered.
    fn end(&mut self) {
        match self.decisions.take() % 4 {
            0 => self.session.begin_drain(&self.input),
            _ => self.session.end_input(),
        }
        self.run();
        for _ in 0..ROUNDS_MAX {
            let None = self.ending else { return };
            if self.page_pending.is_some() {
                self.write_page();
            } else if self.decoding.is_some() {
                self.decode();
            } else if let Some((seq, request)) = self.open.pop_front() {
                self.answer(seq, request);
            } else if let Some(due) = self.session.next_due() {
                self.now = self.now.max(due);
            }
            self.run();
        }
        panic!("the session does not end: {} requests are open", self.session.open_count());
    }

    /// Answers after the end are ignored.
    fn answer_after_end(&mut self) {
        // Delayed requests are answered only when the session reports that they are due.
        for (seq, request) in self.open.drain(..).chain(self.paged.take()) {
            let page = dialects::page(&dialects::listing(CommandName::List, Query::List(List::AllVms)), 0);
            match request.name.is_paged() {
                true => self.session.complete_page(seq, &page, &mut self.output, &date()),
                false => {
                    self.session.complete(seq, &Answer::Failed(Failure::Busy), &mut self.output, &date())
                }
            };
        }
        assert!(self.output.is_empty(), "output after the end: {}", self.output.as_slice().escape_ascii());
    }

    fn flush(&mut self) {
        self.sent.extend_from_slice(self.output.as_slice());
        self.output.clear();
    }

    /// The output is decodable, and has as many replies as there were requests.
    fn check(&self, stream: &[u8]) {
        let most = OUTPUT_AT_ONCE_MAX + stream.len() * OUTPUT_PER_BYTE_MAX;
        assert!(self.sent.len() <= most, "{} bytes for {}", self.sent.len(), stream.len());
        let is_cut = matches!(self.ending, Some(Ending::Abort));
        let is_all = !matches!(self.ending, Some(Ending::Abort | Ending::Gone));
        let replies = match sniff(stream) {
            Sniffed::RawJson => self.check_lines(is_cut),
            Sniffed::Http => self.check_http(stream, is_cut),
            Sniffed::Text => self.check_text(is_cut),
            Sniffed::Unsupported
                if self.sent.starts_with(b"This port speaks JSON") || self.sent.is_empty() =>
            {
                return;
            }
            // The input may end before its framing is known; then it is text.
            Sniffed::NeedMore if self.sent.starts_with(b"error\n") => self.check_text(is_cut),
            Sniffed::NeedMore => self.check_lines(is_cut),
            Sniffed::Unsupported => {
                panic!("{} is sent to a client of another protocol", self.sent.escape_ascii())
            }
        };
        let Some(replies) = replies else { return };
        let due = self.answered + self.refused;
        assert!(replies <= due, "{replies} replies to {due}");
        assert!(!is_all || replies == due, "{replies} replies to {due}: {}", self.sent.escape_ascii());
        assert!(!is_all || self.answered == self.calls);
    }

    fn check_lines(&self, is_cut: bool) -> Option<usize> {
        let lines = self.decoded(replies::lines(&self.sent, Decoder::line, is_cut));
        lines.iter().for_each(|line| check_json(line.as_bytes()));
        Some(lines.len())
    }

    fn check_text(&self, is_cut: bool) -> Option<usize> {
        let texts = self.decoded(replies::lines(&self.sent, Decoder::text_reply, is_cut));
        texts.iter().for_each(|text| drop(self.decoded(TextReply::parse(text))));
        Some(texts.len())
    }

    /// The output that was decoded.
    fn decoded<T>(&self, decoded: Result<T, Malformed>) -> T {
        decoded.unwrap_or_else(|error| panic!("{error}: {}", self.sent.escape_ascii()))
    }

    fn check_http(&self, stream: &[u8], is_cut: bool) -> Option<usize> {
        if is_cut {
            return None;
        }
        let has_head_requests = stream.windows(5).any(|window| window == b"HEAD ");
        let (responses, frames) = self.decoded(replies::responses(&self.sent, has_head_requests));
        let mut count = 0;
        for response in &responses {
            match &response[..] {
                b"" | b"ok\n" => count += 1,
                page if page.starts_with(b"vmherd knows") => {}
                html if html.starts_with(b"<!doctype html>") => {
                    // The shell is no answer to a request of the session.
                    count += usize::from(html.ends_with(b"</table>\n</main>\n</body>\n</html>\n"));
                }
                metrics if metrics.starts_with(b"# HELP") => count += 1,
                targets if targets.starts_with(b"[") => {
                    count += 1;
                    serde_json::from_slice::<Vec<Value>>(targets).expect("a list");
                }
                json => {
                    count += 1;
                    check_json(json);
                }
            }
        }
        if let Some(frames) = frames {
            let messages = self.decoded(replies::messages(&frames));
            messages.texts.iter().for_each(|text| check_json(text.as_bytes()));
            count += messages.texts.len();
            assert!(messages.is_closed || self.ending == Some(Ending::Gone), "no close frame is sent");
        }
        (!has_head_requests).then_some(count)
    }
}

fn check_json(text: &[u8]) {
    let value: Result<Value, _> = serde_json::from_slice(text);
    // serde_json refuses half a pair of surrogates, which the server returns verbatim.
    let is_half = text.windows(3).any(|window| window.eq_ignore_ascii_case(b"\\ud"));
    assert!(is_half || value.as_ref().is_ok_and(Value::is_object), "{value:?}: {}", text.escape_ascii());
}

/// Steps without waiting: more than two for each byte of the longest input.
const STEPS_MAX: usize = 100_000;
const ROUNDS_MAX: usize = 10_000;
/// The most pages of one replay, since decisions repeat.
const PAGES_MAX: usize = 1000;
/// The most that one step may write: a page and replies that waited for it, or an error for each point.
const OUTPUT_AT_ONCE_MAX: usize = 160 << 10;
/// The most output for each byte of input: the shortest request gets the longest error.
const OUTPUT_PER_BYTE_MAX: usize = 400;

fn date() -> HttpDate {
    HttpDate::new(UnixSeconds(0))
}
