//! The state machine of one connection: bytes in, requests out; answers in, bytes out.
//!
//! It decides when to decode, and when a client has missed a deadline; `responses` orders the replies. It has no
//! socket, clock or lock: buffers and `now` are arguments.
//!
//! Invariants: each request that [`Session::next`] returns gets exactly one reply; an ending session decodes nothing.

mod answers;
mod codec;
mod deadlines;
mod ending;
mod memory;
mod ordered;
mod refused;
mod request_head;
mod responses;
mod rules;
#[cfg(feature = "sealed")]
mod sealed_listener;
mod step;
mod watch;

use crate::buffer::Buffer;
use crate::clock::Instant;
#[cfg(feature = "sealed")]
use crate::crypto::Exchanged;
use crate::ids::RequestSeq;
use crate::limits;
use crate::model::{Answer, Denial, Failure, Refusal, Request};
use codec::{Codec, DecodeContext, Decoded, Reply};
use deadlines::{ClientDeadline, WaitMode};
pub use ending::Ending;
pub use request_head::RequestHead;
use responses::{ResponseQueue, Wanted};
pub use rules::Rules;
#[cfg(feature = "sealed")]
pub use sealed_listener::SealedListener;
pub use step::{Capacity, Step, StepContext};
use watch::WatchOutput;

/// The state of one connection.
#[derive(Default)]
pub struct Session {
    codec: Codec,
    deadline_state: ClientDeadline,
    is_authenticated: bool,
    input_has_ended: bool,
    /// [`Session::begin_drain`] was called before it ended.
    is_draining: bool,
    /// Set once; then nothing more is decoded.
    ending: Option<Ending>,
    /// `None` while no request is open or deferred, to save memory: most connections are idle.
    responses: Option<Box<ResponseQueue>>,
    /// `None` unless the client watches.
    watch: Option<Box<WatchOutput>>,
    /// Messages refused since the last [`Session::take_refused`].
    refused: u16,
    /// Messages handled without a step since the last [`Session::take_handled_inline`], refused ones included. Both
    /// counts stay below some hundreds, since waiting output pauses decoding.
    handled_inline: u16,
}

impl Session {
    /// The session of a client of a listener with these rules.
    #[cfg_attr(not(feature = "sealed"), allow(unused_variables))]
    pub fn new(rules: &Rules) -> Session {
        let codec = match () {
            #[cfg(feature = "sealed")]
            () if rules.sealed.is_some() => Codec::sealed(),
            () => Codec::default(),
        };
        Session { codec, ..Session::default() }
    }

    /// Decodes input and returns the next action. Call again after each step except `NeedInput`, `Blocked` and
    /// `NeedRoom`, which are waits. Starts nothing beyond the capacity.
    pub fn next(&mut self, input: &mut Buffer, output: &mut Buffer, context: StepContext<'_>) -> Step {
        let step = self.step(input, output, context);
        let waiting = match step {
            Step::NeedInput => self.waiting(input),
            _ => None,
        };
        self.deadline_state.wait(waiting, context.now);
        if matches!(step, Step::NeedInput)
            && self.responses.as_ref().is_some_and(|responses| responses.may_be_dropped())
        {
            self.responses = None;
        }
        step
    }

    /// Takes the decoded message `seq`; ignored if the session no longer waits for it.
    pub fn decoded(&mut self, seq: RequestSeq, decoded: Result<Box<Request>, Refusal>) {
        if let Some(responses) = &mut self.responses
            && responses.end_decoding(seq)
        {
            responses.deferred = Some(self.codec.finish_decoding(decoded));
        }
    }

    /// Takes the result of the key exchange `seq`; ignored if the session no longer waits for it.
    #[cfg(feature = "sealed")]
    pub fn exchanged(&mut self, seq: RequestSeq, exchanged: Exchanged, output: &mut Buffer) {
        if self.responses.as_mut().is_some_and(|responses| responses.end_decoding(seq)) {
            self.codec.exchanged(exchanged, output);
        }
    }

    /// Whether an answer that was passed on is not in the output: it waits for a paged reply or for a step of the client,
    /// or is dropped, or the client has not taken it.
    pub fn owes_answer(&self) -> bool {
        self.codec.owes_answer() || self.responses.as_ref().is_some_and(|responses| responses.owes_reply())
    }

    /// Whether an answer has broken off, which closes the connection.
    pub fn has_broken_off(&self) -> bool {
        self.ending == Some(Ending::Abort)
    }

    /// Whether it waits for input, as it did after its last step: without any, the next step is [`Step::NeedInput`] again.
    pub fn waits_for_input(&self) -> bool {
        let is_open = self.ending.is_none() && !self.input_has_ended;
        is_open && self.deadline_state.current().is_some() && self.responses.is_none() && self.watch.is_none()
    }

    /// When the next delayed request, or something else to write, is due.
    pub fn next_due(&self) -> Option<Instant> {
        let delayed = self.responses.as_ref().and_then(|responses| responses.next_due());
        delayed.into_iter().chain(self.next_comment()).min()
    }

