//! The buffer: acknowledged points that are not stored yet, the keys whose points may be buffered, and the lock
//! that lets one connection write points or remove series.
//!
//! Invariants: a point is buffered only if its key has a series in the store, or had one when it was accepted.
//! The guard learns of each removed series before any other write. Points are written in the order of
//! acceptance, by the holder of the guard; the points of one request share a commit. A point that could not be
//! written stays at the front of the queue.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::super::write::write_one;
use super::super::{PointRemoval, RemovedPoints, Store, StoreError, Write, WriteOutcome, Written};
use crate::limits;
use crate::model::{Login, MetricKey, NewPoint};

/// The buffered points, shared by all connections.
#[derive(Default)]
pub struct WriteBehindBuffer {
    state: Mutex<BufferState>,
    /// The queue became non-empty or large enough for a commit, or the buffer was closed.
    wakeup: Condvar,
    /// Points were written, or a guard was released.
    progressed: Condvar,
}

#[derive(Default)]
struct BufferState {
    /// Keys that have a series in the store, unless another process has removed it.
    known_keys: HashSet<MetricKey>,
    /// One entry per request.
    queue: VecDeque<Vec<NewPoint>>,
    /// The number of points in `queue`.
    queued_points: usize,
    /// The number of points ever queued.
    accepted: u64,
    /// The number of those that have been written.
    flushed: u64,
    /// A guard exists.
    has_writer: bool,
    is_closed: bool,
}

/// The exclusive right to write points and to remove series. Points whose write has not finished when it is
/// dropped return to the queue.
pub(super) struct WriterGuard<'a> {
    buffer: &'a WriteBehindBuffer,
    writing: Arc<Vec<NewPoint>>,
    /// Known keys whose points must not be buffered while the guard exists.
    withheld_keys: Vec<MetricKey>,
    /// A removal is running, and its result is not known yet.
    is_removing: bool,
}

impl WriteBehindBuffer {
    /// The number of points that are not written yet.
    pub fn unwritten(&self) -> u64 {
        let state = self.lock();
        state.accepted - state.flushed
    }

    /// Waits until points are queued, and then until they are enough for a commit or `pause` is over. Does not wait
    /// after [`WriteBehindBuffer::close`]; returns whether it is closed.
    pub fn wait_for_points(&self, pause: Duration) -> bool {
        let is_idle = |state: &mut BufferState| state.queue.is_empty() && !state.is_closed;
        let state = self.wakeup.wait_while(self.lock(), is_idle).unwrap_or_else(PoisonError::into_inner);
        let is_lingering =
            |state: &mut BufferState| state.queued_points < limits::POINTS_PER_COMMIT_MAX && !state.is_closed;
        let waited = self.wakeup.wait_timeout_while(state, pause, is_lingering);
        waited.unwrap_or_else(PoisonError::into_inner).0.is_closed
    }

    /// From now on points are written without lingering; called at shutdown.
    pub fn close(&self) {
        self.lock().is_closed = true;
        self.wakeup.notify_all();
    }

    /// Writes every point that is queued now to `store`, or waits until another thread has written it.
    /// Waits at most `lock_timeout` without progress.
    pub(super) fn flush(&self, store: &mut dyn Store, lock_timeout: Duration) -> Result<(), StoreError> {
        let target = self.lock().accepted;
        match self.acquire_until(target, lock_timeout)? {
            Some(mut guard) => guard.flush_until(target, store),
            None => Ok(()),
        }
    }

    /// Acquires the guard. Waits at most `lock_timeout` without progress.
    pub(super) fn acquire(&self, lock_timeout: Duration) -> Result<WriterGuard<'_>, StoreError> {
        self.acquire_until(u64::MAX, lock_timeout)?.ok_or(StoreError::Busy)
    }

    /// Like [`WriteBehindBuffer::acquire`]; returns `None` as soon as `target` points are written without
    /// it.
    fn acquire_until(
        &self,
        target: u64,
        lock_timeout: Duration,
    ) -> Result<Option<WriterGuard<'_>>, StoreError> {
        let mut state = self.lock();
        loop {
            let seen = state.flushed;
            let is_blocked =
                |state: &mut BufferState| state.has_writer && state.flushed == seen && seen < target;
            let waited = self.progressed.wait_timeout_while(state, lock_timeout, is_blocked);
            (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
            if state.flushed >= target {
                return Ok(None);
            }
            if !state.has_writer {
                state.has_writer = true;
                return Ok(Some(WriterGuard {
                    buffer: self,
                    writing: Arc::default(),
                    withheld_keys: Vec::new(),
                    is_removing: false,
                }));
            }
            if state.flushed == seen {
                return Err(StoreError::Busy);
            }
        }
    }

    /// Whether the buffer is full.
    pub(super) fn is_full(&self) -> bool {
        self.lock().queued_points >= limits::WRITE_BEHIND_POINTS_MAX
    }

    /// Buffers the points of `writes`, up to the first put with an unknown key; `check` says whether the
    /// points of a login may be put. Returns the results; other writes than puts get none.
    pub(super) fn accept(
        &self,
        writes: &[&Write],
        check: impl Fn(Option<&Login>) -> Result<(), StoreError>,
    ) -> Vec<Option<WriteOutcome>> {
        let mut state = self.lock();
        let before = state.queued_points;
        let mut outcomes = vec![None; writes.len()];
        for (write, outcome) in writes.iter().zip(&mut outcomes) {
            let Write::Put { login, points, .. } = write else { continue };
            if !state.knows_all_keys(points) {
                break;
            }
            *outcome = Some(check(login.as_ref()).map(|()| {
                state.accept(points);
                Written::Put { refused: Vec::new() }
            }));
        }
        let now = state.queued_points;
        let is_enough = |count| count >= limits::POINTS_PER_COMMIT_MAX;
        // Notify the flusher only if that makes a difference.
        if (before == 0 && now > 0) || (!is_enough(before) && is_enough(now)) {
            self.wakeup.notify_all();
        }
        outcomes
    }

    fn lock(&self) -> MutexGuard<'_, BufferState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl BufferState {
    fn knows_all_keys(&self, points: &[NewPoint]) -> bool {
        points.iter().all(|new| self.known_keys.contains(&new.key))
    }

    /// Queues the points of a request.
    fn accept(&mut self, points: &[NewPoint]) {
        // All points of a key share one copy of it.
        let shared = |key: &MetricKey| self.known_keys.get(key).unwrap_or(key).clone();
        let queued = |new: &NewPoint| NewPoint { key: shared(&new.key), point: new.point };
        let points: Vec<NewPoint> = points.iter().map(queued).collect();
        self.accepted += points.len() as u64;
        self.queued_points += points.len();
        self.queue.push_back(points);
    }

    /// Takes whole requests for one commit.
    fn take(&mut self) -> Vec<NewPoint> {
        let mut taken = self.queue.pop_front().unwrap_or_default();
        while taken.len() < limits::POINTS_PER_COMMIT_MAX
            && let Some(points) = self.queue.pop_front()
        {
            taken.extend(points);
        }
        self.queued_points -= taken.len();
        taken
    }
}

