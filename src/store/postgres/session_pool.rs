//! The pool of connections to one database, lent to borrowers for one piece of work each.
//!
//! A borrower gets its previous session again as long as each may have its own, so that one that hangs affects
//! no other. If the database allows fewer connections than there are borrowers (`--store-connections`, or the
//! server's own limit), they take turns in order of arrival, and more connections are tried now and then.
//!
//! Invariants: at most `max` are open, including those being made. A lost session closes the idle ones too,
//! since the same cause most likely ended them.

use std::collections::BTreeSet;
use std::ops::{Deref, DerefMut};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::changes::ChangeLog;
use super::connector::Connector;
use super::hosts::ConnectErrorKind;
use super::pg_error::PgError;
use super::pg_session::{PgSession, WaitMode, exponential_backoff};
use crate::clock::{Instant, monotonic_now};
use crate::limits;

pub(super) struct SessionPool {
    pub(super) connector: Connector,
    pub(super) max: usize,
    pub(super) change_log: ChangeLog,
    state: Mutex<PoolState>,
    /// A session was returned, or a waiter left.
    changed: Condvar,
}

#[derive(Default)]
struct PoolState {
    /// The most recently used is last.
    idle: Vec<PgSession>,
    /// Sessions that are idle, lent or being made.
    open: usize,
    /// The number of returned sessions.
    returns: u64,
    /// Counts losses: sessions lent before the last one are useless.
    generation: u64,
    /// Counts borrowers.
    borrowers: u64,
    /// The tickets of waiting borrowers.
    queue: BTreeSet<u64>,
    tickets: u64,
    /// Threads that wait to see whether any session is returned.
    probing: usize,
    full: Option<ServerFull>,
}

/// The database accepts no more connections.
struct ServerFull {
    retry_at: Instant,
    attempts: u32,
}

/// A borrower of sessions, one at a time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Borrower {
    number: u64,
    pub(super) wait_mode: WaitMode,
}

/// A borrowed session. It is closed on drop, unless returned by [`PooledSession::release`].
pub(super) struct PooledSession<'s> {
    pool: &'s SessionPool,
    /// Present until dropped.
    session: Option<PgSession>,
    generation: u64,
}

/// Opens the database. Any other borrower can have its sessions later.
pub(super) const OPENER: Borrower = Borrower { number: 0, wait_mode: WaitMode::Long };

/// What the first waiter gets.
enum Grant {
    /// The idle session at this index.
    Idle(usize),
    Connect,
    Wait,
}

impl SessionPool {
    pub(super) fn new(connector: Connector, max: usize) -> SessionPool {
        let change_log = ChangeLog::new();
        SessionPool { connector, max, change_log, state: Mutex::default(), changed: Condvar::new() }
    }

