//! One connection to the database with its prepared statements, and the policy of retries.
//!
//! Invariant: a session that is returned to the pool has no open transaction.

use std::collections::HashMap;
use std::time::Duration;

use postgres::types::ToSql;
use postgres::{Client, Row, SimpleQueryMessage, Statement};

use super::pg_error::PgError;
use crate::clock::{Instant, monotonic_now};
use crate::limits;

/// How long operations on a connection wait for locks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum WaitMode {
    /// As long as the client can wait: there is no retry.
    Long,
    /// Briefly: the caller retries and has other work.
    Short,
}

/// A connection.
pub(super) struct PgSession {
    // Dropped before the statements, which would otherwise be closed with one message each.
    client: Client,
    /// How long it waits for locks.
    pub(super) wait_mode: WaitMode,
    /// The number of its last borrower.
    pub(super) owner: u64,
    statements: HashMap<&'static str, Statement>,
    /// The time of its last commit.
    last_commit: Option<Instant>,
}

/// Bounds the retries of one job.
pub(super) struct RetryBudget {
    began: Instant,
    conflict_time: Duration,
    conflicts: u32,
    reconnects: u32,
}

impl WaitMode {
    /// The wait for a lock or for a connection.
    pub(super) fn lock_timeout(self) -> Duration {
        match self {
            WaitMode::Long => limits::POSTGRES_LOCK_TIMEOUT,
            WaitMode::Short => limits::POSTGRES_LOCK_ATTEMPT,
        }
    }
}

impl PgSession {
    pub(super) fn new(client: Client, wait_mode: WaitMode) -> PgSession {
        PgSession { client, wait_mode, owner: 0, statements: HashMap::new(), last_commit: None }
    }

    /// Runs `sql`: constant text without parameters, possibly several statements.
    pub(super) fn run(&mut self, sql: &str) -> Result<(), postgres::Error> {
        self.client.batch_execute(sql)
    }

    /// Runs `sql` likewise; returns the first column of the first row.
    pub(super) fn query_text(&mut self, sql: &str) -> Result<Option<String>, postgres::Error> {
        let messages = self.client.simple_query(sql)?;
        Ok(messages.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        }))
    }

    /// Runs a statement, prepared on first use; returns its rows.
    pub(super) fn query(
        &mut self,
        sql: &'static str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, postgres::Error> {
        let statement = self.prepare(sql)?;
        self.client.query(&statement, parameters)
    }

    /// Ends a transaction with `sql`, constant text that ends in COMMIT.
    pub(super) fn commit(&mut self, sql: &str) -> Result<(), PgError> {
        self.client.batch_execute(sql).map_err(PgError::from_commit)?;
        self.last_commit = Some(monotonic_now());
        Ok(())
    }

    /// Runs a statement, prepared on first use, as its own transaction; returns its rows.
    pub(super) fn query_autocommit(
        &mut self,
        sql: &'static str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, PgError> {
        let statement = self.prepare(sql)?;
        let rows = self.client.query(&statement, parameters).map_err(PgError::from_commit)?;
        self.last_commit = Some(monotonic_now());
        Ok(rows)
    }

    /// Likewise; returns the number of rows written.
    pub(super) fn execute_autocommit(
        &mut self,
        sql: &'static str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<u64, PgError> {
        let statement = self.prepare(sql)?;
        let count = self.client.execute(&statement, parameters).map_err(PgError::from_commit)?;
        self.last_commit = Some(monotonic_now());
        Ok(count)
    }

    /// Whether it worked so recently that it is most likely still open. If the connection was closed, the
    /// outcome of a commit sent first is unknown; that of a BEGIN is not.
    pub(super) fn recently_used(&self) -> bool {
        self.last_commit.is_some_and(|last| monotonic_now().since(last) <= limits::POSTGRES_RECENTLY_USED)
    }

    #[cfg(test)]
    pub(super) fn pretend_recently_used(&mut self) {
        self.last_commit = Some(monotonic_now() + Duration::from_secs(60));
    }

    fn prepare(&mut self, sql: &'static str) -> Result<Statement, postgres::Error> {
        if let Some(statement) = self.statements.get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.client.prepare(sql)?;
        self.statements.insert(sql, statement.clone());
        Ok(statement)
    }

    /// Whether the server answers soon.
    pub(super) fn is_responsive(&mut self) -> bool {
        self.client.is_valid(limits::POSTGRES_PROBE_TIMEOUT).is_ok()
    }

    /// Whether it is known to be closed.
    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }
}

