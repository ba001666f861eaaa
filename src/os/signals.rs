//! What the daemon does about signals: the first one to end it stops it in good order, the second one at
//! once; others have it read its settings again, or log its counters.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use log::{error, warn};

use crate::clock::{Clock, Instant, SystemClock};
use crate::limits;
use crate::sys::poll::wait_readable;
use crate::sys::signals::{Signal, Signals};

/// How waiting for the end ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// The server has ended, asked to or not.
    Ended,
    /// A second signal came: nothing is to be waited for any more.
    Killed(Signal),
    /// The server did not end in its time.
    Overdue,
}

/// What signals ask for.
pub trait Actions {
    /// Begins to stop the server; called once.
    fn stop(&mut self, signal: Signal);
    /// Reads the settings again; not called while the server stops.
    fn reload(&mut self);
    /// Logs the counters.
    fn log_statistics(&mut self);
}

/// Waits until `ended` becomes readable, which is the server's end, and does what signals ask for.
pub fn wait(signals: &mut Signals, ended: BorrowedFd<'_>, actions: &mut impl Actions) -> io::Result<End> {
    wait_for(signals, ended, limits::STOP_GRACE + limits::STOP_OVERRUN, actions)
}

/// As [`wait`]; stopping may take `stop_wait_max`.
fn wait_for(
    signals: &mut Signals,
    ended: BorrowedFd<'_>,
    stop_wait_max: Duration,
    actions: &mut impl Actions,
) -> io::Result<End> {
    let mut clock = SystemClock::new();
    let mut deadline: Option<Instant> = None;
    loop {
        let wait_max = deadline.map(|deadline| deadline - clock.now());
        let [has_ended, has_signal] = wait_readable([ended, signals.as_fd()], wait_max)?;
        if has_ended {
            return Ok(End::Ended);
        }
        let signal = if has_signal { signals.receive()? } else { None };
        match (signal, deadline) {
            (Some(signal), _) if !Signal::ENDING.contains(&signal) => {
                obey(signal, deadline.is_some(), actions);
            }
            (Some(signal), None) => {
                actions.stop(signal);
                deadline = Some(clock.now() + stop_wait_max);
            }
            (Some(signal), Some(_)) => {
                warn!("{signal} again: stopping at once");
                return Ok(End::Killed(signal));
            }
            (None, Some(deadline)) if deadline <= clock.now() => {
                error!("the server did not stop in time");
                return Ok(End::Overdue);
            }
            (None, _) => {}
        }
    }
}

fn obey(signal: Signal, is_stopping: bool, actions: &mut impl Actions) {
    match signal {
        Signal::Hangup if is_stopping => warn!("{signal}: too late for other settings: the server stops"),
        Signal::Hangup => actions.reload(),
        Signal::User1 => actions.log_statistics(),
        Signal::Interrupt | Signal::Terminate | Signal::ProcessorTime | Signal::Alarm | Signal::Power => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::signals;
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    const NEVER: Duration = Duration::from_secs(3600);

    /// Notes what it is asked for, and does more at a stop.
    struct Noted<F> {
        calls: Vec<String>,
        at_stop: F,
    }

    impl<F: FnMut()> Actions for Noted<F> {
        fn stop(&mut self, signal: Signal) {
            self.calls.push(format!("stop {signal}"));
            (self.at_stop)();
        }

        fn reload(&mut self) {
            self.calls.push("reload".into());
            // What comes next is read in the next round.
            signals::raise(Signal::User1);
        }

        fn log_statistics(&mut self) {
            self.calls.push("statistics".into());
            signals::raise(Signal::Terminate);
        }
    }

    fn noted<F: FnMut()>(at_stop: F) -> Noted<F> {
        Noted { calls: Vec::new(), at_stop }
    }

    #[test]
    fn the_first_signal_stops_and_the_end_is_waited_for() {
        let mut signals = Signals::block(&Signal::ALL).unwrap();
        let (ended, mut end) = UnixStream::pair().unwrap();
        signals::raise(Signal::Terminate);
        let mut actions = noted(|| end.write_all(b"x").unwrap());
        let result = wait_for(&mut signals, ended.as_fd(), NEVER, &mut actions);
        assert_eq!(result.unwrap(), End::Ended);
        assert_eq!(actions.calls, ["stop SIGTERM"]);
    }

    #[test]
    fn the_second_signal_ends_the_waiting() {
        let mut signals = Signals::block(&Signal::ALL).unwrap();
        let (ended, _end) = UnixStream::pair().unwrap();
        signals::raise(Signal::Interrupt);
        let mut actions = noted(|| signals::raise(Signal::Terminate));
        let result = wait_for(&mut signals, ended.as_fd(), NEVER, &mut actions);
        assert_eq!(result.unwrap(), End::Killed(Signal::Terminate));
        assert_eq!(actions.calls, ["stop SIGINT"], "a stop is asked for once");
    }

    #[test]
    fn other_signals_do_not_end_anything() {
        let mut signals = Signals::block(&Signal::ALL).unwrap();
        let (ended, mut end) = UnixStream::pair().unwrap();
        signals::raise(Signal::Hangup);
        let mut actions = noted(|| end.write_all(b"x").unwrap());
        let result = wait_for(&mut signals, ended.as_fd(), NEVER, &mut actions);
        assert_eq!(result.unwrap(), End::Ended);
        assert_eq!(actions.calls, ["reload", "statistics", "stop SIGTERM"]);
    }

    #[test]
    fn settings_are_not_read_again_while_the_server_stops() {
        let mut signals = Signals::block(&Signal::ALL).unwrap();
        let (ended, _end) = UnixStream::pair().unwrap();
        signals::raise(Signal::Terminate);
        let mut actions = noted(|| signals::raise(Signal::Hangup));
        let result = wait_for(&mut signals, ended.as_fd(), Duration::from_millis(20), &mut actions);
        assert_eq!(result.unwrap(), End::Overdue, "a signal more is no reason to wait for longer");
        assert_eq!(actions.calls, ["stop SIGTERM"]);
    }

    #[test]
    fn a_server_that_ends_by_itself_ends_the_waiting() {
        let mut signals = Signals::block(&Signal::ALL).unwrap();
        let (ended, end) = UnixStream::pair().unwrap();
        drop(end);
        let mut actions = noted(|| panic!("nobody asked for a stop"));
        assert_eq!(wait_for(&mut signals, ended.as_fd(), NEVER, &mut actions).unwrap(), End::Ended);
    }

    #[test]
    fn a_server_that_does_not_stop_is_not_waited_for_forever() {
        let mut signals = Signals::block(&Signal::ALL).unwrap();
        let (ended, _end) = UnixStream::pair().unwrap();
        signals::raise(Signal::Terminate);
        let result = wait_for(&mut signals, ended.as_fd(), Duration::from_millis(1), &mut noted(|| {}));
        assert_eq!(result.unwrap(), End::Overdue);
    }
}
