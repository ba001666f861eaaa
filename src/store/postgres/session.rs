//! One connection to the database and the statements prepared on it, and what is tried again on another.
//!
//! Invariant: a session that is handed back has no transaction open.

use std::collections::HashMap;
use std::time::Duration;

use postgres::types::ToSql;
use postgres::{Client, Row, SimpleQueryMessage, Statement};

use super::failure::Failure;
use crate::clock::{Clock, Instant, SystemClock};
use crate::limits;

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
    waits: Waits,
    /// Who had it last, by a number.
    pub(super) owner: u64,
    statements: HashMap<&'static str, Statement>,
    clock: SystemClock,
    /// When it last ended a transaction.
    committed: Option<Instant>,
}

/// How often one job has been tried again; it may be as long as that makes sense.
pub(super) struct Retries {
    clock: SystemClock,
    began: Instant,
    conflict_time: Duration,
    conflicts: u32,
    reconnects: u32,
}

impl Waits {
    /// For somebody's lock, or for a connection.
    pub(super) fn for_lock(self) -> Duration {
        match self {
            Waits::Long => limits::POSTGRES_LOCK,
            Waits::Short => limits::POSTGRES_LOCK_ATTEMPT,
        }
    }
}

impl Session {
    pub(super) fn new(client: Client, waits: Waits) -> Session {
        Session {
            client,
            waits,
            owner: 0,
            statements: HashMap::new(),
            clock: SystemClock::new(),
            committed: None,
        }
    }

    /// How long it waits for others.
    pub(super) fn waits(&self) -> Waits {
        self.waits
    }

    /// Waits so long from now on, as `settings` say in SQL.
    pub(super) fn set_waits(&mut self, waits: Waits, settings: &str) -> Result<(), Failure> {
        self.run(settings)?;
        self.waits = waits;
        Ok(())
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

    /// Whether the server answers on it within `time`.
    pub(super) fn answers(&mut self, time: Duration) -> bool {
        self.client.is_valid(time).is_ok()
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
pub(super) fn doubled(first: Duration, count: u32, max: Duration) -> Duration {
    first.saturating_mul(1_u32.checked_shl(count).unwrap_or(u32::MAX)).min(max)
}

/// Somewhere from `least` to `most`; `most` where there is no randomness to be had.
pub(super) fn at_random(least: Duration, most: Duration) -> Duration {
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
