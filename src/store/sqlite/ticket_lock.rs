//! A fair lock for the writers of this process: one at a time, in order of arrival.
//!
//! SQLite's own lock is polled with growing pauses: it is unfair, and a busy writer can starve the others.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

#[derive(Default)]
pub(super) struct TicketLock {
    tickets: Mutex<Tickets>,
    released: Condvar,
}

#[derive(Default)]
struct Tickets {
    issued: u64,
    /// The ticket that holds the lock.
    serving: u64,
}

/// Releases the lock when dropped.
pub(super) struct TicketGuard<'a>(&'a TicketLock);

impl TicketLock {
    /// Acquires the lock. There are few waiters, each of which holds it for one write.
    pub(super) fn lock(&self) -> TicketGuard<'_> {
        let mut tickets = self.state();
        let ticket = tickets.issued;
        tickets.issued += 1;
        let is_waiting = |tickets: &mut Tickets| tickets.serving != ticket;
        drop(self.released.wait_while(tickets, is_waiting).unwrap_or_else(PoisonError::into_inner));
        TicketGuard(self)
    }

    fn state(&self) -> MutexGuard<'_, Tickets> {
        self.tickets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for TicketGuard<'_> {
    fn drop(&mut self) {
        let mut tickets = self.0.state();
        tickets.serving += 1;
        let has_waiters = tickets.serving != tickets.issued;
        drop(tickets);
        if has_waiters {
            self.0.released.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::thread;

    #[test]
    fn the_lock_is_exclusive_and_starves_no_thread() {
        let (lock, inside, taken) = (TicketLock::default(), AtomicBool::new(false), AtomicUsize::new(0));
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while taken.load(Ordering::Relaxed) < 1000 {
                        let _guard = lock.lock();
                        assert!(!inside.swap(true, Ordering::SeqCst), "two at a time");
                        taken.fetch_add(1, Ordering::Relaxed);
                        inside.store(false, Ordering::SeqCst);
                    }
                });
            }
            // A thread that comes once gets the lock while others keep taking it.
            drop(lock.lock());
        });
        let tickets = lock.state();
        assert_eq!(tickets.serving, tickets.issued);
    }

    #[test]
    fn the_lock_is_granted_in_order_and_released_by_a_panic() {
        let lock = TicketLock::default();
        let order = Mutex::new(Vec::new());
        thread::scope(|scope| {
            let first = lock.lock();
            let mut threads = Vec::new();
            for index in 0..4 {
                let (lock, order) = (&lock, &order);
                threads.push(scope.spawn(move || {
                    let _guard = lock.lock();
                    order.lock().unwrap_or_else(PoisonError::into_inner).push(index);
                    assert_ne!(index, 1, "a panic that this test wants");
                }));
                while lock.state().issued < index + 2 {
                    thread::yield_now();
                }
            }
            drop(first);
            let ends: Vec<bool> = threads.into_iter().map(|thread| thread.join().is_ok()).collect();
            assert_eq!(ends, [true, false, true, true]);
        });
        assert_eq!(*order.lock().unwrap_or_else(PoisonError::into_inner), [0, 1, 2, 3]);
    }
}
