//! The deadlines for a client's input.
//!
//! Time counts only while the session needs input. The time of a request continues where it paused, and receiving
//! bytes does not reset it.

use std::time::Duration;

use crate::clock::Instant;

/// The input that a session waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum WaitMode {
    /// The first byte that is not white space.
    First,
    /// The rest of request number N of this connection.
    Request(u32),
    /// The next request.
    Idle,
}

/// The wait times of one connection.
#[derive(Default)]
pub(super) struct ClientDeadline {
    current: Option<(WaitMode, Instant)>,
    /// The last request that was waited for, and for how long.
    waited: Option<(WaitMode, Duration)>,
}

impl ClientDeadline {
    /// Sets the input that the session waits for, or `None`. A wait for the same input keeps its start.
    pub(super) fn wait(&mut self, waiting: Option<WaitMode>, now: Instant) {
        if self.current() == waiting {
            return;
        }
        if let Some((WaitMode::Request(number), since)) = self.current {
            let request = WaitMode::Request(number);
            self.waited = Some((request, self.waited_for(request) + (now - since)));
        }
        self.current = waiting.map(|waiting| (waiting, now));
    }

    /// Restarts the wait for the next request.
    pub(super) fn restart_idle(&mut self, now: Instant) {
        if self.current() == Some(WaitMode::Idle) {
            self.current = Some((WaitMode::Idle, now));
        }
    }

    /// The input that the session waits for now.
    pub(super) fn current(&self) -> Option<WaitMode> {
        self.current.map(|(waiting, _)| waiting)
    }

    /// Since when the connection has been idle.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        let (waiting, since) = self.current?;
        matches!(waiting, WaitMode::First | WaitMode::Idle).then_some(since)
    }

    /// The deadline of the current wait, given the timeout of each kind.
    pub(super) fn deadline(&self, timeout: impl Fn(WaitMode) -> Option<Duration>) -> Option<Instant> {
        let (waiting, since) = self.current?;
        let timeout = timeout(waiting)?;
        Some(since + timeout.saturating_sub(self.waited_for(waiting)))
    }

    fn waited_for(&self, waiting: WaitMode) -> Duration {
        match self.waited {
            Some((before, waited)) if before == waiting => waited,
            _ => Duration::ZERO,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(seconds: u32) -> Instant {
        Instant::ORIGIN + seconds * SECOND
    }

    fn ten(_: WaitMode) -> Option<Duration> {
        Some(10 * SECOND)
    }

    #[test]
    fn a_continued_wait_keeps_its_deadline() {
        let mut deadline = ClientDeadline::default();
        deadline.wait(Some(WaitMode::Request(1)), at(5));
        deadline.wait(Some(WaitMode::Request(1)), at(9));
        assert_eq!(deadline.deadline(ten), Some(at(15)));
    }

    #[test]
    fn the_time_of_a_request_pauses_while_no_input_is_needed() {
        let mut deadline = ClientDeadline::default();
        deadline.wait(Some(WaitMode::Request(1)), at(0));
        deadline.wait(None, at(4));
        assert_eq!(deadline.deadline(ten), None);
        deadline.wait(Some(WaitMode::Request(1)), at(100));
        assert_eq!(deadline.deadline(ten), Some(at(106)));
    }

    #[test]
    fn a_new_request_has_its_own_deadline() {
        let mut deadline = ClientDeadline::default();
        deadline.wait(Some(WaitMode::Request(1)), at(0));
        deadline.wait(Some(WaitMode::Request(2)), at(9));
        assert_eq!(deadline.deadline(ten), Some(at(19)));
        deadline.wait(None, at(12));
        deadline.wait(Some(WaitMode::Request(3)), at(30));
        assert_eq!(deadline.deadline(ten), Some(at(40)));
        deadline.wait(Some(WaitMode::Idle), at(31));
        assert_eq!(deadline.deadline(ten), Some(at(41)));
        deadline.restart_idle(at(50));
        assert_eq!(deadline.deadline(ten), Some(at(60)));
    }
}
