//! One connection of the reactor: a socket, its latched readiness, two buffers, a session.

use std::io;
use std::time::Duration;

use super::buffer_budget::Charge;
use super::delivery::END_OF_OUTPUT;
use super::net::{Net, Readable, Received};
use crate::buffer::{Buffer, SpareMemory};
use crate::clock::Instant;
use crate::dispatch::{Client, JobLoad, Now};
use crate::ids::ConnId;
use crate::limits;
use crate::model::OfflineReason;
use crate::session::{Ending, Rules, Session};

/// An open connection.
pub(super) struct Connection<S> {
    pub(super) socket: S,
    pub(super) session: Session,
    pub(super) input: Buffer,
    pub(super) output: Buffer,
    /// Latched, as is `writable`: an event sets it, `WouldBlock` clears it. A read that drains the socket may clear
    /// `readable` too.
    pub(super) readable: Readable,
    pub(super) writable: bool,
    /// It is in the run queue.
    pub(super) is_queued: bool,
    pub(super) page_memory: PageMemory,
    /// The client has sent at least one byte.
    pub(super) received_any: bool,
    /// Bytes of output that the socket has taken, and [`END_OF_OUTPUT`]; wraps around.
    pub(super) sent: u32,
    pub(super) listener: u8,
    pub(super) pool: SlotPool,
    pub(super) phase: Phase,
    pub(super) load: JobLoad,
    /// Why it ends, if it is not its client, or the server in good order, that closes it.
    end: Option<OfflineReason>,
    /// Its charge in the buffer budget.
    pub(super) charge: Charge,
    /// Since when the socket has taken no output; of a lingering connection, since when it lingers.
    stalled_since: Option<Instant>,
}

/// The memory that one connection after the other uses while it runs.
pub(super) struct RunMemory {
    input: SpareMemory,
    output: SpareMemory,
    /// For input that is discarded, or appended to a part of a message.
    chunk: Box<[u8]>,
}

impl RunMemory {
    pub(super) fn new() -> RunMemory {
        RunMemory {
            input: SpareMemory::new(2 * limits::READ_CHUNK_BYTES),
            output: SpareMemory::new(2 * limits::OUTPUT_BYTES_PAUSE),
            chunk: vec![0; limits::READ_CHUNK_BYTES].into(),
        }
    }
}

/// The slots of which a connection takes one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum SlotPool {
    /// Those that most connections share.
    Shared,
    /// Those of the server's own socket.
    Reserved,
    /// Those of clients whose addresses are refused.
    Refused,
}

/// The memory for a page of an answer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum PageMemory {
    /// There is some if the buffer budget has room.
    Shared,
    /// The connection is in the queue for it.
    Awaited,
    /// Its wait has ended, and it may start a page in its next run.
    Granted,
}

/// The phase of a connection's life.
pub(super) enum Phase {
    /// Waits for the gate of the embedding program; its input is not decoded.
    Gated,
    /// Exchanges requests and answers.
    Open,
    /// All output is sent, but the client may still be sending. Its input is read and discarded, since closing with
    /// unread input would reset the connection and could lose the last reply.
    Lingering {
        /// The limit of bytes still to discard.
        bytes_left: u32,
    },
}

/// The result of an attempt to send.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Flushed {
    /// All output is sent.
    All,
    /// The socket takes no more for now.
    Some,
    /// The connection is broken.
    Broken,
}

/// The result of an attempt to read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ReadOutcome {
    Bytes(usize),
    Nothing,
    End,
    Broken,
}

/// The deadline that a client has missed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Overdue {
    /// For its input.
    Input,
    /// For reading its output.
    Output,
    /// For closing after the last reply.
    Linger,
}

const _: () = assert!(size_of::<Connection<()>>() <= 112, "most of very many connections are idle");

