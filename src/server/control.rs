//! Control requests from other threads to the reactor: at most one of each kind is pending.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::start_error::StartError;
use crate::config::Config;
use crate::reactor::mio_net::Waker;

/// Hands control requests to the reactor's thread.
pub(super) struct ReactorControl {
    requests: Mutex<ControlRequests>,
    applied: Condvar,
    waker: Arc<Waker>,
}

/// Pending requests; a later request of a kind replaces an earlier one.
#[derive(Default)]
pub(super) struct ControlRequests {
    pub(super) stop: Option<Duration>,
    pub(super) reload: Option<Box<Config>>,
    pub(super) wants_statistics: bool,
    /// An error that ends the server.
    pub(super) failure: Option<StartError>,
    /// Number of reloads requested and applied.
    reloads: (u64, u64),
}

impl ReactorControl {
    pub(super) fn new(waker: Arc<Waker>) -> ReactorControl {
        ReactorControl { requests: Mutex::default(), applied: Condvar::new(), waker }
    }

    pub(super) fn stop(&self, grace: Duration) {
        self.lock().stop = Some(grace);
        self.wake();
    }

    pub(super) fn fail(&self, failure: StartError) {
        self.lock().failure = Some(failure);
        self.wake();
    }

    pub(super) fn log_statistics(&self) {
        self.lock().wants_statistics = true;
        self.wake();
    }

    /// Requests a reload and waits at most `wait_max` until it is applied; returns whether it was. Settings that were
    /// not applied in time are withdrawn.
    pub(super) fn reload(&self, config: Config, wait_max: Duration) -> bool {
        let mut requests = self.lock();
        requests.reload = Some(Box::new(config));
        requests.reloads.0 += 1;
        let number = requests.reloads.0;
        self.wake();
        let is_waiting = |requests: &mut ControlRequests| requests.reloads.1 < number;
        let waited = self.applied.wait_timeout_while(requests, wait_max, is_waiting);
        let (mut requests, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        // Withdraw settings that were not taken: a reload that was reported as failed must not take effect later.
        // Settings that were taken are being applied and will take effect.
        !(timeout.timed_out() && requests.reload.take().is_some())
    }

    /// Takes the pending requests.
    pub(super) fn take(&self) -> ControlRequests {
        let mut requests = self.lock();
        let rest = ControlRequests { reloads: requests.reloads, ..ControlRequests::default() };
        std::mem::replace(&mut requests, rest)
    }

    /// Marks the reload in `requests` as applied.
    pub(super) fn mark_reloaded(&self, requests: &ControlRequests) {
        self.lock().reloads.1 = requests.reloads.0;
        self.applied.notify_all();
    }

    /// Wakes the reactor's thread.
    pub(super) fn wake(&self) {
        if let Err(error) = self.waker.wake() {
            log::error!("the reactor can't be woken: {error}");
        }
    }

    fn lock(&self) -> MutexGuard<'_, ControlRequests> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
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
                    return other.mark_reloaded(&requests);
                }
                std::thread::yield_now();
            }
        });
        assert!(control.reload(Config::default(), Duration::from_secs(10)));
        reactor.join().unwrap();
    }
}
