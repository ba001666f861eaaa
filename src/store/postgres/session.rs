//! One connection to the database and the statements prepared on it, and when to make another.
//!
//! Invariant: a session that is handed back has no transaction open.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use postgres::types::ToSql;
use postgres::{Client, Config, Row, SimpleQueryMessage, Statement};

use super::failure::Failure;
use super::hosts::Hosts;
use crate::clock::{Clock, Instant, SystemClock};
use crate::limits;

/// Makes sessions, and not more often than makes sense.
pub(super) struct Connector {
    hosts: Hosts,
    waits: Waits,
    /// Shared by all connectors to one database.
    gate: Arc<Mutex<Gate>>,
}

/// How long the work on a connection waits for others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Waits {
    /// As long as its client can: nobody asks again.
    Long,
    /// A moment: whoever asked asks again, and has other things to do.
    Short,
}

/// A connection.
pub(super) struct Session {
    // Before the statements: closing one by one what ends anyway would be a message each.
    client: Client,
    statements: HashMap<&'static str, Statement>,
    clock: SystemClock,
    /// When it last ended a transaction.
    committed: Option<Instant>,
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

/// How often one job has been tried again; it may be as long as that makes sense.
pub(super) struct Retries {
    clock: SystemClock,
    began: Instant,
    conflict_time: Duration,
    conflicts: u32,
    reconnects: u32,
}

impl Connector {
    pub(super) fn new(config: &Config) -> Connector {
        let mut clock = SystemClock::new();
        let closed_until = clock.now();
        let gate = Gate { clock, failures: 0, successes: 0, closed_until, why: String::new() };
        Connector { hosts: Hosts::new(config), waits: Waits::Long, gate: Arc::new(Mutex::new(gate)) }
    }

    /// One to the same database by `config`, whose work waits for a moment only.
    pub(super) fn in_haste(&self, config: &Config) -> Connector {
        let hosts = self.hosts.with(config);
        Connector { hosts, waits: Waits::Short, gate: Arc::clone(&self.gate) }
    }

    pub(super) fn waits(&self) -> Waits {
        self.waits
    }

    /// Makes a connection, unless that failed a moment ago.
    pub(super) fn connect(&self) -> Result<Session, Failure> {
        let mut known_successes = self.gate().enter()?;
        let mut attempts_left = (limits::POSTGRES_CONNECT_ATTEMPTS / self.hosts.count()).max(1);
        loop {
            let failure = match self.hosts.connect() {
                Ok(client) => {
                    self.gate().open();
                    return Ok(Session::new(client));
                }
                Err(failure) => failure,
            };
            attempts_left -= 1;
            let mut gate = self.gate();
            // An attempt that was begun while the server was away says nothing of the time since.
            let is_outdated = gate.successes != known_successes;
            known_successes = gate.successes;
            if attempts_left == 0 || !is_outdated && !failure.is_silence {
                let why = failure.why;
                return Err(Failure::Failed(if is_outdated { why } else { gate.close(why) }));
            }
        }
    }

    fn gate(&self) -> MutexGuard<'_, Gate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gate {
    /// Whether to try now; how often that has worked.
    fn enter(&mut self) -> Result<u64, Failure> {
        if self.failures == 0 {
            return Ok(self.successes);
        }
        let now = self.clock.now();
        if now < self.closed_until {
            return Err(Failure::Failed(format!("tried a moment ago: {}", self.why)));
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

    /// An attempt has failed; why, for whoever made it.
    fn close(&mut self, why: String) -> String {
        if self.failures == 0 {
            log::warn!("the database can't be reached: {why}");
            let now = self.clock.now();
            let pause = limits::POSTGRES_RECONNECT_FIRST;
            self.closed_until = now + at_random(pause / 2, pause);
        }
        self.failures = self.failures.saturating_add(1);
        self.why.clone_from(&why);
        why
    }
}

impl Session {
    fn new(client: Client) -> Session {
        Session { client, statements: HashMap::new(), clock: SystemClock::new(), committed: None }
    }

    /// Runs `sql`, which is text of ours without parameters and may be several statements.
    pub(super) fn run(&mut self, sql: &str) -> Result<(), postgres::Error> {
        self.client.batch_execute(sql)
    }

    /// Runs `sql` likewise; the first column of the first row, if there is one.
    pub(super) fn run_for_text(&mut self, sql: &str) -> Result<Option<String>, postgres::Error> {
        let messages = self.client.simple_query(sql)?;
        let rows = messages.iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        });
        Ok(rows.into_iter().next())
    }

    /// Runs a statement that is prepared once; its rows.
    pub(super) fn query(
        &mut self,
        sql: &'static str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, postgres::Error> {
        let statement = self.prepare(sql)?;
        self.client.query(&statement, parameters)
    }

    /// Ends a transaction by `sql`, which is text of ours and says COMMIT in its end.
    pub(super) fn commit(&mut self, sql: &str) -> Result<(), Failure> {
        self.client.batch_execute(sql).map_err(|error| Failure::of_commit(&error))?;
        self.committed = Some(self.clock.now());
        Ok(())
    }

