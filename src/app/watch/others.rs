//! The changes that other processes make in the store: how far they are read.

use crate::clock::Instant;
use crate::limits;
use crate::store::ChangesPosition;

/// How far they are read.
pub(super) struct Others {
    position: ChangesPosition,
    is_read: bool,
    /// When the next read begins.
    next_read: Instant,
}

impl Others {
    /// All changes up to `position` are known.
    pub(super) fn after(position: ChangesPosition, now: Instant) -> Others {
        Others { position, is_read: false, next_read: now + limits::WATCH_OTHERS_INTERVAL }
    }

    /// Begins a read if it is due.
    pub(super) fn begin_read(&mut self, now: Instant) -> Option<ChangesPosition> {
        self.next_read().filter(|at| *at <= now)?;
        self.is_read = true;
        Some(self.position.clone())
    }

    /// Ends a read: all changes up to `position` are known. `has_more`: the next read begins at once.
    pub(super) fn end_read(&mut self, position: ChangesPosition, has_more: bool, now: Instant) {
        *self = Others::after(position, now);
        if has_more {
            self.next_read = now;
        }
    }

    /// Ends a read that has failed; the next begins after the usual time.
    pub(super) fn read_failed(&mut self, now: Instant) {
        (self.is_read, self.next_read) = (false, now + limits::WATCH_OTHERS_INTERVAL);
    }

    /// When the next read begins; `None` while one is under way.
    pub(super) fn next_read(&self) -> Option<Instant> {
        (!self.is_read).then_some(self.next_read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_are_read_every_second_one_read_at_a_time() {
        let position = ChangesPosition::default();
        let at = |seconds: u32| Instant::ORIGIN + seconds * limits::WATCH_OTHERS_INTERVAL;
        let mut others = Others::after(position.clone(), at(0));
        assert_eq!((others.next_read(), others.begin_read(at(0))), (Some(at(1)), None));
        assert!(others.begin_read(at(1)).is_some());
        assert_eq!((others.next_read(), others.begin_read(at(9))), (None, None));
        others.end_read(position.clone(), false, at(9));
        assert_eq!(others.next_read(), Some(at(10)));
        others.begin_read(at(10));
        others.read_failed(at(12));
        assert_eq!(others.next_read(), Some(at(13)));
        others.begin_read(at(13));
        others.end_read(position, true, at(14));
        assert_eq!(others.next_read(), Some(at(14)));
    }
}
