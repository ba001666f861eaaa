//! Running connections: each runnable connection gets a bounded piece of work a tick.

use super::connection::{Connection, Flushed, PageMemory, Phase, ReadOutcome, SlotPool};
use super::net::{Net, Readable};
use super::{Now, Reactor};
use crate::clock::{Clock, UnixSeconds};
use crate::ids::{ConnId, RequestSeq};
use crate::limits;
use crate::log_limiter::LogRateLimiter;
use crate::session::{Capacity, Ending, Step, StepContext};
use crate::worker::Jobs;

/// The result of a connection's run.
enum RunOutcome {
    /// It waits for an event, a completion or a timer.
    Waits,
    /// It could continue at once, but has used up its share of the tick.
    WantsMore,
    /// It needs memory to continue.
    NeedsMemory,
    /// It must be closed.
    Close,
}

/// Work done in a tick.
#[derive(Clone, Copy, Default)]
struct TickUsage {
    /// Messages decoded or refused, pages started, delayed answers delivered, and similar.
    steps: usize,
    /// Bytes read or converted.
    bytes: usize,
}

impl<N: Net, J: Jobs, C: Clock> Reactor<N, J, C> {
    /// Runs the connections that are queued now, within the limits of a tick. Connections that want more are queued
    /// again for the next.
    pub(super) fn run_queue(&mut self, now: Now) {
        let bounds = self.settings.bounds;
        let mut all = TickUsage::default();
        for _ in 0..self.runnable.len() {
            if all.steps >= bounds.steps_per_tick || all.bytes >= bounds.bytes_per_tick {
                return;
            }
            let Some(id) = self.runnable.pop_front() else { return };
            let Some(connection) = self.connections.get_mut(id) else { continue };
            connection.is_queued = false;
            // Its deadlines must not start before its bytes came, which may be later than the start of the tick.
            let now = Now { instant: self.clock.now(), ..now };
            let mut usage = TickUsage::default();
            let outcome = match connection.phase {
                Phase::Gated => RunOutcome::Waits,
                Phase::Open => self.run(id, &mut usage, now),
                Phase::Lingering { .. } => self.discard(id, &mut usage),
            };
            if let Some(connection) = self.connections.get_mut(id) {
                connection.give_back(&mut self.memory);
            }
            all.steps += 1 + usage.steps;
            all.bytes += usage.bytes;
            self.note_sent(id);
            self.update_charge(id);
            if self.is_watching(id) {
                self.dispatcher.touch_watch(id);
            }
            match outcome {
                RunOutcome::Waits => self.arm(id),
                RunOutcome::NeedsMemory => {
                    self.arm(id);
                    self.make_room(id, now);
                }
                RunOutcome::WantsMore => {
                    self.arm(id);
                    self.enqueue(id);
                }
                RunOutcome::Close => self.close(id),
            }
            self.shed(now);
        }
        if self.runnable.is_empty() {
            self.runnable.shrink_to(limits::EVENTS_PER_TICK_MAX);
        }
    }

