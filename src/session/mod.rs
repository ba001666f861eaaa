//! One connection's state machine: bytes in, requests out; answers in, bytes out.
//!
//! It decides what is decoded when, and when the client has kept us waiting for too long; `replies` has
//! the order of what goes out. It never sees a socket, a clock or a lock: buffers and `now` are arguments.
//!
//! Invariants: a reply goes out for each request that [`Session::next`] has handed out, exactly once;
//! once the session has begun to end, nothing more is decoded.

mod patience;
mod replies;
mod wire;

#[cfg(feature = "http")]
use std::sync::Arc;
use std::time::Duration;

use crate::buffer::Buffer;
use crate::clock::{HttpDate, Instant};
#[cfg(feature = "http")]
use crate::framing::http::HttpRules;
use crate::ids::RequestSeq;
use crate::limits;
use crate::model::{Answer, Cursor, Denial, Failure, Listing, LongText, Page, Refusal, Request};
use patience::{Patience, Waiting};
use replies::{Delivery, Replies, Wanted};
use wire::{Decoded, Reply, Wire};

/// What holds for every connection of one listener.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rules {
    /// Nothing sent yet, for this long at most.
    pub first_request_timeout: Option<Duration>,
    /// From the first to the last byte of a request.
    pub request_timeout: Duration,
    /// Between requests, before anybody has authenticated.
    pub idle_timeout_anonymous: Option<Duration>,
    /// Between requests, afterwards.
    pub idle_timeout_authenticated: Option<Duration>,
    /// Between requests of HTTP.
    pub idle_timeout_http: Option<Duration>,
    /// Without progress in sending what is due; whoever sends keeps this one.
    pub write_timeout: Duration,
    /// Bytes of a request, before anybody has authenticated.
    pub request_bytes_max_anonymous: usize,
    /// The same, where a proxy passes the request on.
    pub request_bytes_max_forwarded: usize,
    /// Bytes of a message that is read at once; a longer one is read by a worker.
    pub inline_bytes_max: usize,
    /// Open requests with an id.
    pub requests_max: usize,
    /// Hosts and origins that requests of HTTP may name.
    #[cfg(feature = "http")]
    pub http: Arc<HttpRules>,
}

/// The state of one connection.
#[derive(Default)]
pub struct Session {
    wire: Wire,
    patience: Patience,
    is_authenticated: bool,
    input_has_ended: bool,
    /// Set once and for all: nothing is decoded any more.
    ending: Option<Ending>,
    next_seq: u64,
    /// Nothing while the client waits for nothing: most of very many connections are idle.
    replies: Option<Box<Replies>>,
    /// What was decoded before its turn came; in the end, the last words.
    parked: Option<Box<Parked>>,
    /// Messages answered with an error here, since somebody last asked.
    refused: u16,
    /// What was dealt with here, those messages included, since somebody last asked. Output that waits bounds
    /// both to some hundreds at a time.
    dealt: u16,
}

/// What the session may begin now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Room {
    /// A request.
    pub for_request: bool,
    /// A page of an answer: it takes much memory until the client has taken it.
    pub for_page: bool,
}

/// What the session wants next.
#[derive(Debug)]
pub enum Step {
    /// Run this request, and tell [`Session::complete`] what came of it.
    Call(RequestSeq, Box<Request>),
    /// Read this message, and tell [`Session::decoded`] what it says. Nothing else is decoded meanwhile.
    Decode(RequestSeq, LongText),
    /// Make the next page of the answer to `seq`.
    NextPage(RequestSeq, Listing, Cursor),
    /// What was to be answered later is due: tell [`Session::complete`] what comes of the text.
    Due(RequestSeq, Box<str>),
    /// More input.
    NeedInput,
    /// Either room in the output or an answer; no more input until then.
    Blocked,
    /// Room for a page of an answer.
    NeedRoom,
    /// Nothing any more: send what is due and end the connection.
    Finished(Ending),
}

/// How a connection ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// Everything was said: close.
    Close,
    /// The client may still be sending: let it read our last words before the close.
    Linger,
    /// As `Linger`, but at once: the client reads no more answers.
    Gone,
    /// As `Linger`, after a line that looks as if a browser or proxy were made to talk to us.
    HttpLine,
    /// An answer broke off: close so that nobody takes it for whole.
    Abort,
}

enum Parked {
    Request(Box<Request>),
    Refusal(Refusal),
}

impl Parked {
    fn is_paged(&self) -> bool {
        matches!(self, Parked::Request(request) if request.name.is_paged())
    }
}

