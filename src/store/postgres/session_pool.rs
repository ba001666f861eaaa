//! The connections to one database that there are: lent to whoever has work for one, for as long as that takes.
//!
//! Each borrower gets the one again that it had, as long as there may be one for each: one that hangs is nobody
//! else's. A database may give fewer than there are threads that could work (`--store-connections`, or its own limits). Then
//! they take turns: who finds none waits until another comes back, in the order in which they came, and the
//! database is asked for more now and then.
//!
//! Invariants: no more than `max` are open at a time, those that are being made included; a session that was
//! lost takes those with it that rest, since what ended it most likely ended them.

use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::connector::Connector;
use super::hosts::ConnectErrorKind;
use super::pg_error::PgError;
use super::pg_session::{PgSession, WaitMode};
use crate::clock::{Clock, Instant, SystemClock};
use crate::limits;

pub(super) struct SessionPool {
    connector: Connector,
    max: usize,
    state: Mutex<PoolState>,
    /// Something has come back, or somebody waits no more.
    changed: Condvar,
    clock: SystemClock,
}

#[derive(Default)]
struct PoolState {
    /// The one that was used last in the end.
    idle: Vec<PgSession>,
    /// Those that rest, that are lent and that are being made.
    open: usize,
    /// How many sessions have come back.
    returns: u64,
    /// Counts losses: what was lent before the last one is of no use any more.
    generation: u64,
    /// Counts those who borrow.
    borrowers: u64,
    /// Those who wait, in order.
    queue: VecDeque<u64>,
    tickets: u64,
    /// Those who wait to see whether any comes back.
    probing: usize,
    full: Option<ServerFull>,
}

/// The database gives no more.
struct ServerFull {
    retry_at: Instant,
    attempts: u32,
}

/// Who borrows sessions, one at a time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Borrower {
    number: u64,
    pub(super) wait_mode: WaitMode,
}

/// A session on loan. It is closed, unless it is handed back by [`PooledSession::keep`].
pub(super) struct PooledSession<'s> {
    pool: &'s SessionPool,
    /// There until it is dropped.
    session: Option<PgSession>,
    generation: u64,
}

/// The owner of a session that nobody owns.
const NO_OWNER: u64 = 0;

/// What there is for who comes first.
enum Grant {
    /// The one that rests there.
    Idle(usize),
    Connect,
    Wait,
}

impl SessionPool {
    pub(super) fn new(connector: Connector, max: usize) -> SessionPool {
        let (state, changed) = (Mutex::default(), Condvar::new());
        SessionPool { connector, max, state, changed, clock: SystemClock::new() }
    }

    pub(super) fn connector(&self) -> &Connector {
        &self.connector
    }

    pub(super) fn max(&self) -> usize {
        self.max
    }

