//! The PostgreSQL store, local or remote.
//!
//! This module opens a database and decides what is retried; [`session_pool`] has the connections, [`writes`],
//! [`reads`] and [`points`] use them. A lost connection is replaced when it is next needed. SQL is constant
//! text with parameters: no triggers, no stored procedures. Other daemons may use the same database.
//!
//! Invariants: after a commit was sent (a COMMIT, or a statement that is its own transaction) the write is
//! never retried. After any other error of a transaction, none of it was done.

mod connector;
mod hosts;
mod locking;
mod parameters;
mod pg_error;
mod pg_session;
mod points;
mod reads;
mod schema;
mod session_pool;
mod session_settings;
mod url;
mod writes;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{
    DeferredOpen, LockRetryPolicy, OpenFailure, PointPage, PointPosition, PointRemoval, PointStore,
    RegistryStore, RemovedPoints, Store, StoreError, StoreFactory, VmPage, Write, WriteOutcome,
};
use crate::clock::UnixSeconds;
use crate::ids::{DiskId, VmId};
use crate::limits;
use crate::model::{Credentials, DiskOfVm, Login, PointFilter, TokenHash, Vm, VmName};
use connector::Connector;
use locking::LockPolicy;
use pg_error::{POOLER_HINT, PgError};
use pg_session::{PgSession, RetryBudget, WaitMode};
use session_pool::{Borrower, SessionPool};

pub use url::PostgresUrl;

/// Makes connections to one database, once it is open.
pub(super) struct PostgresFactory {
    pool: Arc<SessionPool>,
    is_open: AtomicBool,
}

/// A user of connections: it borrows one for each step.
struct PostgresStore {
    pool: Arc<SessionPool>,
    borrower: Borrower,
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

impl DeferredOpen for PostgresFactory {
    /// Connects to the database and migrates it if necessary.
    fn open(&self) -> Result<(), OpenFailure> {
        let mut session = self.pool.acquire(self.pool.register(WaitMode::Long)).map_err(open_failure)?;
        self.check_pooler(&mut session).map_err(open_failure)?;
        schema::migrate(&mut session)
            .map_err(|error| OpenFailure { is_transient: !matches!(error, StoreError::Refused(_)), error })?;
        session.release_unowned();
        self.is_open.store(true, Ordering::Release);
        Ok(())
    }
}

fn open_failure(error: PgError) -> OpenFailure {
    OpenFailure { is_transient: !matches!(error, PgError::Misconfigured(_)), error: error.into_store_error() }
}

/// The server process that serves `session`.
fn backend_id(session: &mut PgSession) -> Result<Option<String>, PgError> {
    let sql = "SELECT pid || ' since ' || backend_start FROM pg_catalog.pg_stat_activity
               WHERE pid = pg_catalog.pg_backend_pid()";
    Ok(session.query_text(sql)?)
}

impl StoreFactory for PostgresFactory {
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

impl Store for PostgresStore {
    fn write(&mut self, writes: &[Write]) -> Vec<WriteOutcome> {
        let mut budget = RetryBudget::new(self.borrower.wait_mode);
        let mut outcomes: Vec<Option<WriteOutcome>> = vec![None; writes.len()];
        // A locked row delays only the writes that need it.
        if writes.len() > 1 {
            self.write_pending(writes, LockPolicy::SkipLocked, &mut outcomes, &mut budget);
            let is_partly_done = outcomes.iter().any(Option::is_some);
            if is_partly_done && self.borrower.wait_mode == WaitMode::Short {
                let busy = || Err(StoreError::Busy);
                return outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(busy)).collect();
            }
        }
        self.write_pending(writes, LockPolicy::Wait, &mut outcomes, &mut budget);
        let missing = || Err(StoreError::Unavailable("a write was left out".to_owned()));
        outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(missing)).collect()
    }

    fn remove_points(&mut self, removal: PointRemoval) -> Result<RemovedPoints, StoreError> {
        self.run(|session| points::remove(session, removal))
    }

    fn registry(&mut self) -> &mut dyn RegistryStore {
        self
    }

    fn points(&mut self) -> &mut dyn PointStore {
        self
    }
}

impl RegistryStore for PostgresStore {
    fn ping(&mut self) -> Result<(), StoreError> {
        self.run(reads::ping)
    }

    fn credentials(&mut self, name: &VmName) -> Result<Option<Credentials>, StoreError> {
        self.run(|session| reads::credentials(session, name))
    }

    fn credentials_by_id(&mut self, id: VmId) -> Result<Option<Credentials>, StoreError> {
        self.run(|session| reads::credentials_by_id(session, id))
    }

    fn password_hash_prefixes(&mut self, count_max: usize) -> Result<Vec<String>, StoreError> {
        self.run(|session| reads::password_hash_starts(session, count_max))
    }

    fn token_owner(&mut self, token: &TokenHash, now: UnixSeconds) -> Result<Option<Login>, StoreError> {
        self.run(|session| reads::token_owner(session, token, now))
    }

    fn token_owners(
        &mut self,
        tokens: &[(TokenHash, UnixSeconds)],
    ) -> Result<Vec<Option<Login>>, StoreError> {
        self.run(|session| reads::token_owners(session, tokens))
    }

    fn is_current(&mut self, login: &Login) -> Result<bool, StoreError> {
        self.run(|session| reads::is_current(session, login))
    }

    fn vms_after(&mut self, after: VmId, rows_max: usize) -> Result<VmPage, StoreError> {
        self.run(|session| reads::vms_after(session, after, rows_max))
    }

