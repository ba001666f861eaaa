//! Whole sessions: any bytes in any pieces, answered in any order and at any time.
//!
//! Whatever comes, nothing panics, a request is answered once, what goes out can be read in the framing that
//! the first bytes chose, and there is never much of it.

use std::collections::VecDeque;
use std::time::Duration;

use serde_json::Value;
use vmherd::internals::buffer::Buffer;
use vmherd::internals::clock::{HttpDate, Instant, UnixSeconds};
use vmherd::internals::dialect::decode_json;
use vmherd::internals::framing::sniff::{Sniffed, sniff};
use vmherd::internals::ids::RequestSeq;
use vmherd::internals::limits;
use vmherd::internals::model::{Answer, CommandName, Failure, List, Listing, LongText, Query, Request};
use vmherd::internals::session::{Capacity, Ending, Rules, Session, Step};

use crate::dialects;
use crate::pieces::Decisions;
use crate::wire;

/// Sixteen bytes that cut and answer, and what a client sends.
pub fn session(input: &[u8]) {
    let (mut cuts, rest) = Decisions::split_off(input, 4);
    let (decisions, stream) = Decisions::split_off(rest, 12);
    let mut played = Played::new(decisions);
    for piece in cuts.cut(stream) {
        played.input.push(piece);
        played.fed += piece.len();
        played.run();
        played.pass_time();
        played.answer_some();
        if played.ending.is_some() {
            break;
        }
    }
    played.end();
    played.answer_the_dead();
    played.check(&stream[..played.fed]);
}

/// A session and everybody around it.
struct Played<'a> {
    decisions: Decisions<'a>,
    session: Session,
    input: Buffer,
    output: Buffer,
    rules: Rules,
    now: Instant,
    /// Handed out and not answered.
    open: VecDeque<(RequestSeq, Box<Request>)>,
    /// The long message that is being read.
    decoding: Option<(RequestSeq, LongText)>,
    /// To be answered when they are due.
    delayed: Vec<(RequestSeq, Box<Request>)>,
    /// The list that is being written, and the page of it that is asked for.
    paged: Option<(RequestSeq, Box<Request>)>,
    wanted: Option<(RequestSeq, Listing)>,
    /// Pages that were given.
    pages: usize,
    /// Replies that are due to what was called.
    calls: usize,
    answered: usize,
    refused: usize,
    /// How much of the stream has come.
    fed: usize,
    sent: Vec<u8>,
    ending: Option<Ending>,
}

