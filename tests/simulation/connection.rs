//! A simulated connection: the bytes in flight in both directions, and the events that are due.
//!
//! Readiness is edge-triggered, and no more events are delivered than the trait promises: after a refused operation,
//! or a read that has drained the input, one event when the operation can succeed again; the end of input makes an
//! event of its own, and is reported with any later event.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use super::fault_config::FaultConfig;
use super::random::Random;
use vmherd::internals::clock::Instant;
use vmherd::internals::ids::ConnId;
use vmherd::internals::limits;
use vmherd::internals::reactor::net::{Readable, Receipt, Received as Taken};

/// A connection between a client and the server.
pub(super) struct Connection {
    /// The client at the other end.
    pub(super) client: usize,
    pub(super) address: [u8; 4],
    pub(super) port: u16,
    /// The id that the server gave it.
    pub(super) id: Option<ConnId>,
    pub(super) accepted: Option<Instant>,
    /// Bytes from the client, not read by the server.
    inbound: VecDeque<u8>,
    /// Bytes that the client has sent.
    pub(super) inbound_total: usize,
    inbound_max: usize,
    client_finished: bool,
    client_reset: bool,
    /// The network has failed.
    pub(super) broken: bool,
    /// Bytes to the client, not read by it.
    outbound: VecDeque<u8>,
    pub(super) outbound_total: usize,
    /// How many of those bytes the client's system has acknowledged, which may be more than the client has read.
    acknowledged: usize,
    /// What the server was told of that: how much, since when, and whether some was missing.
    told: Option<(usize, Instant, bool)>,
    has_acknowledged_end: bool,
    /// Percent of the server's questions before which its system acknowledges more than the client has read.
    acknowledges_percent: Option<usize>,
    /// The server has closed it because the client took too long to take or acknowledge its output.
    pub(super) is_given_up: bool,
    outbound_max: usize,
    /// When the server has shut down its direction.
    pub(super) shut_down: Option<Instant>,
    /// When the server closed it.
    pub(super) closed: Option<Instant>,
    /// Why the server has evicted the client, if it has.
    pub(super) evicted_for: Option<Eviction>,
    /// When a handler has closed it, and the number of that act.
    pub(super) closed_by_handler: Option<(Instant, usize)>,
    /// How often the server closed it.
    pub(super) closings: usize,
    /// Bytes that the client can no longer read, because a reset overtook them.
    pub(super) lost: usize,
    /// Since when the server cannot send its output.
    pub(super) stalled_since: Option<Instant>,
    /// When it last could send again.
    pub(super) stalled_until: Option<Instant>,
    refused_until: Option<Instant>,
    /// A read was refused or has drained the input: the next input makes an event.
    awaits_input: bool,
    write_refused: bool,
    readable_due: bool,
    writable_due: bool,
    broken_due: bool,
}

/// Why a client is evicted that has broken no rule.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Eviction {
    /// It was idle, and another client needed its slot.
    ForSlot,
    /// It held most of the memory.
    ForMemory,
}

/// How a client reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ReadPace {
    Eager,
    Slow { bytes: usize, every: Duration },
    Never,
}

/// The result of a client's read.
pub(super) enum Received {
    Bytes(Vec<u8>),
    Nothing,
    End,
    Reset,
}

/// The events that are due to the server.
#[derive(Clone, Copy, Debug)]
pub(super) struct Due {
    pub(super) readable: Readable,
    pub(super) writable: bool,
    pub(super) broken: bool,
}

impl Connection {
    pub(super) fn new(client: usize, address: [u8; 4], port: u16, config: &FaultConfig) -> Connection {
        Connection {
            client,
            address,
            port,
            id: None,
            accepted: None,
            inbound: VecDeque::new(),
            inbound_total: 0,
            inbound_max: 64 << 10,
            client_finished: false,
            client_reset: false,
            broken: false,
            outbound: VecDeque::new(),
            outbound_total: 0,
            acknowledged: 0,
            told: None,
            has_acknowledged_end: false,
            acknowledges_percent: None,
            is_given_up: false,
            outbound_max: config.window_bytes,
            shut_down: None,
            closed: None,
            evicted_for: None,
            closed_by_handler: None,
            closings: 0,
            lost: 0,
            stalled_since: None,
            stalled_until: None,
            refused_until: None,
            awaits_input: false,
            write_refused: false,
            readable_due: false,
            writable_due: false,
            broken_due: false,
        }
    }

