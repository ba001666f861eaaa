//! Password checks that a worker was asked for: of which source each is, and for which VM.
//!
//! Invariant: each is in flight, in the auth lane.

use std::collections::{BTreeMap, HashMap};

use crate::app::login_limiter::LoginAttempt;
use crate::app::login_limiter::LoginTarget;
use crate::app::task::Task;
use crate::clock::Instant;
use crate::ids::Ticket;
use crate::model::Source;

/// Those that are in flight.
#[derive(Default)]
pub(super) struct Checks {
    checks: HashMap<Ticket, Check>,
    /// By source and job: in the order in which they came.
    of_source: BTreeMap<(Source, u64), Ticket>,
    for_target: BTreeMap<(LoginTarget, u64), Ticket>,
}

/// What it takes to ask for one again.
pub(super) struct Check {
    pub(super) job: u64,
    pub(super) task: Task,
    pub(super) attempt: LoginAttempt,
    /// When it was to be done first.
    pub(super) begun: Instant,
    pub(super) was_delayed: bool,
}

impl Checks {
    pub(super) fn insert(&mut self, ticket: Ticket, check: Check) {
        let (LoginAttempt { source, target }, job) = (check.attempt, check.job);
        self.of_source.insert((source, job), ticket);
        self.for_target.insert((target, job), ticket);
        self.checks.insert(ticket, check);
    }

    /// The one that `ticket` waits for, if that is what it waits for.
    pub(super) fn remove(&mut self, ticket: Ticket) -> Option<Check> {
        let check = self.checks.remove(&ticket)?;
        let LoginAttempt { source, target } = check.attempt;
        self.of_source.remove(&(source, check.job));
        self.for_target.remove(&(target, check.job));
        Some(check)
    }

    /// Those of the same source, and those for the same VM.
    pub(super) fn like(&self, attempt: LoginAttempt) -> impl Iterator<Item = (Ticket, LoginAttempt)> {
        let LoginAttempt { source, target } = attempt;
        let of_source = self.of_source.range((source, 0)..=(source, u64::MAX));
        let for_target = self.for_target.range((target, 0)..=(target, u64::MAX));
        let tickets = of_source.map(|(_, ticket)| *ticket).chain(for_target.map(|(_, ticket)| *ticket));
        tickets.filter_map(|ticket| Some((ticket, self.checks.get(&ticket)?.attempt)))
    }

    /// How many there are, if the indices agree.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        assert_eq!((self.of_source.len(), self.for_target.len()), (self.checks.len(), self.checks.len()));
        self.checks.len()
    }
}
