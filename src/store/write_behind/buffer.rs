//! The waiting room itself: points that were answered and are not in the store yet, the keys whose points may wait,
//! and whose turn it is to work at the store with either.
//!
//! Invariants: a point waits only if its key has a series in the store, or had one when it was accepted; whoever has
//! the turn hears of every series that goes, before anybody else writes; points are written in the order in which they
//! were accepted, by whoever has the turn; those of one request share a commit; a point that could not be written
//! waits on, before those that came after it.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::super::{Store, StoreError, Write, Written};
use super::Outcome;
use crate::limits;
use crate::model::{MetricKey, NewPoint};

/// The points that wait, shared by all connections.
#[derive(Default)]
pub struct WriteBehindBuffer {
    state: Mutex<BufferState>,
    /// A point came where none was, or there are enough for a commit, or nobody will put any more.
    wakeup: Condvar,
    /// Some points were written, or a turn has ended.
    progressed: Condvar,
}

#[derive(Default)]
struct BufferState {
    /// Keys whose series the store has, unless another process has removed it.
    known_keys: HashSet<MetricKey>,
    /// By request.
    queue: VecDeque<Vec<NewPoint>>,
    /// How many points these are.
    queued_points: usize,
    /// Points that have ever waited.
    accepted: u64,
    /// Those that wait no more, from the first on.
    flushed: u64,
    /// Somebody has the turn.
    has_writer: bool,
    is_closed: bool,
}

/// The right to write points and to remove series, which one connection has at a time. Points that were on their way
/// to the store when it ends wait again.
pub(super) struct WriterGuard<'a> {
    buffer: &'a WriteBehindBuffer,
    writing: Arc<Vec<NewPoint>>,
    /// Known keys whose next points must not wait while this lasts.
    withheld_keys: Vec<MetricKey>,
    /// Series are being removed, and nobody knows yet which.
    is_removing: bool,
}

impl WriteBehindBuffer {
    /// Points that wait to be written.
    pub fn unwritten(&self) -> u64 {
        let state = self.lock();
        state.accepted - state.flushed
    }

    /// Returns when points wait, or [`WriteBehindBuffer::close`] was called; whether it was.
    pub fn wait_for_points(&self) -> bool {
        let is_idle = |state: &mut BufferState| state.queue.is_empty() && !state.is_closed;
        let state = self.wakeup.wait_while(self.lock(), is_idle).unwrap_or_else(PoisonError::into_inner);
        state.is_closed
    }

    /// Returns when enough points wait to be worth a commit, when `pause` is over, or when closed; whether it is.
    pub fn linger(&self, pause: Duration) -> bool {
        let is_lingering =
            |state: &mut BufferState| state.queued_points < limits::POINTS_PER_COMMIT_MAX && !state.is_closed;
        let waited = self.wakeup.wait_timeout_while(self.lock(), pause, is_lingering);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.is_closed
    }

    /// What waits is to be written without a pause from now on: the end is near.
    pub fn close(&self) {
        self.lock().is_closed = true;
        self.wakeup.notify_all();
    }

    /// Has every point that waits now written to `store`, by this thread or whichever is at it. Waits for others for
    /// `patience` at most at a time.
    pub(super) fn flush(&self, store: &mut dyn Store, lock_timeout: Duration) -> Result<(), StoreError> {
        let target = self.lock().accepted;
        match self.acquire_until(target, lock_timeout)? {
            Some(mut guard) => guard.flush_until(target, store),
            None => Ok(()),
        }
    }

