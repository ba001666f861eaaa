//! Write-behind of points: points are buffered in this process and written to the inner store within a second,
//! or before points are read.
//!
//! A buffered point is only as durable as this process. The first point of a key is written through, since only
//! the store can check the key limit; later points of that key are buffered until its series is removed. Writes
//! that bypass the buffer and removals are ordered with the buffered points: see [`buffer`].

mod buffer;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::wrapped::wrapped;
use super::{
    PointPage, PointRemoval, PointStore, RegistryStore, RemovedPoints, ScanRange, Store, StoreError,
    StoreFactory, Write, WriteOutcome,
};
use crate::limits;
use crate::model::Login;

pub use self::buffer::WriteBehindBuffer;

/// Puts a buffer in front of `inner`.
pub fn with_write_behind(inner: Arc<dyn StoreFactory>) -> (Arc<dyn StoreFactory>, Arc<WriteBehindBuffer>) {
    let buffer = Arc::<WriteBehindBuffer>::default();
    let shared = Arc::clone(&buffer);
    let factory = wrapped(inner, move |inner, policy| {
        let lock_timeout = policy.map_or(limits::WRITE_BEHIND_LOCK_TIMEOUT, |policy| policy.lock_timeout);
        Box::new(WriteBehindStore { inner, buffer: Arc::clone(&shared), lock_timeout })
    });
    (factory, buffer)
}

/// One connection.
struct WriteBehindStore {
    inner: Box<dyn Store>,
    buffer: Arc<WriteBehindBuffer>,
    /// The longest wait for another writer of points.
    lock_timeout: Duration,
}

impl WriteBehindStore {
    /// Checks the login of each put in `writes`. Looks up each login once.
    fn check_logins(&mut self, writes: &[Write]) -> Vec<Result<(), StoreError>> {
        let mut checked: HashMap<&Login, Result<(), StoreError>> = HashMap::new();
        let registry = self.inner.registry();
        let mut check = |login| match registry.is_current(login)? {
            true => Ok(()),
            false => Err(StoreError::NotCurrent),
        };
        let login_checks = writes.iter().map(|write| match write {
            Write::Put { login: Some(login), .. } => {
                checked.entry(login).or_insert_with(|| check(login)).clone()
            }
            _ => Ok(()),
        });
        login_checks.collect()
    }

    /// Flushes the buffer if it is full.
    fn make_room(&mut self) -> Result<(), StoreError> {
        if self.buffer.is_full() { self.flush() } else { Ok(()) }
    }

    /// Writes `writes` to the store while no other connection writes points. If the buffer cannot be
    /// locked, only the other writes than puts are done.
    fn write_through(&mut self, writes: &[Write]) -> Vec<WriteOutcome> {
        let guard = self.buffer.acquire(self.lock_timeout);
        let guard = guard.and_then(|mut guard| guard.prepare(writes, self.inner.as_mut()).map(|()| guard));
        match guard {
            Ok(guard) => {
                let outcomes = self.inner.write(writes);
                guard.finish(writes, &outcomes);
                outcomes
            }
            Err(error) => {
                let others: Vec<Write> = writes.iter().filter(|write| !write.is_put()).cloned().collect();
                let results = if others.is_empty() { Vec::new() } else { self.inner.write(&others) };
                let mut results = results.into_iter();
                let outcome = |write: &Write| match write.is_put() {
                    true => Err(error.clone()),
                    false => results.next().unwrap_or_else(no_outcome),
                };
                writes.iter().map(outcome).collect()
            }
        }
    }
}

impl Store for WriteBehindStore {
    fn write(&mut self, writes: &[Write]) -> Vec<WriteOutcome> {
        if !writes.iter().any(Write::is_put) {
            return self.inner.write(writes);
        }
        let mut login_checks = self.check_logins(writes);
        if let Err(error) = self.make_room() {
            login_checks.iter_mut().for_each(|check| *check = check.clone().and(Err(error.clone())));
        }
        let mut outcomes = self.buffer.accept(writes, login_checks);
        // Everything from the first write that cannot be buffered is written through in order, and so
        // is every write without a result.
        outcomes.resize(writes.len(), None);
        let pending: Vec<usize> = (0..writes.len()).filter(|index| outcomes[*index].is_none()).collect();
        let remaining: Vec<Write> = pending.iter().map(|index| writes[*index].clone()).collect();
        let results = match &remaining[..] {
            [] => Vec::new(),
            remaining if remaining.iter().any(Write::is_put) => self.write_through(remaining),
            remaining => self.inner.write(remaining),
        };
        pending.into_iter().zip(results).for_each(|(index, outcome)| outcomes[index] = Some(outcome));
        outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(no_outcome)).collect()
    }

    fn remove_points(&mut self, removal: PointRemoval) -> Result<RemovedPoints, StoreError> {
        let mut guard = self.buffer.acquire(self.lock_timeout)?;
        guard.prepare_removal(self.inner.as_mut())?;
        let outcome = self.inner.remove_points(removal);
        guard.finish_removal(&outcome, self.inner.as_mut());
        outcome
    }

    fn registry(&mut self) -> &mut dyn RegistryStore {
        self.inner.registry()
    }

    fn points(&mut self) -> &mut dyn PointStore {
        self
    }
}

impl PointStore for WriteBehindStore {
    fn flush(&mut self) -> Result<(), StoreError> {
        self.buffer.flush(self.inner.as_mut(), self.lock_timeout)
    }

    fn scan(&mut self, range: &ScanRange<'_>, count_max: usize) -> Result<PointPage, StoreError> {
        // A client that has put a point must see it.
        if range.is_from_start() {
            self.flush()?;
        }
        self.inner.points().scan(range, count_max)
    }
}

fn no_outcome() -> WriteOutcome {
    Err(StoreError::Unavailable("a write had no outcome".to_owned()))
}

#[cfg(test)]
mod tests;
