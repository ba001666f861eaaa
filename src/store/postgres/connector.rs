//! Makes connections, and not more often than makes sense.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::address::Address;
use super::hosts::{Hosts, NoConnection, Reason};
use super::session::{Session, Waits, at_random, doubled};
use crate::clock::{Clock, Instant, SystemClock};
use crate::limits;

/// Makes sessions, and not more often than makes sense.
pub(super) struct Connector {
    hosts: Hosts,
    gate: Mutex<Gate>,
    /// What a session is told when it begins, if its work waits long, and if it waits for a moment.
    settings: [String; 2],
}

/// Whether it is time to try to connect. All threads together make one attempt in a pause, the others are
/// told at once.
struct Gate {
    clock: SystemClock,
    /// Attempts that failed since the last one that did not.
    failures: u32,
    /// Attempts that did not fail.
    successes: u64,
    closed_until: Instant,
    /// What the last attempt failed of.
    why: String,
}

impl Connector {
    pub(super) fn new(address: &Address) -> Connector {
        let mut clock = SystemClock::new();
        let closed_until = clock.now();
        let gate = Gate { clock, failures: 0, successes: 0, closed_until, why: String::new() };
        let settings = [Waits::Long, Waits::Short].map(|waits| address.settings(waits.for_lock()));
        Connector { hosts: Hosts::new(&address.config()), gate: Mutex::new(gate), settings }
    }

    /// What a session of this kind is told, in SQL.
    pub(super) fn settings(&self, waits: Waits) -> &str {
        let [long, short] = &self.settings;
        match waits {
            Waits::Long => long,
            Waits::Short => short,
        }
    }

    /// Makes a connection, unless that failed a moment ago.
    pub(super) fn connect(&self, waits: Waits) -> Result<Session, NoConnection> {
        let mut known_successes = self.gate().enter()?;
        let mut attempts_left = (limits::POSTGRES_CONNECT_ATTEMPTS / self.hosts.count()).max(1);
        loop {
            let failure = match self.connect_now(waits) {
                Ok(session) => {
                    self.gate().open();
                    return Ok(session);
                }
                // It is there, and has no room.
                Err(failure) if failure.reason == Reason::Full => return Err(failure),
                Err(failure) => failure,
            };
            attempts_left -= 1;
            let mut gate = self.gate();
            // An attempt that was begun while the server was away says nothing of the time since.
            let is_outdated = gate.successes != known_successes;
            known_successes = gate.successes;
            if attempts_left == 0 || !is_outdated && failure.reason != Reason::Silence {
                if !is_outdated {
                    gate.close(&failure.why);
                }
                return Err(failure);
            }
        }
    }

    /// Makes a connection, whatever has failed before; nobody else learns what comes of it.
    pub(super) fn connect_now(&self, waits: Waits) -> Result<Session, NoConnection> {
        self.hosts.connect(self.settings(waits)).map(|client| Session::new(client, waits))
    }

    fn gate(&self) -> MutexGuard<'_, Gate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gate {
    /// Whether to try now; how often that has worked.
    fn enter(&mut self) -> Result<u64, NoConnection> {
        if self.failures == 0 {
            return Ok(self.successes);
        }
        let now = self.clock.now();
        if now < self.closed_until {
            let why = format!("tried a moment ago: {}", self.why);
            return Err(NoConnection { why, reason: Reason::Other });
        }
        // Counted from the beginning of the attempt, which may take long: a network that loses packets
        // gets as many attempts as a server that refuses.
        let pause = doubled(limits::POSTGRES_RECONNECT_FIRST, self.failures, limits::POSTGRES_RECONNECT_MAX);
        self.closed_until = now + at_random(pause / 2, pause);
        Ok(self.successes)
    }

    fn open(&mut self) {
        if self.failures > 0 {
            log::info!("the database is back after {} failed attempts to connect", self.failures);
        }
        self.failures = 0;
        self.successes += 1;
    }

    /// An attempt has failed.
    fn close(&mut self, why: &str) {
        if self.failures == 0 {
            log::warn!("the database can't be reached: {why}");
            let now = self.clock.now();
            let pause = limits::POSTGRES_RECONNECT_FIRST;
            self.closed_until = now + at_random(pause / 2, pause);
        }
        self.failures = self.failures.saturating_add(1);
        self.why = why.to_owned();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn attempts_that_come_too_early_are_refused_at_once_and_the_reason_told() {
        let connector = Connector::new(&Address::parse("postgresql://localhost/x").expect("a URL"));
        let mut gate = connector.gate();
        gate.enter().expect("nothing has failed");
        gate.close("out of order");
        gate.closed_until = gate.clock.now() + Duration::from_secs(60);
        let Err(NoConnection { why, .. }) = gate.enter() else { panic!("too early") };
        assert!(why.contains("out of order"));
        gate.closed_until = gate.clock.now();
        gate.enter().expect("time has passed");
        assert!(gate.enter().is_err(), "one attempt at a time");
        gate.open();
        gate.enter().and_then(|_| gate.enter()).expect("as many as are needed");
    }
}
