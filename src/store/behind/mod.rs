//! Points that are written behind: kept in this process first, and written to the store that stands behind it
//! within a second, or when somebody asks for points.
//!
//! What is promised of a point is what this process's memory can promise. The first point of a key is written
//! before it is answered, like everything else, since only the store can tell whether there is room for one key
//! more; from then on the key is known, until its series is removed. What is written past the waiting room, and what
//! is removed, has its turn among that which waits: see [`waiting`].

mod waiting;

use std::sync::Arc;
use std::time::Duration;

use super::{Patience, PointAt, PointPage, Store, StoreError, StoreFactory, VmPage, Write, Written};
use crate::clock::UnixSeconds;
use crate::ids::{DiskId, VmId};
use crate::limits;
use crate::model::{Credentials, DiskOfVm, Login, PointFilter, TokenHash, Vm, VmName};

pub use self::waiting::Behind;

/// Makes connections to a store that writes points behind.
pub struct BehindFactory {
    inner: Arc<dyn StoreFactory>,
    behind: Arc<Behind>,
}

/// One connection.
struct BehindStore {
    inner: Box<dyn Store>,
    behind: Arc<Behind>,
    /// How long it waits for others who write points, at a time.
    patience: Duration,
}

type Outcome = Result<Written, StoreError>;

impl BehindFactory {
    /// Puts a waiting room before `inner`.
    pub fn new(inner: Arc<dyn StoreFactory>) -> BehindFactory {
        BehindFactory { inner, behind: Arc::default() }
    }

    /// The waiting room.
    pub fn behind(&self) -> Arc<Behind> {
        Arc::clone(&self.behind)
    }

    fn wrap(&self, inner: Box<dyn Store>, patience: Duration) -> Box<dyn Store> {
        Box::new(BehindStore { inner, behind: self.behind(), patience })
    }
}

impl StoreFactory for BehindFactory {
    fn connect(&self) -> Result<Box<dyn Store>, StoreError> {
        self.inner.connect().map(|inner| self.wrap(inner, limits::POINTS_BEHIND_PATIENCE))
    }

    fn connect_worker(&self) -> Result<Box<dyn Store>, StoreError> {
        let patience =
            self.inner.worker_patience().map_or(limits::POINTS_BEHIND_PATIENCE, |patience| patience.attempt);
        self.inner.connect_worker().map(|inner| self.wrap(inner, patience))
    }

    fn worker_patience(&self) -> Option<Patience> {
        self.inner.worker_patience()
    }

    fn writers_max(&self) -> usize {
        self.inner.writers_max()
    }
}

impl BehindStore {
    /// Whether each of `writes` that is a put may be: its login holds. The same login is looked up once.
    fn check_logins(&mut self, writes: &[Write]) -> Vec<Result<(), StoreError>> {
        let mut checked: Vec<(&Login, Result<(), StoreError>)> = Vec::new();
        let mut verdicts = Vec::with_capacity(writes.len());
        for write in writes {
            let Write::Put { login: Some(login), .. } = write else {
                verdicts.push(Ok(()));
                continue;
            };
            if !checked.iter().any(|(other, _)| *other == login) {
                let verdict = match self.inner.is_current(login) {
                    Ok(true) => Ok(()),
                    Ok(false) => Err(StoreError::NotCurrent),
                    Err(error) => Err(error),
                };
                checked.push((login, verdict));
            }
            let known = checked.iter().find(|(other, _)| *other == login);
            verdicts.push(known.map_or(Ok(()), |(_, verdict)| verdict.clone()));
        }
        verdicts
    }

    /// Makes sure that there is room for points to wait.
    fn make_room(&mut self) -> Result<(), StoreError> {
        if self.behind.is_full() { self.write_waiting() } else { Ok(()) }
    }

    /// Writes `writes` to the store in a turn of their own; without one, what is not about points.
    fn write_now(&mut self, writes: &[Write]) -> Vec<Outcome> {
        let turn = self.behind.turn(self.patience);
        let turn = turn.and_then(|mut turn| turn.begin(writes, self.inner.as_mut()).map(|()| turn));
        match turn {
            Ok(turn) => {
                let outcomes = self.inner.write(writes);
                turn.end(writes, &outcomes, self.inner.as_mut());
                outcomes
            }
            Err(error) => {
                let others: Vec<Write> =
                    writes.iter().filter(|write| !is_of_points(write)).cloned().collect();
                let done = if others.is_empty() { Vec::new() } else { self.inner.write(&others) };
                let mut done = done.into_iter();
                let outcome = |write| match is_of_points(write) {
                    true => Err(error.clone()),
                    false => done.next().unwrap_or_else(no_outcome),
                };
                writes.iter().map(outcome).collect()
            }
        }
    }
}

impl Store for BehindStore {
    fn write(&mut self, writes: &[Write]) -> Vec<Outcome> {
        if !writes.iter().any(is_of_points) {
            return self.inner.write(writes);
        }
        let mut verdicts = self.check_logins(writes);
        if let Err(error) = self.make_room() {
            verdicts.iter_mut().for_each(|verdict| *verdict = verdict.clone().and(Err(error.clone())));
        }
        let mut outcomes = self.behind.accept(writes, verdicts);
        // All that follows the first that can't wait is written in its order, and so is what has no outcome.
        outcomes.resize(writes.len(), None);
        let now: Vec<usize> = (0..writes.len()).filter(|at| outcomes[*at].is_none()).collect();
        let left: Vec<Write> = now.iter().map(|at| writes[*at].clone()).collect();
        let done = match &left[..] {
            [] => Vec::new(),
            left if left.iter().any(is_of_points) => self.write_now(left),
            left => self.inner.write(left),
        };
        now.into_iter().zip(done).for_each(|(at, outcome)| outcomes[at] = Some(outcome));
        outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(no_outcome)).collect()
    }

    fn write_waiting(&mut self) -> Result<(), StoreError> {
        self.behind.flush(self.inner.as_mut(), self.patience)
    }

    fn points_after(
        &mut self,
        filter: &PointFilter,
        after: Option<PointAt>,
        count_max: usize,
    ) -> Result<PointPage, StoreError> {
        // Who has put a point and then asks is to see it.
        if after.is_none() {
            self.write_waiting()?;
        }
        self.inner.points_after(filter, after, count_max)
    }

    fn credentials(&mut self, name: &VmName) -> Result<Option<Credentials>, StoreError> {
        self.inner.credentials(name)
    }

    fn credentials_by_id(&mut self, id: VmId) -> Result<Option<Credentials>, StoreError> {
        self.inner.credentials_by_id(id)
    }

    fn password_hash_starts(&mut self, count_max: usize) -> Result<Vec<String>, StoreError> {
        self.inner.password_hash_starts(count_max)
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
}

/// Whether `write` is about points.
fn is_of_points(write: &Write) -> bool {
    matches!(write, Write::Put { .. } | Write::RemovePoints { .. })
}

fn no_outcome() -> Outcome {
    Err(StoreError::Unavailable("a write had no outcome".to_owned()))
}

#[cfg(test)]
mod tests;