    /// The turn, once nobody has it. Waits for others for `patience` at most at a time.
    pub(super) fn acquire(&self, lock_timeout: Duration) -> Result<WriterGuard<'_>, StoreError> {
        self.acquire_until(u64::MAX, lock_timeout)?.ok_or(StoreError::Busy)
    }

    /// As [`WriteBehindBuffer::turn`]; `None` as soon as `target` points are settled without it.
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

    /// Whether there is no room for more.
    pub(super) fn is_full(&self) -> bool {
        self.lock().queued_points >= limits::POINTS_BEHIND_MAX
    }

    /// Lets the points of `writes` wait up to the first that can't, because it is about points and not about known
    /// keys only; what came of those before it. Each has the verdict of its place on whether it may. What is not
    /// about points is passed over, and has no outcome.
    pub(super) fn accept(
        &self,
        writes: &[Write],
        login_checks: Vec<Result<(), StoreError>>,
    ) -> Vec<Option<Outcome>> {
        let mut state = self.lock();
        let before = state.queued_points;
        let mut outcomes = Vec::with_capacity(writes.len());
        for (write, check) in writes.iter().zip(login_checks) {
            outcomes.push(match (write, check) {
                (Write::Put { points, .. }, _) if !state.knows_all_keys(points) => break,
                (Write::RemovePoints { .. }, _) => break,
                (Write::Put { .. }, Err(error)) => Some(Err(error)),
                (Write::Put { points, .. }, Ok(())) => {
                    state.accept(points);
                    Some(Ok(Written::Put { refused: Vec::new() }))
                }
                _ => None,
            });
        }
        let now = state.queued_points;
        let is_enough = |count| count >= limits::POINTS_PER_COMMIT_MAX;
        // Whoever writes behind is called if that makes a difference.
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

    /// The points of a request wait from now on.
    fn accept(&mut self, points: &[NewPoint]) {
        // One copy of each key for all of its points.
        let shared = |key: &MetricKey| self.known_keys.get(key).unwrap_or(key).clone();
        let points =
            points.iter().map(|NewPoint { key, point }| NewPoint { key: shared(key), point: *point });
        let points: Vec<NewPoint> = points.collect();
        self.accepted += points.len() as u64;
        self.queued_points += points.len();
        self.queue.push_back(points);
    }

    /// Takes what is to share a commit, requests as a whole.
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
    /// Prepares for writing `writes` past the waiting room: the points of their keys that were accepted before are
    /// written, and those that come meanwhile have to wait for the next turn. So each key's points, and the keys that
    /// there may be, are written in the order in which they were accepted.
    pub(super) fn prepare(&mut self, writes: &[Write], store: &mut dyn Store) -> Result<(), StoreError> {
        let mut state = self.buffer.lock();
        for write in writes {
            match write {
                Write::Put { points, .. } => {
                    let shared = points.iter().filter_map(|new| state.known_keys.take(&new.key));
                    self.withheld_keys.extend(shared);
                }
                Write::RemovePoints { .. } => self.is_removing = true,
                _ => {}
            }
        }
        let target = state.accepted;
        drop(state);
        let is_removing = std::mem::take(&mut self.is_removing);
        self.flush_until(target, store)?;
        self.is_removing = is_removing;
        Ok(())
    }

    /// Notes which keys the store has after `writes` came to `outcomes`. Points that wait though their series is gone
    /// are written to `store` before anybody's turn is next: the room that there was for their keys is theirs.
    pub(super) fn finish(mut self, writes: &[Write], outcomes: &[Outcome], store: &mut dyn Store) {
        let mut state = self.buffer.lock();
        for (write, outcome) in writes.iter().zip(outcomes) {
            if let (Write::Put { points, .. }, Ok(Written::Put { refused })) = (write, outcome) {
                let is_kept = |index: &usize| refused.binary_search(index).is_err();
                let kept = (0..points.len()).filter(is_kept).map(|index| points[index].key.clone());
                state.known_keys.extend(kept);
            }
        }
        state.known_keys.extend(self.withheld_keys.drain(..));
        let mut has_removed = false;
        for (write, outcome) in writes.iter().zip(outcomes) {
            match (write, outcome) {
                (_, Ok(Written::PointsRemoved { removed_keys: gone, .. })) => {
                    has_removed |= !gone.is_empty();
                    for key in gone {
                        state.known_keys.remove(key);
                    }
                }
                (Write::RemovePoints { .. }, Err(StoreError::OutcomeUnknown(_))) => {
                    has_removed = true;
                    state.known_keys = HashSet::new();
                }
                _ => {}
            }
        }
        self.is_removing = false;
        if state.known_keys.len() > KNOWN_KEYS_MAX {
            state.known_keys = HashSet::new();
        }
        let target = state.accepted;
        drop(state);
        if has_removed && let Err(error) = self.flush_until(target, store) {
            // They have their turn before everybody else's points.
            log::debug!("points wait while their series is gone: {error}");
        }
    }

    /// Writes points to `store` until `target` are settled.
    fn flush_until(&mut self, target: u64, store: &mut dyn Store) -> Result<(), StoreError> {
        loop {
            let mut state = self.buffer.lock();
            if state.flushed >= target {
                return Ok(());
            }
            self.writing = Arc::new(state.take());
            drop(state);
            // They were answered: they are kept, even if another process has removed their series and others have
            // taken its room since.
            let put = Write::Put {
                login: None,
                points: Arc::clone(&self.writing),
                keys_max: Write::KEYS_UNBOUNDED,
                is_atomic: false,
            };
            match store.write(&[put]).pop() {
                Some(Ok(_)) => {}
                // Nothing is known to be lost, and nothing was done of what waits for this.
                Some(Err(StoreError::OutcomeUnknown(why))) => return Err(StoreError::Unavailable(why)),
                Some(Err(error)) => return Err(error),
                None => return Err(StoreError::Unavailable("points had no outcome".to_owned())),
            }
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
            // What was removed was never told.
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

/// Keys that are known, at most, until they are looked up anew: those that there can be, and as many that another
/// process has removed since.
const KNOWN_KEYS_MAX: usize = 2 * limits::METRIC_KEYS_MAX as usize;
