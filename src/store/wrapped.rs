//! A factory that wraps the connections of another one in a decorator.

use std::sync::Arc;

use super::{LockRetryPolicy, OpenFailure, Store, StoreError, StoreFactory};

struct WrappedFactory<W> {
    inner: Arc<dyn StoreFactory>,
    wrap: W,
}

/// Wraps each connection of `inner`. `wrap` receives the connection and, for a worker, its retry policy.
pub(super) fn wrapped<W>(inner: Arc<dyn StoreFactory>, wrap: W) -> Arc<dyn StoreFactory>
where
    W: Fn(Box<dyn Store>, Option<LockRetryPolicy>) -> Box<dyn Store> + Send + Sync + 'static,
{
    Arc::new(WrappedFactory { inner, wrap })
}

impl<W> StoreFactory for WrappedFactory<W>
where
    W: Fn(Box<dyn Store>, Option<LockRetryPolicy>) -> Box<dyn Store> + Send + Sync,
{
    fn open(&self) -> Result<(), OpenFailure> {
        self.inner.open()
    }

    fn connect(&self) -> Result<Box<dyn Store>, StoreError> {
        Ok((self.wrap)(self.inner.connect()?, None))
    }

    fn connect_worker(&self) -> Result<Box<dyn Store>, StoreError> {
        Ok((self.wrap)(self.inner.connect_worker()?, self.lock_retry_policy()))
    }

    fn lock_retry_policy(&self) -> Option<LockRetryPolicy> {
        self.inner.lock_retry_policy()
    }

    fn answers_at_once(&self) -> bool {
        self.inner.answers_at_once()
    }

    fn writers_max(&self) -> usize {
        self.inner.writers_max()
    }
}
