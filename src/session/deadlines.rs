//! How long a client has kept us waiting, and for what.
//!
//! The clock runs only while the session needs input; a request's own clock goes on where it stopped
//! and no byte resets it.

use std::time::Duration;

use crate::clock::Instant;

/// What a session waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum WaitMode {
    /// The first byte that counts.
    First,
    /// The rest of a request, the so-manieth of the connection.
    Request(u32),
    /// The next request.
    Idle,
}

/// The clocks of one connection.
#[derive(Default)]
pub(super) struct ClientDeadline {
    current: Option<(WaitMode, Instant)>,
    /// Which request was waited for before, and for how long.
    waited: Option<(WaitMode, Duration)>,
}

impl ClientDeadline {
    /// From `now` on the session waits for `waiting`, or for nothing. A wait that goes on keeps its
    /// beginning.
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

    /// What the session waits for now.
    pub(super) fn current(&self) -> Option<WaitMode> {
        self.current.map(|(waiting, _)| waiting)
    }

    /// Since when the client has nothing to say.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        let (waiting, since) = self.current?;
        matches!(waiting, WaitMode::First | WaitMode::Idle).then_some(since)
    }

    /// When the current wait is over, given how long each kind may take.
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
    fn a_wait_that_goes_on_keeps_its_deadline() {
        let mut patience = ClientDeadline::default();
        patience.wait(Some(WaitMode::Request(1)), at(5));
        patience.wait(Some(WaitMode::Request(1)), at(9));
        assert_eq!(patience.deadline(ten), Some(at(15)));
    }

    #[test]
    fn the_clock_of_a_request_stops_while_we_are_the_ones_to_wait_for() {
        let mut patience = ClientDeadline::default();
        patience.wait(Some(WaitMode::Request(1)), at(0));
        patience.wait(None, at(4));
        assert_eq!(patience.deadline(ten), None);
        patience.wait(Some(WaitMode::Request(1)), at(100));
        assert_eq!(patience.deadline(ten), Some(at(106)));
    }

    #[test]
    fn a_new_request_has_a_clock_of_its_own() {
        let mut patience = ClientDeadline::default();
        patience.wait(Some(WaitMode::Request(1)), at(0));
        patience.wait(Some(WaitMode::Request(2)), at(9));
        assert_eq!(patience.deadline(ten), Some(at(19)));
        patience.wait(None, at(12));
        patience.wait(Some(WaitMode::Request(3)), at(30));
        assert_eq!(patience.deadline(ten), Some(at(40)));
        patience.wait(Some(WaitMode::Idle), at(31));
        assert_eq!(patience.deadline(ten), Some(at(41)));
    }
}
