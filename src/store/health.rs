//! Whether what is written to the store comes through, by what comes of the writes that there are.
//!
//! Reading is another matter: whoever wants to know reads. A write is not tried for the asking, so where nobody has
//! written lately nothing is known against writing. [`super::watched`] tells what is begun and what came of it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{StoreError, Written};
use crate::clock::{Clock, Instant, SystemClock};
use crate::limits;

/// How the writes of one store get on; shared by all who write and whoever is asked.
#[derive(Default)]
pub struct Health {
    state: Mutex<State>,
    clock: SystemClock,
}

/// A write, or some that share a commit, between its beginning and its end.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Attempt(u64);

#[derive(Default)]
struct State {
    /// What is under way, and since when.
    running: BTreeMap<Attempt, Instant>,
    begun: u64,
    came_through: Option<Instant>,
    failed: Option<Instant>,
    /// What the last failure was of.
    why: String,
    /// Somebody's lock has been in the way since the first and until the second of these, all the time.
    locked: Option<(Instant, Instant)>,
    trouble: Option<Trouble>,
}

/// No write comes through.
struct Trouble {
    since: Instant,
    said: Instant,
}

/// What came of the writes of one commit.
enum Result {
    CameThrough,
    /// The store was not asked to keep anything.
    Nothing,
    Locked,
    Failed(String),
}

impl Health {
    /// Whether writing is well: some write has come through lately, or none has failed. Says in the log what
    /// has changed, and once a minute what has not.
    pub fn writes_come_through(&self) -> bool {
        let now = self.now();
        self.lock().look(now)
    }

    pub(super) fn begin(&self) -> Attempt {
        let now = self.now();
        let mut state = self.lock();
        let attempt = state.begin(now);
        state.look(now);
        attempt
    }

