//! The submitted password checks, indexed by source and by VM.
//!
//! Invariant: each is in flight, in the auth lane.

use std::collections::{BTreeMap, HashMap};

use crate::app::login_limiter::LoginAttempt;
use crate::app::login_limiter::LoginTarget;
use crate::clock::Instant;
use crate::ids::RequestKey;
use crate::model::Source;
use crate::work::Work;

/// The password checks in flight.
#[derive(Default)]
pub(crate) struct PasswordChecks {
    /// With the number of the job.
    checks: HashMap<RequestKey, (u64, Check)>,
    /// By source and job number, which is the order of submission.
    of_source: BTreeMap<(Source, u64), RequestKey>,
    for_target: BTreeMap<(LoginTarget, u64), RequestKey>,
}

/// The data to submit a check, for the first time or again.
pub(crate) struct Check {
    pub(crate) work: Work,
    pub(crate) attempt: LoginAttempt,
    /// The time of the first attempt to submit it.
    pub(crate) begun: Instant,
    /// Whether it has been delayed before.
    pub(crate) was_delayed: bool,
}

impl PasswordChecks {
    pub(crate) fn insert(&mut self, request_key: RequestKey, job: u64, check: Check) {
        let LoginAttempt { source, target } = check.attempt;
        self.of_source.insert((source, job), request_key);
        self.for_target.insert((target, job), request_key);
        self.checks.insert(request_key, (job, check));
    }

    /// Removes the check that `request_key` waits for, if there is one.
    pub(crate) fn remove(&mut self, request_key: RequestKey) -> Option<Check> {
        let (job, check) = self.checks.remove(&request_key)?;
        let LoginAttempt { source, target } = check.attempt;
        self.of_source.remove(&(source, job));
        self.for_target.remove(&(target, job));
        Some(check)
    }

    /// The checks of the same source or for the same VM; a check of both is listed twice.
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
        request_keys.filter_map(|request_key| Some((request_key, self.checks.get(&request_key)?.1.attempt)))
    }

    /// The number of checks. Panics if the indices differ.
    #[cfg(feature = "internals")]
    pub(crate) fn len(&self) -> usize {
        assert_eq!((self.of_source.len(), self.for_target.len()), (self.checks.len(), self.checks.len()));
        self.checks.len()
    }
}
