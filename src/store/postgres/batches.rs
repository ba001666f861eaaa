//! Runs writes together, and separately if one of them fails the transaction.

use super::super::write::write_separately;
use super::super::{
    PointRemoval, PointStore, RegistryStore, RemovedPoints, Store, StoreError, Write, WriteOutcome,
};
use super::locking::LockPolicy;
use super::pg_error::PgError;
use super::pg_session::{RetryBudget, WaitMode};
use super::store::PostgresStore;
use super::{points, writes};

/// Writes, and their results so far.
struct Batch<'b> {
    store: &'b mut PostgresStore,
    writes: &'b [Write],
    outcomes: Vec<Option<WriteOutcome>>,
    budget: RetryBudget,
}

impl Store for PostgresStore {
    fn write(&mut self, writes: &[Write]) -> Vec<WriteOutcome> {
        let wait_mode = self.borrower.wait_mode;
        let (outcomes, budget) = (vec![None; writes.len()], RetryBudget::new(wait_mode));
        let mut batch = Batch { store: self, writes, outcomes, budget };
        // A locked row delays only the writes that need it.
        if writes.len() > 1 {
            batch.run_pending(LockPolicy::SkipLocked);
            if wait_mode == WaitMode::Short && batch.outcomes.iter().any(Option::is_some) {
                return batch.finish(|| Err(StoreError::Busy));
            }
        }
        batch.run_pending(LockPolicy::Wait);
        batch.finish(left_out)
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

impl Batch<'_> {
    /// Runs the writes without a result.
    fn run_pending(&mut self, lock_policy: LockPolicy) {
        let pending = (0..self.writes.len()).filter(|index| self.outcomes[*index].is_none());
        self.run(pending.collect(), lock_policy);
    }

    /// Runs the writes at `indexes` in one transaction, or separately if one of them fails it.
    fn run(&mut self, indexes: Vec<usize>, lock_policy: LockPolicy) {
        if indexes.is_empty() {
            return;
        }
        let writes = self.writes;
        let together: Vec<&Write> = indexes.iter().map(|index| &writes[*index]).collect();
        let outcomes = match self.commit(&together, lock_policy) {
            Ok(outcomes) => outcomes,
            Err(PgError::Rejected(_)) if indexes.len() > 1 => {
                let outcomes =
                    write_separately(together, |write| match self.commit(&[write], LockPolicy::Wait) {
                        Ok(mut outcomes) => Ok(outcomes.pop().flatten().unwrap_or_else(left_out)),
                        Err(error @ PgError::Rejected(_)) => Ok(Err(error.into_store_error())),
                        Err(error) => Err(error.into_store_error()),
                    });
                outcomes.into_iter().map(Some).collect()
            }
            // Locked points cannot be skipped: if they may be the reason, all puts are left for
            // later.
            Err(PgError::LockTimeout)
                if lock_policy == LockPolicy::SkipLocked
                    && together.iter().any(|write| write.is_put())
                    && !together.iter().all(|write| write.is_put()) =>
            {
                let others = indexes.into_iter().filter(|index| !writes[*index].is_put()).collect();
                return self.run(others, lock_policy);
            }
            Err(error) => vec![Some(Err(error.into_store_error())); indexes.len()],
        };
        for (index, outcome) in indexes.into_iter().zip(outcomes) {
            self.outcomes[index] = outcome;
        }
    }

    /// Runs one transaction; retries it if nothing was done and a retry may help.
    fn commit(
        &mut self,
        writes: &[&Write],
        lock_policy: LockPolicy,
    ) -> Result<Vec<Option<WriteOutcome>>, PgError> {
        self.store.retry(&mut self.budget, |session| writes::commit(session, writes, lock_policy))
    }

    /// The results; `missing` makes those that are not there.
    fn finish(self, missing: fn() -> WriteOutcome) -> Vec<WriteOutcome> {
        self.outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(missing)).collect()
    }
}

fn left_out() -> WriteOutcome {
    Err(StoreError::Unavailable("a write was left out".to_owned()))
}
