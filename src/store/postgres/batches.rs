//! Runs writes together, and separately if one of them fails the transaction.

use super::super::write::{write_rest, write_separately};
use super::super::{
    PointRemoval, PointStore, RegistryStore, RemovedPoints, Store, StoreError, Write, WriteOutcome,
};
use super::locking::LockPolicy;
use super::pg_error::PgError;
use super::pg_session::{RetryBudget, WaitMode};
use super::store::PostgresStore;
use super::{changes, points, writes};

const NONE_SKIPPED: &str = "no write is skipped that may wait for locks";

impl Store for PostgresStore {
    fn write(&mut self, writes: &[&Write]) -> Vec<WriteOutcome> {
        let wait_mode = self.borrower.wait_mode;
        let mut budget = RetryBudget::new(wait_mode);
        // A locked row delays only the writes that need it.
        let outcomes = match writes.len() > 1 {
            true => self.write_together(writes, LockPolicy::SkipLocked, &mut budget),
            false => vec![None; writes.len()],
        };
        let is_partly_done = outcomes.iter().any(Option::is_some);
        let outcomes = write_rest(writes, outcomes, |rest| match wait_mode {
            WaitMode::Short if is_partly_done => vec![Err(StoreError::Busy); rest.len()],
            _ => {
                let outcomes = self.write_together(rest, LockPolicy::Wait, &mut budget);
                outcomes.into_iter().map(|outcome| outcome.expect(NONE_SKIPPED)).collect()
            }
        });
        if self.pool.change_log.should_prune(writes, &outcomes)
            && let Err(error) = self.run(changes::prune)
        {
            // No reason for these writes to fail.
            log::debug!("old changes could not be removed: {error}");
        }
        outcomes
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

impl PostgresStore {
    /// Runs `writes` in one transaction, or separately if one of them fails it. Those that were skipped have no
    /// outcome.
    fn write_together(
        &mut self,
        writes: &[&Write],
        lock_policy: LockPolicy,
        budget: &mut RetryBudget,
    ) -> Vec<Option<WriteOutcome>> {
        let origin = self.pool.change_log.origin;
        match self.retry(budget, |session| writes::commit(session, writes, lock_policy, origin)) {
            Ok(outcomes) => outcomes,
            Err(PgError::Rejected(_)) if writes.len() > 1 => {
                let outcomes = write_separately(writes, |write| {
                    let commit =
                        |session: &mut _| writes::commit(session, &[write], LockPolicy::Wait, origin);
                    match self.retry(budget, commit) {
                        Ok(mut outcomes) => Ok(outcomes.pop().flatten().expect(NONE_SKIPPED)),
                        Err(error @ PgError::Rejected(_)) => Ok(Err(error.into_store_error())),
                        Err(error) => Err(error.into_store_error()),
                    }
                });
                outcomes.into_iter().map(Some).collect()
            }
            // Locked points cannot be skipped: if they may be the reason, all puts are left for later.
            Err(PgError::LockTimeout)
                if lock_policy == LockPolicy::SkipLocked
                    && writes.iter().any(|write| write.is_put())
                    && !writes.iter().all(|write| write.is_put()) =>
            {
                let others: Vec<&Write> = writes.iter().copied().filter(|write| !write.is_put()).collect();
                let mut outcomes = self.write_together(&others, lock_policy, budget).into_iter();
                writes.iter().map(|write| if write.is_put() { None } else { outcomes.next()? }).collect()
            }
            Err(error) => vec![Some(Err(error.into_store_error())); writes.len()],
        }
    }
}
