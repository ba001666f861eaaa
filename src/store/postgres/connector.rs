//! Makes connections, with a backoff after failures.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::hosts::{ConnectError, ConnectErrorKind, Hosts};
use super::pg_session::{PgSession, WaitMode, exponential_backoff, random_between};
use super::url::PostgresUrl;
use crate::clock::{Instant, monotonic_now};
use crate::limits;

/// Makes sessions, with a backoff after failures.
pub(super) struct Connector {
    hosts: Hosts,
    backoff: Mutex<ReconnectBackoff>,
    /// The SQL that sets up a session, by [`WaitMode`].
    settings: [String; 2],
}

/// The backoff after failed attempts. All threads together make one attempt per pause; the others fail at once.
#[derive(Default)]
struct ReconnectBackoff {
    /// Failed attempts since the last success.
    failures: u32,
    /// Successful attempts.
    successes: u64,
    retry_at: Option<Instant>,
    /// The error of the last attempt.
    last_error: String,
}

impl Connector {
    pub(super) fn new(url: &PostgresUrl) -> Connector {
        let settings = [WaitMode::Long, WaitMode::Short]
            .map(|wait_mode| url.session_settings_sql(wait_mode.lock_timeout()));
        Connector { hosts: Hosts::new(&url.config()), backoff: Mutex::default(), settings }
    }

    /// The SQL that sets up a session of this kind.
    pub(super) fn settings(&self, wait_mode: WaitMode) -> &str {
        &self.settings[wait_mode as usize]
    }

    /// Connects, unless an attempt failed a moment ago.
    pub(super) fn connect(&self, wait_mode: WaitMode) -> Result<PgSession, ConnectError> {
        let mut successes_before = self.backoff().try_start()?;
        let mut attempts_left = (limits::POSTGRES_CONNECT_ATTEMPTS / self.hosts.count()).max(1);
        loop {
            let failure = match self.connect_unthrottled(wait_mode) {
                Ok(session) => {
                    self.backoff().record_success();
                    return Ok(session);
                }
                // The server answers, but has no room.
                Err(failure) if failure.kind == ConnectErrorKind::TooManyConnections => return Err(failure),
                Err(failure) => failure,
            };
            attempts_left -= 1;
            let mut backoff = self.backoff();
            // An attempt that started before the last success says nothing about the time since.
            let is_outdated = backoff.successes != successes_before;
            successes_before = backoff.successes;
            if attempts_left == 0 || !is_outdated && failure.kind != ConnectErrorKind::Timeout {
                if !is_outdated {
                    backoff.record_failure(&failure.why);
                }
                return Err(failure);
            }
        }
    }

    /// Connects regardless of the backoff, and does not affect it.
    pub(super) fn connect_unthrottled(&self, wait_mode: WaitMode) -> Result<PgSession, ConnectError> {
        self.hosts.connect(self.settings(wait_mode)).map(|client| PgSession::new(client, wait_mode))
    }

    fn backoff(&self) -> MutexGuard<'_, ReconnectBackoff> {
        self.backoff.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ReconnectBackoff {
    /// Returns the number of successes so far if an attempt may start now.
    fn try_start(&mut self) -> Result<u64, ConnectError> {
        if self.failures == 0 {
            return Ok(self.successes);
        }
        if self.retry_at.is_some_and(|at| monotonic_now() < at) {
            let why = format!("tried a moment ago: {}", self.last_error);
            return Err(ConnectError { why, kind: ConnectErrorKind::Other });
        }
        // Measured from the start of the attempt, so that a network that loses packets gets as many
        // attempts as a server that refuses.
        self.pause(self.failures);
        Ok(self.successes)
    }

    fn record_success(&mut self) {
        if self.failures > 0 {
            log::info!("the database is back after {} failed attempts to connect", self.failures);
        }
        self.failures = 0;
        self.successes += 1;
    }

    /// Records a failed attempt.
    fn record_failure(&mut self, why: &str) {
        if self.failures == 0 {
            log::warn!("the database can't be reached: {why}");
            self.pause(0);
        }
        self.failures = self.failures.saturating_add(1);
        self.last_error = why.to_owned();
    }

    fn pause(&mut self, failures: u32) {
        let (first, max) = (limits::POSTGRES_RECONNECT_BACKOFF_FIRST, limits::POSTGRES_RECONNECT_BACKOFF_MAX);
        let pause = exponential_backoff(first, failures, max);
        self.retry_at = Some(monotonic_now() + random_between(pause / 2, pause));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn attempts_during_backoff_fail_at_once_with_the_last_error() {
        let connector = Connector::new(&PostgresUrl::parse("postgresql://localhost/x").expect("a URL"));
        let mut backoff = connector.backoff();
        backoff.try_start().expect("nothing has failed");
        backoff.record_failure("out of order");
        backoff.retry_at = Some(monotonic_now() + Duration::from_secs(60));
        let Err(ConnectError { why, .. }) = backoff.try_start() else { panic!("too early") };
        assert!(why.contains("out of order"));
        backoff.retry_at = Some(monotonic_now());
        backoff.try_start().expect("time has passed");
        assert!(backoff.try_start().is_err(), "one attempt at a time");
        backoff.record_success();
        backoff.try_start().and_then(|_| backoff.try_start()).expect("as many as are needed");
    }
}