    /// The number of delayed requests, and the bytes of their texts.
    pub fn delayed(&self) -> (usize, usize) {
        self.responses.as_ref().map_or((0, 0), |responses| responses.delayed())
    }

    /// Notes the end of the client's input. Input received before it is still processed.
    pub fn end_input(&mut self) {
        self.input_has_ended = true;
    }

    /// Whether the client's input has ended.
    pub fn input_has_ended(&self) -> bool {
        self.input_has_ended
    }

    /// Since when the connection has been idle.
    pub fn idle_since(&self) -> Option<Instant> {
        self.deadline_state.idle_since()
    }

    /// Notes that all output was sent: a wait for the next request begins now.
    pub fn output_sent(&mut self, now: Instant) {
        self.deadline_state.restart_idle(now);
        self.begin_silence(now);
    }

    /// Sets whether a VM is authenticated on the connection.
    pub fn set_authenticated(&mut self, is_authenticated: bool) {
        self.is_authenticated = is_authenticated;
    }

    /// The client's deadline for input, if it has one now.
    pub fn deadline(&self, rules: &Rules) -> Option<Instant> {
        self.deadline_state.deadline(|waiting| match waiting {
            WaitMode::First => rules.first_request_timeout,
            WaitMode::Request(_) => Some(rules.request_timeout),
            WaitMode::Idle if self.watch.is_some() => None,
            WaitMode::Idle if self.codec.is_http() => rules.idle_timeout_http,
            WaitMode::Idle if self.is_authenticated => rules.idle_timeout_authenticated,
            WaitMode::Idle => rules.idle_timeout_anonymous,
        })
    }

    /// Begins to end the session if its deadline has passed; returns whether it has.
    pub fn expire(&mut self, rules: &Rules, now: Instant) -> bool {
        let is_over = self.ending.is_some() && !self.awaits_acknowledgement();
        if is_over || self.deadline(rules).is_none_or(|deadline| now < deadline) {
            return false;
        }
        match self.deadline_state.current() {
            Some(WaitMode::Request(_)) => self.end_with(Ending::Linger, Failure::TimedOut),
            _ => self.ending = Some(Ending::Close),
        }
        self.deadline_state.wait(None, now);
        true
    }

    /// The number of messages refused without a step, since the last call.
    pub fn take_refused(&mut self) -> u16 {
        std::mem::take(&mut self.refused)
    }

    /// The errors of refused messages since the last call: see [`StepContext::keeps_refusals`].
    pub fn take_refusals(&mut self) -> Vec<Failure> {
        self.responses.as_mut().map(|responses| responses.take_refusals()).unwrap_or_default()
    }

    /// The denials of messages by their origin or credentials, since the last call.
    pub fn take_denials(&mut self) -> Vec<Denial> {
        self.codec.take_denials()
    }

    /// The number of messages and control frames handled without a step, since the last call; each is work.
    pub fn take_handled_inline(&mut self) -> u16 {
        std::mem::take(&mut self.handled_inline)
    }

    /// The number of open requests, including a message that a worker decodes.
    pub fn open_count(&self) -> usize {
        self.responses.as_ref().map_or(0, |responses| responses.open_count())
    }

    /// Bytes of replies that wait for a paged reply.
    #[cfg(feature = "internals")]
    pub fn deferred_len(&self) -> usize {
        self.responses.as_ref().map_or(0, |responses| responses.output_after_page_len())
    }