impl Session {
    /// Goes on: decodes what has come, or says what it waits for. Call again after each step that is
    /// not a wait. Nothing is begun that there is no `room` for.
    pub fn next(
        &mut self,
        input: &mut Buffer,
        output: &mut Buffer,
        rules: &Rules,
        room: Room,
        now: Instant,
        date: &HttpDate,
    ) -> Step {
        let step = self.step(input, output, rules, room, now, date);
        let waiting = match step {
            Step::NeedInput => self.waiting(input),
            _ => None,
        };
        self.patience.wait(waiting, now);
        if matches!(step, Step::NeedInput) && !self.has_open() {
            self.replies = None;
        }
        step
    }

    /// An answer to the request `seq` is there. False where no such request is open: the answer is late
    /// and goes nowhere.
    pub fn complete(
        &mut self,
        seq: RequestSeq,
        answer: &Answer,
        output: &mut Buffer,
        date: &HttpDate,
    ) -> bool {
        let Some(replies) = &mut self.replies else { return false };
        let delivery = replies.complete(seq, answer, &mut self.wire, output, date);
        if delivery == Delivery::BrokenOff {
            self.ending = Some(Ending::Abort);
        }
        delivery != Delivery::Late
    }

    /// What the long message `seq` says is known; nothing comes of that where the session does not wait for it any more.
    pub fn decoded(&mut self, seq: RequestSeq, decoded: Result<Request, Refusal>) {
        if self.replies.as_mut().is_some_and(|replies| replies.end_decoding(seq)) {
            self.parked = Some(Box::new(match self.wire.finish_decoding(decoded) {
                Ok(request) => Parked::Request(Box::new(request)),
                Err(refusal) => Parked::Refusal(refusal),
            }));
        }
    }

    /// Whether an answer has broken off, so that the connection is closed.
    pub fn has_broken_off(&self) -> bool {
        self.ending == Some(Ending::Abort)
    }

    /// A page of the answer to the request `seq` is there. False where no such request is open.
    pub fn complete_page(
        &mut self,
        seq: RequestSeq,
        page: &Page,
        output: &mut Buffer,
        date: &HttpDate,
    ) -> bool {
        let wire = &mut self.wire;
        self.replies.as_mut().is_some_and(|replies| replies.complete_page(seq, page, wire, output, date))
    }

    /// The open request `seq` is to be answered at `at`, with what comes of `data` then. False where no such
    /// request is open.
    pub fn delay(&mut self, seq: RequestSeq, at: Instant, data: Box<str>) -> bool {
        let Some(replies) = &mut self.replies else { return false };
        replies.delay(seq, at, data);
        true
    }

    /// A worker converts what was due of the open request `seq`. Answers come in the order in which they are due, so the
    /// next waits for this one.
    pub fn begin_conversion(&mut self, seq: RequestSeq) {
        if let Some(replies) = &mut self.replies {
            replies.begin_conversion(seq);
        }
    }

    /// When the next answer is due that was to be given later.
    pub fn next_due(&self) -> Option<Instant> {
        self.replies.as_ref()?.next_due()
    }

    /// How many answers are to be given later, and the bytes of their texts.
    pub fn delayed(&self) -> (usize, usize) {
        self.replies.as_ref().map_or((0, 0), |replies| replies.delayed())
    }

    /// The client will send no more. What it has sent still counts.
    pub fn end_input(&mut self) {
        self.input_has_ended = true;
    }

    /// Whether the client has said that it will send no more.
    pub fn input_has_ended(&self) -> bool {
        self.input_has_ended
    }

    /// Begins no more requests; what is open is still answered.
    pub fn begin_drain(&mut self, input: &Buffer) {
        if self.ending.is_none() {
            let is_idle = !self.has_open() && input.is_empty();
            self.parked = None;
            if let Some(replies) = &mut self.replies {
                replies.forget_decoding();
            }
            self.ending = Some(if is_idle { Ending::Close } else { Ending::Linger });
        }
    }

    /// Begins to end the session because there is no room for what its client sends, and drops what has come
    /// of that. False where the client can't be told: an answer is being written, or it ends already.
    pub fn refuse_for_room(&mut self, input: &mut Buffer) -> bool {
        if self.ending.is_some() || self.replies.as_ref().is_some_and(|replies| replies.is_writing_pages()) {
            return false;
        }
        input.clear();
        self.wire.forget();
        if let Some(replies) = &mut self.replies {
            replies.forget_decoding();
        }
        self.parked = None;
        self.end_with(Ending::Linger, Failure::RequestMemoryFull);
        true
    }

    /// Bytes of memory that are held for the client beside its input and output, about: what has come of a
    /// message, requests that are not answered, answers that wait. What it waits for by itself (a conversion
    /// that is to be answered later) is not among it.
    pub fn held_bytes(&self) -> usize {
        let parked = match self.parked.as_deref() {
            Some(Parked::Request(request)) => request.held_bytes(),
            Some(Parked::Refusal(_)) | None => 0,
        };
        let replies = self.replies.as_ref().map_or(0, |replies| replies.held_bytes());
        self.wire.held_bytes() + parked + replies
    }

