//! Containers that have ended by themselves: reported from any thread, and taken by the reactor.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::ids::ContainerId;
use crate::limits;

/// The ends that the reactor has not taken yet, with their reasons. They outlast a restart.
pub struct ContainerEnds {
    ends: Mutex<BTreeMap<ContainerId, String>>,
    /// Wakes the reactor; must not block.
    wake: Box<dyn Fn() + Send + Sync>,
}

impl ContainerEnds {
    /// No end yet. `wake`, which must not block, is called after each.
    pub fn new(wake: impl Fn() + Send + Sync + 'static) -> ContainerEnds {
        ContainerEnds { ends: Mutex::default(), wake: Box::new(wake) }
    }

    /// Adds the end of a container. There are no more than containers can exist.
    pub fn report(&self, id: ContainerId, reason: &str) {
        let mut ends = self.lock();
        if ends.len() >= limits::CONTAINERS_MAX as usize {
            return;
        }
        let reason = reason.chars().take(limits::PANIC_MESSAGE_CHARS_MAX).collect();
        ends.entry(id).or_insert(reason);
        drop(ends);
        (self.wake)();
    }

    /// Takes all ends.
    pub fn take(&self) -> BTreeMap<ContainerId, String> {
        std::mem::take(&mut self.lock())
    }

    /// Keeps an end that was taken for later, without a wake-up.
    pub fn keep(&self, id: ContainerId, reason: String) {
        self.lock().insert(id, reason);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ContainerId, String>> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn id(number: u32) -> ContainerId {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        ContainerId(bytes)
    }

    #[test]
    fn each_end_is_taken_once_and_there_are_not_more_than_containers() {
        let wakes = Arc::<AtomicUsize>::default();
        let woken = Arc::clone(&wakes);
        let ends = ContainerEnds::new(move || {
            woken.fetch_add(1, Ordering::Relaxed);
        });
        ends.report(id(1), "first");
        ends.report(id(1), "second");
        ends.report(id(2), &"x".repeat(10_000));
        assert_eq!(wakes.load(Ordering::Relaxed), 3);
        let taken = ends.take();
        assert_eq!((taken.len(), taken[&id(1)].as_str()), (2, "first"));
        assert_eq!(taken[&id(2)].len(), limits::PANIC_MESSAGE_CHARS_MAX);
        assert!(ends.take().is_empty());
        (0..limits::CONTAINERS_MAX + 10).for_each(|number| ends.report(id(number), ""));
        assert_eq!(ends.take().len(), limits::CONTAINERS_MAX as usize);
    }
}