    /// Whether the client has not read all that was sent to it.
    pub(super) fn has_unread(&self) -> bool {
        !self.outbound.is_empty() || self.lost > 0
    }

    // ── The client's end ──

    /// Sends as much of `bytes` as there is room for.
    pub(super) fn send(&mut self, bytes: &[u8]) -> usize {
        if self.is_dead() {
            return bytes.len();
        }
        let count = bytes.len().min(self.inbound_max - self.inbound.len());
        self.inbound.extend(&bytes[..count]);
        self.inbound_total += count;
        self.make_readable();
        count
    }

    /// Ends the client's direction.
    pub(super) fn finish(&mut self) {
        self.client_finished = true;
        // Also if no read was refused before.
        self.readable_due |= self.id.is_some();
        self.make_readable();
    }

    /// Ends both directions at once; bytes in flight are lost.
    pub(super) fn reset(&mut self) {
        self.client_reset = true;
        self.end_abruptly();
    }

    /// The network fails.
    pub(super) fn fail(&mut self) {
        self.broken = true;
        self.end_abruptly();
    }

    /// Reads up to `count` bytes.
    pub(super) fn receive(&mut self, count: usize) -> Received {
        if !self.outbound.is_empty() {
            let count = count.min(self.outbound.len());
            let bytes = self.outbound.drain(..count).collect();
            self.acknowledged = self.acknowledged.max(self.outbound_total - self.lost - self.outbound.len());
            self.make_writable();
            return Received::Bytes(bytes);
        }
        if self.broken || self.client_reset {
            return Received::Reset;
        }
        match (self.shut_down, self.closed) {
            _ if self.lost > 0 => Received::Reset,
            (None, None) => Received::Nothing,
            _ => {
                self.has_acknowledged_end = true;
                Received::End
            }
        }
    }

    pub(super) fn is_writable_by_client(&self) -> bool {
        self.inbound.len() < self.inbound_max || self.is_dead()
    }

    pub(super) fn client_has_finished(&self) -> bool {
        self.client_finished
    }

    pub(super) fn client_has_reset(&self) -> bool {
        self.client_reset
    }

    /// Whether no bytes can be transferred any more.
    pub(super) fn is_dead(&self) -> bool {
        self.broken || self.client_reset || self.closed.is_some()
    }

    pub(super) fn is_open_at_server(&self) -> bool {
        self.accepted.is_some() && self.closed.is_none()
    }

    // ── The server's end ──