    /// Since when the client and the server have nothing to say to each other.
    pub fn idle_since(&self) -> Option<Instant> {
        self.patience.idle_since()
    }

    /// Whether a VM is authenticated on the connection now.
    pub fn set_authenticated(&mut self, is_authenticated: bool) {
        self.is_authenticated = is_authenticated;
    }

    /// When the client will have kept us waiting for too long.
    pub fn deadline(&self, rules: &Rules) -> Option<Instant> {
        self.patience.deadline(|waiting| match waiting {
            Waiting::First => rules.first_request_timeout,
            Waiting::Request(_) => Some(rules.request_timeout),
            Waiting::Idle if self.wire.is_http() => rules.idle_timeout_http,
            Waiting::Idle if self.is_authenticated => rules.idle_timeout_authenticated,
            Waiting::Idle => rules.idle_timeout_anonymous,
        })
    }

    /// Begins to end the session if its deadline has passed; says whether it has.
    pub fn expire(&mut self, rules: &Rules, now: Instant) -> bool {
        if self.ending.is_some() || self.deadline(rules).is_none_or(|deadline| now < deadline) {
            return false;
        }
        match self.patience.current() {
            Some(Waiting::Request(_)) => self.end_with(Ending::Linger, Failure::TimedOut),
            _ => self.ending = Some(Ending::Close),
        }
        self.patience.wait(None, now);
        true
    }

    /// How many messages were answered with an error without being handed out, since the last call.
    pub fn take_refused(&mut self) -> u16 {
        std::mem::take(&mut self.refused)
    }

    /// Why some of those were refused for where they come from, since the last call.
    pub fn take_denials(&mut self) -> Vec<Denial> {
        self.wire.take_denials()
    }

    /// How much was dealt with without a step of its own, since the last call: messages answered with an
    /// error, control frames. Takes time all the same, so whoever shares it out counts it.
    pub fn take_dealt(&mut self) -> u16 {
        std::mem::take(&mut self.dealt)
    }

