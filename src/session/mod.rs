//! One connection's state machine: bytes in, requests out; answers in, bytes out.
//!
//! It decides what is decoded when, and when the client has kept us waiting for too long; `responses` has
//! the order of what goes out. It never sees a socket, a clock or a lock: buffers and `now` are arguments.
//!
//! Invariants: a reply goes out for each request that [`Session::next`] has handed out, exactly once;
//! once the session has begun to end, nothing more is decoded.

mod codec;
mod deadlines;
mod responses;
mod rules;

use crate::buffer::Buffer;
use crate::clock::{HttpDate, Instant};
use crate::ids::RequestSeq;
use crate::limits;
use crate::model::{Answer, Cursor, Denial, Failure, Listing, LongText, Page, Refusal, Request};
use codec::{Codec, Decoded, Reply};
use deadlines::{ClientDeadline, WaitMode};
use responses::{Delivery, ResponseQueue, Wanted};
pub use rules::Rules;

/// The state of one connection.
#[derive(Default)]
pub struct Session {
    codec: Codec,
    deadline_state: ClientDeadline,
    is_authenticated: bool,
    input_has_ended: bool,
    /// Set once and for all: nothing is decoded any more.
    ending: Option<Ending>,
    next_seq: u64,
    /// Nothing while the client waits for nothing: most of very many connections are idle.
    responses: Option<Box<ResponseQueue>>,
    /// What was decoded before its turn came; in the end, the last words.
    deferred: Option<Box<Deferred>>,
    /// Messages answered with an error here, since somebody last asked.
    refused: u16,
    /// What was dealt with here, those messages included, since somebody last asked. Output that waits bounds
    /// both to some hundreds at a time.
    handled_inline: u16,
}

/// What the session may begin now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Capacity {
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

enum Deferred {
    Request(Box<Request>),
    Refusal(Refusal),
}