impl<'a> Played<'a> {
    fn new(decisions: Decisions<'a>) -> Played<'a> {
        let second = Duration::from_secs(1);
        let rules = Rules {
            inline_bytes_max: 64,
            first_request_timeout: Some(300 * second),
            request_timeout: 10 * second,
            idle_timeout_anonymous: Some(3600 * second),
            idle_timeout_authenticated: None,
            idle_timeout_http: Some(75 * second),
            http: Default::default(),
            write_timeout: 10 * second,
            request_bytes_max_anonymous: 2000,
            request_bytes_max_forwarded: 2000,
            requests_max: 5,
        };
        Played {
            decisions,
            session: Session::default(),
            input: Buffer::new(),
            output: Buffer::new(),
            rules,
            now: Instant::ORIGIN + second,
            open: VecDeque::new(),
            decoding: None,
            delayed: Vec::new(),
            paged: None,
            wanted: None,
            pages: 0,
            calls: 0,
            answered: 0,
            refused: 0,
            fed: 0,
            sent: Vec::new(),
            ending: None,
        }
    }

    /// Goes on until the session waits for something.
    fn run(&mut self) {
        let mut steps = 0;
        while self.ending.is_none() {
            steps += 1;
            assert!(steps < STEPS_MAX, "it comes to no end");
            let capacity = Capacity { for_request: self.open.len() < 3, for_page: true };
            let date = date();
            let Played { session, input, output, rules, now, .. } = &mut *self;
            let step = session.next(input, output, rules, capacity, *now, &date);
            assert!(output.len() < limits::OUTPUT_BYTES_PAUSE + OUTPUT_AT_ONCE_MAX, "too much output");
            match step {
                Step::Call(seq, request) => self.called(seq, request),
                Step::Decode(seq, text) => {
                    assert!(text.as_slice().len() > self.rules.inline_bytes_max);
                    assert!(self.decoding.replace((seq, text)).is_none(), "two messages are read at once");
                    if self.decisions.take().is_multiple_of(2) {
                        self.decode();
                    }
                }
                Step::NextPage(seq, of, _) => {
                    assert_eq!(self.paged.as_ref().map(|(seq, _)| *seq), Some(seq));
                    assert!(self.wanted.replace((seq, of)).is_none(), "a page is asked for twice");
                    if self.decisions.take().is_multiple_of(2) {
                        self.give_page();
                    }
                }
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

    fn decode(&mut self) {
        if let Some((seq, text)) = self.decoding.take() {
            self.session.decoded(seq, decode_json(text.as_slice()));
        }
    }

    fn called(&mut self, seq: RequestSeq, request: Box<Request>) {
        self.calls += request.reply_count();
        let is_new = self.open.iter().chain(&self.delayed).chain(&self.paged).all(|(other, _)| *other != seq);
        assert!(is_new, "a sequence number is used twice");
        self.session.set_authenticated(self.decisions.take().is_multiple_of(4));
        let choice = self.decisions.take();
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
        let at = self
            .delayed
            .iter()
            .position(|(other, _)| *other == seq)
            .expect("only what was laid aside is due");
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
            self.wanted = Some((seq, of));
            self.give_page();
        } else {
            let answer = dialects::answer(&request, choice);
            self.complete(seq, &answer, request.reply_count());
        }
    }

    fn give_page(&mut self) {
        let Some((seq, of)) = self.wanted.take() else { return };
        let choice = self.decisions.take();
        if choice == 255 && self.calls < 9 {
            // Something went wrong in the middle.
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
            self.check_late(seq);
        }
    }

    fn complete(&mut self, seq: RequestSeq, answer: &Answer, reply_count: usize) {
        assert!(
            self.session.complete(seq, answer, &mut self.output, &date()),
            "an open request takes its answer"
        );
        self.answered += reply_count;
        self.check_late(seq);
    }

    /// A second answer goes nowhere.
    fn check_late(&mut self, seq: RequestSeq) {
        let before = self.output.len();
        let busy = Answer::Failed(Failure::Busy);
        assert!(!self.session.complete(seq, &busy, &mut self.output, &date()), "answered twice");
        assert_eq!(self.output.len(), before);
    }

    fn answer_some(&mut self) {
        for _ in 0..self.decisions.take() % 4 {
            if self.wanted.is_some() {
                self.give_page();
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

    /// The client sends no more, everything is answered, or the server stops.
    fn end(&mut self) {
        match self.decisions.take() % 4 {
            0 => self.session.begin_drain(&self.input),
            _ => self.session.end_input(),
        }
        self.run();
        for _ in 0..ROUNDS_MAX {
            if self.ending.is_some() {
                return;
            }
            if self.wanted.is_some() {
                self.give_page();
            } else if self.decoding.is_some() {
                self.decode();
            } else if let Some((seq, request)) = self.open.pop_front() {
                self.answer(seq, request);
            } else if let Some(due) = self.session.next_due() {
                self.now = self.now.max(due);
            }
            self.run();
        }
        panic!("it comes to no end: {} requests are open", self.session.open_count());
    }

    /// Answers come when all is said: they go nowhere.
    fn answer_the_dead(&mut self) {
        // Those that were laid aside are only answered when the session says that they are due.
        for (seq, request) in self.open.drain(..).chain(self.paged.take()) {
            let page = dialects::page(&dialects::listing(CommandName::List, Query::List(List::AllVms)), 0);
            match request.name.is_paged() {
                true => self.session.complete_page(seq, &page, &mut self.output, &date()),
                false => {
                    self.session.complete(seq, &Answer::Failed(Failure::Busy), &mut self.output, &date())
                }
            };
        }
        assert!(self.output.is_empty(), "{} comes after the end", self.output.as_slice().escape_ascii());
    }

    fn flush(&mut self) {
        self.sent.extend_from_slice(self.output.as_slice());
        self.output.clear();
    }

    /// What has been sent can be read, and there are as many replies as there were requests.
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
            // What has come may be cut before it is known, and is text if nothing follows.
            Sniffed::NeedMore if self.sent.starts_with(b"error\n") => self.check_text(is_cut),
            Sniffed::NeedMore => self.check_lines(is_cut),
            Sniffed::Unsupported => panic!("{} is told to somebody else", self.sent.escape_ascii()),
        };
        let Some(replies) = replies else { return };
        let due = self.answered + self.refused;
        assert!(replies <= due, "{replies} replies to {due}");
        assert!(!is_all || replies == due, "{replies} replies to {due}: {}", self.sent.escape_ascii());
        assert!(!is_all || self.answered == self.calls);
    }

    fn check_lines(&self, is_cut: bool) -> Option<usize> {
        let mut lines: Vec<&[u8]> = self.sent.split(|byte| *byte == b'\n').collect();
        let last = lines.pop().unwrap_or_default();
        assert!(is_cut || last.is_empty(), "a line has no end: {}", last.escape_ascii());
        lines.iter().for_each(|line| check_json(line));
        Some(lines.len())
    }

    /// Replies of metrics text, each with a blank line behind it and none in it.
    fn check_text(&self, is_cut: bool) -> Option<usize> {
        let text = std::str::from_utf8(&self.sent).expect("replies are UTF-8");
        let mut replies: Vec<&str> = text.split("\n\n").collect();
        let last = replies.pop().unwrap_or_default();
        assert!(is_cut || last.is_empty(), "a reply has no end: {last:?}");
        for reply in &replies {
            let mut lines = reply.lines();
            match lines.next() {
                Some("ok") => assert!(lines.all(|line| line.split(' ').count() == 3), "{reply:?}"),
                Some("error") => assert_eq!(lines.count(), 1, "{reply:?}"),
                _ => panic!("{reply:?} is no reply"),
            }
        }
        Some(replies.len())
    }

    fn check_http(&self, stream: &[u8], is_cut: bool) -> Option<usize> {
        if is_cut {
            return None;
        }
        let has_heads = stream.windows(5).any(|window| window == b"HEAD ");
        let read = wire::responses(&self.sent, has_heads);
        let (responses, frames) = read.unwrap_or_else(|why| panic!("{why}: {}", self.sent.escape_ascii()));
        let mut count = 0;
        for response in &responses {
            match &response[..] {
                b"" | b"ok\n" => count += 1,
                page if page.starts_with(b"vmherd knows") => {}
                json => {
                    count += 1;
                    check_json(json);
                }
            }
        }
        if let Some(frames) = frames {
            let read = wire::messages(frames);
            let messages = read.unwrap_or_else(|why| panic!("{why}: {}", frames.escape_ascii()));
            messages.texts.iter().for_each(|text| check_json(text));
            count += messages.texts.len();
            assert!(messages.is_closed || self.ending == Some(Ending::Gone), "the end is not told");
        }
        (!has_heads).then_some(count)
    }
}

fn check_json(text: &[u8]) {
    let value: Result<Value, _> = serde_json::from_slice(text);
    // An id that is half a pair of surrogates goes back as it came.
    let is_half = text.windows(3).any(|window| window.eq_ignore_ascii_case(b"\\ud"));
    assert!(is_half || value.as_ref().is_ok_and(Value::is_object), "{value:?}: {}", text.escape_ascii());
}

/// Steps without waiting: two for each byte of the longest input, and some.
const STEPS_MAX: usize = 100_000;
const ROUNDS_MAX: usize = 10_000;
/// Pages that others may follow: the bytes that decide come again and again.
const PAGES_MAX: usize = 1000;
/// What one step may write: a page and what waited for it, or an error for each of the most points.
const OUTPUT_AT_ONCE_MAX: usize = 160 << 10;
/// What a byte may cause to be said: the shortest request of all gets the longest error of all.
const OUTPUT_PER_BYTE_MAX: usize = 400;

fn date() -> HttpDate {
    HttpDate::new(UnixSeconds(0))
}
