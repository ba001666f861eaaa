//! Signal handling of the daemon: the first signal to end it stops it gracefully, the second at once; others reload
//! the settings or log the counters.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use log::{error, warn};

use crate::sys::poll::wait_readable;
use crate::sys::signals::{Signal, Signals};

/// How the server ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ShutdownResult {
    /// The server has ended, by request or by itself.
    Completed,
    /// A second signal demanded an immediate end.
    Forced(Signal),
    /// The server did not stop in time.
    TimedOut,
}

/// The actions on signals.
pub trait SignalHandler {
    /// Begins to stop the server; called once.
    fn stop(&mut self, signal: Signal);
    /// Reloads the settings; not called while the server stops.
    fn reload(&mut self);
    /// Logs the counters.
    fn log_statistics(&mut self);
}

/// Waits until `ended` becomes readable, which signals the server's end, and handles signals meanwhile. Stopping may take
/// `stop_wait_max`.
pub fn wait_for_shutdown(
    signals: &mut Signals,
    ended: BorrowedFd<'_>,
    stop_wait_max: Duration,
    actions: &mut impl SignalHandler,
) -> io::Result<ShutdownResult> {
    let mut deadline: Option<Instant> = None;
    loop {
        let wait_max = deadline.map(|deadline| deadline - Instant::now());
        let [has_ended, has_signal] = wait_readable([ended, signals.as_fd()], wait_max)?;
        if has_ended {
            return Ok(ShutdownResult::Completed);
        }
        let signal = if has_signal { signals.receive()? } else { None };
        match (signal, deadline) {
            (Some(Signal::USER1), _) => actions.log_statistics(),
            (Some(Signal::HANGUP), None) => actions.reload(),
            (Some(signal @ Signal::HANGUP), Some(_)) => {
                warn!("{signal}: ignored, because the server is stopping");
            }
            (Some(signal), None) => {
                actions.stop(signal);
                deadline = Some(Instant::now() + stop_wait_max);
            }
            (Some(signal), Some(_)) => {
                warn!("{signal} again: stopping at once");
                return Ok(ShutdownResult::Forced(signal));
            }
            (None, Some(deadline)) if deadline <= Instant::now() => {
                error!("the server did not stop in time");
                return Ok(ShutdownResult::TimedOut);
            }
            (None, _) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::signals;
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    const NEVER: Duration = Duration::from_secs(3600);

    /// Records calls, and runs `on_stop` at a stop.
    struct RecordingHandler<F> {
        calls: Vec<String>,
        on_stop: F,
    }

    impl<F: FnMut()> SignalHandler for RecordingHandler<F> {
        fn stop(&mut self, signal: Signal) {
            self.calls.push(format!("stop {signal}"));
            (self.on_stop)();
        }

        fn reload(&mut self) {
            self.calls.push("reload".into());
            // The loop reads it in its next iteration.
            signals::raise(Signal::USER1);
        }

        fn log_statistics(&mut self) {
            self.calls.push("statistics".into());
            signals::raise(Signal::TERMINATE);
        }
    }

    fn recording<F: FnMut()>(at_stop: F) -> RecordingHandler<F> {
        RecordingHandler { calls: Vec::new(), on_stop: at_stop }
    }

    #[test]
    fn first_signal_stops_and_waits_for_the_end() {
        let mut signals = Signals::block(&Signal::ALL).unwrap();
        let (ended, mut end) = UnixStream::pair().unwrap();
        signals::raise(Signal::TERMINATE);
        let mut actions = recording(|| end.write_all(b"x").unwrap());
        let result = wait_for_shutdown(&mut signals, ended.as_fd(), NEVER, &mut actions);
        assert_eq!(result.unwrap(), ShutdownResult::Completed);
        assert_eq!(actions.calls, ["stop SIGTERM"]);
    }

    #[test]
    fn second_signal_forces_the_end() {
        let mut signals = Signals::block(&Signal::ALL).unwrap();
        let (ended, _end) = UnixStream::pair().unwrap();
        signals::raise(Signal::INTERRUPT);
        let mut actions = recording(|| signals::raise(Signal::TERMINATE));
        let result = wait_for_shutdown(&mut signals, ended.as_fd(), NEVER, &mut actions);
        assert_eq!(result.unwrap(), ShutdownResult::Forced(Signal::TERMINATE));
        assert_eq!(actions.calls, ["stop SIGINT"], "a stop is asked for once");
    }

    #[test]
    fn other_signals_do_not_stop_the_server() {
        let mut signals = Signals::block(&Signal::ALL).unwrap();
        let (ended, mut end) = UnixStream::pair().unwrap();
        signals::raise(Signal::HANGUP);
        let mut actions = recording(|| end.write_all(b"x").unwrap());
        let result = wait_for_shutdown(&mut signals, ended.as_fd(), NEVER, &mut actions);
        assert_eq!(result.unwrap(), ShutdownResult::Completed);
        assert_eq!(actions.calls, ["reload", "statistics", "stop SIGTERM"]);
    }

    #[test]
    fn no_reload_while_stopping() {
        let mut signals = Signals::block(&Signal::ALL).unwrap();
        let (ended, _end) = UnixStream::pair().unwrap();
        signals::raise(Signal::TERMINATE);
        let mut actions = recording(|| signals::raise(Signal::HANGUP));
        let result = wait_for_shutdown(&mut signals, ended.as_fd(), Duration::from_millis(20), &mut actions);
        assert_eq!(
            result.unwrap(),
            ShutdownResult::TimedOut,
            "a signal more is no reason to wait for longer"
        );
        assert_eq!(actions.calls, ["stop SIGTERM"]);
    }

    #[test]
    fn wait_ends_when_the_server_ends() {
        let mut signals = Signals::block(&Signal::ALL).unwrap();
        let (ended, end) = UnixStream::pair().unwrap();
        drop(end);
        let mut actions = recording(|| panic!("no signal asked for a stop"));
        assert_eq!(
            wait_for_shutdown(&mut signals, ended.as_fd(), NEVER, &mut actions).unwrap(),
            ShutdownResult::Completed
        );
    }

    #[test]
    fn stopping_has_a_timeout() {
        let mut signals = Signals::block(&Signal::ALL).unwrap();
        let (ended, _end) = UnixStream::pair().unwrap();
        signals::raise(Signal::TERMINATE);
        let result =
            wait_for_shutdown(&mut signals, ended.as_fd(), Duration::from_millis(1), &mut recording(|| {}));
        assert_eq!(result.unwrap(), ShutdownResult::TimedOut);
    }
}
