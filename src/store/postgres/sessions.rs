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
use super::failure::Failure;
use super::hosts::Reason;
use super::session::{Session, Waits};
use crate::clock::{Clock, Instant, SystemClock};
use crate::limits;

pub(super) struct Sessions {
    connector: Connector,
    max: usize,
    state: Mutex<State>,
    /// Something has come back, or somebody waits no more.
    changed: Condvar,
    clock: SystemClock,
}

#[derive(Default)]
struct State {
    /// The one that was used last in the end.
    idle: Vec<Session>,
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
    asking: usize,
    full: Option<Full>,
}

/// The database gives no more.
struct Full {
    until: Instant,
    times: u32,
}

/// Who borrows sessions, one at a time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Borrower {
    number: u64,
    pub(super) waits: Waits,
}

/// A session on loan. It is closed, unless it is handed back by [`Lent::keep`].
pub(super) struct Lent<'s> {
    sessions: &'s Sessions,
    /// There until it is dropped.
    session: Option<Session>,
    generation: u64,
}

/// The owner of a session that nobody owns.
const NOBODY: u64 = 0;

/// What there is for who comes first.
enum Offer {
    /// The one that rests there.
    Idle(usize),
    Make,
    Wait,
}

impl Sessions {
    pub(super) fn new(connector: Connector, max: usize) -> Sessions {
        let (state, changed) = (Mutex::default(), Condvar::new());
        Sessions { connector, max, state, changed, clock: SystemClock::new() }
    }

    pub(super) fn connector(&self) -> &Connector {
        &self.connector
    }

    pub(super) fn max(&self) -> usize {
        self.max
    }