    fn step(&mut self, input: &mut Buffer, output: &mut Buffer, context: StepContext<'_>) -> Step {
        let StepContext { rules, capacity, now, date, seq, .. } = context;
        loop {
            if let Some(ending @ (Ending::Abort | Ending::Gone)) = self.ending {
                return Step::Finished(ending);
            }
            if output.len() >= limits::OUTPUT_BYTES_PAUSE {
                return Step::Blocked;
            }
            self.fill_silence(output, now);
            if let Some(responses) = &mut self.responses {
                if let Some((seq, data)) = responses.take_due(now) {
                    return Step::Due(seq, data);
                }
                match responses.wanted(capacity.for_page) {
                    Wanted::Nothing => {}
                    Wanted::Room => return Step::NeedRoom,
                    Wanted::PagePending => return Step::Blocked,
                    Wanted::Page(seq, listing, cursor) => return Step::NextPage(seq, listing, cursor),
                }
            }
            if let Some(ending) = self.ending.filter(|_| !self.awaits_acknowledgement()) {
                return self.finish(ending, output, context);
            }
            if !capacity.for_request || self.responses.as_ref().is_some_and(|responses| responses.is_barred())
            {
                return Step::Blocked;
            }
            let message = match self.responses.as_mut().and_then(|responses| responses.deferred.take()) {
                Some(deferred) => deferred,
                None if self.has_open() && self.codec.is_ordered() => return Step::Blocked,
                None => {
                    let (has_ended, is_authenticated) = (self.input_has_ended, self.is_authenticated);
                    let circumstances = DecodeContext { has_ended, is_authenticated, rules, date };
                    match self.codec.decode(input, output, &circumstances) {
                        Decoded::Message(message) => message,
                        Decoded::Ping if self.has_open() => Ok(Box::new(Request::ping())),
                        Decoded::Ping => return Step::Ping,
                        Decoded::Long(message) => {
                            self.responses().begin_decoding(seq, message.text.as_slice().len());
                            return Step::Decode(seq, message);
                        }
                        #[cfg(feature = "sealed")]
                        Decoded::Exchange(exchange) => {
                            self.responses().begin_decoding(seq, exchange.block.len());
                            return Step::Exchange(seq, exchange);
                        }
                        Decoded::HandledInline => {
                            self.handled_inline = self.handled_inline.saturating_add(1);
                            continue;
                        }
                        Decoded::Switch(codec) => {
                            self.codec = codec;
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
            let may_begin = self.responses.as_ref().is_none_or(|responses| match &message {
                Ok(request) => responses.may_open(request),
                Err(refusal) => responses.may_answer(refusal.id.is_some()),
            });
            let is_paged = message.as_ref().is_ok_and(|request| request.is_paged());
            if !may_begin || is_paged && !capacity.for_page {
                self.responses().deferred = Some(message);
                return if may_begin { Step::NeedRoom } else { Step::Blocked };
            }
            match message {
                Err(refusal) => self.refuse(refusal, output, context),
                Ok(request) => {
                    if let Some(step) = self.begin(request, output, context) {
                        return step;
                    }
                }
            }
        }
    }

    fn begin(
        &mut self,
        mut request: Box<Request>,
        output: &mut Buffer,
        context: StepContext<'_>,
    ) -> Option<Step> {
        // A barrier is never refused: there is at most one, and without it, the requests after it would run as the
        // previous principal.
        let is_limited = request.id.is_some() && !request.is_barrier();
        if is_limited && self.concurrent_count() >= context.rules.requests_max {
            let (dialect, id) = (request.dialect, request.id.take());
            self.refuse(Refusal { dialect, id, failure: Failure::Busy }, output, context);
            return None;
        }
        Some(Step::Call(RequestHead::take(&mut request, context.seq), request))
    }

    fn concurrent_count(&self) -> usize {
        self.responses.as_ref().map_or(0, |responses| responses.concurrent_count())
    }

    fn refuse(&mut self, refusal: Refusal, output: &mut Buffer, context: StepContext<'_>) {
        self.refused = self.refused.saturating_add(1);
        self.handled_inline = self.handled_inline.saturating_add(1);
        if context.keeps_refusals {
            self.responses().keep_refusal(refusal.failure.clone());
        }
        let answer = Answer::Failed(refusal.failure);
        let (dialect, id) = (refusal.dialect, refusal.id.as_ref());
        self.write(&Reply { dialect, id, answer: &answer, count: 1, date: context.date }, output);
    }

    /// Begins to end with an error, which is deferred until all open requests are answered.
    fn end_with(&mut self, ending: Ending, failure: Failure) {
        let refusal = Refusal { dialect: self.codec.dialect(), id: None, failure };
        let deferred = &mut self.responses().deferred;
        debug_assert!(deferred.is_none(), "nothing is decoded while a message is deferred");
        *deferred = Some(Err(refusal));
        self.ending = Some(ending);
    }

    fn finish(&mut self, ending: Ending, output: &mut Buffer, context: StepContext<'_>) -> Step {
        if self.has_open() || self.watch.as_ref().is_some_and(|watch| watch.outlasts_requests) {
            return Step::Blocked;
        }
        let deferred = self.responses.as_mut().and_then(|responses| responses.deferred.take());
        let last_words = deferred.and_then(|message| message.err());
        let is_fault = last_words.is_some();
        if let Some(refusal) = last_words {
            self.refuse(refusal, output, context);
        }
        self.codec.write_end(is_fault, output);
        Step::Finished(ending)
    }

    /// The input that the session waits for; `None` if the client waits for an answer.
    fn waiting(&self, input: &Buffer) -> Option<WaitMode> {
        if matches!(self.codec, Codec::Sniffing(_)) && input.as_slice().trim_ascii().is_empty() {
            return Some(WaitMode::First);
        }
        match self.codec.incomplete_message() {
            Some(number) => Some(WaitMode::Request(number)),
            None if self.has_open() => None,
            None => Some(WaitMode::Idle),
        }
    }

    /// Whether an answer waits for the client's next step.
    fn awaits_acknowledgement(&self) -> bool {
        self.codec.owes_answer() && self.codec.incomplete_message().is_some()
    }

    fn has_open(&self) -> bool {
        self.responses.as_ref().is_some_and(|responses| responses.has_open())
    }

    fn responses(&mut self) -> &mut ResponseQueue {
        self.responses.get_or_insert_default()
    }
}

const _: () = assert!(size_of::<Session>() <= 56, "every connection has one, most are idle");

#[cfg(test)]
mod tests;
