//! One connection as the reactor sees it: a socket, its latched readiness, two buffers, a session.

use std::io;

use super::buffer_budget::Charge;
use super::net::{Net, Readable, Received};
use crate::buffer::Buffer;
use crate::clock::Instant;
use crate::dispatch::{Client, JobLoad};
use crate::limits;
use crate::session::{Ending, Rules, Session};

/// An open connection.
pub(super) struct Connection<S> {
    pub(super) socket: S,
    pub(super) session: Session,
    pub(super) input: Buffer,
    pub(super) output: Buffer,
    /// Latched: an event sets these, only a `WouldBlock` clears them; a read that drains the socket may clear
    /// the first.
    pub(super) readable: Readable,
    pub(super) writable: bool,
    /// It stands in the queue of those to be run.
    pub(super) is_queued: bool,
    /// It waits for room among others.
    pub(super) waits_for_memory: bool,
    /// It has waited for room, and its next run is its turn.
    pub(super) is_resumed: bool,
    /// A byte has come, of whatever kind.
    pub(super) received_any: bool,
    pub(super) listener: u16,
    pub(super) phase: Phase,
    pub(super) load: JobLoad,
    /// What it holds, as it is counted among all.
    pub(super) charge: Charge,
    /// Since when output waits without progress.
    pub(super) stalled_since: Option<Instant>,
    /// When its timer will go off.
    pub(super) armed: Option<Instant>,
}

/// Where in its life a connection is.
pub(super) enum Phase {
    /// Requests and answers.
    Open,
    /// All is said and sent, but the client may still be sending: read on, so that closing does not
    /// take the last words from it.
    Lingering {
        until: Instant,
        /// How much more to discard.
        bytes_left: usize,
    },
}

/// What an attempt to send has come to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Flushed {
    /// Nothing is left.
    All,
    /// The socket takes no more for now.
    Some,
    /// Nothing will ever go out again.
    Broken,
}

/// What an attempt to read has come to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ReadOutcome {
    Bytes(usize),
    Nothing,
    End,
    Broken,
}

/// What a client has failed to do in time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Overdue {
    /// To say something.
    Input,
    /// To take what is due to it.
    Output,
    /// To close after our last words.
    Linger,
}

impl<S> Connection<S> {
    pub(super) fn new(socket: S, listener: u16) -> Connection<S> {
        Connection {
            socket,
            session: Session::default(),
            input: Buffer::new(),
            output: Buffer::new(),
            // Worth a try: whatever came before the registration made no event of its own.
            readable: Readable::UntilRefused,
            writable: true,
            is_queued: false,
            waits_for_memory: false,
            is_resumed: false,
            received_any: false,
            listener,
            phase: Phase::Open,
            load: JobLoad::default(),
            charge: Charge::default(),
            stalled_since: None,
            armed: None,
        }
    }

    /// What the dispatcher uses of it.
    pub(super) fn client(&mut self) -> Client<'_> {
        Client { session: &mut self.session, output: &mut self.output, load: &mut self.load }
    }

    /// Sends what is due.
    pub(super) fn flush<N: Net<Socket = S>>(&mut self, net: &mut N, now: Instant) -> Flushed {
        while !self.output.is_empty() {
            if !self.writable {
                self.stalled_since.get_or_insert(now);
                return Flushed::Some;
            }
            match net.write(&mut self.socket, self.output.as_slice()) {
                Ok(0) => return Flushed::Broken,
                Ok(count) => {
                    self.output.consume(count);
                    self.stalled_since = None;
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => self.writable = false,
                    io::ErrorKind::Interrupted => {}
                    _ => return Flushed::Broken,
                },
            }
        }
        self.stalled_since = None;
        Flushed::All
    }

    /// Reads once, into the input while the connection is open, into nowhere while it lingers.
    pub(super) fn read<N: Net<Socket = S>>(&mut self, net: &mut N, chunk: &mut [u8]) -> ReadOutcome {
        match net.read(&mut self.socket, chunk) {
            Ok(Received { count: 0, .. }) => ReadOutcome::End,
            Ok(Received { count, is_drained }) => {
                // The next read would only be refused.
                if is_drained && self.readable == Readable::UntilDrained {
                    self.readable = Readable::No;
                }
                if let Phase::Open = self.phase {
                    self.input.push(&chunk[..count]);
                }
                self.received_any = true;
                crate::sys::wipe(&mut chunk[..count]);
                ReadOutcome::Bytes(count)
            }
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock => {
                    self.readable = Readable::No;
                    ReadOutcome::Nothing
                }
                io::ErrorKind::Interrupted => ReadOutcome::Bytes(0),
                _ => ReadOutcome::Broken,
            },
        }
    }

    /// Says the last of it; true where the connection can be closed at once.
    pub(super) fn end<N: Net<Socket = S>>(&mut self, net: &mut N, ending: Ending, now: Instant) -> bool {
        // To close with input unread would be a reset, which may take our last replies from the client.
        let has_unread = self.readable != Readable::No && !self.session.input_has_ended();
        match ending {
            Ending::Close if !has_unread => true,
            Ending::Abort => true,
            Ending::Close | Ending::Linger | Ending::Gone | Ending::HttpLine => {
                self.input.clear();
                let until = now + limits::LINGER_TIMEOUT;
                self.phase = Phase::Lingering { until, bytes_left: limits::LINGER_BYTES_MAX };
                net.shutdown_write(&mut self.socket).is_err()
            }
        }
    }

    /// Bytes of memory that are held for the client.
    pub(super) fn held_bytes(&self) -> usize {
        self.input.capacity() + self.output.capacity() + self.session.held_bytes()
    }

    /// When to look at this connection even if nothing happens.
    pub(super) fn deadline(&self, rules: &Rules) -> Option<Instant> {
        if let Phase::Lingering { until, .. } = self.phase {
            return Some(until);
        }
        let input = self.session.deadline(rules);
        // What is due later goes out behind what waits already: there is nothing to do at its time.
        let output = match self.stalled_since {
            Some(since) => Some(since + rules.write_timeout),
            None => self.session.next_due(),
        };
        input.into_iter().chain(output).min()
    }

    /// Whether the client has had as long again as a request may take. Who always has something more to be
    /// looked at is not late for what we were slow to look at; but nobody goes on for ever by that.
    pub(super) fn is_long_overdue(&self, rules: &Rules, now: Instant) -> bool {
        self.deadline(rules).is_some_and(|deadline| deadline + rules.request_timeout <= now)
    }

    /// What the client has failed to do by `now`.
    pub(super) fn overdue(&mut self, rules: &Rules, now: Instant) -> Option<Overdue> {
        if let Phase::Lingering { until, .. } = self.phase {
            return (until <= now).then_some(Overdue::Linger);
        }
        if self.stalled_since.is_some_and(|since| since + rules.write_timeout <= now) {
            return Some(Overdue::Output);
        }
        self.session.expire(rules, now).then_some(Overdue::Input)
    }
}