    /// A session, made where `borrower` has none and one more may be, and else the next that comes back.
    pub(super) fn take(&self, borrower: Borrower) -> Result<Lent<'_>, Failure> {
        let deadline = self.now() + borrower.waits.for_lock();
        let mut state = self.lock();
        let ticket = state.join();
        loop {
            let now = self.now();
            match state.offer(ticket, borrower, self.max, now) {
                Offer::Idle(at) => {
                    let session = state.idle.remove(at);
                    return Ok(self.lend(state, ticket, borrower, session));
                }
                Offer::Make => {
                    let returns = state.returns;
                    drop(state);
                    // Who comes next need not wait for that.
                    self.changed.notify_all();
                    let made = self.connector.connect(borrower.waits);
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
                    let is_full = match failure.reason {
                        Reason::Full => true,
                        Reason::Silence if state.returns != returns => true,
                        Reason::Silence => {
                            let answers;
                            (state, answers) = self.one_answers(state, returns);
                            answers
                        }
                        Reason::Settings | Reason::Other => false,
                    };
                    if state.open == 0 || !is_full {
                        self.leave(state, ticket);
                        return Err(failure.into());
                    }
                    state.is_full(&failure.why, self.now());
                    state.join_again(ticket);
                }
                Offer::Wait if now >= deadline => {
                    self.leave(state, ticket);
                    return Err(Failure::Locked);
                }
                Offer::Wait => {
                    let full_until = state.full.as_ref().map(|full| full.until).filter(|until| *until > now);
                    let until = full_until.map_or(deadline, |until| until.min(deadline));
                    let waited = self.changed.wait_timeout(state, until - now);
                    (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }

    /// Whether one of the sessions still has an answer: one that rests, or one that comes back soon, which may be what
    /// another thread asks the same.
    fn one_answers<'s>(
        &'s self,
        mut state: MutexGuard<'s, State>,
        returns: u64,
    ) -> (MutexGuard<'s, State>, bool) {
        if state.idle.is_empty() {
            let is_away = |state: &mut State| state.returns == returns;
            state.asking += 1;
            let waited = self.changed.wait_timeout_while(state, limits::POSTGRES_ANSWER, is_away);
            (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
            state.asking -= 1;
            let came_back = state.returns != returns;
            return (state, came_back);
        }
        let Some(mut session) = state.idle.pop() else { return (state, false) };
        let generation = state.generation;
        drop(state);
        let answers = session.answers(limits::POSTGRES_ANSWER);
        let lent = Lent { sessions: self, session: Some(session), generation };
        match answers {
            true => lent.keep(),
            false => drop(lent),
        }
        (self.lock(), answers)
    }

    /// One more who may need a session, and waits so long for others.
    pub(super) fn join(&self, waits: Waits) -> Borrower {
        let mut state = self.lock();
        state.borrowers += 1;
        Borrower { number: state.borrowers, waits }
    }

    /// `borrower` needs none any more.
    pub(super) fn forget(&self, borrower: Borrower) {
        let mut state = self.lock();
        let of_it = state.idle.extract_if(.., |session| session.owner == borrower.number);
        let closed: Vec<Session> = of_it.collect();
        state.has_lost(closed.len(), self.now());
        drop(state);
        self.changed.notify_all();
        // Closing them takes time.
        drop(closed);
    }

    fn lend<'s>(
        &'s self,
        mut state: MutexGuard<'_, State>,
        ticket: u64,
        borrower: Borrower,
        mut session: Session,
    ) -> Lent<'s> {
        session.owner = borrower.number;
        let generation = state.generation;
        state.queue.retain(|other| *other != ticket);
        let others_wait = !state.queue.is_empty();
        drop(state);
        if others_wait {
            self.changed.notify_all();
        }
        Lent { sessions: self, session: Some(session), generation }
    }

    fn leave(&self, mut state: MutexGuard<'_, State>, ticket: u64) {
        state.queue.retain(|other| *other != ticket);
        drop(state);
        self.changed.notify_all();
    }

    fn now(&self) -> Instant {
        let mut clock = self.clock;
        clock.now()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn join(&mut self) -> u64 {
        self.tickets += 1;
        self.queue.push_back(self.tickets);
        self.tickets
    }

    /// Puts who holds `ticket` back to its place.
    fn join_again(&mut self, ticket: u64) {
        let place = self.queue.partition_point(|other| *other < ticket);
        self.queue.insert(place, ticket);
    }

    /// What there is for who holds `ticket`. Who is to make one has its place among those that are open, and
    /// none in the queue, until it is known what comes of it.
    fn offer(&mut self, ticket: u64, borrower: Borrower, max: usize, now: Instant) -> Offer {
        if self.queue.front() != Some(&ticket) {
            return Offer::Wait;
        }
        let before = self.idle.len();
        self.idle.retain(|session| !session.is_closed());
        self.has_lost(before - self.idle.len(), now);
        let may_make = self.open < max && self.full.as_ref().is_none_or(|full| full.until <= now);
        let owned_by = |number: u64| self.idle.iter().rposition(|session| session.owner == number);
        // The first of them has rested longest.
        let others = || Some(0).filter(|_| !may_make && !self.idle.is_empty());
        let at = owned_by(borrower.number).or_else(|| owned_by(NOBODY)).or_else(others);
        match at {
            Some(at) => Offer::Idle(at),
            None if may_make => {
                self.open += 1;
                self.queue.pop_front();
                Offer::Make
            }
            None => Offer::Wait,
        }
    }

    /// So many sessions are gone: there may be room for others.
    fn has_lost(&mut self, count: usize, now: Instant) {
        self.open -= count;
        if count > 0
            && let Some(full) = &mut self.full
        {
            full.until = now;
        }
    }

    fn is_full(&mut self, why: &str, now: Instant) {
        let times = self.full.as_ref().map_or(0, |full| full.times);
        if times == 0 {
            log::warn!("the database gives no more than {} connections, which take turns: {why}", self.open);
        }
        let pause = limits::POSTGRES_FULL_PAUSE_FIRST.saturating_mul(1 << times.min(8));
        let until = now + pause.min(limits::POSTGRES_FULL_PAUSE_MAX);
        self.full = Some(Full { until, times: times.saturating_add(1) });
    }
}

impl Lent<'_> {
    /// It can be used again: no transaction is open.
    pub(super) fn keep(mut self) {
        let Some(session) = self.session.take() else { return };
        let mut state = self.sessions.lock();
        state.returns += 1;
        let late = match state.generation == self.generation {
            true => {
                state.idle.push(session);
                None
            }
            false => {
                state.has_lost(1, self.sessions.now());
                Some(session)
            }
        };
        let others_wait = !state.queue.is_empty() || state.asking > 0;
        drop(state);
        if others_wait {
            self.sessions.changed.notify_all();
        }
        drop(late);
    }

    /// It is of no use any more. Nor is what rests or is lent since before that, unless somebody has found that out.
    pub(super) fn lose(self) {
        let sessions = self.sessions;
        let mut state = sessions.lock();
        let mut idle = Vec::new();
        if state.generation == self.generation {
            state.generation += 1;
            std::mem::swap(&mut idle, &mut state.idle);
            state.has_lost(idle.len(), sessions.now());
        }
        drop(state);
        // Closing them takes time.
        drop((idle, self));
    }

    /// It is whoever's comes first from now on.
    pub(super) fn disown(mut self) {
        self.owner = NOBODY;
        self.keep();
    }

    /// Waits as long as whoever has it does.
    pub(super) fn suit(&mut self, waits: Waits) -> Result<(), Failure> {
        if self.waits() != waits {
            let settings = self.sessions.connector.settings(waits).to_owned();
            self.set_waits(waits, &settings)?;
        }
        Ok(())
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let Some(session) = self.session.take() else { return };
        drop(session);
        self.sessions.lock().has_lost(1, self.sessions.now());
        self.sessions.changed.notify_all();
    }
}

impl Deref for Lent<'_> {
    type Target = Session;

    fn deref(&self) -> &Session {
        self.session.as_ref().expect("there until it is dropped")
    }
}

impl DerefMut for Lent<'_> {
    fn deref_mut(&mut self) -> &mut Session {
        self.session.as_mut().expect("there until it is dropped")
    }
}
