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

/// The wait times of one connection: small, since there are many.
pub(super) enum ClientDeadline {
    /// The session waits for this input since then, or has waited for as long in parts.
    First(Instant),
    Request(u32, Instant),
    Idle(Instant),
    /// It waits for no input. It has waited for so many nanoseconds for this request, its last.
    Paused(u32, u64),
}

impl Default for ClientDeadline {
    fn default() -> ClientDeadline {
        ClientDeadline::Paused(0, 0)
    }
}

impl ClientDeadline {
    /// Sets the input that the session waits for, or `None`. A wait for the same input keeps its start.
    pub(super) fn wait(&mut self, waiting: Option<WaitMode>, now: Instant) {
        if self.current() == waiting {
            return;
        }
        *self = match (waiting, &*self) {
            (Some(WaitMode::First), _) => ClientDeadline::First(now),
            (Some(WaitMode::Idle), _) => ClientDeadline::Idle(now),
            (Some(WaitMode::Request(number)), ClientDeadline::Paused(request, waited))
                if number == *request =>
            {
                ClientDeadline::Request(number, now.before(Duration::from_nanos(*waited)))
            }
            (Some(WaitMode::Request(number)), _) => ClientDeadline::Request(number, now),
            (None, ClientDeadline::Request(number, since)) => {
                ClientDeadline::Paused(*number, u64::try_from((now - *since).as_nanos()).unwrap_or(u64::MAX))
            }
            (None, _) => ClientDeadline::default(),
        };
    }

    /// Restarts the wait for the next request.
    pub(super) fn restart_idle(&mut self, now: Instant) {
        if let ClientDeadline::Idle(since) = self {
            *since = now;
        }
    }

    /// The input that the session waits for now.
    pub(super) fn current(&self) -> Option<WaitMode> {
        self.wait_and_start().map(|(waiting, _)| waiting)
    }

    /// Since when the connection has been idle.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        match self {
            ClientDeadline::First(since) | ClientDeadline::Idle(since) => Some(*since),
            ClientDeadline::Request(..) | ClientDeadline::Paused(..) => None,
        }
    }

    /// The deadline of the current wait, given the timeout of each kind.
    pub(super) fn deadline(&self, timeout: impl Fn(WaitMode) -> Option<Duration>) -> Option<Instant> {
        let (waiting, since) = self.wait_and_start()?;
        Some(since + timeout(waiting)?)
    }

    fn wait_and_start(&self) -> Option<(WaitMode, Instant)> {
        match *self {
            ClientDeadline::First(since) => Some((WaitMode::First, since)),
            ClientDeadline::Request(number, since) => Some((WaitMode::Request(number), since)),
            ClientDeadline::Idle(since) => Some((WaitMode::Idle, since)),
            ClientDeadline::Paused(..) => None,
        }
    }
}

const _: () = assert!(size_of::<ClientDeadline>() <= 16, "every connection has one, most are idle");

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