impl Deferred {
    fn is_paged(&self) -> bool {
        matches!(self, Deferred::Request(request) if request.name.is_paged())
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
        capacity: Capacity,
        now: Instant,
        date: &HttpDate,
    ) -> Step {
        let step = self.step(input, output, rules, capacity, now, date);
        let waiting = match step {
            Step::NeedInput => self.waiting(input),
            _ => None,
        };
        self.deadline_state.wait(waiting, now);
        if matches!(step, Step::NeedInput) && !self.has_open() {
            self.responses = None;
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
        let Some(responses) = &mut self.responses else { return false };
        let delivery = responses.complete(seq, answer, &mut self.codec, output, date);
        if delivery == Delivery::BrokenOff {
            self.ending = Some(Ending::Abort);
        }
        delivery != Delivery::Late
    }

    /// What the long message `seq` says is known; nothing comes of that where the session does not wait for it any more.
    pub fn decoded(&mut self, seq: RequestSeq, decoded: Result<Request, Refusal>) {
        if self.responses.as_mut().is_some_and(|responses| responses.end_decoding(seq)) {
            self.deferred = Some(Box::new(match self.codec.finish_decoding(decoded) {
                Ok(request) => Deferred::Request(Box::new(request)),
                Err(refusal) => Deferred::Refusal(refusal),
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
        let codec = &mut self.codec;
        self.responses
            .as_mut()
            .is_some_and(|responses| responses.complete_page(seq, page, codec, output, date))
    }

    /// The open request `seq` is to be answered at `at`, with what comes of `data` then. False where no such
    /// request is open.
    pub fn delay(&mut self, seq: RequestSeq, at: Instant, data: Box<str>) -> bool {
        let Some(responses) = &mut self.responses else { return false };
        responses.delay(seq, at, data);
        true
    }

    /// A worker converts what was due of the open request `seq`. Answers come in the order in which they are due, so the
    /// next waits for this one.
    pub fn begin_conversion(&mut self, seq: RequestSeq) {
        if let Some(responses) = &mut self.responses {
            responses.begin_conversion(seq);
        }
    }

    /// When the next answer is due that was to be given later.
    pub fn next_due(&self) -> Option<Instant> {
        self.responses.as_ref()?.next_due()
    }

    /// How many answers are to be given later, and the bytes of their texts.
    pub fn delayed(&self) -> (usize, usize) {
        self.responses.as_ref().map_or((0, 0), |responses| responses.delayed())
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
            self.deferred = None;
            if let Some(responses) = &mut self.responses {
                responses.forget_decoding();
            }
            self.ending = Some(if is_idle { Ending::Close } else { Ending::Linger });
        }
    }

    /// Begins to end the session because there is no room for what its client sends, and drops what has come
    /// of that. False where the client can't be told: an answer is being written, or it ends already.
    pub fn refuse_for_room(&mut self, input: &mut Buffer) -> bool {
        if self.ending.is_some()
            || self.responses.as_ref().is_some_and(|responses| responses.is_writing_pages())
        {
            return false;
        }
        input.clear();
        self.codec.forget();
        if let Some(responses) = &mut self.responses {
            responses.forget_decoding();
        }
        self.deferred = None;
        self.end_with(Ending::Linger, Failure::RequestMemoryFull);
        true
    }

    /// Bytes of memory that are held for the client beside its input and output, about: what has come of a
    /// message, requests that are not answered, answers that wait. What it waits for by itself (a conversion
    /// that is to be answered later) is not among it.
    pub fn held_bytes(&self) -> usize {
        let parked = match self.deferred.as_deref() {
            Some(Deferred::Request(request)) => request.held_bytes(),
            Some(Deferred::Refusal(_)) | None => 0,
        };
        let responses = self.responses.as_ref().map_or(0, |responses| responses.held_bytes());
        self.codec.held_bytes() + parked + responses
    }

    /// Since when the client and the server have nothing to say to each other.
    pub fn idle_since(&self) -> Option<Instant> {
        self.deadline_state.idle_since()
    }

    /// Whether a VM is authenticated on the connection now.
    pub fn set_authenticated(&mut self, is_authenticated: bool) {
        self.is_authenticated = is_authenticated;
    }

    /// When the client will have kept us waiting for too long.
    pub fn deadline(&self, rules: &Rules) -> Option<Instant> {
        self.deadline_state.deadline(|waiting| match waiting {
            WaitMode::First => rules.first_request_timeout,
            WaitMode::Request(_) => Some(rules.request_timeout),
            WaitMode::Idle if self.codec.is_http() => rules.idle_timeout_http,
            WaitMode::Idle if self.is_authenticated => rules.idle_timeout_authenticated,
            WaitMode::Idle => rules.idle_timeout_anonymous,
        })
    }

    /// Begins to end the session if its deadline has passed; says whether it has.
    pub fn expire(&mut self, rules: &Rules, now: Instant) -> bool {
        if self.ending.is_some() || self.deadline(rules).is_none_or(|deadline| now < deadline) {
            return false;
        }
        match self.deadline_state.current() {
            Some(WaitMode::Request(_)) => self.end_with(Ending::Linger, Failure::TimedOut),
            _ => self.ending = Some(Ending::Close),
        }
        self.deadline_state.wait(None, now);
        true
    }

    /// How many messages were answered with an error without being handed out, since the last call.
    pub fn take_refused(&mut self) -> u16 {
        std::mem::take(&mut self.refused)
    }

    /// Why some of those were refused for where they come from, since the last call.
    pub fn take_denials(&mut self) -> Vec<Denial> {
        self.codec.take_denials()
    }

    /// How much was dealt with without a step of its own, since the last call: messages answered with an
    /// error, control frames. Takes time all the same, so whoever shares it out counts it.
    pub fn take_handled_inline(&mut self) -> u16 {
        std::mem::take(&mut self.handled_inline)
    }

    /// The requests that are handed out and not answered, and the message that is being read.
    pub fn open_seqs(&self) -> impl Iterator<Item = RequestSeq> + '_ {
        self.responses.iter().flat_map(|responses| responses.open_seqs())
    }

    /// How many requests are handed out and not answered.
    pub fn open_count(&self) -> usize {
        self.responses.as_ref().map_or(0, |responses| responses.open_count())
    }

    /// Bytes of replies that wait for a paged one.
    #[cfg(feature = "internals")]
    pub fn deferred_len(&self) -> usize {
        self.responses.as_ref().map_or(0, |responses| responses.output_after_page_len())
    }

    fn step(
        &mut self,
        input: &mut Buffer,
        output: &mut Buffer,
        rules: &Rules,
        capacity: Capacity,
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
            if let Some((seq, data)) = self.responses.as_mut().and_then(|responses| responses.take_due(now)) {
                return Step::Due(seq, data);
            }
            match self
                .responses
                .as_mut()
                .map_or(Wanted::Nothing, |responses| responses.wanted(capacity.for_page))
            {
                Wanted::Nothing => {}
                Wanted::Room => return Step::NeedRoom,
                Wanted::PagePending => return Step::Blocked,
                Wanted::Page(seq, of, cursor) => return Step::NextPage(seq, of, cursor),
            }
            if let Some(ending) = self.ending {
                return self.finish(ending, output, date);
            }
            if !capacity.for_request || self.responses.as_ref().is_some_and(|responses| responses.is_barred())
            {
                return Step::Blocked;
            }
            let parked = match self.deferred.take() {
                Some(parked) => *parked,
                None if self.codec.is_ordered() && self.has_open() => return Step::Blocked,
                None => {
                    match self.codec.decode(
                        input,
                        output,
                        self.input_has_ended,
                        self.bytes_max(rules),
                        rules,
                        date,
                    ) {
                        Decoded::Request(request) => Deferred::Request(request),
                        Decoded::Refusal(refusal) => Deferred::Refusal(refusal),
                        Decoded::Long(text) => {
                            let seq = self.take_seq();
                            self.responses().begin_decoding(seq, text.as_slice().len());
                            return Step::Decode(seq, text);
                        }
                        Decoded::HandledInline => {
                            self.handled_inline = self.handled_inline.saturating_add(1);
                            continue;
                        }
                        Decoded::NeedInput => return Step::NeedInput,
                        Decoded::End(ending, None) => {
                            self.ending = Some(ending);
                            if ending == Ending::Gone {
                                self.responses().poison();
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
                self.deferred = Some(Box::new(parked));
                return Step::Blocked;
            }
            if !capacity.for_page && parked.is_paged() {
                self.deferred = Some(Box::new(parked));
                return Step::NeedRoom;
            }
            match parked {
                Deferred::Refusal(refusal) => self.refuse(refusal, output, date),
                Deferred::Request(request) => {
                    if let Some(step) = self.begin(request, output, rules, date) {
                        return step;
                    }
                }
            }
        }
    }

    fn may_begin(&mut self, parked: &Deferred) -> bool {
        match parked {
            Deferred::Request(request) => self.responses().may_open(request),
            Deferred::Refusal(refusal) => self.responses().has_turn(refusal.id.is_some()),
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
        if is_limited && self.responses().concurrent_count() >= rules.requests_max {
            let (dialect, id) = (request.dialect, request.id.take());
            self.refuse(Refusal { dialect, id, failure: Failure::Busy }, output, date);
            return None;
        }
        let seq = self.take_seq();
        self.responses().open(seq, &mut request);
        Some(Step::Call(seq, request))
    }

    fn take_seq(&mut self) -> RequestSeq {
        let seq = RequestSeq(self.next_seq);
        self.next_seq += 1;
        seq
    }

    fn refuse(&mut self, refusal: Refusal, output: &mut Buffer, date: &HttpDate) {
        self.refused = self.refused.saturating_add(1);
        self.handled_inline = self.handled_inline.saturating_add(1);
        let answer = Answer::Failed(refusal.failure);
        let responses = self.responses.get_or_insert_default();
        let reply =
            Reply { dialect: refusal.dialect, id: refusal.id.as_ref(), answer: &answer, count: 1, date };
        responses.write(&reply, &mut self.codec, output);
    }

    /// Begins to end with an error, which goes out after the answers to what is open: until then it waits
    /// among the parked.
    fn end_with(&mut self, ending: Ending, failure: Failure) {
        debug_assert!(self.deferred.is_none(), "nothing is decoded while something is parked");
        let refusal = Refusal { dialect: self.codec.dialect(), id: None, failure };
        self.deferred = Some(Box::new(Deferred::Refusal(refusal)));
        self.ending = Some(ending);
    }

    fn finish(&mut self, ending: Ending, output: &mut Buffer, date: &HttpDate) -> Step {
        if self.has_open() {
            return Step::Blocked;
        }
        let last_words = match self.deferred.take().map(|parked| *parked) {
            Some(Deferred::Refusal(refusal)) => Some(refusal),
            Some(Deferred::Request(_)) | None => None,
        };
        let is_fault = last_words.is_some();
        if let Some(refusal) = last_words {
            self.refuse(refusal, output, date);
        }
        self.codec.write_end(is_fault, output);
        Step::Finished(ending)
    }

    /// What a session that needs input waits for; nothing while the client waits for us as well.
    fn waiting(&self, input: &Buffer) -> Option<WaitMode> {
        if self.codec.is_undecided() && input.as_slice().trim_ascii().is_empty() {
            return Some(WaitMode::First);
        }
        match self.codec.unfinished() {
            Some(number) => Some(WaitMode::Request(number)),
            None if self.has_open() => None,
            None => Some(WaitMode::Idle),
        }
    }

    fn has_open(&self) -> bool {
        self.responses.as_ref().is_some_and(|responses| responses.has_open())
    }

    fn responses(&mut self) -> &mut ResponseQueue {
        self.responses.get_or_insert_default()
    }

    fn bytes_max(&self, rules: &Rules) -> usize {
        match (self.is_authenticated, self.codec.is_forwarded()) {
            (true, _) => limits::REQUEST_BYTES_MAX,
            (false, true) => rules.request_bytes_max_forwarded,
            (false, false) => rules.request_bytes_max_anonymous,
        }
    }
}

#[cfg(test)]
mod tests;
