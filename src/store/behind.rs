//! Points that are written behind: kept in this process first, and written to the store that stands behind it
//! within a second, or when somebody asks for points.
//!
//! What is promised of a point is what this process's memory can promise. The first point of a key is written
//! before it is answered, like everything else, since only the store can tell whether there is room for one key
//! more; from then on the key is known.
//!
//! Invariants: points that wait are of known keys; those of one key are written in the order in which they came,
//! by one writer at a time; those of one request share a commit; a point that could not be written waits on.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Patience, PointAt, PointPage, Store, StoreError, StoreFactory, VmPage, Write, Written};
use crate::clock::UnixSeconds;
use crate::ids::{DiskId, VmId};
use crate::limits;
use crate::model::{Credentials, DiskOfVm, Login, MetricKey, NewPoint, PointFilter, TokenHash, Vm, VmName};

/// Makes connections to a store that writes points behind.
pub struct BehindFactory {
    inner: Arc<dyn StoreFactory>,
    behind: Arc<Behind>,
}

/// The points that wait, shared by all connections.
#[derive(Default)]
pub struct Behind {
    state: Mutex<State>,
    /// A point came where none was, or there are enough for a commit, or some were written, or could not be.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Keys that the store has, or had not long ago.
    known: HashSet<MetricKey>,
    /// By request.
    waiting: VecDeque<Vec<NewPoint>>,
    /// How many points these are.
    waiting_count: usize,
    /// Points that have ever waited.
    accepted: u64,
    /// Those that wait no more, from the first on.
    settled: u64,
    is_writing: bool,
    lost: u64,
    is_closed: bool,
}

/// One connection.
struct BehindStore {
    inner: Box<dyn Store>,
    behind: Arc<Behind>,
}

/// Points on their way to the store. Dropped before they have arrived, they wait again.
struct Writing<'a> {
    behind: &'a Behind,
    points: Arc<Vec<NewPoint>>,
}

/// A [`Write::Put`] of which a part has to be written before it is answered.
struct Parted {
    /// Its place among the writes.
    place: usize,
    /// The places of the points that have to be: those whose keys are not known, or all, where they are kept all or
    /// none.
    now: Vec<usize>,
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

    fn wrap(&self, inner: Box<dyn Store>) -> Box<dyn Store> {
        Box::new(BehindStore { inner, behind: self.behind() })
    }
}

impl StoreFactory for BehindFactory {
    fn connect(&self) -> Result<Box<dyn Store>, StoreError> {
        self.inner.connect().map(|inner| self.wrap(inner))
    }

    fn connect_worker(&self) -> Result<Box<dyn Store>, StoreError> {
        self.inner.connect_worker().map(|inner| self.wrap(inner))
    }

    fn worker_patience(&self) -> Option<Patience> {
        self.inner.worker_patience()
    }

    fn writers_max(&self) -> usize {
        self.inner.writers_max()
    }
}

impl Behind {
    /// Points that wait to be written, and those that were answered `ok` and could not be kept.
    pub fn counts(&self) -> (u64, u64) {
        let state = self.lock();
        (state.accepted - state.settled, state.lost)
    }

    /// Returns when points wait, or [`Behind::close`] was called; whether it was.
    pub fn wait_for_points(&self) -> bool {
        let is_idle = |state: &mut State| state.waiting.is_empty() && !state.is_closed;
        let state = self.changed.wait_while(self.lock(), is_idle).unwrap_or_else(PoisonError::into_inner);
        state.is_closed
    }

    /// Returns when enough points wait to be worth a commit, when `pause` is over, or when closed; whether it is.
    pub fn gather(&self, pause: Duration) -> bool {
        let gathers =
            |state: &mut State| state.waiting_count < limits::POINTS_PER_COMMIT_MAX && !state.is_closed;
        let waited = self.changed.wait_timeout_while(self.lock(), pause, gathers);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.is_closed
    }

