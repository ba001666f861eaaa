//! A decorator that reports the start and the result of each write to [`WriteHealth`].

use std::sync::Arc;

use super::{
    LockRetryPolicy, PointPage, PointPosition, Store, StoreError, StoreFactory, VmPage, Write, WriteHealth,
    Written,
};
use crate::clock::UnixSeconds;
use crate::ids::{DiskId, VmId};
use crate::model::{Credentials, DiskOfVm, Login, PointFilter, TokenHash, Vm, VmName};

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
    fn write(&mut self, writes: &[Write]) -> Vec<Result<Written, StoreError>> {
        let attempt = self.health.begin();
        let outcomes = self.inner.write(writes);
        self.health.end(attempt, &outcomes);
        outcomes
    }

    fn credentials(&mut self, name: &VmName) -> Result<Option<Credentials>, StoreError> {
        self.inner.credentials(name)
    }

    fn credentials_by_id(&mut self, id: VmId) -> Result<Option<Credentials>, StoreError> {
        self.inner.credentials_by_id(id)
    }

    fn password_hash_prefixes(&mut self, count_max: usize) -> Result<Vec<String>, StoreError> {
        self.inner.password_hash_prefixes(count_max)
    }

    fn token_owner(&mut self, token: &TokenHash, now: UnixSeconds) -> Result<Option<Login>, StoreError> {
        self.inner.token_owner(token, now)
    }

    fn token_owners(
        &mut self,
        tokens: &[(TokenHash, UnixSeconds)],
    ) -> Result<Vec<Option<Login>>, StoreError> {
        self.inner.token_owners(tokens)
    }

    fn begin_reads(&mut self) {
        self.inner.begin_reads();
    }

    fn end_reads(&mut self) {
        self.inner.end_reads();
    }

    fn is_current(&mut self, login: &Login) -> Result<bool, StoreError> {
        self.inner.is_current(login)
    }

    fn vms_after(&mut self, after: VmId, rows_max: usize) -> Result<VmPage, StoreError> {
        self.inner.vms_after(after, rows_max)
    }

    fn ever_connected_after(&mut self, after: VmId, rows_max: usize) -> Result<VmPage, StoreError> {
        self.inner.ever_connected_after(after, rows_max)
    }

    fn vms(&mut self, ids: &[VmId]) -> Result<Vec<Vm>, StoreError> {
        self.inner.vms(ids)
    }

    fn disks_after(&mut self, after: DiskId, count_max: usize) -> Result<Vec<DiskOfVm>, StoreError> {
        self.inner.disks_after(after, count_max)
    }

    fn points_after(
        &mut self,
        filter: &PointFilter,
        after: Option<PointPosition>,
        count_max: usize,
    ) -> Result<PointPage, StoreError> {
        self.inner.points_after(filter, after, count_max)
    }
}