    /// The requests that are handed out and not answered, and the message that is being read.
    pub fn open_seqs(&self) -> impl Iterator<Item = RequestSeq> + '_ {
        self.replies.iter().flat_map(|replies| replies.open_seqs())
    }

    /// How many requests are handed out and not answered.
    pub fn open_count(&self) -> usize {
        self.replies.as_ref().map_or(0, |replies| replies.open_count())
    }

    /// Bytes of replies that wait for a paged one.
    #[cfg(test)]
    pub(crate) fn deferred_len(&self) -> usize {
        self.replies.as_ref().map_or(0, |replies| replies.deferred_len())
    }

    fn step(
        &mut self,
        input: &mut Buffer,
        output: &mut Buffer,
        rules: &Rules,
        room: Room,
        now: Instant,
        date: &HttpDate,
    ) -> Step {
        loop {
            if let Some(ending @ (Ending::Abort | Ending::Gone)) = self.ending {
                return Step::Finished(ending);
            }
            if output.len() >= limits::OUTPUT_BYTES_PAUSE {
                return Step::Blocked;
            }
            if let Some((seq, data)) = self.replies.as_mut().and_then(|replies| replies.take_due(now)) {
                return Step::Due(seq, data);
            }
            match self.replies.as_mut().map_or(Wanted::Nothing, |replies| replies.wanted(room.for_page)) {
                Wanted::Nothing => {}
                Wanted::Room => return Step::NeedRoom,
                Wanted::Patience => return Step::Blocked,
                Wanted::Page(seq, of, cursor) => return Step::NextPage(seq, of, cursor),
            }
            if let Some(ending) = self.ending {
                return self.wind_up(ending, output, date);
            }
            if !room.for_request || self.replies.as_ref().is_some_and(|replies| replies.is_barred()) {
                return Step::Blocked;
            }
            let parked = match self.parked.take() {
                Some(parked) => *parked,
                None if self.wire.is_serial() && self.has_open() => return Step::Blocked,
                None => {
                    match self.wire.decode(
                        input,
                        output,
                        self.input_has_ended,
                        self.bytes_max(rules),
                        rules,
                        date,
                    ) {
                        Decoded::Request(request) => Parked::Request(request),
                        Decoded::Refusal(refusal) => Parked::Refusal(refusal),
                        Decoded::Long(text) => {
                            let seq = self.take_seq();
                            self.replies().begin_decoding(seq, text.as_slice().len());
                            return Step::Decode(seq, text);
                        }
                        Decoded::Dealt => {
                            self.dealt = self.dealt.saturating_add(1);
                            continue;
                        }
                        Decoded::NeedInput => return Step::NeedInput,
                        Decoded::End(ending, None) => {
                            self.ending = Some(ending);
                            if ending == Ending::Gone {
                                self.replies().fall_silent();
                            }
                            continue;
                        }
                        Decoded::End(ending, Some(failure)) => {
                            self.end_with(ending, failure);
                            continue;
                        }
                    }
                }
            };
            if !self.may_begin(&parked) {
                self.parked = Some(Box::new(parked));
                return Step::Blocked;
            }
            if !room.for_page && parked.is_paged() {
                self.parked = Some(Box::new(parked));
                return Step::NeedRoom;
            }
            match parked {
                Parked::Refusal(refusal) => self.refuse(refusal, output, date),
                Parked::Request(request) => {
                    if let Some(step) = self.begin(request, output, rules, date) {
                        return step;
                    }
                }
            }
        }
    }

    fn may_begin(&mut self, parked: &Parked) -> bool {
        match parked {
            Parked::Request(request) => self.replies().may_open(request),
            Parked::Refusal(refusal) => self.replies().has_turn(refusal.id.is_some()),
        }
    }

    fn begin(
        &mut self,
        mut request: Box<Request>,
        output: &mut Buffer,
        rules: &Rules,
        date: &HttpDate,
    ) -> Option<Step> {
        // A barrier is let in all the same: there is one at most, and to refuse it unread would leave those
        // behind it to run in the name of whoever was here before.
        let is_limited = request.id.is_some() && !request.is_barrier();
        if is_limited && self.replies().named_count() >= rules.requests_max {
            let (dialect, id) = (request.dialect, request.id.take());
            self.refuse(Refusal { dialect, id, failure: Failure::Busy }, output, date);
            return None;
        }
        let seq = self.take_seq();
        self.replies().open(seq, &mut request);
        Some(Step::Call(seq, request))
    }

    fn take_seq(&mut self) -> RequestSeq {
        let seq = RequestSeq(self.next_seq);
        self.next_seq += 1;
        seq
    }

    fn refuse(&mut self, refusal: Refusal, output: &mut Buffer, date: &HttpDate) {
        self.refused = self.refused.saturating_add(1);
        self.dealt = self.dealt.saturating_add(1);
        let answer = Answer::Failed(refusal.failure);
        let replies = self.replies.get_or_insert_default();
        let reply =
            Reply { dialect: refusal.dialect, id: refusal.id.as_ref(), answer: &answer, count: 1, date };
        replies.write(&reply, &mut self.wire, output);
    }

    /// Begins to end with an error, which goes out after the answers to what is open: until then it waits
    /// among the parked.
    fn end_with(&mut self, ending: Ending, failure: Failure) {
        debug_assert!(self.parked.is_none(), "nothing is decoded while something is parked");
        let refusal = Refusal { dialect: self.wire.dialect(), id: None, failure };
        self.parked = Some(Box::new(Parked::Refusal(refusal)));
        self.ending = Some(ending);
    }

    fn wind_up(&mut self, ending: Ending, output: &mut Buffer, date: &HttpDate) -> Step {
        if self.has_open() {
            return Step::Blocked;
        }
        let last_words = match self.parked.take().map(|parked| *parked) {
            Some(Parked::Refusal(refusal)) => Some(refusal),
            Some(Parked::Request(_)) | None => None,
        };
        let is_fault = last_words.is_some();
        if let Some(refusal) = last_words {
            self.refuse(refusal, output, date);
        }
        self.wire.write_end(is_fault, output);
        Step::Finished(ending)
    }

    /// What a session that needs input waits for; nothing while the client waits for us as well.
    fn waiting(&self, input: &Buffer) -> Option<Waiting> {
        if self.wire.is_undecided() && input.as_slice().trim_ascii().is_empty() {
            return Some(Waiting::First);
        }
        match self.wire.unfinished() {
            Some(number) => Some(Waiting::Request(number)),
            None if self.has_open() => None,
            None => Some(Waiting::Idle),
        }
    }

    fn has_open(&self) -> bool {
        self.replies.as_ref().is_some_and(|replies| replies.has_open())
    }

    fn replies(&mut self) -> &mut Replies {
        self.replies.get_or_insert_default()
    }

    fn bytes_max(&self, rules: &Rules) -> usize {
        match (self.is_authenticated, self.wire.is_forwarded()) {
            (true, _) => limits::REQUEST_BYTES_MAX,
            (false, true) => rules.request_bytes_max_forwarded,
            (false, false) => rules.request_bytes_max_anonymous,
        }
    }
}

#[cfg(test)]
mod tests;
