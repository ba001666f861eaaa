//! A user of the database's connections, and what is retried.
//!
//! Invariants: after a commit was sent (a COMMIT, or a statement that is its own transaction) the write is
//! never retried. After any other error of a transaction, none of it was done.

use std::sync::Arc;

use postgres::Row;
use postgres::types::ToSql;

use super::super::StoreError;
use super::pg_error::PgError;
use super::pg_session::{PgSession, RetryBudget, WaitMode};
use super::session_pool::{Borrower, SessionPool};

/// A user of connections: it borrows one for each step.
pub(super) struct PostgresStore {
    pub(super) pool: Arc<SessionPool>,
    pub(super) borrower: Borrower,
}

impl PostgresStore {
    pub(super) fn new(pool: &Arc<SessionPool>, wait_mode: WaitMode) -> PostgresStore {
        PostgresStore { pool: Arc::clone(pool), borrower: pool.register(wait_mode) }
    }

    /// Runs `work`, which is one transaction.
    pub(super) fn run<T>(
        &mut self,
        work: impl Fn(&mut PgSession) -> Result<T, PgError>,
    ) -> Result<T, StoreError> {
        let mut budget = RetryBudget::new(self.borrower.wait_mode);
        self.retry(&mut budget, work).map_err(PgError::into_store_error)
    }

    /// Reads one row, if there is one.
    pub(super) fn read_row<T>(
        &mut self,
        sql: &'static str,
        parameters: &[&(dyn ToSql + Sync)],
        convert: impl Fn(&Row) -> Result<T, PgError>,
    ) -> Result<Option<T>, StoreError> {
        self.run(|session| session.query(sql, parameters)?.first().map(&convert).transpose())
    }

    /// Runs `work` on a connection, and on a new one if that is lost.
    pub(super) fn retry<T>(
        &mut self,
        budget: &mut RetryBudget,
        work: impl Fn(&mut PgSession) -> Result<T, PgError>,
    ) -> Result<T, PgError> {
        loop {
            let mut session = self.pool.acquire(self.borrower)?;
            let wait_mode = self.borrower.wait_mode;
            let result = session.apply_wait_mode(wait_mode).and_then(|()| work(&mut session));
            match &result {
                Err(error) if !error.is_connection_usable() || session.run("ROLLBACK").is_err() => {
                    session.invalidate();
                }
                _ => session.release(),
            }
            match result {
                Err(error) if budget.should_retry(&error) => {}
                result => return result,
            }
        }
    }
}

impl Drop for PostgresStore {
    fn drop(&mut self) {
        self.pool.unregister(self.borrower);
    }
}
