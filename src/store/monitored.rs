//! A decorator that reports the start and the result of each write to [`WriteHealth`].

use std::sync::Arc;

use super::{
    LockRetryPolicy, PointRemoval, PointStore, RegistryStore, RemovedPoints, Store, StoreError, StoreFactory,
    Write, WriteHealth, WriteOutcome,
};

/// Makes connections whose writes are monitored.
pub struct MonitoredFactory {
    inner: Arc<dyn StoreFactory>,
    health: Arc<WriteHealth>,
}

struct MonitoredStore {
    inner: Box<dyn Store>,
    health: Arc<WriteHealth>,
}

impl MonitoredFactory {
    /// Reports the writes of all connections of `inner` to `health`.
    pub fn new(inner: Arc<dyn StoreFactory>, health: Arc<WriteHealth>) -> MonitoredFactory {
        MonitoredFactory { inner, health }
    }

    fn wrap(&self, inner: Box<dyn Store>) -> Box<dyn Store> {
        Box::new(MonitoredStore { inner, health: Arc::clone(&self.health) })
    }
}

impl StoreFactory for MonitoredFactory {
    fn connect(&self) -> Result<Box<dyn Store>, StoreError> {
        self.inner.connect().map(|inner| self.wrap(inner))
    }

    fn connect_worker(&self) -> Result<Box<dyn Store>, StoreError> {
        self.inner.connect_worker().map(|inner| self.wrap(inner))
    }

    fn lock_retry_policy(&self) -> Option<LockRetryPolicy> {
        self.inner.lock_retry_policy()
    }

    fn writers_max(&self) -> usize {
        self.inner.writers_max()
    }
}

impl Store for MonitoredStore {
    fn write(&mut self, writes: &[Write]) -> Vec<WriteOutcome> {
        let attempt = self.health.begin();
        let outcomes = self.inner.write(writes);
        self.health.end(attempt, outcomes.iter().map(|outcome| outcome.as_ref().map(|_| true)));
        outcomes
    }

    fn remove_points(&mut self, removal: PointRemoval) -> Result<RemovedPoints, StoreError> {
        let attempt = self.health.begin();
        let outcome = self.inner.remove_points(removal);
        self.health.end(attempt, [outcome.as_ref().map(|removed| removed.count > 0)]);
        outcome
    }

    fn registry(&mut self) -> &mut dyn RegistryStore {
        self.inner.registry()
    }

    fn points(&mut self) -> &mut dyn PointStore {
        self.inner.points()
    }
}
