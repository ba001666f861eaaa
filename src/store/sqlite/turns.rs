//! Who of this process writes to the file: one at a time, in the order in which they came.
//!
//! SQLite has whoever finds its lock taken sleep and look again, for longer each time: whoever comes later may be
//! earlier, and somebody who writes all the time leaves nobody else a chance.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

#[derive(Default)]
pub(super) struct Turns {
    numbers: Mutex<Numbers>,
    ended: Condvar,
}

#[derive(Default)]
struct Numbers {
    drawn: u64,
    /// Whose turn it is.
    current: u64,
}

/// A turn, which ends when this is dropped.
pub(super) struct Turn<'a>(&'a Turns);

impl Turns {
    /// Waits for a turn. Each takes as long as a write may: there are few who wait.
    pub(super) fn take(&self) -> Turn<'_> {
        let mut numbers = self.lock();
        let own = numbers.drawn;
        numbers.drawn += 1;
        let is_early = |numbers: &mut Numbers| numbers.current != own;
        drop(self.ended.wait_while(numbers, is_early).unwrap_or_else(PoisonError::into_inner));
        Turn(self)
    }

    fn lock(&self) -> MutexGuard<'_, Numbers> {
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut numbers = self.0.lock();
        numbers.current += 1;
        let is_awaited = numbers.current != numbers.drawn;
        drop(numbers);
        if is_awaited {
            self.0.ended.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::thread;

    #[test]
    fn one_at_a_time_has_its_turn_and_nobody_is_passed_over() {
        let (turns, inside, taken) = (Turns::default(), AtomicBool::new(false), AtomicUsize::new(0));
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while taken.load(Ordering::Relaxed) < 1000 {
                        let _turn = turns.take();
                        assert!(!inside.swap(true, Ordering::SeqCst), "two at a time");
                        taken.fetch_add(1, Ordering::Relaxed);
                        inside.store(false, Ordering::SeqCst);
                    }
                });
            }
            // Somebody who comes once gets in while the others never stop to come.
            drop(turns.take());
        });
        let numbers = turns.lock();
        assert_eq!(numbers.current, numbers.drawn);
    }

    #[test]
    fn turns_are_in_the_order_of_arrival_and_end_with_a_panic() {
        let turns = Turns::default();
        let order = Mutex::new(Vec::new());
        thread::scope(|scope| {
            let first = turns.take();
            let mut threads = Vec::new();
            for place in 0..4 {
                let (turns, order) = (&turns, &order);
                threads.push(scope.spawn(move || {
                    let _turn = turns.take();
                    order.lock().unwrap_or_else(PoisonError::into_inner).push(place);
                    assert_ne!(place, 1, "a panic that this test wants");
                }));
                while turns.lock().drawn < place + 2 {
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
