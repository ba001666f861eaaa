//! What the daemon does about signals: the first one stops it in good order, the second one at once.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use log::{error, info, warn};

use crate::limits;
use crate::server::Running;
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

/// Waits until `running` has ended, and stops it when a signal says so.
pub fn wait(signals: &mut Signals, running: &Running) -> io::Result<End> {
    wait_for(signals, running.ended(), limits::STOP_GRACE + limits::STOP_OVERRUN, |signal| {
        info!("{signal}: stopping, within {} s; a second signal stops at once", limits::STOP_GRACE.as_secs());
        running.stop(limits::STOP_GRACE);
    })
}

/// As [`wait`]: `ended` becomes readable at the end, `stop` asks for it, once, and `stop_wait_max` is how
/// long it may take from then on.
fn wait_for(
    signals: &mut Signals,
    ended: BorrowedFd<'_>,
    stop_wait_max: Duration,
    mut stop: impl FnMut(Signal),
) -> io::Result<End> {
    let mut wait_max = None;
    loop {
        let [has_ended, has_signal] = wait_readable([ended, signals.as_fd()], wait_max)?;
        if has_ended {
            return Ok(End::Ended);
        }
        let signal = if has_signal { signals.receive()? } else { None };
        match (signal, wait_max) {
            (Some(signal), None) => {
                stop(signal);
                wait_max = Some(stop_wait_max);
            }
            (Some(signal), Some(_)) => {
                warn!("{signal} again: stopping at once");
                return Ok(End::Killed(signal));
            }
            (None, Some(_)) if !has_signal => {
                error!("the server did not stop in time");
                return Ok(End::Overdue);
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

    #[test]
    fn the_first_signal_stops_and_the_end_is_waited_for() {
        let mut signals = Signals::block(&Signal::ALL).unwrap();
        let (ended, mut end) = UnixStream::pair().unwrap();
        signals::raise(Signal::Terminate);
        let mut stops = Vec::new();
        let result = wait_for(&mut signals, ended.as_fd(), NEVER, |signal| {
            stops.push(signal);
            end.write_all(b"x").unwrap();
        });
        assert_eq!(result.unwrap(), End::Ended);
        assert_eq!(stops, [Signal::Terminate]);
    }

    #[test]
    fn the_second_signal_ends_the_waiting() {
        let mut signals = Signals::block(&Signal::ALL).unwrap();
        let (ended, _end) = UnixStream::pair().unwrap();
        signals::raise(Signal::Interrupt);
        let mut stops = 0;
        let result = wait_for(&mut signals, ended.as_fd(), NEVER, |_| {
            stops += 1;
            signals::raise(Signal::Terminate);
        });
        assert_eq!(result.unwrap(), End::Killed(Signal::Terminate));
        assert_eq!(stops, 1, "a stop is asked for once");
    }

    #[test]
    fn a_server_that_ends_by_itself_ends_the_waiting() {
        let mut signals = Signals::block(&Signal::ALL).unwrap();
        let (ended, end) = UnixStream::pair().unwrap();
        drop(end);
        let result = wait_for(&mut signals, ended.as_fd(), NEVER, |_| panic!("nobody asked for a stop"));
        assert_eq!(result.unwrap(), End::Ended);
    }

    #[test]
    fn a_server_that_does_not_stop_is_not_waited_for_forever() {
        let mut signals = Signals::block(&Signal::ALL).unwrap();
        let (ended, _end) = UnixStream::pair().unwrap();
        signals::raise(Signal::Terminate);
        let result = wait_for(&mut signals, ended.as_fd(), Duration::from_millis(1), |_| {});
        assert_eq!(result.unwrap(), End::Overdue);
    }
}
