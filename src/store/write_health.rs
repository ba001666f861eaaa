//! Tracks whether writes to the store succeed, from the results of real writes.
//!
//! Reads are not tracked: a client that wants to know can read. No probe writes are made; without recent writes
//! the store counts as healthy. [`super::monitored`] reports the start and the result of each write.

use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use log::Level;

use super::StoreError;
use crate::clock::{Instant, monotonic_now};
use crate::limits;

/// The health of the writes to one store; shared by its connections and the readers of the state.
#[derive(Default)]
pub struct WriteHealth {
    state: Mutex<HealthState>,
}

/// A write, or a batch that shares one commit, from start to end. Forgotten if it is dropped before its end, by a panic.
pub(super) struct Attempt<'h> {
    health: &'h WriteHealth,
    number: u64,
}

#[derive(Default)]
struct HealthState {
    /// The numbers of the running attempts, ascending, and when they started.
    running: Vec<(u64, Instant)>,
    started: u64,
    succeeded_at: Option<Instant>,
    failed_at: Option<Instant>,
    /// The last error.
    last_error: String,
    /// First and last time of an uninterrupted series of lock timeouts.
    contention: Option<(Instant, Instant)>,
    outage: Option<Outage>,
    /// What to log about it, outside the lock.
    notice: Option<(Level, String)>,
}

/// No write succeeds.
struct Outage {
    since: Instant,
    logged_at: Instant,
}

/// The result of one commit.
enum CommitResult {
    Committed,
    /// Nothing was to be stored.
    Nothing,
    Locked,
    Failed(String),
}

impl WriteHealth {
    /// Whether writes succeed: at least one has recently succeeded, or none has failed. Logs each change,
    /// and an ongoing outage once a minute.
    pub fn are_writes_healthy(&self) -> bool {
        self.update(|_, _| ()).1
    }

    pub(super) fn begin(&self) -> Attempt<'_> {
        Attempt { health: self, number: self.update(HealthState::begin).0 }
    }

    /// Applies `change`, which gets the current time, and evaluates the health.
    fn update<T>(&self, change: impl FnOnce(&mut HealthState, Instant) -> T) -> (T, bool) {
        let now = monotonic_now();
        let mut state = self.lock();
        let result = change(&mut state, now);
        let is_healthy = state.evaluate(now);
        let notice = state.notice.take();
        drop(state);
        if let Some((level, text)) = notice {
            log::log!(level, "{text}");
        }
        (result, is_healthy)
    }

    fn lock(&self) -> MutexGuard<'_, HealthState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Attempt<'_> {
    /// `outcomes` are those of the writes that share the commit: whether each had anything to store.
    pub(super) fn end<'o>(self, outcomes: impl IntoIterator<Item = Result<bool, &'o StoreError>>) {
        let result = classify(outcomes);
        self.health.update(|state, now| state.end(self.number, result, now));
        // It is not running any more.
        mem::forget(self);
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        self.health.lock().remove(self.number);
    }
}

impl HealthState {
    fn begin(&mut self, now: Instant) -> u64 {
        self.started += 1;
        self.running.push((self.started, now));
        self.started
    }

    /// Removes a running attempt; returns when it started.
    fn remove(&mut self, attempt: u64) -> Option<Instant> {
        let index = self.running.iter().position(|(number, _)| *number == attempt)?;
        Some(self.running.remove(index).1)
    }

    fn end(&mut self, attempt: u64, result: CommitResult, now: Instant) {
        let took = self.remove(attempt).map_or(Duration::ZERO, |begun| now.since(begun));
        match result {
            CommitResult::Committed if took <= limits::STORE_DEADLINE => {
                self.succeeded_at = Some(now);
                self.contention = None;
            }
            // The client was already told that the outcome is unknown.
            CommitResult::Committed => self.fail(now, format!("a commit took {:.1} s", took.as_secs_f64())),
            CommitResult::Nothing => {}
            CommitResult::Failed(why) => self.fail(now, why),
            CommitResult::Locked => {
                let since = match self.contention {
                    Some((since, until)) if now.since(until) <= limits::WRITE_HEALTH_WINDOW => since,
                    _ => now,
                };
                self.contention = Some((since, now));
                // A short lock is no outage.
                if now.since(since) >= limits::STORE_DEADLINE {
                    self.fail(now, StoreError::Busy.to_string());
                }
            }
        }
    }

    fn fail(&mut self, now: Instant, why: String) {
        self.failed_at = Some(now);
        self.last_error = why;
    }

    /// Evaluates the health at `now`; notes what to log about a change.
    fn evaluate(&mut self, now: Instant) -> bool {
        let is_recent =
            |then: Option<Instant>| then.is_some_and(|then| now.since(then) <= limits::WRITE_HEALTH_WINDOW);
        let has_succeeded = is_recent(self.succeeded_at);
        let oldest = self.running.first().map(|(_, begun)| now.since(*begun));
        let stuck_for = oldest.filter(|time| *time > limits::STORE_DEADLINE);
        let is_healthy = has_succeeded || !(is_recent(self.failed_at) || stuck_for.is_some());
        if is_healthy && self.outage.is_none() {
            return true;
        }
        let why = match stuck_for {
            Some(time) => format!("a write has waited for the store for {} s", time.as_secs()),
            None => self.last_error.clone(),
        };
        self.notice = match &mut self.outage {
            None => {
                self.outage = Some(Outage { since: now, logged_at: now });
                Some((Level::Error, format!("no write to the store comes through: {why}")))
            }
            Some(outage) if is_healthy => {
                let time = now.since(outage.since).as_secs();
                self.outage = None;
                let text = match has_succeeded {
                    true => format!("writes to the store come through again, after {time} s"),
                    false => format!("no more writes to the store; none has succeeded for {time} s"),
                };
                Some((Level::Info, text))
            }
            Some(outage) if now.since(outage.logged_at) >= limits::WRITE_HEALTH_LOG_INTERVAL => {
                outage.logged_at = now;
                let time = now.since(outage.since).as_secs();
                Some((Level::Error, format!("no write to the store has come through for {time} s: {why}")))
            }
            Some(_) => None,
        };
        is_healthy
    }
}