    /// Runs a statement that is prepared once and, since no transaction is open, its own commit; how many rows it
    /// has written.
    pub(super) fn commit_alone(
        &mut self,
        sql: &'static str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<u64, Failure> {
        let statement = self.prepare(sql)?;
        let count =
            self.client.execute(&statement, parameters).map_err(|error| Failure::of_commit(&error))?;
        self.committed = Some(self.clock.now());
        Ok(count)
    }

    /// Whether it worked so lately that it will again. What a commit meets that is the first to be sent on a
    /// connection that has ended is unknown; what a BEGIN meets is not.
    pub(super) fn is_warm(&mut self) -> bool {
        let now = self.clock.now();
        self.committed.is_some_and(|then| now.since(then) <= limits::POSTGRES_WARM)
    }

    #[cfg(test)]
    pub(super) fn stay_warm(&mut self) {
        self.committed = Some(self.clock.now() + Duration::from_secs(60));
    }

    fn prepare(&mut self, sql: &'static str) -> Result<Statement, postgres::Error> {
        if let Some(statement) = self.statements.get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.client.prepare(sql)?;
        self.statements.insert(sql, statement.clone());
        Ok(statement)
    }

    /// Whether it is known to have ended.
    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }
}

impl Retries {
    pub(super) fn new(waits: Waits) -> Retries {
        let mut clock = SystemClock::new();
        let conflict_time = match waits {
            Waits::Long => limits::POSTGRES_CONFLICT_TIME,
            Waits::Short => limits::POSTGRES_LOCK_ATTEMPT,
        };
        let began = clock.now();
        Retries { clock, began, conflict_time, conflicts: 0, reconnects: 0 }
    }

    /// Whether to try again what came to `failure`, after a pause where one helps.
    pub(super) fn again(&mut self, failure: &Failure) -> bool {
        match failure {
            Failure::Conflict(why) => {
                if self.clock.now().since(self.began) >= self.conflict_time {
                    return false;
                }
                log::debug!("trying again: {why}");
                let (first, max) =
                    (limits::POSTGRES_CONFLICT_PAUSE_FIRST, limits::POSTGRES_CONFLICT_PAUSE_MAX);
                std::thread::sleep(at_random(Duration::ZERO, doubled(first, self.conflicts, max)));
                self.conflicts += 1;
                true
            }
            Failure::Lost(why) if self.reconnects < limits::POSTGRES_RECONNECTS_PER_JOB => {
                log::info!("a connection to the database was lost: {why}");
                self.reconnects += 1;
                true
            }
            _ => false,
        }
    }
}

/// `first` times two to the power of `count`, at most `max`.
fn doubled(first: Duration, count: u32, max: Duration) -> Duration {
    first.saturating_mul(1_u32.checked_shl(count).unwrap_or(u32::MAX)).min(max)
}

/// Somewhere from `least` to `most`; `most` where there is no randomness to be had.
fn at_random(least: Duration, most: Duration) -> Duration {
    let mut byte = [u8::MAX];
    // What it left untouched is the longest pause.
    let _ = getrandom::fill(&mut byte);
    least + most.saturating_sub(least) * u32::from(byte[0]) / u32::from(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_limit() {
        let ms = Duration::from_millis;
        let pauses = [0, 1, 4, 5, 31, 32, u32::MAX].map(|count| doubled(ms(25), count, ms(500)));
        assert_eq!(pauses, [ms(25), ms(50), ms(400), ms(500), ms(500), ms(500), ms(500)]);
        for _ in 0..100 {
            let pause = at_random(ms(5), ms(10));
            assert!(ms(5) <= pause && pause <= ms(10));
        }
    }

    #[test]
    fn attempts_that_come_too_early_are_refused_at_once_and_the_reason_told() {
        let connector = Connector::new(&Config::new());
        let mut gate = connector.gate();
        gate.enter().expect("nothing has failed");
        gate.close("out of order".to_owned());
        gate.closed_until = gate.clock.now() + Duration::from_secs(60);
        let Err(Failure::Failed(why)) = gate.enter() else { panic!("too early") };
        assert!(why.contains("out of order"));
        gate.closed_until = gate.clock.now();
        gate.enter().expect("time has passed");
        assert!(gate.enter().is_err(), "one attempt at a time");
        gate.open();
        gate.enter().and_then(|_| gate.enter()).expect("as many as are needed");
    }

    #[test]
    fn what_was_committed_or_is_hopeless_is_not_tried_again() {
        let mut retries = Retries::new(Waits::Long);
        let why = || "why".to_owned();
        assert!(!retries.again(&Failure::Unknown(why())));
        assert!(!retries.again(&Failure::Failed(why())));
        assert!(!retries.again(&Failure::Locked));
        assert!(retries.again(&Failure::Lost(why())));
        assert!(!retries.again(&Failure::Lost(why())), "one new connection is enough");
        assert!(retries.again(&Failure::Conflict(why())) && retries.again(&Failure::Conflict(why())));
    }
}