    /// Nobody will put points any more.
    pub fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_all();
    }

    /// Has every point that waits now written to `store`, by this thread or whichever is at it. Waits for others for
    /// `patience` at most at a time.
    pub fn flush(&self, store: &mut dyn Store, patience: Duration) -> Result<(), StoreError> {
        let mut state = self.lock();
        let target = state.accepted;
        while state.settled < target {
            if state.is_writing {
                let is_at_it = |state: &mut State| state.is_writing && state.settled < target;
                let waited = self.changed.wait_timeout_while(state, patience, is_at_it);
                let (woken, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
                if timeout.timed_out() {
                    return Err(StoreError::Busy);
                }
                state = woken;
                continue;
            }
            let points = Arc::new(state.take());
            state.is_writing = true;
            drop(state);
            let writing = Writing { behind: self, points };
            let put = Write::Put {
                login: None,
                points: Arc::clone(&writing.points),
                keys_max: limits::METRIC_KEYS_MAX,
                is_atomic: false,
            };
            match store.write(&[put]).pop() {
                Some(Ok(Written::Put { refused })) => writing.arrived(&refused),
                Some(Err(error)) => return Err(error),
                _ => return Err(StoreError::Unavailable("points had no outcome".to_owned())),
            }
            state = self.lock();
        }
        Ok(())
    }

    /// Tells whoever waits for points, where there were `before`, if that makes a difference.
    fn tell(&self, before: usize, now: usize) {
        let is_enough = |count| count >= limits::POINTS_PER_COMMIT_MAX;
        if (before == 0 && now > 0) || (!is_enough(before) && is_enough(now)) {
            self.changed.notify_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn knows_all(&self, points: &[NewPoint]) -> bool {
        points.iter().all(|new| self.known.contains(&new.key))
    }

    /// The points of a request wait from now on.
    fn accept<'p>(&mut self, points: impl Iterator<Item = &'p NewPoint>) {
        // One copy of each key for all of its points.
        let known = |key: &MetricKey| self.known.get(key).unwrap_or(key).clone();
        let points = points.map(|NewPoint { key, point }| NewPoint { key: known(key), point: *point });
        let points: Vec<NewPoint> = points.collect();
        self.accepted += points.len() as u64;
        self.waiting_count += points.len();
        self.waiting.push_back(points);
    }

    /// Takes what is to share a commit, requests as a whole.
    fn take(&mut self) -> Vec<NewPoint> {
        let mut taken = self.waiting.pop_front().unwrap_or_default();
        while taken.len() < limits::POINTS_PER_COMMIT_MAX
            && let Some(points) = self.waiting.pop_front()
        {
            taken.extend(points);
        }
        self.waiting_count -= taken.len();
        taken
    }
}

impl Writing<'_> {
    /// They are written, but for those at the places `refused`.
    fn arrived(mut self, refused: &[usize]) {
        let points = std::mem::take(&mut self.points);
        let mut state = self.behind.lock();
        state.settled += points.len() as u64;
        for place in refused {
            // It was removed when it had no points left, and others have taken its room.
            state.known.remove(&points[*place].key);
            state.lost += 1;
        }
        if state.waiting.is_empty() && state.known.len() > KNOWN_MAX {
            state.known = HashSet::new();
        }
        drop(state);
        if !refused.is_empty() {
            log::error!("{} points are lost: there are too many keys of metrics", refused.len());
        }
    }
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        let mut state = self.behind.lock();
        state.is_writing = false;
        if !self.points.is_empty() {
            state.waiting_count += self.points.len();
            state.waiting.push_front(self.points.to_vec());
        }
        drop(state);
        self.behind.changed.notify_all();
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

    /// Makes sure that there is room for points to wait, and that none waits which is to be replaced by one that
    /// can't: those that are kept all or none are written now as soon as one of their keys is not known.
    fn prepare(&mut self, writes: &[Write]) -> Result<(), StoreError> {
        let state = self.behind.lock();
        let has_room = state.waiting_count < limits::POINTS_BEHIND_MAX;
        let is_written_now = |write: &Write| match write {
            Write::Put { points, is_atomic: true, .. } => !state.knows_all(points),
            _ => false,
        };
        if has_room && !writes.iter().any(is_written_now) {
            return Ok(());
        }
        drop(state);
        self.behind.flush(self.inner.as_mut(), limits::POINTS_BEHIND_PATIENCE)
    }
}