    /// Runs a connection within its limits.
    fn run(&mut self, id: ConnId, usage: &mut TickUsage, now: Now) -> RunOutcome {
        let Some(connection) = self.connections.get_mut(id) else { return RunOutcome::Waits };
        let rules = &self.settings.listeners[usize::from(connection.listener)].rules;
        let is_resumed = connection.page_memory == PageMemory::Granted;
        if is_resumed {
            connection.page_memory = PageMemory::Shared;
        }
        // Most often the next request of a client has come: there is nothing to decode before it is read.
        let mut needs_input = connection.waits_for_input();
        let keeps_refusals = self.dispatcher.wants_refusals();
        connection.borrow(&mut self.memory);
        loop {
            if usage.steps >= limits::STEPS_PER_TICK_MAX || usage.bytes >= limits::READ_BYTES_PER_TICK_MAX {
                return match connection.flush(&mut self.net, now.instant) {
                    Flushed::Broken => RunOutcome::Close,
                    Flushed::All | Flushed::Some => RunOutcome::WantsMore,
                };
            }
            let step = match std::mem::take(&mut needs_input) {
                true => Step::NeedInput,
                false => {
                    let is_known = || self.dispatcher.is_trusted(id);
                    let capacity = Capacity {
                        for_request: self.dispatcher.may_begin(&connection.load),
                        for_page: self.budget.may_begin_page(id, is_resumed, is_known),
                    };
                    let Connection { session, input, output, pool, .. } = &mut *connection;
                    self.next_seq += 1;
                    let (date, seq) = (self.dispatcher.date(), RequestSeq(self.next_seq));
                    let context =
                        StepContext { rules, capacity, now: now.instant, date, seq, keeps_refusals };
                    let step = session.next(input, output, context);
                    usage.steps += usize::from(session.take_handled_inline());
                    let refused = session.take_refused();
                    if refused > 0 && *pool != SlotPool::Refused {
                        let (denials, failures) = (session.take_denials(), session.take_refusals());
                        self.dispatcher.refused(id, refused, denials, failures);
                    }
                    step
                }
            };
            match step {
                Step::Call(head, request) => {
                    usage.steps += 1;
                    self.dispatcher.begin(head, request, &mut connection.client(id, now));
                }
                Step::Ping => {
                    usage.steps += 1;
                    self.dispatcher.ping(&mut connection.client(id, now));
                }
                Step::Decode(seq, text) => {
                    usage.steps += 1;
                    self.dispatcher.begin_decoding(seq, text, &mut connection.client(id, now));
                }
                #[cfg(feature = "sealed")]
                Step::Exchange(seq, exchange) => {
                    usage.steps += 1;
                    self.dispatcher.begin_exchange(seq, exchange, &mut connection.client(id, now));
                }
                Step::NextPage(seq, listing, cursor) => {
                    usage.steps += 1;
                    self.dispatcher.begin_page(seq, listing, cursor, &mut connection.client(id, now));
                }
                Step::Due(seq, data) => {
                    usage.steps += 1;
                    usage.bytes += data.len();
                    self.dispatcher.deliver(seq, data, &mut connection.client(id, now));
                }
                Step::NeedInput => {
                    if connection.flush(&mut self.net, now.instant) == Flushed::Broken {
                        return RunOutcome::Close;
                    }
                    if connection.readable == Readable::No {
                        return RunOutcome::Waits;
                    }
                    if !self.budget.may_read(id, connection.charge) {
                        return RunOutcome::NeedsMemory;
                    }
                    match connection.read(&mut self.net, &mut self.memory) {
                        ReadOutcome::Bytes(count) => usage.bytes += count.max(1),
                        ReadOutcome::Nothing => {}
                        ReadOutcome::End => connection.session.end_input(),
                        ReadOutcome::Broken => return RunOutcome::Close,
                    }
                }
                Step::Blocked => {
                    let had_output = !connection.output.is_empty();
                    match connection.flush(&mut self.net, now.instant) {
                        Flushed::Broken => return RunOutcome::Close,
                        Flushed::Some => return RunOutcome::Waits,
                        Flushed::All if !had_output => return RunOutcome::Waits,
                        Flushed::All => usage.steps += 1,
                    }
                }
                Step::NeedRoom => {
                    return match connection.flush(&mut self.net, now.instant) {
                        Flushed::Broken => RunOutcome::Close,
                        // A client that does not read its output needs no further pages.
                        Flushed::Some => RunOutcome::Waits,
                        Flushed::All => RunOutcome::NeedsMemory,
                    };
                }
                Step::Finished(ending) => {
                    match connection.flush(&mut self.net, now.instant) {
                        Flushed::Broken => return RunOutcome::Close,
                        Flushed::Some => return RunOutcome::Waits,
                        Flushed::All => {}
                    }
                    let is_over = connection.end(&mut self.net, ending, now.instant);
                    if ending == Ending::HttpLine {
                        log_http_line(&mut self.http_line_log_limiter, now.unix);
                    }
                    return if is_over { RunOutcome::Close } else { RunOutcome::WantsMore };
                }
            }
        }
    }

    /// Reads and discards a bounded amount of a lingering client's input.
    fn discard(&mut self, id: ConnId, usage: &mut TickUsage) -> RunOutcome {
        let Some(connection) = self.connections.get_mut(id) else { return RunOutcome::Waits };
        while usage.bytes < limits::READ_BYTES_PER_TICK_MAX {
            if connection.readable == Readable::No {
                return RunOutcome::Waits;
            }
            let count = match connection.read(&mut self.net, &mut self.memory) {
                ReadOutcome::Bytes(count) => count.max(1),
                ReadOutcome::Nothing => 0,
                ReadOutcome::End | ReadOutcome::Broken => return RunOutcome::Close,
            };
            usage.bytes += count;
            let count = count as u32;
            match &mut connection.phase {
                Phase::Lingering { bytes_left } if *bytes_left > count => *bytes_left -= count,
                _ => return RunOutcome::Close,
            }
        }
        RunOutcome::WantsMore
    }
}

fn log_http_line(http_lines: &mut LogRateLimiter, now: UnixSeconds) {
    if let Some(suppressed) = http_lines.allow(limits::HTTP_LINE_LOG_INTERVAL_S, now) {
        log::warn!(
            "closed {} raw JSON connections that sent a line of HTTP: a browser or proxy may have been tricked \
            into sending requests",
            1 + suppressed
        );
    }
}