    pub(super) fn read(
        &mut self,
        bytes: &mut [u8],
        config: &FaultConfig,
        random: &mut Random,
    ) -> io::Result<Taken> {
        if self.broken || self.client_reset {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        if random.chance(config.short_percent.min(3)) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        if self.inbound.is_empty() && self.client_finished {
            return Ok(Taken { count: 0, is_drained: true });
        }
        if self.inbound.is_empty() {
            self.awaits_input = true;
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut count = bytes.len().min(self.inbound.len());
        if random.chance(config.short_percent) {
            count = random.mostly_few(1, count);
        }
        for (byte, read) in bytes.iter_mut().zip(self.inbound.drain(..count)) {
            *byte = read;
        }
        // As with real sockets, the end of input may have been received already.
        let is_drained = self.inbound.is_empty() && count < bytes.len();
        self.awaits_input |= is_drained;
        Ok(Taken { count, is_drained })
    }

    pub(super) fn write(
        &mut self,
        bytes: &[u8],
        config: &FaultConfig,
        random: &mut Random,
        now: Instant,
    ) -> io::Result<usize> {
        if self.broken || self.client_reset {
            return Err(random.pick(&[io::ErrorKind::ConnectionReset, io::ErrorKind::BrokenPipe]).into());
        }
        if random.chance(config.short_percent.min(3)) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let room = self.outbound_max - self.outbound.len();
        if self.refused_until.is_none() && random.chance(config.refused_percent) {
            self.refused_until = Some(now + random.micros(0, 300_000));
        }
        if room == 0 || self.refused_until.is_some() {
            self.write_refused = true;
            self.stalled_since.get_or_insert(now);
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut count = bytes.len().min(room);
        if random.chance(config.short_percent) {
            count = random.mostly_few(1, count);
        }
        self.outbound.extend(&bytes[..count]);
        self.outbound_total += count;
        if self.stalled_since.take().is_some() {
            self.stalled_until = Some(now);
        }
        Ok(count)
    }

    /// What the client's system has acknowledged of the output: what the client has read, and more where it listens.
    pub(super) fn receipt(&mut self, deaf_percent: usize, random: &mut Random, now: Instant) -> Receipt {
        let is_last = self.broken || self.client_reset;
        let percent = *self.acknowledges_percent.get_or_insert_with(|| match random.chance(deaf_percent) {
            true => 0,
            false => random.pick(&[5, 40]),
        });
        // Nothing arrives at once.
        if !is_last && self.told.is_some() && random.chance(percent) {
            let all = self.outbound_total - self.lost;
            self.acknowledged = if random.chance(50) { all } else { random.between(self.acknowledged, all) };
            self.has_acknowledged_end |= self.shut_down.is_some() && self.acknowledged == all;
        }
        let since = match self.told {
            Some((before, since, _)) if before == self.acknowledged => since,
            _ => now,
        };
        let missing = self.outbound_total - self.acknowledged;
        self.told = Some((self.acknowledged, since, missing > 0));
        let end = self.shut_down.is_some() && !self.has_acknowledged_end;
        Receipt { missing: missing as u64 + u64::from(end), is_last }
    }

    /// Whether the server has asked for receipts, and may keep the socket longer than the connection.
    pub(super) fn has_receipts(&self) -> bool {
        self.told.is_some()
    }

    /// Whether all output has certainly arrived.
    pub(super) fn has_acknowledged_all(&self) -> bool {
        let has_end = self.shut_down.is_none() || self.has_acknowledged_end;
        self.acknowledged == self.outbound_total && has_end && !self.broken && !self.client_reset
    }

    /// The server closes it. Closing with unread input is a reset, which overtakes the output that the client has not
    /// read.
    pub(super) fn close(&mut self, now: Instant) {
        self.closings += 1;
        self.closed.get_or_insert(now);
        let is_late = |since| now >= since + limits::WRITE_TIMEOUT;
        let unacknowledged_since = self.told.and_then(|(_, since, is_missing)| is_missing.then_some(since));
        self.is_given_up =
            unacknowledged_since.is_some_and(is_late) || self.stalled_since.is_some_and(is_late);
        if !self.inbound.is_empty() {
            self.lose_rest();
        }
        (self.readable_due, self.writable_due, self.broken_due) = (false, false, false);
    }

    /// Takes the events that are due.
    pub(super) fn take_due(&mut self) -> Due {
        let readable = match (std::mem::take(&mut self.readable_due), self.client_finished) {
            (false, _) => Readable::No,
            (true, false) => Readable::UntilDrained,
            (true, true) => Readable::UntilRefused,
        };
        Due {
            readable,
            writable: std::mem::take(&mut self.writable_due),
            broken: std::mem::take(&mut self.broken_due),
        }
    }

    pub(super) fn has_due(&self) -> bool {
        self.id.is_some()
            && self.closed.is_none()
            && (self.readable_due || self.writable_due || self.broken_due)
    }

    /// When a simulated refusal of writes ends.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.refused_until.filter(|_| !self.is_dead())
    }

    pub(super) fn advance(&mut self, now: Instant) {
        if self.refused_until.is_some_and(|until| until <= now) {
            self.refused_until = None;
            self.make_writable();
        }
    }

    /// What the client's system has not received is lost.
    fn lose_rest(&mut self) {
        let rest = self.outbound_total - self.lost - self.acknowledged;
        self.outbound.truncate(self.outbound.len() - rest);
        self.lost += rest;
    }

    fn end_abruptly(&mut self) {
        self.inbound.clear();
        self.lose_rest();
        self.broken_due = self.closed.is_none();
    }

    fn make_readable(&mut self) {
        if std::mem::take(&mut self.awaits_input) {
            self.readable_due = true;
        }
    }

    fn make_writable(&mut self) {
        let has_room = self.outbound.len() < self.outbound_max && self.refused_until.is_none();
        if has_room && std::mem::take(&mut self.write_refused) {
            self.writable_due = true;
        }
    }
}
