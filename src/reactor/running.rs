//! Running connections: each that could make progress gets a bounded piece of work in its turn.

use super::connection::{Connection, Flushed, Phase, ReadOutcome};
use super::net::{Net, Readable};
use super::{Now, Reactor};
use crate::clock::{Clock, UnixSeconds};
use crate::ids::{ConnId, RequestKey};
use crate::limits;
use crate::log_limiter::LogRateLimiter;
use crate::session::{Capacity, Ending, Step};
use crate::worker::Jobs;

/// How a connection's piece of work has ended.
enum RunOutcome {
    /// Something has to happen first.
    Waits,
    /// It could go on at once, but others have their turn.
    WantsMore,
    /// There has to be room first.
    NeedsRoom,
    /// The connection is to be closed.
    Over,
}

/// Work that has been done.
#[derive(Clone, Copy, Default)]
struct TickUsage {
    /// Messages decoded or refused, pages begun, late answers given, and the like.
    steps: usize,
    /// Bytes read or converted.
    bytes: usize,
}

impl<N: Net, J: Jobs, C: Clock> Reactor<N, J, C> {
    /// Runs those that are queued now, as far as one turn goes; those that want to go on stand at the back for
    /// the next.
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
            // Its clocks must not begin before its bytes came, which may be later than the turn did.
            let now = Now { instant: self.clock.now(), ..now };
            let mut work = TickUsage::default();
            let ran = match connection.phase {
                Phase::Open => self.run(id, &mut work, now),
                Phase::Lingering { .. } => self.discard(id, &mut work),
            };
            all.steps += 1 + work.steps;
            all.bytes += work.bytes;
            self.update_charge(id);
            match ran {
                RunOutcome::Waits => self.arm(id),
                RunOutcome::NeedsRoom => {
                    self.arm(id);
                    self.make_room(id, now);
                }
                RunOutcome::WantsMore => {
                    self.arm(id);
                    self.enqueue(id);
                }
                RunOutcome::Over => self.close(id),
            }
            self.shed(now);
        }
        if self.runnable.is_empty() {
            self.runnable.shrink_to(limits::EVENTS_PER_TURN_MAX);
        }
    }

    /// Gives a connection a bounded piece of work.
    fn run(&mut self, id: ConnId, work: &mut TickUsage, now: Now) -> RunOutcome {
        let Some(connection) = self.connections.get_mut(id) else { return RunOutcome::Waits };
        let rules = &self.settings.listeners[usize::from(connection.listener)].rules;
        let is_called = std::mem::take(&mut connection.is_resumed);
        loop {
            if work.steps >= limits::STEPS_PER_TURN_MAX || work.bytes >= limits::READ_BYTES_PER_TURN_MAX {
                return match connection.flush(&mut self.net, now.instant) {
                    Flushed::Broken => RunOutcome::Over,
                    Flushed::All | Flushed::Some => RunOutcome::WantsMore,
                };
            }
            let is_known = || self.dispatcher.app.presence().is_trusted(id);
            let capacity = Capacity {
                for_request: self.dispatcher.may_begin(&connection.load),
                for_page: self.budget.may_begin_page(id, is_called, is_known),
            };
            let Connection { session, input, output, .. } = &mut *connection;
            let step = session.next(input, output, rules, capacity, now.instant, &self.dispatcher.date);
            work.steps += usize::from(session.take_handled_inline());
            let refused = session.take_refused();
            self.dispatcher.count_refused(id, refused);
            if refused > 0 {
                session.take_denials().into_iter().for_each(|denial| self.dispatcher.app.deny(id, denial));
            }
            match step {
                Step::Call(seq, request) => {
                    work.steps += 1;
                    let request_key = RequestKey { conn: id, seq };
                    self.dispatcher.begin(
                        request_key,
                        request,
                        &mut connection.client(),
                        &mut self.timers,
                        now,
                    );
                }
                Step::Decode(seq, text) => {
                    work.steps += 1;
                    let request_key = RequestKey { conn: id, seq };
                    self.dispatcher.begin_decoding(
                        request_key,
                        text,
                        &mut connection.client(),
                        &mut self.timers,
                        now,
                    );
                }
                Step::NextPage(seq, of, cursor) => {
                    work.steps += 1;
                    let request_key = RequestKey { conn: id, seq };
                    self.dispatcher.begin_page(
                        request_key,
                        of,
                        cursor,
                        &mut connection.client(),
                        &mut self.timers,
                        now,
                    );
                }
                Step::Due(seq, data) => {
                    work.steps += 1;
                    work.bytes += data.len();
                    let request_key = RequestKey { conn: id, seq };
                    self.dispatcher.deliver(
                        request_key,
                        data,
                        &mut connection.client(),
                        &mut self.timers,
                        now,
                    );
                }
                Step::NeedInput => {
                    if connection.flush(&mut self.net, now.instant) == Flushed::Broken {
                        return RunOutcome::Over;
                    }
                    if connection.readable == Readable::No {
                        return RunOutcome::Waits;
                    }
                    if !self.budget.may_read(id, connection.charge) {
                        return RunOutcome::NeedsRoom;
                    }
                    match connection.read(&mut self.net, &mut self.chunk) {
                        ReadOutcome::Bytes(count) => work.bytes += count.max(1),
                        ReadOutcome::Nothing => {}
                        ReadOutcome::End => connection.session.end_input(),
                        ReadOutcome::Broken => return RunOutcome::Over,
                    }
                }
                Step::Blocked => {
                    let had_output = !connection.output.is_empty();
                    match connection.flush(&mut self.net, now.instant) {
                        Flushed::Broken => return RunOutcome::Over,
                        Flushed::Some => return RunOutcome::Waits,
                        Flushed::All if !had_output => return RunOutcome::Waits,
                        Flushed::All => work.steps += 1,
                    }
                }
                Step::NeedRoom => {
                    return match connection.flush(&mut self.net, now.instant) {
                        Flushed::Broken => RunOutcome::Over,
                        // Who does not take what it has been told need not be told more.
                        Flushed::Some => RunOutcome::Waits,
                        Flushed::All => RunOutcome::NeedsRoom,
                    };
                }
                Step::Finished(ending) => {
                    match connection.flush(&mut self.net, now.instant) {
                        Flushed::Broken => return RunOutcome::Over,
                        Flushed::Some => return RunOutcome::Waits,
                        Flushed::All => {}
                    }
                    let is_over = connection.end(&mut self.net, ending, now.instant);
                    if ending == Ending::HttpLine {
                        log_http_line(&mut self.http_line_log_limiter, now.unix);
                    }
                    return if is_over { RunOutcome::Over } else { RunOutcome::WantsMore };
                }
            }
        }
    }

    /// Reads and forgets a bounded amount from a client that has had our last words.
    fn discard(&mut self, id: ConnId, work: &mut TickUsage) -> RunOutcome {
        let Some(connection) = self.connections.get_mut(id) else { return RunOutcome::Waits };
        while work.bytes < limits::READ_BYTES_PER_TURN_MAX {
            if connection.readable == Readable::No {
                return RunOutcome::Waits;
            }
            let count = match connection.read(&mut self.net, &mut self.chunk) {
                ReadOutcome::Bytes(count) => count.max(1),
                ReadOutcome::Nothing => 0,
                ReadOutcome::End | ReadOutcome::Broken => return RunOutcome::Over,
            };
            work.bytes += count;
            match &mut connection.phase {
                Phase::Lingering { bytes_left, .. } if *bytes_left > count => *bytes_left -= count,
                _ => return RunOutcome::Over,
            }
        }
        RunOutcome::WantsMore
    }
}

fn log_http_line(http_lines: &mut LogRateLimiter, now: UnixSeconds) {
    if let Some(held_back) = http_lines.allow(limits::HTTP_LINE_LOG_INTERVAL_S, now) {
        log::warn!(
            "closed {} connections of raw JSON that sent a line of HTTP: is a browser or proxy made to talk \
             to us?",
            1 + held_back
        );
    }
}