impl<S> Connection<S> {
    pub(super) fn new(socket: S, listener: u8, pool: SlotPool, session: Session) -> Connection<S> {
        Connection {
            socket,
            session,
            input: Buffer::new(),
            output: Buffer::new(),
            // Input that arrived before the registration causes no event.
            readable: Readable::UntilRefused,
            writable: true,
            is_queued: false,
            page_memory: PageMemory::Shared,
            received_any: false,
            sent: 0,
            listener,
            pool,
            phase: Phase::Open,
            load: JobLoad::default(),
            end: None,
            charge: Charge::default(),
            stalled_since: None,
        }
    }

    /// The parts that the dispatcher uses.
    pub(super) fn client(&mut self, conn: ConnId, now: Now) -> Client<'_> {
        Client { conn, session: &mut self.session, output: &mut self.output, load: &mut self.load, now }
    }

    /// Borrows the memory of a run for the empty ones of its buffers.
    pub(super) fn borrow(&mut self, memory: &mut RunMemory) {
        self.input.borrow(&mut memory.input);
        self.output.borrow(&mut memory.output);
    }

    /// Returns the memory of a run.
    pub(super) fn give_back(&mut self, memory: &mut RunMemory) {
        self.input.give_back(&mut memory.input);
        self.output.give_back(&mut memory.output);
    }

    /// Notes why the connection ends; the first reason holds.
    pub(super) fn note_end(&mut self, reason: OfflineReason) {
        self.end.get_or_insert(reason);
    }

    /// Why it ends.
    pub(super) fn end_reason(&self) -> OfflineReason {
        self.end.unwrap_or(OfflineReason::Closed)
    }

    /// Sends output until it is empty or the socket takes no more.
    pub(super) fn flush<N: Net<Socket = S>>(&mut self, net: &mut N, now: Instant) -> Flushed {
        if self.output.is_empty() {
            return Flushed::All;
        }
        while !self.output.is_empty() {
            if !self.writable {
                self.stalled_since.get_or_insert(now);
                return Flushed::Some;
            }
            match net.write(&mut self.socket, self.output.as_slice()) {
                Ok(0) => {
                    self.note_end(OfflineReason::Reset);
                    return Flushed::Broken;
                }
                Ok(count) => {
                    self.output.consume(count);
                    self.sent = self.sent.wrapping_add(count as u32);
                    self.stalled_since = None;
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => self.writable = false,
                    io::ErrorKind::Interrupted => {}
                    _ => {
                        self.note_end(OfflineReason::Reset);
                        return Flushed::Broken;
                    }
                },
            }
        }
        self.session.output_sent(now);
        Flushed::All
    }

    /// Whether it can only go on with more input.
    pub(super) fn waits_for_input(&self) -> bool {
        self.input.is_empty() && self.output.is_empty() && self.session.waits_for_input()
    }

    /// Whether all answers are sent that the session was given.
    pub(super) fn has_sent_all(&self) -> bool {
        self.output.is_empty() && !self.session.owes_answer()
    }

    /// Reads once: into the input buffer if the connection is open; a lingering one discards the bytes. The buffer's
    /// borrowed memory has no room for a long message, which `memory` is read into.
    pub(super) fn read<N: Net<Socket = S>>(&mut self, net: &mut N, memory: &mut RunMemory) -> ReadOutcome {
        let is_lingering = matches!(self.phase, Phase::Lingering { .. });
        let received = match self.input.room(limits::READ_CHUNK_BYTES).filter(|_| !is_lingering) {
            Some(room) => {
                net.read(&mut self.socket, room).inspect(|received| self.input.append_room(received.count))
            }
            None => {
                self.input.give_back(&mut memory.input);
                let chunk = &mut memory.chunk;
                net.read(&mut self.socket, chunk).inspect(|received| {
                    if !is_lingering {
                        self.input.push(&chunk[..received.count]);
                    }
                    crate::sys::wipe(&mut chunk[..received.count]);
                })
            }
        };
        match received {
            Ok(Received { count: 0, .. }) => ReadOutcome::End,
            Ok(Received { count, is_drained }) => {
                // The next read would return `WouldBlock`.
                if is_drained && self.readable == Readable::UntilDrained {
                    self.readable = Readable::No;
                }
                self.received_any = true;
                ReadOutcome::Bytes(count)
            }
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock => {
                    self.readable = Readable::No;
                    ReadOutcome::Nothing
                }
                io::ErrorKind::Interrupted => ReadOutcome::Bytes(0),
                _ => {
                    self.note_end(OfflineReason::Reset);
                    ReadOutcome::Broken
                }
            },
        }
    }

    /// Ends the connection's output. Returns whether the connection can be closed at once.
    pub(super) fn end<N: Net<Socket = S>>(&mut self, net: &mut N, ending: Ending, now: Instant) -> bool {
        // Closing with unread input resets the connection, which may lose the last replies.
        let has_unread = self.readable != Readable::No && !self.session.input_has_ended();
        match ending {
            Ending::Close if !has_unread => true,
            Ending::Abort => true,
            Ending::Close | Ending::Linger | Ending::Gone | Ending::HttpLine => {
                self.input.clear();
                self.phase = Phase::Lingering { bytes_left: limits::LINGER_BYTES_MAX };
                self.stalled_since = Some(now);
                let is_shut_down = net.shutdown_write(&mut self.socket).is_ok();
                self.sent = self.sent.wrapping_add(if is_shut_down { END_OF_OUTPUT } else { 0 });
                !is_shut_down
            }
        }
    }

    /// Bytes of memory that the connection holds.
    pub(super) fn held_bytes(&self) -> usize {
        self.input.capacity() + self.output.capacity() + self.session.held_bytes()
    }

    /// When to check this connection if no event comes.
    pub(super) fn deadline(&self, rules: &Rules) -> Option<Instant> {
        if let Phase::Lingering { .. } = self.phase {
            return self.stalled_until(limits::LINGER_TIMEOUT);
        }
        let input = self.input_deadline(rules);
        // Delayed answers queue after stalled output, so their time needs no timer then.
        let output = self.stalled_until(rules.write_timeout).or_else(|| self.session.next_due());
        input.into_iter().chain(output).min()
    }

    /// When the socket has taken no output for this time, or the connection has lingered for it.
    fn stalled_until(&self, time: Duration) -> Option<Instant> {
        self.stalled_since.map(|since| since + time)
    }

    /// Whether the socket has taken no output for this time.
    pub(super) fn has_stalled(&self, time: Duration, now: Instant) -> bool {
        !self.output.is_empty() && self.stalled_until(time).is_some_and(|until| until <= now)
    }

    /// A client that is still reading is not idle.
    fn input_deadline(&self, rules: &Rules) -> Option<Instant> {
        let is_reading = !self.output.is_empty() && self.session.idle_since().is_some();
        if is_reading { None } else { self.session.deadline(rules) }
    }

    /// Whether the deadline passed more than `request_timeout` ago. A client is not timed out for input that is not
    /// processed yet, but only until then.
    pub(super) fn is_long_overdue(&self, rules: &Rules, now: Instant) -> bool {
        self.deadline(rules).is_some_and(|deadline| deadline + rules.request_timeout <= now)
    }

    /// The deadline that the client has missed by `now`, if any.
    pub(super) fn overdue(&mut self, rules: &Rules, now: Instant) -> Option<Overdue> {
        if let Phase::Lingering { .. } = self.phase {
            let is_over = self.stalled_until(limits::LINGER_TIMEOUT).is_none_or(|until| until <= now);
            return is_over.then_some(Overdue::Linger);
        }
        if self.has_stalled(rules.write_timeout, now) {
            return Some(Overdue::Output);
        }
        (self.input_deadline(rules).is_some() && self.session.expire(rules, now)).then_some(Overdue::Input)
    }
}
