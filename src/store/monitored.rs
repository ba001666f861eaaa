//! A decorator that reports the start and the result of each write to [`WriteHealth`].

use std::sync::Arc;

use super::wrapped::wrapped;
use super::{
    PointRemoval, PointStore, RegistryStore, RemovedPoints, Store, StoreError, StoreFactory, Write,
    WriteHealth, WriteOutcome,
};

/// Reports the writes of all connections of `inner` to `health`.
pub fn with_write_health(inner: Arc<dyn StoreFactory>, health: Arc<WriteHealth>) -> Arc<dyn StoreFactory> {
    wrapped(inner, move |inner, _| Box::new(MonitoredStore { inner, health: Arc::clone(&health) }))
}

/// One connection.
struct MonitoredStore {
    inner: Box<dyn Store>,
    health: Arc<WriteHealth>,
}

impl Store for MonitoredStore {
    fn write(&mut self, writes: &[&Write]) -> Vec<WriteOutcome> {
        let attempt = self.health.begin();
        let outcomes = self.inner.write(writes);
        attempt.end(outcomes.iter().map(|outcome| outcome.as_ref().map(|_| true)));
        outcomes
    }

    fn remove_points(&mut self, removal: PointRemoval) -> Result<RemovedPoints, StoreError> {
        let attempt = self.health.begin();
        let outcome = self.inner.remove_points(removal);
        attempt.end([outcome.as_ref().map(|removed| removed.count > 0)]);
        outcome
    }

    fn registry(&mut self) -> &mut dyn RegistryStore {
        self.inner.registry()
    }

    fn points(&mut self) -> &mut dyn PointStore {
        self.inner.points()
    }
}