impl WriterGuard<'_> {
    /// Writes `writes` to `store`, after the points that were accepted before. Meanwhile no points of the same keys are
    /// buffered. So the points of each key, and new keys, are stored in the order of acceptance. After an error nothing
    /// of `writes` was done.
    pub(super) fn write(
        mut self,
        writes: &[&Write],
        store: &mut dyn Store,
    ) -> Result<Vec<WriteOutcome>, StoreError> {
        let mut state = self.buffer.lock();
        let points = writes.iter().flat_map(|write| write.points());
        self.withheld_keys.extend(points.filter_map(|new| state.known_keys.take(&new.key)));
        drop(state);
        self.flush(store)?;
        let outcomes = store.write(writes);
        let mut state = self.buffer.lock();
        for (write, outcome) in writes.iter().zip(&outcomes) {
            if let Ok(Written::Put { refused }) = outcome {
                let kept = write.points().iter().enumerate();
                let kept = kept.filter(|(index, _)| refused.binary_search(index).is_err());
                state.known_keys.extend(kept.map(|(_, new)| new.key.clone()));
            }
        }
        state.known_keys.extend(self.withheld_keys.drain(..));
        if state.known_keys.len() > KNOWN_KEYS_MAX {
            state.known_keys = HashSet::new();
        }
        drop(state);
        Ok(outcomes)
    }

    /// Removes points from `store`, after the points that were accepted before are written. If a series was removed, the
    /// points buffered since then are written before the guard is released, so that they reuse its place under the key
    /// limit.
    pub(super) fn remove_points(
        mut self,
        removal: PointRemoval,
        store: &mut dyn Store,
    ) -> Result<RemovedPoints, StoreError> {
        self.flush(store)?;
        self.is_removing = true;
        let outcome = store.remove_points(removal);
        self.is_removing = false;
        let mut state = self.buffer.lock();
        let has_removed = match &outcome {
            Ok(RemovedPoints { removed_keys, .. }) => {
                for key in removed_keys {
                    state.known_keys.remove(key);
                }
                !removed_keys.is_empty()
            }
            Err(StoreError::OutcomeUnknown(_)) => {
                state.known_keys = HashSet::new();
                true
            }
            Err(_) => false,
        };
        drop(state);
        if has_removed && let Err(error) = self.flush(store) {
            // They stay first in the queue.
            log::debug!("points of a removed series are not written yet: {error}");
        }
        outcome
    }

    /// Writes the points that are queued now to `store`.
    fn flush(&mut self, store: &mut dyn Store) -> Result<(), StoreError> {
        let target = self.buffer.lock().accepted;
        self.flush_until(target, store)
    }

    /// Writes queued points to `store` until `target` points are written.
    fn flush_until(&mut self, target: u64, store: &mut dyn Store) -> Result<(), StoreError> {
        loop {
            let mut state = self.buffer.lock();
            if state.flushed >= target {
                return Ok(());
            }
            self.writing = Arc::new(state.take());
            drop(state);
            // They were acknowledged, so they are stored even if another process has removed their
            // series and the key limit is reached.
            let put = Write::Put {
                login: None,
                points: Arc::clone(&self.writing),
                keys_max: Write::KEYS_UNBOUNDED,
                is_atomic: false,
            };
            // No point is lost: they are written again. The work that depends on this is not done.
            write_one(store, &put).map_err(StoreError::of_untried)?;
            let written = std::mem::take(&mut self.writing);
            self.buffer.lock().flushed += written.len() as u64;
            self.buffer.progressed.notify_all();
        }
    }
}

impl Drop for WriterGuard<'_> {
    fn drop(&mut self) {
        let mut state = self.buffer.lock();
        state.has_writer = false;
        state.known_keys.extend(self.withheld_keys.drain(..));
        if self.is_removing {
            // The result of the removal is unknown.
            state.known_keys = HashSet::new();
        }
        if !self.writing.is_empty() {
            state.queued_points += self.writing.len();
            state.queue.push_front(self.writing.to_vec());
        }
        drop(state);
        self.buffer.progressed.notify_all();
    }
}

/// The number of known keys above which they are forgotten: the maximum that can exist, and as many that
/// another process has removed.
const KNOWN_KEYS_MAX: usize = 2 * limits::METRIC_KEYS_MAX as usize;
