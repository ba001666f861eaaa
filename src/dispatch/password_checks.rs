//! Password checks that a worker was asked for: of which source each is, and for which VM.
//!
//! Invariant: each is in flight, in the auth lane.

use std::collections::{BTreeMap, HashMap};

use crate::app::login_limiter::LoginAttempt;
use crate::app::login_limiter::LoginTarget;
use crate::clock::Instant;
use crate::ids::RequestKey;
use crate::model::Source;
use crate::work::Work;

/// Those that are in flight.
#[derive(Default)]
pub(crate) struct PasswordChecks {
    checks: HashMap<RequestKey, Check>,
    /// By source and job: in the order in which they came.
    of_source: BTreeMap<(Source, u64), RequestKey>,
    for_target: BTreeMap<(LoginTarget, u64), RequestKey>,
}

/// What it takes to ask for one again.
pub(crate) struct Check {
    pub(crate) job: u64,
    pub(crate) work: Work,
    pub(crate) attempt: LoginAttempt,
    /// When it was to be done first.
    pub(crate) begun: Instant,
    pub(crate) was_delayed: bool,
}

impl PasswordChecks {
    pub(crate) fn insert(&mut self, request_key: RequestKey, check: Check) {
        let (LoginAttempt { source, target }, job) = (check.attempt, check.job);
        self.of_source.insert((source, job), request_key);
        self.for_target.insert((target, job), request_key);
        self.checks.insert(request_key, check);
    }

    /// The one that `request_key` waits for, if that is what it waits for.
    pub(crate) fn remove(&mut self, request_key: RequestKey) -> Option<Check> {
        let check = self.checks.remove(&request_key)?;
        let LoginAttempt { source, target } = check.attempt;
        self.of_source.remove(&(source, check.job));
        self.for_target.remove(&(target, check.job));
        Some(check)
    }

    /// Those of the same source, and those for the same VM.
    pub(crate) fn of_same_target(
        &self,
        attempt: LoginAttempt,
    ) -> impl Iterator<Item = (RequestKey, LoginAttempt)> {
        let LoginAttempt { source, target } = attempt;
        let of_source = self.of_source.range((source, 0)..=(source, u64::MAX));
        let for_target = self.for_target.range((target, 0)..=(target, u64::MAX));
        let request_keys = of_source
            .map(|(_, request_key)| *request_key)
            .chain(for_target.map(|(_, request_key)| *request_key));
        request_keys.filter_map(|request_key| Some((request_key, self.checks.get(&request_key)?.attempt)))
    }

    /// How many there are, if the indices agree.
    #[cfg(feature = "internals")]
    pub(crate) fn len(&self) -> usize {
        assert_eq!((self.of_source.len(), self.for_target.len()), (self.checks.len(), self.checks.len()));
        self.checks.len()
    }
}