impl Store for BehindStore {
    fn write(&mut self, writes: &[Write]) -> Vec<Outcome> {
        if !writes.iter().any(|write| matches!(write, Write::Put { .. })) {
            return self.inner.write(writes);
        }
        let verdicts = self.check_logins(writes);
        let prepared = self.prepare(writes);
        let mut outcomes: Vec<Option<Outcome>> = Vec::with_capacity(writes.len());
        // Those that the store has to do now, and which they are; of a put, the part that it has to.
        let (mut forwarded, mut parts) = (Vec::new(), Vec::new());
        let mut state = self.behind.lock();
        let before = state.waiting_count;
        for ((place, write), verdict) in writes.iter().enumerate().zip(verdicts) {
            let Write::Put { login, points, keys_max, is_atomic } = write else {
                forwarded.push(write.clone());
                parts.push(Parted { place, now: Vec::new() });
                outcomes.push(None);
                continue;
            };
            if let Err(error) = verdict.and_then(|()| prepared.clone()) {
                outcomes.push(Some(Err(error)));
                continue;
            }
            if state.knows_all(points) {
                state.accept(points.iter());
                outcomes.push(Some(Ok(Written::Put { refused: Vec::new() })));
                continue;
            }
            let is_now = |at: &usize| *is_atomic || !state.known.contains(&points[*at].key);
            let now: Vec<usize> = (0..points.len()).filter(is_now).collect();
            let part = now.iter().map(|at| points[*at].clone()).collect();
            let (login, points) = (login.clone(), Arc::new(part));
            forwarded.push(Write::Put { login, points, keys_max: *keys_max, is_atomic: *is_atomic });
            parts.push(Parted { place, now });
            outcomes.push(None);
        }
        self.behind.tell(before, state.waiting_count);
        drop(state);
        let done = if forwarded.is_empty() { Vec::new() } else { self.inner.write(&forwarded) };
        let mut state = self.behind.lock();
        let before = state.waiting_count;
        for (Parted { place, now }, outcome) in parts.into_iter().zip(done) {
            outcomes[place] = Some(match &writes[place] {
                Write::Put { points, .. } => state.settle(points, &now, outcome),
                _ => outcome,
            });
        }
        self.behind.tell(before, state.waiting_count);
        drop(state);
        let missing = || Err(StoreError::Unavailable("a write had no outcome".to_owned()));
        outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(missing)).collect()
    }

    fn points_after(
        &mut self,
        filter: &PointFilter,
        after: Option<PointAt>,
        count_max: usize,
    ) -> Result<PointPage, StoreError> {
        // Who has put a point and then asks is to see it.
        if after.is_none() {
            self.behind.flush(self.inner.as_mut(), limits::POINTS_BEHIND_PATIENCE)?;
        }
        self.inner.points_after(filter, after, count_max)
    }

    fn credentials(&mut self, name: &VmName) -> Result<Option<Credentials>, StoreError> {
        self.inner.credentials(name)
    }

    fn credentials_by_id(&mut self, id: VmId) -> Result<Option<Credentials>, StoreError> {
        self.inner.credentials_by_id(id)
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

impl State {
    /// What comes of a put of which the points at the places `now` were written to `outcome`: if they were, the
    /// others wait from now on.
    fn settle(&mut self, points: &[NewPoint], now: &[usize], outcome: Outcome) -> Outcome {
        match outcome {
            Ok(Written::Put { refused }) => {
                let refused: Vec<usize> = refused.into_iter().map(|at| now[at]).collect();
                let (mut others, mut written) = (Vec::new(), now.iter().peekable());
                for (at, new) in points.iter().enumerate() {
                    if written.next_if_eq(&&at).is_none() {
                        others.push(new);
                    } else if refused.binary_search(&at).is_err() {
                        self.known.insert(new.key.clone());
                    }
                }
                if !others.is_empty() {
                    self.accept(others.into_iter());
                }
                Ok(Written::Put { refused })
            }
            Err(StoreError::KeyLimitReached(at)) => Err(StoreError::KeyLimitReached(now[at])),
            other => other,
        }
    }
}

/// Keys that are known, at most, until they are looked up anew: those that there can be, and as many that were
/// removed since.
const KNOWN_MAX: usize = 2 * limits::METRIC_KEYS_MAX as usize;

#[cfg(test)]
#[path = "behind_tests.rs"]
mod tests;