impl RetryBudget {
    pub(super) fn new(wait_mode: WaitMode) -> RetryBudget {
        let conflict_time = match wait_mode {
            WaitMode::Long => limits::POSTGRES_CONFLICT_RETRY_TIME,
            WaitMode::Short => limits::POSTGRES_LOCK_ATTEMPT,
        };
        RetryBudget { began: monotonic_now(), conflict_time, conflicts: 0, reconnects: 0 }
    }

    /// Whether to retry after `error`; pauses before a retry if that helps.
    pub(super) fn should_retry(&mut self, error: &PgError) -> bool {
        match error {
            PgError::Conflict(why) => {
                if monotonic_now().since(self.began) >= self.conflict_time {
                    return false;
                }
                log::debug!("retrying a transaction: {why}");
                let (first, max) =
                    (limits::POSTGRES_CONFLICT_PAUSE_FIRST, limits::POSTGRES_CONFLICT_PAUSE_MAX);
                let pause = exponential_backoff(first, self.conflicts, max);
                std::thread::sleep(random_between(Duration::ZERO, pause));
                self.conflicts += 1;
                true
            }
            PgError::ConnectionLost(why) if self.reconnects < limits::POSTGRES_RECONNECTS_PER_JOB => {
                log::info!("a connection to the database was lost: {why}");
                self.reconnects += 1;
                true
            }
            _ => false,
        }
    }
}

/// `first` times two to the power of `count`, at most `max`.
pub(super) fn exponential_backoff(first: Duration, count: u32, max: Duration) -> Duration {
    first.saturating_mul(1_u32.checked_shl(count).unwrap_or(u32::MAX)).min(max)
}

/// A random duration from `least` to `most`; `most` if the system has no random numbers.
pub(super) fn random_between(least: Duration, most: Duration) -> Duration {
    let mut byte = [u8::MAX];
    // Unchanged bytes give the longest pause.
    let _ = getrandom::fill(&mut byte);
    least + most.saturating_sub(least) * u32::from(byte[0]) / u32::from(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_exponentially_up_to_the_maximum() {
        let ms = Duration::from_millis;
        let pauses = [0, 1, 4, 5, 31, 32, u32::MAX].map(|count| exponential_backoff(ms(25), count, ms(500)));
        assert_eq!(pauses, [ms(25), ms(50), ms(400), ms(500), ms(500), ms(500), ms(500)]);
        for _ in 0..100 {
            let pause = random_between(ms(5), ms(10));
            assert!(ms(5) <= pause && pause <= ms(10));
        }
    }

    #[test]
    fn only_conflicts_and_lost_connections_are_retried() {
        let mut retries = RetryBudget::new(WaitMode::Long);
        let why = || "why".to_owned();
        assert!(!retries.should_retry(&PgError::OutcomeUnknown(why())));
        assert!(!retries.should_retry(&PgError::Failed(why())));
        assert!(!retries.should_retry(&PgError::LockTimeout));
        assert!(retries.should_retry(&PgError::ConnectionLost(why())));
        assert!(!retries.should_retry(&PgError::ConnectionLost(why())), "one new connection is enough");
        assert!(
            retries.should_retry(&PgError::Conflict(why()))
                && retries.should_retry(&PgError::Conflict(why()))
        );
    }
}