    fn ever_connected_after(&mut self, after: VmId, rows_max: usize) -> Result<VmPage, StoreError> {
        self.run(|session| reads::ever_connected_after(session, after, rows_max))
    }

    fn vms(&mut self, ids: &[VmId]) -> Result<Vec<Vm>, StoreError> {
        self.run(|session| reads::vms(session, ids))
    }

    fn disks_after(&mut self, after: DiskId, count_max: usize) -> Result<Vec<DiskOfVm>, StoreError> {
        self.run(|session| reads::disks_after(session, after, count_max))
    }
}

impl PointStore for PostgresStore {
    fn points_after(
        &mut self,
        filter: &PointFilter,
        after: Option<PointPosition>,
        count_max: usize,
    ) -> Result<PointPage, StoreError> {
        self.run(|session| points::points_after(session, filter, after, count_max))
    }
}

impl PostgresStore {
    fn new(pool: &Arc<SessionPool>, wait_mode: WaitMode) -> PostgresStore {
        PostgresStore { pool: Arc::clone(pool), borrower: pool.register(wait_mode) }
    }

    /// Runs the writes without a result in one transaction, or separately if one of them fails it.
    fn write_pending(
        &mut self,
        writes: &[Write],
        lock_policy: LockPolicy,
        outcomes: &mut [Option<WriteOutcome>],
        budget: &mut RetryBudget,
    ) {
        let pending = (0..writes.len()).filter(|index| outcomes[*index].is_none()).collect();
        self.write_selected(pending, writes, lock_policy, outcomes, budget);
    }

    /// Like [`PostgresStore::write_pending`], for the indexes `pending`.
    fn write_selected(
        &mut self,
        pending: Vec<usize>,
        writes: &[Write],
        lock_policy: LockPolicy,
        outcomes: &mut [Option<WriteOutcome>],
        budget: &mut RetryBudget,
    ) {
        if pending.is_empty() {
            return;
        }
        let together: Vec<&Write> = pending.iter().map(|index| &writes[*index]).collect();
        match self.commit(&together, lock_policy, budget) {
            Ok(done) => {
                for (index, outcome) in pending.into_iter().zip(done) {
                    outcomes[index] = outcome;
                }
            }
            Err(PgError::Rejected(_)) if pending.len() > 1 => {
                self.write_separately(writes, &pending, outcomes, budget)
            }
            // Locked points cannot be skipped: if they may be the reason, all puts are left for
            // later.
            Err(PgError::LockTimeout)
                if lock_policy == LockPolicy::SkipLocked
                    && together.iter().any(|write| write.is_put())
                    && !together.iter().all(|write| write.is_put()) =>
            {
                let others = pending.into_iter().filter(|index| !writes[*index].is_put()).collect();
                self.write_selected(others, writes, lock_policy, outcomes, budget);
            }
            Err(error) => {
                let error = error.into_store_error();
                pending.into_iter().for_each(|index| outcomes[index] = Some(Err(error.clone())));
            }
        }
    }

    /// Runs each write of `pending` in its own transaction. After a failure of the database the rest is not
    /// tried: each would wait for the same again.
    fn write_separately(
        &mut self,
        writes: &[Write],
        pending: &[usize],
        outcomes: &mut [Option<WriteOutcome>],
        budget: &mut RetryBudget,
    ) {
        let mut fatal: Option<StoreError> = None;
        for index in pending {
            if let Some(error) = &fatal {
                outcomes[*index] = Some(Err(error.clone()));
                continue;
            }
            outcomes[*index] = match self.commit(&[&writes[*index]], LockPolicy::Wait, budget) {
                Ok(mut done) => done.pop().flatten(),
                Err(error) => {
                    fatal = match &error {
                        PgError::Rejected(_) => None,
                        PgError::OutcomeUnknown(why) => Some(StoreError::Unavailable(why.clone())),
                        other => Some(other.clone().into_store_error()),
                    };
                    Some(Err(error.into_store_error()))
                }
            };
        }
    }

    /// Runs one transaction; retries it if nothing was done and a retry may help.
    fn commit(
        &mut self,
        writes: &[&Write],
        lock_policy: LockPolicy,
        budget: &mut RetryBudget,
    ) -> Result<Vec<Option<WriteOutcome>>, PgError> {
        self.retry(budget, |session| writes::commit(session, writes, lock_policy))
    }

    /// Runs `work`, which is one transaction.
    fn run<T>(&mut self, work: impl Fn(&mut PgSession) -> Result<T, PgError>) -> Result<T, StoreError> {
        let mut budget = RetryBudget::new(self.borrower.wait_mode);
        self.retry(&mut budget, work).map_err(PgError::into_store_error)
    }

    /// Runs `work` on a connection, and on a new one if that is lost.
    fn retry<T>(
        &mut self,
        budget: &mut RetryBudget,
        work: impl Fn(&mut PgSession) -> Result<T, PgError>,
    ) -> Result<T, PgError> {
        loop {
            let mut session = self.pool.acquire(self.borrower)?;
            let error =
                match session.apply_wait_mode(self.borrower.wait_mode).and_then(|()| work(&mut session)) {
                    Ok(result) => {
                        session.release();
                        return Ok(result);
                    }
                    Err(error) => error,
                };
            if error.is_connection_usable() && session.run("ROLLBACK").is_ok() {
                session.release();
            } else {
                session.invalidate();
            }
            if !budget.should_retry(&error) {
                return Err(error);
            }
        }
    }
}

impl Drop for PostgresStore {
    fn drop(&mut self) {
        self.pool.unregister(self.borrower);
    }
}

#[cfg(test)]
mod tests;