    pub(super) fn end(&self, attempt: Attempt, outcomes: &[std::result::Result<Written, StoreError>]) {
        let now = self.now();
        let mut state = self.lock();
        state.end(attempt, result(outcomes), now);
        state.look(now);
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
    fn begin(&mut self, now: Instant) -> Attempt {
        self.begun += 1;
        let attempt = Attempt(self.begun);
        self.running.insert(attempt, now);
        attempt
    }

    fn end(&mut self, attempt: Attempt, result: Result, now: Instant) {
        let took = self.running.remove(&attempt).map_or(Duration::ZERO, |begun| now.since(begun));
        match result {
            Result::CameThrough if took <= limits::STORE_DEADLINE => {
                self.came_through = Some(now);
                self.locked = None;
            }
            // Its client was told that the outcome is unknown.
            Result::CameThrough => self.fail(now, format!("a commit took {:.1} s", took.as_secs_f64())),
            Result::Nothing => {}
            Result::Failed(why) => self.fail(now, why),
            Result::Locked => {
                let since = match self.locked {
                    Some((since, until)) if now.since(until) <= limits::WRITING_WINDOW => since,
                    _ => now,
                };
                self.locked = Some((since, now));
                // A lock that is held for a moment is no trouble.
                if now.since(since) >= limits::STORE_DEADLINE {
                    self.fail(now, StoreError::Busy.to_string());
                }
            }
        }
    }

    fn fail(&mut self, now: Instant, why: String) {
        self.failed = Some(now);
        self.why = why;
    }

    /// Whether writing is well now.
    fn look(&mut self, now: Instant) -> bool {
        let is_recent =
            |then: Option<Instant>| then.is_some_and(|then| now.since(then) <= limits::WRITING_WINDOW);
        let oldest = self.running.values().min().map(|begun| now.since(*begun));
        let hangs = oldest.filter(|time| *time > limits::STORE_DEADLINE);
        let is_well = is_recent(self.came_through) || !(is_recent(self.failed) || hangs.is_some());
        match &mut self.trouble {
            None if is_well => {}
            Some(trouble) if is_well => {
                let time = now.since(trouble.since).as_secs();
                self.trouble = None;
                match is_recent(self.came_through) {
                    true => log::info!("writes to the store come through again, after {time} s"),
                    false => {
                        log::info!("nobody writes to the store any more; for {time} s nothing came through")
                    }
                }
            }
            None => {
                log::error!("no write to the store comes through: {}", self.why(hangs));
                self.trouble = Some(Trouble { since: now, said: now });
            }
            Some(trouble) if now.since(trouble.said) >= limits::WRITING_LOG_INTERVAL => {
                trouble.said = now;
                let time = now.since(trouble.since).as_secs();
                log::error!("no write to the store has come through for {time} s: {}", self.why(hangs));
            }
            Some(_) => {}
        }
        is_well
    }

    fn why(&self, hangs: Option<Duration>) -> String {
        match hangs {
            Some(time) => format!("one has waited for the store for {} s", time.as_secs()),
            None => self.why.clone(),
        }
    }
}

/// What `outcomes` say of the store: it was asked to keep what they are about, together.
fn result(outcomes: &[std::result::Result<Written, StoreError>]) -> Result {
    let mut result = Result::Nothing;
    for outcome in outcomes {
        match outcome {
            // Nothing was removed: nothing was committed.
            Ok(Written::PointsRemoved { count: 0, .. }) => {}
            Ok(_) => return Result::CameThrough,
            Err(StoreError::Busy) if matches!(result, Result::Nothing) => result = Result::Locked,
            Err(
                error @ (StoreError::Unavailable(_) | StoreError::OutcomeUnknown(_) | StoreError::Refused(_)),
            ) => result = Result::Failed(error.to_string()),
            Err(_) => {}
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What happens at a second: a write begins and ends, or is looked for.
    struct Bed(State);

    fn at(second: u64) -> Instant {
        Instant::ORIGIN + Duration::from_secs(second)
    }

    impl Bed {
        fn write(&mut self, second: u64, outcome: std::result::Result<Written, StoreError>) -> bool {
            let attempt = self.0.begin(at(second));
            self.0.end(attempt, result(&[outcome]), at(second));
            self.0.look(at(second))
        }

        fn look(&mut self, second: u64) -> bool {
            self.0.look(at(second))
        }
    }

    fn away() -> std::result::Result<Written, StoreError> {
        Err(StoreError::Unavailable("away".into()))
    }

    #[test]
    fn writing_is_ill_when_none_has_come_through_while_some_failed() {
        let mut bed = Bed(State::default());
        assert!(bed.look(0), "nobody has written");
        assert!(bed.write(1, Ok(Written::Updated)));
        assert!(bed.write(5, away()) && bed.write(11, away()), "one came through not long ago");
        assert!(!bed.look(12) && !bed.look(21));
        assert!(bed.look(22), "nobody tries any more");
        assert!(!bed.write(30, Err(StoreError::OutcomeUnknown("silence".into()))));
        assert!(bed.write(31, Ok(Written::Updated)) && bed.look(100));
    }

    #[test]
    fn one_that_hangs_is_one_that_fails_and_so_is_one_that_took_too_long() {
        let mut bed = Bed(State::default());
        let attempt = bed.0.begin(at(0));
        assert!(bed.look(2));
        assert!(!bed.look(3) && !bed.look(60), "for as long as it hangs");
        bed.0.end(attempt, Result::CameThrough, at(61));
        assert!(!bed.look(62), "its client was told otherwise");
    }

    #[test]
    fn what_the_store_was_not_to_keep_says_nothing_of_it() {
        let mut bed = Bed(State::default());
        assert!(
            bed.write(1, Err(StoreError::NotCurrent)) && bed.write(1, Err(StoreError::AlreadyRegistered))
        );
        assert!(!bed.write(2, away()));
        assert!(!bed.write(3, Ok(Written::PointsRemoved { count: 0, next: None, gone: Vec::new() })));
        assert!(!bed.write(4, Err(StoreError::UnknownVm)));
        let attempt = bed.0.begin(at(5));
        bed.0.end(attempt, result(&[away(), Err(StoreError::Busy), Ok(Written::Updated)]), at(5));
        assert!(bed.look(5), "one has come through");
    }

    #[test]
    fn a_lock_is_a_trouble_when_it_lasts() {
        let mut bed = Bed(State::default());
        assert!(bed.write(1, Err(StoreError::Busy)) && bed.write(2, Err(StoreError::Busy)));
        assert!(!bed.write(4, Err(StoreError::Busy)));
        assert!(bed.write(5, Ok(Written::Updated)));
        assert!(bed.write(100, Err(StoreError::Busy)), "another one");
        assert!(bed.write(200, Err(StoreError::Busy)), "and another");
    }

    #[test]
    fn trouble_is_said_once_a_minute() {
        let mut bed = Bed(State::default());
        let mut said = Vec::new();
        for second in 1..=130 {
            bed.write(second, away());
            let last = bed.0.trouble.as_ref().expect("there is").said;
            said.extend(Some(last).filter(|last| said.last() != Some(last)));
        }
        assert_eq!(said, [at(1), at(61), at(121)]);
    }
}
