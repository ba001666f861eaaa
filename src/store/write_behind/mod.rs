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
use super::write::write_rest;
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
    /// Whether each login in `writes` is current. Looks up each once.
    fn check_logins<'w>(&mut self, writes: &[&'w Write]) -> HashMap<&'w Login, Result<(), StoreError>> {
        let mut checks = HashMap::new();
        for write in writes {
            if let Write::Put { login: Some(login), .. } = write {
                checks.entry(login).or_insert_with(|| match self.inner.registry().is_current(login)? {
                    true => Ok(()),
                    false => Err(StoreError::NotCurrent),
                });
            }
        }
        checks
    }

    /// Writes `writes` to the store while no other connection writes points. If the buffer cannot be
    /// locked, only the other writes than puts are done.
    fn write_through(&mut self, writes: &[&Write]) -> Vec<WriteOutcome> {
        if !writes.iter().any(|write| write.is_put()) {
            return self.inner.write(writes);
        }
        let inner = self.inner.as_mut();
        let written = self.buffer.acquire(self.lock_timeout).and_then(|guard| guard.write(writes, inner));
        written.unwrap_or_else(|error| {
            let outcomes = writes.iter().map(|write| write.is_put().then(|| Err(error.clone())));
            write_rest(writes, outcomes.collect(), |others| self.inner.write(others))
        })
    }
}

impl Store for WriteBehindStore {
    fn write(&mut self, writes: &[&Write]) -> Vec<WriteOutcome> {
        if !writes.iter().any(|write| write.is_put()) {
            return self.inner.write(writes);
        }
        let checks = self.check_logins(writes);
        let room = if self.buffer.is_full() { self.flush() } else { Ok(()) };
        let check =
            |login: Option<&Login>| login.map_or(Ok(()), |login| checks[login].clone()).and(room.clone());
        let outcomes = self.buffer.accept(writes, check);
        // Everything from the first write that cannot be buffered is written through in order, and so
        // is every write without a result.
        write_rest(writes, outcomes, |rest| self.write_through(rest))
    }

    fn remove_points(&mut self, removal: PointRemoval) -> Result<RemovedPoints, StoreError> {
        self.buffer.acquire(self.lock_timeout)?.remove_points(removal, self.inner.as_mut())
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

#[cfg(test)]
mod tests;
