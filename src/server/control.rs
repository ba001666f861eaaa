//! What others tell the reactor's thread: one place for each order, so that nothing piles up.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::config::Config;
use crate::reactor::mio_net::Waker;

/// Orders on their way to the reactor's thread.
pub(super) struct Control {
    orders: Mutex<Orders>,
    taken: Condvar,
    waker: Arc<Waker>,
}

/// What there is to do; a later order of a kind replaces an earlier one.
#[derive(Default)]
pub(super) struct Orders {
    pub(super) stop: Option<Duration>,
    pub(super) reload: Option<Box<Config>>,
    pub(super) wants_statistics: bool,
    /// How many times settings were handed in, and carried out.
    reloads: (u64, u64),
}

impl Control {
    pub(super) fn new(waker: Arc<Waker>) -> Control {
        Control { orders: Mutex::default(), taken: Condvar::new(), waker }
    }

    pub(super) fn stop(&self, grace: Duration) {
        self.lock().stop = Some(grace);
        self.wake();
    }

    pub(super) fn log_statistics(&self) {
        self.lock().wants_statistics = true;
        self.wake();
    }

    /// Hands in other settings and waits until they count, at most `wait_max`; tells whether they do.
    pub(super) fn reload(&self, config: Config, wait_max: Duration) -> bool {
        let mut orders = self.lock();
        orders.reload = Some(Box::new(config));
        orders.reloads.0 += 1;
        let number = orders.reloads.0;
        self.wake();
        let is_waiting = |orders: &mut Orders| orders.reloads.1 < number;
        let waited = self.taken.wait_timeout_while(orders, wait_max, is_waiting);
        let (orders, _) = waited.unwrap_or_else(PoisonError::into_inner);
        orders.reloads.1 >= number
    }

    /// Takes what there is to do.
    pub(super) fn take(&self) -> Orders {
        let mut orders = self.lock();
        let rest = Orders { reloads: orders.reloads, ..Orders::default() };
        std::mem::replace(&mut orders, rest)
    }

    /// The settings that came with `orders` count from now on.
    pub(super) fn reloaded(&self, orders: &Orders) {
        self.lock().reloads.1 = orders.reloads.0;
        self.taken.notify_all();
    }

    fn wake(&self) {
        if let Err(error) = self.waker.wake() {
            log::error!("the reactor can't be woken: {error}");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Orders> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
