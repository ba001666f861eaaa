//! Control requests from other threads to the reactor: at most one of each kind is pending.

use std::io;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::start_error::StartError;
use crate::config::Config;
use crate::model::Statistics;
use crate::reactor::mio_net::{Waker, wake};

/// Hands control requests to the reactor's thread.
pub(super) struct ReactorControl {
    shared: Mutex<Shared>,
    waker: Arc<Waker>,
}

#[derive(Default)]
struct Shared {
    requests: ControlRequests,
    /// The last counters, after the end of the server.
    last: Option<Statistics>,
}

/// Pending requests; a later request of a kind replaces an earlier one.
#[derive(Default)]
pub(super) struct ControlRequests {
    pub(super) stop: Option<Duration>,
    pub(super) restart: Option<Duration>,
    pub(super) reload: Option<Box<Config>>,
    pub(super) wants_statistics: bool,
    /// The threads that wait for the counters.
    statistics_waiters: Vec<Sender<Statistics>>,
    /// An error that ends the server.
    pub(super) failure: Option<StartError>,
    /// The threads that wait until a reload is applied.
    reload_waiters: Vec<Sender<()>>,
    /// The threads that wait for the end of a restart. They see it dropped where the server stops instead.
    pub(super) restart_waiters: Vec<Sender<()>>,
}

impl ReactorControl {
    pub(super) fn new(waker: Arc<Waker>) -> ReactorControl {
        ReactorControl { shared: Mutex::default(), waker }
    }

    /// Adds a request with `change`, and wakes the reactor's thread.
    pub(super) fn request(&self, change: impl FnOnce(&mut ControlRequests)) {
        change(&mut self.lock().requests);
        self.wake();
    }

    /// Ends the server with an error.
    pub(super) fn fail(&self, why: StartError) {
        self.request(|requests| requests.failure = Some(why));
    }

    /// Requests a reload and waits at most `wait_max` until it is applied; returns whether it was. Settings that were
    /// not applied in time are withdrawn.
    pub(super) fn reload(&self, config: Config, wait_max: Duration) -> bool {
        let (applied, is_applied) = channel();
        self.request(|requests| {
            requests.reload = Some(Box::new(config));
            requests.reload_waiters.push(applied);
        });
        // Withdraw settings that were not taken: a reload that was reported as failed must not take effect later.
        // Settings that were taken are being applied and will take effect.
        is_applied.recv_timeout(wait_max).is_ok() || self.lock().requests.reload.take().is_none()
    }

    /// Requests a restart with this grace period and waits at most `wait_max` until it is complete.
    pub(super) fn restart(&self, grace: Duration, wait_max: Duration) -> io::Result<()> {
        let (waiter, restarted) = channel();
        let mut shared = self.lock();
        if shared.last.is_some() {
            return Err(io::Error::other("the server has ended"));
        }
        shared.requests.restart = Some(grace);
        shared.requests.restart_waiters.push(waiter);
        drop(shared);
        self.wake();
        restarted.recv_timeout(wait_max).map_err(|error| match error {
            RecvTimeoutError::Timeout => {
                io::Error::new(io::ErrorKind::TimedOut, "the server has not restarted in time")
            }
            RecvTimeoutError::Disconnected => io::Error::other("the server stops instead of restarting"),
        })
    }

    /// Returns the counters, the last ones after the end. An error means that the reactor's thread does not give them
    /// within `wait_max`.
    pub(super) fn statistics(&self, wait_max: Duration) -> io::Result<Statistics> {
        let (waiter, answer) = channel();
        let mut shared = self.lock();
        if let Some(last) = &shared.last {
            return Ok(last.clone());
        }
        shared.requests.statistics_waiters.push(waiter);
        drop(shared);
        self.wake();
        let late =
            |_| io::Error::new(io::ErrorKind::TimedOut, "the server does not give its counters in time");
        answer.recv_timeout(wait_max).map_err(late)
    }

    /// Notes the end of the server, with its `last` counters, and drops the pending requests.
    pub(super) fn end(&self, last: Statistics) {
        let mut shared = self.lock();
        std::mem::take(&mut shared.requests).give_statistics(|| last.clone());
        shared.last = Some(last);
    }

    /// Takes the pending requests.
    pub(super) fn take(&self) -> ControlRequests {
        std::mem::take(&mut self.lock().requests)
    }

    /// Wakes the reactor's thread.
    pub(super) fn wake(&self) {
        wake(&self.waker);
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ControlRequests {
    /// Gives the counters to the threads that wait for them.
    pub(super) fn give_statistics(&self, statistics: impl FnOnce() -> Statistics) {
        if self.statistics_waiters.is_empty() {
            return;
        }
        let statistics = statistics();
        for waiter in &self.statistics_waiters {
            // An error means that the thread no longer waits.
            let _ = waiter.send(statistics.clone());
        }
    }

    /// Reports the reload as applied.
    pub(super) fn mark_reloaded(&self) {
        for waiter in &self.reload_waiters {
            // An error means that the thread no longer waits.
            let _ = waiter.send(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reactor::mio_net::MioNet;

    #[test]
    fn settings_not_taken_in_time_are_withdrawn() {
        let control = ReactorControl::new(MioNet::new(Vec::new()).unwrap().waker());
        assert!(!control.reload(Config::default(), Duration::from_millis(1)));
        assert!(control.take().reload.is_none());
    }

    #[test]
    fn taken_settings_are_applied() {
        let control = Arc::new(ReactorControl::new(MioNet::new(Vec::new()).unwrap().waker()));
        let other = Arc::clone(&control);
        let reactor = std::thread::spawn(move || {
            loop {
                let requests = other.take();
                if requests.reload.is_some() {
                    return requests.mark_reloaded();
                }
                std::thread::yield_now();
            }
        });
        assert!(control.reload(Config::default(), Duration::from_secs(10)));
        reactor.join().unwrap();
    }
}