    /// Returns a session: the borrower's own, a new one if the limit allows, or else the next that is
    /// returned.
    pub(super) fn acquire(&self, borrower: Borrower) -> Result<PooledSession<'_>, PgError> {
        let deadline = monotonic_now() + borrower.wait_mode.lock_timeout();
        let mut state = self.lock();
        state.tickets += 1;
        let ticket = state.tickets;
        state.queue.insert(ticket);
        loop {
            let now = monotonic_now();
            match state.grant(ticket, borrower, self.max, now) {
                Grant::Idle(index) => {
                    let session = state.idle.remove(index);
                    return Ok(self.lend(state, ticket, borrower, session));
                }
                Grant::Connect => {
                    let returns = state.returns;
                    drop(state);
                    // The next waiter need not wait for the new connection.
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
                    // If others still get answers, the server or a pooler just makes us
                    // wait.
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
                    state.record_full(&failure.why);
                    state.queue.insert(ticket);
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

    /// Whether any session still works: an idle one is probed; otherwise one that is returned soon, maybe
    /// after another thread's probe.
    fn any_responds<'s>(
        &'s self,
        mut state: MutexGuard<'s, PoolState>,
        returns: u64,
    ) -> (MutexGuard<'s, PoolState>, bool) {
        let Some(mut session) = state.idle.pop() else {
            let is_unchanged = |state: &mut PoolState| state.returns == returns;
            state.probing += 1;
            let waited = self.changed.wait_timeout_while(state, limits::POSTGRES_PROBE_TIMEOUT, is_unchanged);
            (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
            state.probing -= 1;
            let came_back = state.returns != returns;
            return (state, came_back);
        };
        let generation = state.generation;
        drop(state);
        let answers = session.is_responsive();
        let pooled = PooledSession { pool: self, session: Some(session), generation };
        match answers {
            true => pooled.release(),
            false => drop(pooled),
        }
        (self.lock(), answers)
    }

    /// Registers a borrower.
    pub(super) fn register(&self, wait_mode: WaitMode) -> Borrower {
        let mut state = self.lock();
        state.borrowers += 1;
        Borrower { number: state.borrowers, wait_mode }
    }

    /// Removes a borrower and closes its sessions.
    pub(super) fn unregister(&self, borrower: Borrower) {
        let mut state = self.lock();
        let closed: Vec<PgSession> =
            state.idle.extract_if(.., |session| session.owner == borrower.number).collect();
        state.record_closed(closed.len());
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
        state.queue.remove(&ticket);
        let others_wait = !state.queue.is_empty();
        drop(state);
        if others_wait {
            self.changed.notify_all();
        }
        PooledSession { pool: self, session: Some(session), generation }
    }

    fn leave_queue(&self, mut state: MutexGuard<'_, PoolState>, ticket: u64) {
        state.queue.remove(&ticket);
        drop(state);
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, PoolState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PoolState {
    /// What the holder of `ticket` gets. While it connects, it counts as open and has left the queue.
    fn grant(&mut self, ticket: u64, borrower: Borrower, max: usize, now: Instant) -> Grant {
        if self.queue.first() != Some(&ticket) {
            return Grant::Wait;
        }
        let before = self.idle.len();
        self.idle.retain(|session| !session.is_closed());
        self.record_closed(before - self.idle.len());
        let may_make = self.open < max && self.full.as_ref().is_none_or(|full| full.retry_at <= now);
        let owned_by = |number: u64| self.idle.iter().rposition(|session| session.owner == number);
        // The first has been idle longest.
        let others = || Some(0).filter(|_| !may_make && !self.idle.is_empty());
        let index = owned_by(borrower.number).or_else(|| owned_by(OPENER.number)).or_else(others);
        match index {
            Some(index) => Grant::Idle(index),
            None if may_make => {
                self.open += 1;
                self.queue.remove(&ticket);
                Grant::Connect
            }
            None => Grant::Wait,
        }
    }

    /// Records closed sessions, which may make room for others.
    fn record_closed(&mut self, count: usize) {
        self.open -= count;
        if count > 0
            && let Some(full) = &mut self.full
        {
            full.retry_at = monotonic_now();
        }
    }

    fn record_full(&mut self, why: &str) {
        let attempts = self.full.as_ref().map_or(0, |full| full.attempts);
        if attempts == 0 {
            log::warn!("the database gives no more than {} connections, which take turns: {why}", self.open);
        }
        let (first, max) = (limits::POSTGRES_REFUSED_BACKOFF_FIRST, limits::POSTGRES_REFUSED_BACKOFF_MAX);
        let retry_at = monotonic_now() + exponential_backoff(first, attempts, max);
        self.full = Some(ServerFull { retry_at, attempts: attempts.saturating_add(1) });
    }
}

impl PooledSession<'_> {
    /// Returns the session, which has no open transaction.
    pub(super) fn release(mut self) {
        let mut state = self.pool.lock();
        state.returns += 1;
        // One of an older generation is closed when it is dropped.
        if state.generation == self.generation {
            state.idle.extend(self.session.take());
        }
        let others_wait = !state.queue.is_empty() || state.probing > 0;
        drop(state);
        if others_wait {
            self.pool.changed.notify_all();
        }
    }

    /// Closes the session, and all that are idle or lent from the same generation.
    pub(super) fn invalidate(self) {
        let pool = self.pool;
        let mut state = pool.lock();
        let mut idle = Vec::new();
        if state.generation == self.generation {
            state.generation += 1;
            idle = std::mem::take(&mut state.idle);
            state.record_closed(idle.len());
        }
        drop(state);
        // Closing them takes time.
        drop((idle, self));
    }

    /// Applies the wait mode of the borrower.
    pub(super) fn apply_wait_mode(&mut self, wait_mode: WaitMode) -> Result<(), PgError> {
        if self.wait_mode != wait_mode {
            let pool = self.pool;
            self.run(pool.connector.settings(wait_mode))?;
            self.wait_mode = wait_mode;
        }
        Ok(())
    }
}

impl Drop for PooledSession<'_> {
    fn drop(&mut self) {
        let Some(session) = self.session.take() else { return };
        drop(session);
        self.pool.lock().record_closed(1);
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
