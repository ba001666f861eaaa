//! A store whose operations on points may fail, and between whose operations other writes run: the store below the
//! write-behind buffer of a simulated world.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::random::Random;
use vmherd::internals::store::{
    LockRetryPolicy, PointRemoval, PointStore, RegistryStore, RemovedPoints, Store, StoreError, StoreFactory,
    Write, WriteOutcome,
};

/// Connects to such a store.
pub(super) struct FaultyStoreFactory {
    inner: Arc<dyn StoreFactory>,
    faults: Arc<Mutex<StoreFaults>>,
}

/// The faults, shared by its connections.
pub(super) struct StoreFaults {
    pub(super) random: Random,
    /// Percent of writes of points that fail.
    pub(super) failed_percent: usize,
    /// Runs once, after the next write of points and before its outcome is returned.
    pub(super) write_hook: Option<WriteHook>,
}

pub(super) type WriteHook = Box<dyn FnOnce() + Send>;

struct FaultyStore {
    inner: Box<dyn Store>,
    faults: Arc<Mutex<StoreFaults>>,
}

impl FaultyStoreFactory {
    pub(super) fn new(inner: Arc<dyn StoreFactory>, faults: Arc<Mutex<StoreFaults>>) -> FaultyStoreFactory {
        FaultyStoreFactory { inner, faults }
    }
}

impl StoreFactory for FaultyStoreFactory {
    fn connect(&self) -> Result<Box<dyn Store>, StoreError> {
        Ok(Box::new(FaultyStore { inner: self.inner.connect()?, faults: Arc::clone(&self.faults) }))
    }

    /// A call that would wait for another one fails at once: there is one thread.
    fn lock_retry_policy(&self) -> Option<LockRetryPolicy> {
        Some(LockRetryPolicy { lock_timeout: Duration::ZERO, reserve: Duration::ZERO })
    }
}

impl FaultyStore {
    /// Runs `write`, which writes points, or fails, or both.
    fn write_points<T>(&mut self, write: impl FnOnce(&mut dyn Store) -> T) -> Result<T, StoreError> {
        let (failure, is_done) = {
            let StoreFaults { random, failed_percent, .. } = &mut *self.faults();
            let why = "a simulated fault".to_owned();
            match random.chance(*failed_percent).then(|| random.between(0, 3)) {
                None => (None, true),
                Some(0) => (Some(StoreError::Busy), false),
                Some(1) => (Some(StoreError::Unavailable(why)), false),
                Some(at) => (Some(StoreError::OutcomeUnknown(why)), at == 2),
            }
        };
        let outcome = is_done.then(|| write(self.inner.as_mut()));
        let write_hook = self.faults().write_hook.take();
        if let Some(write_hook) = write_hook {
            write_hook();
        }
        match (failure, outcome) {
            (None, Some(outcome)) => Ok(outcome),
            (failure, _) => Err(failure.expect("it is done unless it fails")),
        }
    }

    fn faults(&self) -> MutexGuard<'_, StoreFaults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for FaultyStore {
    fn write(&mut self, writes: &[&Write]) -> Vec<WriteOutcome> {
        if !writes.iter().any(|write| write.is_put()) {
            return self.inner.write(writes);
        }
        match self.write_points(|inner| inner.write(writes)) {
            Ok(outcomes) => outcomes,
            Err(failure) => vec![Err(failure); writes.len()],
        }
    }

    fn remove_points(&mut self, removal: PointRemoval) -> Result<RemovedPoints, StoreError> {
        self.write_points(|inner| inner.remove_points(removal))?
    }

    fn registry(&mut self) -> &mut dyn RegistryStore {
        self.inner.registry()
    }

    fn points(&mut self) -> &mut dyn PointStore {
        self.inner.points()
    }
}
