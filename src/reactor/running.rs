//! Running connections: each that could make progress gets a bounded piece of work in its turn.

use super::connection::{Connection, Flushed, Phase, Taken};
use super::net::{Net, Readable};
use super::{Now, Reactor};
use crate::clock::{Clock, UnixSeconds};
use crate::ids::{ConnId, RequestKey};
use crate::limits;
use crate::log_limiter::LogRateLimiter;
use crate::session::{Ending, Room, Step};
use crate::worker::Jobs;

/// How a connection's piece of work has ended.
enum Ran {
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
struct Work {
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
        let mut all = Work::default();
        for _ in 0..self.runnable.len() {
            if all.steps >= bounds.steps_per_turn || all.bytes >= bounds.bytes_per_turn {
                return;
            }
            let Some(id) = self.runnable.pop_front() else { return };
            let Some(connection) = self.connections.get_mut(id) else { continue };
            connection.is_queued = false;
            // Its clocks must not begin before its bytes came, which may be later than the turn did.
            let now = Now { instant: self.clock.now(), ..now };
            let mut work = Work::default();
            let ran = match connection.phase {
                Phase::Open => self.run(id, &mut work, now),
                Phase::Lingering { .. } => self.discard(id, &mut work),
            };
            all.steps += 1 + work.steps;
            all.bytes += work.bytes;
            self.settle(id);
            match ran {
                Ran::Waits => self.arm(id),
                Ran::NeedsRoom => {
                    self.arm(id);
                    self.find_room(id, now);
                }
                Ran::WantsMore => {
                    self.arm(id);
                    self.enqueue(id);
                }
                Ran::Over => self.close(id),
            }
            self.shed(now);
        }
        if self.runnable.is_empty() {
            self.runnable.shrink_to(limits::EVENTS_PER_TURN_MAX);
        }
    }

    /// Gives a connection a bounded piece of work.
    fn run(&mut self, id: ConnId, work: &mut Work, now: Now) -> Ran {
        let Some(connection) = self.connections.get_mut(id) else { return Ran::Waits };
        let rules = &self.settings.listeners[usize::from(connection.listener)].rules;
        let is_called = std::mem::take(&mut connection.is_called);
        loop {
            if work.steps >= limits::STEPS_PER_TURN_MAX || work.bytes >= limits::READ_BYTES_PER_TURN_MAX {
                return match connection.flush(&mut self.net, now.instant) {
                    Flushed::Broken => Ran::Over,
                    Flushed::All | Flushed::Some => Ran::WantsMore,
                };
            }
            let is_known = || self.calls.app.presence().is_known(id);
            let room = Room {
                for_request: self.calls.may_begin(connection),
                for_page: self.account.may_begin_page(id, is_called, is_known),
            };
            let Connection { session, input, output, .. } = &mut *connection;
            let step = session.next(input, output, rules, room, now.instant, &self.calls.date);
            work.steps += usize::from(session.take_dealt());
            let refused = session.take_refused();
            self.calls.count_refused(id, refused);
            if refused > 0 {
                session.take_denials().into_iter().for_each(|denial| self.calls.app.deny(id, denial));
            }
            match step {
                Step::Call(seq, request) => {
                    work.steps += 1;
                    let request_key = RequestKey { conn: id, seq };
                    self.calls.begin(request_key, request, connection, &mut self.timers, now);
                }
                Step::Decode(seq, text) => {
                    work.steps += 1;
                    let request_key = RequestKey { conn: id, seq };
                    self.calls.begin_decoding(request_key, text, connection, &mut self.timers, now);
                }
                Step::NextPage(seq, of, cursor) => {
                    work.steps += 1;
                    let request_key = RequestKey { conn: id, seq };
                    self.calls.begin_page(request_key, of, cursor, connection, &mut self.timers, now);
                }
                Step::Due(seq, data) => {
                    work.steps += 1;
                    work.bytes += data.len();
                    let request_key = RequestKey { conn: id, seq };
                    self.calls.deliver(request_key, data, connection, &mut self.timers, now);
                }
                Step::NeedInput => {
                    if connection.flush(&mut self.net, now.instant) == Flushed::Broken {
                        return Ran::Over;
                    }
                    if connection.readable == Readable::No {
                        return Ran::Waits;
                    }
                    if !self.account.may_read(id, connection.charge) {
                        return Ran::NeedsRoom;
                    }
                    match connection.read(&mut self.net, &mut self.chunk) {
                        Taken::Bytes(count) => work.bytes += count.max(1),
                        Taken::Nothing => {}
                        Taken::End => connection.session.end_input(),
                        Taken::Broken => return Ran::Over,
                    }
                }
                Step::Blocked => {
                    let had_output = !connection.output.is_empty();
                    match connection.flush(&mut self.net, now.instant) {
                        Flushed::Broken => return Ran::Over,
                        Flushed::Some => return Ran::Waits,
                        Flushed::All if !had_output => return Ran::Waits,
                        Flushed::All => work.steps += 1,
                    }
                }
                Step::NeedRoom => {
                    return match connection.flush(&mut self.net, now.instant) {
                        Flushed::Broken => Ran::Over,
                        // Who does not take what it has been told need not be told more.
                        Flushed::Some => Ran::Waits,
                        Flushed::All => Ran::NeedsRoom,
                    };
                }
                Step::Finished(ending) => {
                    match connection.flush(&mut self.net, now.instant) {
                        Flushed::Broken => return Ran::Over,
                        Flushed::Some => return Ran::Waits,
                        Flushed::All => {}
                    }
                    let is_over = connection.end(&mut self.net, ending, now.instant);
                    if ending == Ending::HttpLine {
                        log_http_line(&mut self.http_lines, now.unix);
                    }
                    return if is_over { Ran::Over } else { Ran::WantsMore };
                }
            }
        }
    }

    /// Reads and forgets a bounded amount from a client that has had our last words.
    fn discard(&mut self, id: ConnId, work: &mut Work) -> Ran {
        let Some(connection) = self.connections.get_mut(id) else { return Ran::Waits };
        while work.bytes < limits::READ_BYTES_PER_TURN_MAX {
            if connection.readable == Readable::No {
                return Ran::Waits;
            }
            let count = match connection.read(&mut self.net, &mut self.chunk) {
                Taken::Bytes(count) => count.max(1),
                Taken::Nothing => 0,
                Taken::End | Taken::Broken => return Ran::Over,
            };
            work.bytes += count;
            match &mut connection.phase {
                Phase::Lingering { bytes_left, .. } if *bytes_left > count => *bytes_left -= count,
                _ => return Ran::Over,
            }
        }
        Ran::WantsMore
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