    /// A session, made where `borrower` has none and one more may be, and else the next that comes back.
    pub(super) fn acquire(&self, borrower: Borrower) -> Result<PooledSession<'_>, PgError> {
        let deadline = self.now() + borrower.wait_mode.lock_timeout();
        let mut state = self.lock();
        let ticket = state.enqueue();
        loop {
            let now = self.now();
            match state.grant(ticket, borrower, self.max, now) {
                Grant::Idle(index) => {
                    let session = state.idle.remove(index);
                    return Ok(self.lend(state, ticket, borrower, session));
                }
                Grant::Connect => {
                    let returns = state.returns;
                    drop(state);
                    // Who comes next need not wait for that.
                    self.changed.notify_all();
                    let made = self.connector.connect(borrower.wait_mode);
                    state = self.lock();
                    let failure = match made {
                        Ok(session) => {
                            state.full = None;
                            return Ok(self.lend(state, ticket, borrower, session));
                        }
                        Err(failure) => failure,
                    };
                    state.open -= 1;
                    // One that answers others is there: it lets us wait, or a pooler does.
                    let is_full = match failure.kind {
                        ConnectErrorKind::TooManyConnections => true,
                        ConnectErrorKind::Timeout if state.returns != returns => true,
                        ConnectErrorKind::Timeout => {
                            let answers;
                            (state, answers) = self.any_responds(state, returns);
                            answers
                        }
                        ConnectErrorKind::Misconfigured | ConnectErrorKind::Other => false,
                    };
                    if state.open == 0 || !is_full {
                        self.leave_queue(state, ticket);
                        return Err(failure.into());
                    }
                    state.record_full(&failure.why, self.now());
                    state.requeue(ticket);
                }
                Grant::Wait if now >= deadline => {
                    self.leave_queue(state, ticket);
                    return Err(PgError::LockTimeout);
                }
                Grant::Wait => {
                    let full_until =
                        state.full.as_ref().map(|full| full.retry_at).filter(|until| *until > now);
                    let until = full_until.map_or(deadline, |until| until.min(deadline));
                    let waited = self.changed.wait_timeout(state, until - now);
                    (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }

    /// Whether one of the sessions still has an answer: one that rests, or one that comes back soon, which may be what
    /// another thread asks the same.
    fn any_responds<'s>(
        &'s self,
        mut state: MutexGuard<'s, PoolState>,
        returns: u64,
    ) -> (MutexGuard<'s, PoolState>, bool) {
        if state.idle.is_empty() {
            let is_unchanged = |state: &mut PoolState| state.returns == returns;
            state.probing += 1;
            let waited = self.changed.wait_timeout_while(state, limits::POSTGRES_ANSWER, is_unchanged);
            (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
            state.probing -= 1;
            let came_back = state.returns != returns;
            return (state, came_back);
        }
        let Some(mut session) = state.idle.pop() else { return (state, false) };
        let generation = state.generation;
        drop(state);
        let answers = session.is_responsive(limits::POSTGRES_ANSWER);
        let pooled = PooledSession { pool: self, session: Some(session), generation };
        match answers {
            true => pooled.release(),
            false => drop(pooled),
        }
        (self.lock(), answers)
    }

    /// One more who may need a session, and waits so long for others.
    pub(super) fn register(&self, wait_mode: WaitMode) -> Borrower {
        let mut state = self.lock();
        state.borrowers += 1;
        Borrower { number: state.borrowers, wait_mode }
    }

    /// `borrower` needs none any more.
    pub(super) fn unregister(&self, borrower: Borrower) {
        let mut state = self.lock();
        let of_it = state.idle.extract_if(.., |session| session.owner == borrower.number);
        let closed: Vec<PgSession> = of_it.collect();
        state.record_closed(closed.len(), self.now());
        drop(state);
        self.changed.notify_all();
        // Closing them takes time.
        drop(closed);
    }

    fn lend<'s>(
        &'s self,
        mut state: MutexGuard<'_, PoolState>,
        ticket: u64,
        borrower: Borrower,
        mut session: PgSession,
    ) -> PooledSession<'s> {
        session.owner = borrower.number;
        let generation = state.generation;
        state.queue.retain(|other| *other != ticket);
        let others_wait = !state.queue.is_empty();
        drop(state);
        if others_wait {
            self.changed.notify_all();
        }
        PooledSession { pool: self, session: Some(session), generation }
    }

    fn leave_queue(&self, mut state: MutexGuard<'_, PoolState>, ticket: u64) {
        state.queue.retain(|other| *other != ticket);
        drop(state);
        self.changed.notify_all();
    }

    fn now(&self) -> Instant {
        let mut clock = self.clock;
        clock.now()
    }

    fn lock(&self) -> MutexGuard<'_, PoolState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PoolState {
    fn enqueue(&mut self) -> u64 {
        self.tickets += 1;
        self.queue.push_back(self.tickets);
        self.tickets
    }

    /// Puts who holds `ticket` back to its place.
    fn requeue(&mut self, ticket: u64) {
        let index = self.queue.partition_point(|other| *other < ticket);
        self.queue.insert(index, ticket);
    }

    /// What there is for who holds `ticket`. Who is to make one has its place among those that are open, and
    /// none in the queue, until it is known what comes of it.
    fn grant(&mut self, ticket: u64, borrower: Borrower, max: usize, now: Instant) -> Grant {
        if self.queue.front() != Some(&ticket) {
            return Grant::Wait;
        }
        let before = self.idle.len();
        self.idle.retain(|session| !session.is_closed());
        self.record_closed(before - self.idle.len(), now);
        let may_make = self.open < max && self.full.as_ref().is_none_or(|full| full.retry_at <= now);
        let owned_by = |number: u64| self.idle.iter().rposition(|session| session.owner == number);
        // The first of them has rested longest.
        let others = || Some(0).filter(|_| !may_make && !self.idle.is_empty());
        let index = owned_by(borrower.number).or_else(|| owned_by(NO_OWNER)).or_else(others);
        match index {
            Some(index) => Grant::Idle(index),
            None if may_make => {
                self.open += 1;
                self.queue.pop_front();
                Grant::Connect
            }
            None => Grant::Wait,
        }
    }

    /// So many sessions are gone: there may be room for others.
    fn record_closed(&mut self, count: usize, now: Instant) {
        self.open -= count;
        if count > 0
            && let Some(full) = &mut self.full
        {
            full.retry_at = now;
        }
    }

    fn record_full(&mut self, why: &str, now: Instant) {
        let times = self.full.as_ref().map_or(0, |full| full.attempts);
        if times == 0 {
            log::warn!("the database gives no more than {} connections, which take turns: {why}", self.open);
        }
        let pause = limits::POSTGRES_FULL_PAUSE_FIRST.saturating_mul(1 << times.min(8));
        let until = now + pause.min(limits::POSTGRES_FULL_PAUSE_MAX);
        self.full = Some(ServerFull { retry_at: until, attempts: times.saturating_add(1) });
    }
}

impl PooledSession<'_> {
    /// It can be used again: no transaction is open.
    pub(super) fn release(mut self) {
        let Some(session) = self.session.take() else { return };
        let mut state = self.pool.lock();
        state.returns += 1;
        let stale = match state.generation == self.generation {
            true => {
                state.idle.push(session);
                None
            }
            false => {
                state.record_closed(1, self.pool.now());
                Some(session)
            }
        };
        let others_wait = !state.queue.is_empty() || state.probing > 0;
        drop(state);
        if others_wait {
            self.pool.changed.notify_all();
        }
        drop(stale);
    }

