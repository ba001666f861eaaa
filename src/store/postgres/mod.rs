//! The PostgreSQL store, local or remote.
//!
//! This module opens a database; [`session_pool`] has the connections, [`store`] decides what is retried, [`batches`],
//! [`writes`], [`reads`] and [`points`] have the statements. A lost connection is replaced when it is next needed. SQL
//! is constant text with parameters: no triggers, no stored procedures. Other daemons may use the same database.

mod access_tokens;
mod batches;
mod changes;
mod connector;
mod hosts;
mod locking;
mod parameters;
mod pg_error;
mod pg_session;
mod points;
mod reads;
mod registrations;
mod schema;
mod session_pool;
mod session_settings;
mod store;
mod updates;
mod url;
mod writes;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{LockRetryPolicy, OpenFailure, Store, StoreError, StoreFactory};
use crate::limits;
use connector::Connector;
use pg_error::{POOLER_HINT, PgError};
use pg_session::{PgSession, WaitMode};
use session_pool::{OPENER, SessionPool};
use store::PostgresStore;

pub use url::PostgresUrl;

/// Makes connections to one database, once it is open.
pub(super) struct PostgresFactory {
    pool: Arc<SessionPool>,
    is_open: AtomicBool,
}

impl PostgresFactory {
    /// A factory for the database at `url`, not open yet, with at most `connections_max` connections.
    pub(super) fn new(url: &PostgresUrl, connections_max: usize) -> PostgresFactory {
        let pool = Arc::new(SessionPool::new(Connector::new(url), connections_max));
        PostgresFactory { pool, is_open: AtomicBool::new(false) }
    }

    fn store(&self, wait_mode: WaitMode) -> Result<PostgresStore, StoreError> {
        match self.is_open.load(Ordering::Acquire) {
            true => Ok(PostgresStore::new(&self.pool, wait_mode)),
            false => Err(StoreError::Unavailable("the database has not been reached yet".to_owned())),
        }
    }

    /// Connects to the database and migrates it if necessary.
    fn connect_and_migrate(&self) -> Result<(), PgError> {
        let mut session = self.pool.acquire(OPENER)?;
        self.check_pooler(&mut session)?;
        schema::migrate(&mut session)?;
        session.release();
        Ok(())
    }

    /// Checks that each connection has its own server session, on which settings and prepared statements
    /// depend. Two simultaneous connections show it, if the limit allows two.
    fn check_pooler(&self, session: &mut PgSession) -> Result<(), PgError> {
        if self.pool.max < 2 {
            return Ok(());
        }
        let Ok(mut other) = self.pool.connector.connect_unthrottled(WaitMode::Long) else { return Ok(()) };
        let own = backend_id(session)?;
        for _ in 0..limits::POSTGRES_POOLER_PROBES {
            let others = backend_id(&mut other)?;
            if others == own || backend_id(session)? != own {
                return Err(PgError::Misconfigured(POOLER_HINT.to_owned()));
            }
        }
        Ok(())
    }
}

impl StoreFactory for PostgresFactory {
    fn open(&self) -> Result<(), OpenFailure> {
        self.connect_and_migrate().map_err(|error| OpenFailure {
            is_transient: !matches!(error, PgError::Misconfigured(_) | PgError::Refused(_)),
            error: error.into_store_error(),
        })?;
        self.is_open.store(true, Ordering::Release);
        Ok(())
    }

    fn connect(&self) -> Result<Box<dyn Store>, StoreError> {
        let store = self.store(WaitMode::Long)?;
        // A caller that makes one by itself needs the error now.
        store.pool.acquire(store.borrower).map_err(PgError::into_store_error)?.release();
        Ok(Box::new(store))
    }

    fn connect_worker(&self) -> Result<Box<dyn Store>, StoreError> {
        Ok(Box::new(self.store(WaitMode::Short)?))
    }

    fn lock_retry_policy(&self) -> Option<LockRetryPolicy> {
        let reserve = limits::STORE_DEADLINE - limits::POSTGRES_LOCK_TIMEOUT;
        Some(LockRetryPolicy { lock_timeout: limits::POSTGRES_LOCK_ATTEMPT, reserve })
    }

    fn writers_max(&self) -> usize {
        limits::POSTGRES_WRITERS
    }
}

/// The server process that serves `session`.
fn backend_id(session: &mut PgSession) -> Result<Option<String>, PgError> {
    let sql = "SELECT pid || ' since ' || backend_start FROM pg_catalog.pg_stat_activity
               WHERE pid = pg_catalog.pg_backend_pid()";
    Ok(session.query_text(sql)?)
}

#[cfg(test)]
mod tests;