/// Classifies the results of one batch.
fn classify<'o>(outcomes: impl IntoIterator<Item = Result<bool, &'o StoreError>>) -> CommitResult {
    let mut result = CommitResult::Nothing;
    for outcome in outcomes {
        match outcome {
            Ok(false) => {}
            Ok(true) => return CommitResult::Committed,
            Err(StoreError::Busy) if matches!(result, CommitResult::Nothing) => result = CommitResult::Locked,
            Err(
                error @ (StoreError::Unavailable(_) | StoreError::OutcomeUnknown(_) | StoreError::Refused(_)),
            ) => result = CommitResult::Failed(error.to_string()),
            Err(_) => {}
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A state that tests drive second by second.
    struct Fixture(HealthState);

    fn at(second: u64) -> Instant {
        Instant::ORIGIN + Duration::from_secs(second)
    }

    impl Fixture {
        fn write(&mut self, second: u64, outcome: Result<bool, StoreError>) -> bool {
            let attempt = self.0.begin(at(second));
            self.0.end(attempt, classify([outcome.as_ref().copied()]), at(second));
            self.0.evaluate(at(second))
        }

        fn look(&mut self, second: u64) -> bool {
            self.0.evaluate(at(second))
        }
    }

    fn away() -> Result<bool, StoreError> {
        Err(StoreError::Unavailable("away".into()))
    }

    #[test]
    fn writes_are_unhealthy_when_some_fail_and_none_succeed() {
        let mut fixture = Fixture(HealthState::default());
        assert!(fixture.look(0), "no write was tried");
        assert!(fixture.write(1, Ok(true)));
        assert!(fixture.write(5, away()) && fixture.write(11, away()), "one came through not long ago");
        assert!(!fixture.look(12) && !fixture.look(21));
        assert!(fixture.look(22), "no write is tried any more");
        assert!(!fixture.write(30, Err(StoreError::OutcomeUnknown("silence".into()))));
        assert!(fixture.write(31, Ok(true)) && fixture.look(100));
    }

    #[test]
    fn stuck_and_slow_commits_count_as_failures() {
        let mut fixture = Fixture(HealthState::default());
        let attempt = fixture.0.begin(at(0));
        assert!(fixture.look(2));
        assert!(!fixture.look(3) && !fixture.look(60), "for as long as it hangs");
        fixture.0.end(attempt, CommitResult::Committed, at(61));
        assert!(!fixture.look(62), "its client was told otherwise");
    }

    #[test]
    fn refused_writes_do_not_affect_health() {
        let mut fixture = Fixture(HealthState::default());
        assert!(
            fixture.write(1, Err(StoreError::NotCurrent))
                && fixture.write(1, Err(StoreError::AlreadyRegistered))
        );
        assert!(!fixture.write(2, away()));
        assert!(!fixture.write(3, Ok(false)), "nothing was removed");
        assert!(!fixture.write(4, Err(StoreError::UnknownVm)));
        let gone = StoreError::Unavailable("away".into());
        let attempt = fixture.0.begin(at(5));
        fixture.0.end(attempt, classify([Err(&gone), Err(&StoreError::Busy), Ok(true)]), at(5));
        assert!(fixture.look(5), "one has come through");
    }

    #[test]
    fn a_lasting_lock_is_an_outage() {
        let mut fixture = Fixture(HealthState::default());
        assert!(fixture.write(1, Err(StoreError::Busy)) && fixture.write(2, Err(StoreError::Busy)));
        assert!(!fixture.write(4, Err(StoreError::Busy)));
        assert!(fixture.write(5, Ok(true)));
        assert!(fixture.write(100, Err(StoreError::Busy)), "another one");
        assert!(fixture.write(200, Err(StoreError::Busy)), "and another");
    }

    #[test]
    fn a_write_that_panics_is_forgotten() {
        let health = WriteHealth::default();
        let panicked = std::panic::catch_unwind(|| {
            let _attempt = health.begin();
            panic!("a planted panic");
        });
        assert!(panicked.is_err() && health.lock().running.is_empty());
        health.begin().end([Ok(true)]);
        assert!(health.lock().running.is_empty());
    }

    #[test]
    fn an_outage_is_logged_once_a_minute() {
        let mut fixture = Fixture(HealthState::default());
        let mut logged = Vec::new();
        for second in 1..=130 {
            fixture.write(second, away());
            let last = fixture.0.outage.as_ref().expect("there is").logged_at;
            logged.extend(Some(last).filter(|last| logged.last() != Some(last)));
        }
        assert_eq!(logged, [at(1), at(61), at(121)]);
    }
}