    /// It is of no use any more. Nor is what rests or is lent since before that, unless somebody has found that out.
    pub(super) fn invalidate(self) {
        let pool = self.pool;
        let mut state = pool.lock();
        let mut idle = Vec::new();
        if state.generation == self.generation {
            state.generation += 1;
            std::mem::swap(&mut idle, &mut state.idle);
            state.record_closed(idle.len(), pool.now());
        }
        drop(state);
        // Closing them takes time.
        drop((idle, self));
    }

    /// It is whoever's comes first from now on.
    pub(super) fn release_unowned(mut self) {
        self.owner = NO_OWNER;
        self.release();
    }

    /// Waits as long as whoever has it does.
    pub(super) fn apply_wait_mode(&mut self, wait_mode: WaitMode) -> Result<(), PgError> {
        if self.wait_mode() != wait_mode {
            let settings = self.pool.connector.settings(wait_mode).to_owned();
            self.set_wait_mode(wait_mode, &settings)?;
        }
        Ok(())
    }
}

impl Drop for PooledSession<'_> {
    fn drop(&mut self) {
        let Some(session) = self.session.take() else { return };
        drop(session);
        self.pool.lock().record_closed(1, self.pool.now());
        self.pool.changed.notify_all();
    }
}

impl Deref for PooledSession<'_> {
    type Target = PgSession;

    fn deref(&self) -> &PgSession {
        self.session.as_ref().expect("there until it is dropped")
    }
}

impl DerefMut for PooledSession<'_> {
    fn deref_mut(&mut self) -> &mut PgSession {
        self.session.as_mut().expect("there until it is dropped")
    }
}
